//! `~SEQ(var[, start[, step]], end) rest`, `~SEQx(…)` and `~LST(var, a, b, …) rest`: the rest of the line
//! again and again (keepalived.conf(5), "Sequence blocks" and "List blocks").

use std::sync::Arc;

/// A repetition at the start of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repetition {
    pub(super) rounds: Rounds,
    /// Where the rest of the line begins.
    pub(super) rest: usize,
}

/// What its names stand for in each round.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rounds {
    Sequence {
        name: String,
        start: i64,
        step: i64,
        end: i64,
        hexadecimal: bool,
    },
    List {
        names: Vec<String>,
        rounds: Vec<Vec<String>>,
    },
}

/// Names with their values.
pub(super) type Round = Vec<(String, Arc<str>)>;

/// Where a line begins with a repetition: what it says, or why it says nothing.
pub(super) fn read(line: &str) -> Option<Result<Repetition, &'static str>> {
    let kinds = [("~SEQx(", true), ("~SEQ(", false)];
    for (start, hexadecimal) in kinds {
        if let Some(rest) = line.strip_prefix(start) {
            let read = arguments(rest).and_then(|(inside, length)| {
                let rounds = sequence(inside, hexadecimal)?;
                let rest = start.len() + length;
                Ok(Repetition { rounds, rest })
            });
            return Some(read);
        }
    }
    let rest = line.strip_prefix("~LST(")?;
    Some(arguments(rest).and_then(|(inside, length)| {
        let rounds = list(inside)?;
        let rest = "~LST(".len() + length;
        Ok(Repetition { rounds, rest })
    }))
}

/// What is between the parentheses, and how long it is with the closing one.
fn arguments(text: &str) -> Result<(&str, usize), &'static str> {
    let (inside, _) = text
        .split_once(')')
        .ok_or("its parenthesis is never closed")?;
    Ok((inside, inside.len() + 1))
}

fn sequence(inside: &str, hexadecimal: bool) -> Result<Rounds, &'static str> {
    let words: Vec<&str> = inside.split(',').map(str::trim).collect();
    let (name, numbers) = words.split_first().ok_or("it needs a name")?;
    let numbers: Option<Vec<i64>> = numbers.iter().map(|word| number(word)).collect();
    let numbers = numbers.ok_or("start, step and end are whole numbers")?;
    let (start, step, end) = match *numbers.as_slice() {
        [end] => (if end > 0 { 1 } else { -1 }, None, end),
        [start, end] => (start, None, end),
        [start, step, end] => (start, Some(step), end),
        _ => return Err("~SEQ(NAME, START, STEP, END), in which START and STEP may be missing"),
    };
    let step = step.unwrap_or(if end >= start { 1 } else { -1 });
    if step == 0 {
        return Err("a step of 0 never ends");
    }
    Ok(Rounds::Sequence {
        name: name_of(name)?,
        start,
        step,
        end,
        hexadecimal,
    })
}

fn list(inside: &str) -> Result<Rounds, &'static str> {
    let items = items(inside)?;
    let (names, values) = items.split_first().ok_or("it needs a name")?;
    if values.is_empty() {
        return Err("it needs values");
    }
    if values.iter().any(|values| values.len() != names.len()) {
        return Err("each round needs as many values as there are names");
    }
    let names: Result<Vec<String>, _> = names.iter().map(|name| name_of(name)).collect();
    Ok(Rounds::List {
        names: names?,
        rounds: values.to_vec(),
    })
}

/// `a, {b, c}`: items that are one word or several.
fn items(inside: &str) -> Result<Vec<Vec<String>>, &'static str> {
    let mut items = Vec::new();
    let mut rest = inside.trim();
    while !rest.is_empty() {
        let (item, after) = if let Some(braced) = rest.strip_prefix('{') {
            let (item, after) = braced.split_once('}').ok_or("its brace is never closed")?;
            let words = item.split(',').map(|word| word.trim().to_owned());
            (words.collect(), after)
        } else {
            let (item, _) = rest.split_once(',').unwrap_or((rest, ""));
            let after = rest.get(item.len()..).unwrap_or_default();
            (vec![item.trim().to_owned()], after)
        };
        items.push(item);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return Err("a comma goes between its values"),
        };
    }
    Ok(items)
}

fn name_of(word: &str) -> Result<String, &'static str> {
    let is_name = !word.is_empty() && word.chars().all(super::definitions::is_of_name);
    let starts_well = !word.starts_with(|c: char| c.is_ascii_digit());
    if is_name && starts_well {
        Ok(word.to_owned())
    } else {
        Err("its name is made of letters, digits and _")
    }
}

/// Decimal, or hexadecimal with `0x`; perhaps negative.
fn number(word: &str) -> Option<i64> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(sign * i64::from(value))
}

impl Rounds {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Sequence {
                start, step, end, ..
            } => {
                let way = if *step > 0 { end - start } else { start - end };
                let rounds = way.checked_div(step.abs()).unwrap_or_default() + 1;
                usize::try_from(rounds).unwrap_or_default()
            }
            Self::List { rounds, .. } => rounds.len(),
        }
    }

    /// Every round, in order.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = Round> + '_> {
        match self {
            Self::Sequence {
                name,
                start,
                step,
                end,
                hexadecimal,
            } => {
                let within = |value: &i64| {
                    if *step > 0 {
                        value <= end
                    } else {
                        value >= end
                    }
                };
                let values = std::iter::successors(Some(*start), |value| value.checked_add(*step));
                Box::new(values.take_while(within).map(move |value| {
                    let text = match (hexadecimal, value < 0) {
                        (false, _) => value.to_string(),
                        (true, false) => format!("{value:x}"),
                        (true, true) => format!("-{:x}", value.unsigned_abs()),
                    };
                    vec![(name.clone(), text.into())]
                }))
            }
            Self::List { names, rounds } => Box::new(rounds.iter().map(|values| {
                let pairs = names.iter().zip(values);
                pairs
                    .map(|(name, value)| (name.clone(), value.as_str().into()))
                    .collect()
            })),
        }
    }
}

/// A round in words: `I=1 J=2`.
pub(super) fn describe(round: &Round) -> Arc<str> {
    let pairs: Vec<String> = round
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join(" ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &str) -> Result<String, &'static str> {
        let Repetition { rounds, rest } = read(line).expect("a repetition")?;
        assert_eq!(rounds.count(), rounds.iter().count());
        let all: Vec<String> = rounds
            .iter()
            .map(|round| describe(&round).to_string())
            .collect();
        Ok(format!("{}|{}", all.join(","), &line[rest..]))
    }

    #[test]
    fn sequences_count_as_the_manual_says() {
        assert_eq!(
            values("~SEQ(N, 0, 3) x"),
            Ok("N=0,N=1,N=2,N=3| x".to_owned())
        );
        assert_eq!(values("~SEQ(N,3)"), Ok("N=1,N=2,N=3|".to_owned()));
        assert_eq!(values("~SEQ(N,-2)"), Ok("N=-1,N=-2|".to_owned()));
        assert_eq!(values("~SEQ(N,3,1)"), Ok("N=3,N=2,N=1|".to_owned()));
        assert_eq!(
            values("~SEQx(S, 0x90, 0x10, 0xc0) y"),
            Ok("S=90,S=a0,S=b0,S=c0| y".to_owned())
        );
        assert_eq!(values("~SEQx(S,0x0a,-1,9)"), Ok("S=a,S=9|".to_owned()));
        assert_eq!(values("~SEQ(N,5,1,4)"), Ok("|".to_owned()));
    }

    #[test]
    fn lists_set_one_name_or_several() {
        assert_eq!(values("~LST(IP, 1, b) x"), Ok("IP=1,IP=b| x".to_owned()));
        assert_eq!(
            values("~LST({A, B}, {1,2},{3, 4}) z"),
            Ok("A=1 B=2,A=3 B=4| z".to_owned())
        );
    }

    #[test]
    fn what_is_no_repetition_says_why() {
        for line in [
            "~SEQ(N,1,0,5)",
            "~SEQ(N,1",
            "~SEQ(1,2)",
            "~SEQ(N)",
            "~LST(A)",
            "~LST({A,B},{1})",
        ] {
            assert!(values(line).is_err(), "{line}");
        }
        assert_eq!(read("x ~SEQ(N,1)"), None);
    }
}
