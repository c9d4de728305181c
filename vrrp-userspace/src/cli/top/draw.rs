//! The screen as it is drawn.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, TableState, Wrap},
};
use vrrp_userspace::{
    clock,
    control::{self, Happened, model::InstanceStatus},
};

use super::screen::{Mode, Screen};

/// From this width on there is room for what is nice to know.
const WIDE: u16 = 120;
/// How wide a bar is.
const BAR: usize = 12;

pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let events = (frame.area().height / 3).clamp(4, 14);
    let [head, list, timeline, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(4),
        Constraint::Length(events),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(screen), head);
    match screen.mode {
        Mode::Depth => depth(frame, list, screen),
        _ => instances(frame, list, screen),
    }
    frame.render_widget(transitions(screen, timeline), timeline);
    frame.render_widget(footer(screen), foot);
    match &screen.mode {
        Mode::Help => popup(frame, HELP),
        Mode::Sure { name, drain } => {
            let what = if *drain {
                format!(
                    "drain {name}: give up the mastership and stay out?\n\ny: yes   any other key: no"
                )
            } else {
                format!("undrain {name}: take part again?\n\ny: yes   any other key: no")
            };
            popup(frame, &what);
        }
        _ => {}
    }
}

const HELP: &str = "up, down, j, k  select
enter           the instance in depth, and back
s               sort by name, state, interface, age
/               filter by name, state, interface, VRID or address
d, u            drain, undrain the selected instance
q               quit

LIFE  MASTER: the lease, how much longer the kernel may answer
      BACKUP: the age of the last advert; full means that it takes over";

fn header(screen: &Screen) -> Paragraph<'_> {
    let Some(status) = &screen.status else {
        return Paragraph::new("");
    };
    let count = |state: &str| {
        status
            .instances
            .iter()
            .filter(|it| it.state == state)
            .count()
    };
    let mut counts = vec![Span::raw(format!("{} instances:", status.instances.len()))];
    for state in ["MASTER", "BACKUP", "FAULT", "INIT"] {
        let count = count(state);
        if count > 0 || state != "INIT" {
            counts.push(Span::raw(" "));
            counts.push(Span::styled(format!("{count} {state}"), color(state)));
        }
    }
    let first = Line::from(vec![
        Span::raw("xvrrp ").bold(),
        Span::raw(format!(
            "{} on {}, pid {}, {}",
            status.version, status.router_id, status.pid, status.configuration
        )),
    ]);
    Paragraph::new(vec![first, Line::from(counts)])
}

fn footer(screen: &Screen) -> Paragraph<'_> {
    if let Some((message, _)) = &screen.message {
        return Paragraph::new(message.as_str()).red();
    }
    if screen.mode == Mode::Filter {
        return Paragraph::new(format!(
            "filter: {}_   enter: keep   esc: none",
            screen.filter
        ));
    }
    let filter = match screen.filter.as_str() {
        "" => String::new(),
        filter => format!("   filter: {filter}"),
    };
    Paragraph::new(format!(
        "q quit  enter depth  s sort ({})  / filter  d drain  u undrain  ? help{filter}",
        screen.order.name()
    ))
    .dim()
}

fn color(state: &str) -> Style {
    let style = Style::default();
    match state {
        "MASTER" => style.fg(Color::Green).add_modifier(Modifier::BOLD),
        "BACKUP" => style.fg(Color::Cyan),
        "FAULT" => style.fg(Color::Red).add_modifier(Modifier::BOLD),
        _ => style.fg(Color::Yellow),
    }
}

fn instances(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let is_wide = area.width >= WIDE;
    let mut titles = vec![
        "INSTANCE", "STATE", "SINCE", "IF", "VRID", "PRIO", "LIFE", "ADV/S", "CHECKS",
    ];
    let mut widths = vec![
        Constraint::Min(10),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(4),
        Constraint::Length(7),
        Constraint::Length(19),
        Constraint::Length(6),
        Constraint::Length(6),
    ];
    if is_wide {
        titles.extend(["MASTER", "ADDRESSES"]);
        widths.extend([Constraint::Length(26), Constraint::Min(24)]);
    }
    let all = screen.instances();
    let rows = all.iter().map(|it| row(it, screen, is_wide));
    let table = Table::new(rows, widths)
        .header(Row::new(titles).style(Style::default().add_modifier(Modifier::REVERSED)))
        .row_highlight_style(Style::default().bg(Color::DarkGray));
    let mut state = TableState::default().with_selected(Some(screen.selected));
    frame.render_stateful_widget(table, area, &mut state);
}

fn row<'s>(it: &'s InstanceStatus, screen: &Screen, is_wide: bool) -> Row<'s> {
    let priority = if it.effective_priority == it.base_priority {
        it.base_priority.to_string()
    } else {
        format!("{}/{}", it.effective_priority, it.base_priority)
    };
    let rate = screen.rates.get(&it.name);
    let mut cells = vec![
        Cell::from(it.name.as_str()),
        Cell::from(Span::styled(it.state.as_str(), color(&it.state))),
        Cell::from(control::duration(it.since_seconds)),
        Cell::from(it.interface.as_str()),
        Cell::from(it.vrid.to_string()),
        Cell::from(priority),
        Cell::from(life(it)),
        Cell::from(rate.map_or_else(String::new, |rate| format!("{rate:.1}"))),
        Cell::from(checks(it)),
    ];
    if is_wide {
        cells.push(Cell::from(match &it.master {
            Some(master) if master.ourselves => "this router".to_owned(),
            Some(master) => format!("{} ({})", master.address, master.priority),
            None => "-".to_owned(),
        }));
        cells.push(Cell::from(it.addresses.join(" ")));
    }
    Row::new(cells)
}

/// The lease of a MASTER as it runs down, or the age of the advert that holds a BACKUP down as it grows.
fn life(it: &InstanceStatus) -> Line<'static> {
    let interval_ms = it
        .master
        .as_ref()
        .map_or(1000.0, |master| master.interval_seconds * 1000.0);
    // Leases and Master_Down are three intervals, and a little more.
    let whole = 3.0 * interval_ms;
    let (filled, text, style) = match (it.state.as_str(), it.lease_ms, it.last_advert_age_ms) {
        ("MASTER", Some(left), _) => {
            let share = left / whole;
            (
                share,
                left,
                if share < 0.34 {
                    Color::Red
                } else {
                    Color::Green
                },
            )
        }
        ("BACKUP", _, Some(age)) => {
            let share = age / whole;
            let style = match share {
                share if share < 0.4 => Color::Cyan,
                share if share < 0.7 => Color::Yellow,
                _ => Color::Red,
            };
            (share, age, style)
        }
        _ => return Line::raw("-"),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a number of cells, from 0 to their number"
    )]
    let cells = (filled.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    Line::from(vec![
        Span::styled("█".repeat(cells), style),
        Span::styled("░".repeat(BAR - cells), Color::DarkGray),
        Span::raw(format!(" {text:.0}ms")),
    ])
}

/// How many are up, of how many.
fn checks(it: &InstanceStatus) -> Span<'static> {
    let all = it.checks.len();
    if all == 0 {
        return Span::raw("-");
    }
    let bad = it
        .checks
        .iter()
        .filter(|check| check.up == Some(false))
        .count();
    let text = format!("{}/{all}", all - bad);
    if bad == 0 {
        Span::raw(text)
    } else {
        Span::styled(text, Color::Red)
    }
}

fn depth(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let text = screen.status.as_ref().and_then(|status| {
        let name = &screen.selected()?.name;
        control::render_instance(status, name, &[])
    });
    let block = Block::default().borders(Borders::ALL).title(" in depth ");
    let shown = Paragraph::new(text.unwrap_or_default())
        .wrap(Wrap { trim: false })
        .block(block);
    frame.render_widget(shown, area);
}

/// The latest at the bottom.
fn transitions(screen: &Screen, area: Rect) -> Paragraph<'_> {
    let room = usize::from(area.height.saturating_sub(1));
    let mut lines: Vec<Line<'_>> = screen.timeline().rev().take(room).map(event).collect();
    lines.reverse();
    Paragraph::new(lines).block(
        Block::default()
            .borders(Borders::TOP)
            .title(" what has happened "),
    )
}

fn event(happened: &Happened) -> Line<'_> {
    let time = clock::local_time(happened.at_ns);
    // The day is known.
    let time = time
        .split_once(' ')
        .map_or(time.as_str(), |(_, time)| time)
        .to_owned();
    let mut spans = vec![Span::raw(time).dim(), Span::raw(" ")];
    if let Some(subject) = &happened.subject {
        spans.push(Span::raw(format!("{subject} ")));
    }
    if let Some(state) = &happened.state {
        if let Some(before) = &happened.before {
            spans.push(Span::raw(format!("{before} > ")));
        }
        spans.push(Span::styled(state.as_str(), color(state)));
        spans.push(Span::raw(" "));
    }
    spans.push(Span::raw(happened.what.as_str()));
    if let Some(because) = happened.because.first() {
        spans.push(Span::raw(format!("; {because}")).dim());
    }
    Line::from(spans)
}

fn popup(frame: &mut Frame<'_>, text: &str) {
    let whole = frame.area();
    let width = text
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0)
        + 4;
    let width = u16::try_from(width).unwrap_or(u16::MAX).min(whole.width);
    let height = u16::try_from(text.lines().count() + 2)
        .unwrap_or(u16::MAX)
        .min(whole.height);
    let area = Rect {
        x: (whole.width - width) / 2,
        y: (whole.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, area);
    let shown = Paragraph::new(text.to_owned()).block(Block::default().borders(Borders::ALL));
    frame.render_widget(shown, area);
}

#[cfg(test)]
mod tests {
    use ratatui::{
        Terminal,
        backend::TestBackend,
        crossterm::event::{KeyCode, KeyEvent},
    };
    use serde_json::{Value, json};
    use vrrp_userspace::control::{Hand, Happened, Kind, Whom, model::Status};

    use super::super::screen::{Screen, Wish};

    fn instance(name: &str, state: &str, more: &Value) -> Value {
        let mut instance = json!({
            "name": name, "state": state, "since_seconds": 75.0, "why": "a reason", "interface": "eth0",
            "vrid": 51, "mac": "02:00:00:00:00:01", "version": 3, "sync_group": null,
            "addresses": ["10.0.0.9/24"], "base_priority": 150, "effective_priority": 150, "checks": [],
            "faults": [], "master": null, "last_advert_age_ms": null, "lease_ms": null,
            "next_deadline_ms": null, "mistakes": [], "counters": {},
        });
        let all = instance.as_object_mut().expect("an object");
        all.extend(more.as_object().expect("an object").clone());
        instance
    }

    fn screen() -> Screen {
        let master = json!({ "address": "10.0.0.1", "priority": 150, "interval_seconds": 1.0, "ourselves": true });
        let other = json!({ "address": "10.0.0.2", "priority": 200, "interval_seconds": 1.0, "ourselves": false });
        let status: Status = serde_json::from_value(json!({
            "version": "0.1.0", "pid": 7, "router_id": "lb1", "configuration": "/etc/xvrrp/xvrrp.conf",
            "instances": [
                instance("web", "MASTER", &json!({ "lease_ms": 3000.0, "master": master })),
                instance("db", "BACKUP", &json!({
                    "last_advert_age_ms": 750.0, "master": other, "effective_priority": 90,
                    "checks": [{ "name": "pg", "kind": "script", "up": false, "weight": -60, "share": -60 }],
                })),
                instance("edge", "FAULT", &json!({ "faults": ["interface eth0 is down or has no carrier"] })),
            ],
            "interfaces": [], "scripts": [],
        }))
        .expect("a status");
        let mut event = Happened::new(
            Kind::Transition,
            0,
            Some("web".to_owned()),
            "nobody was heard".to_owned(),
        );
        event.number = 1;
        event.before = Some("BACKUP".to_owned());
        event.state = Some("MASTER".to_owned());
        let mut screen = Screen::default();
        screen.take(status, vec![event]);
        screen
    }

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal
            .draw(|frame| super::draw(frame, screen))
            .expect("a drawing");
        terminal.backend().to_string()
    }

    fn press(screen: &mut Screen, keys: &str) -> Wish {
        let mut wish = Wish::Nothing;
        for key in keys.chars() {
            let code = if key == '\n' {
                KeyCode::Enter
            } else {
                KeyCode::Char(key)
            };
            wish = screen.press(KeyEvent::from(code));
        }
        wish
    }

    #[test]
    fn everything_is_on_the_smallest_screen() {
        let shown = drawn(&screen(), 80, 24);
        for wanted in [
            "xvrrp 0.1.0 on lb1",
            "3 instances: 1 MASTER 1 BACKUP 1 FAULT",
            "web",
            "████████████ 3000ms",
            "███░░░░░░░░░ 750ms",
            "90/150",
            "0/1",
            "BACKUP > MASTER nobody was heard",
            "q quit",
        ] {
            assert!(shown.contains(wanted), "{wanted} in\n{shown}");
        }
        // What is only nice to know has no room there.
        assert!(!shown.contains("10.0.0.9/24"));
        let wide = drawn(&screen(), 200, 50);
        assert!(
            wide.contains("10.0.0.9/24")
                && wide.contains("this router")
                && wide.contains("10.0.0.2 (200)")
        );
    }

    #[test]
    fn keys_filter_sort_and_look_closer() {
        let mut screen = screen();
        let names = |screen: &Screen| -> Vec<String> {
            screen
                .instances()
                .iter()
                .map(|it| it.name.clone())
                .collect()
        };
        assert_eq!(names(&screen), ["db", "edge", "web"]);
        press(&mut screen, "s");
        assert_eq!(
            names(&screen),
            ["edge", "web", "db"],
            "what needs a look first"
        );
        press(&mut screen, "/web\n");
        assert_eq!(names(&screen), ["web"]);
        press(&mut screen, "\n");
        let shown = drawn(&screen, 80, 24);
        assert!(
            shown.contains("in depth") && shown.contains("VRID 51 on eth0, VRRPv3"),
            "{shown}"
        );
        let shown = {
            press(&mut screen, "\n?");
            drawn(&screen, 80, 24)
        };
        assert!(shown.contains("sort by name, state"), "{shown}");
    }

    #[test]
    fn draining_asks_first() {
        let mut screen = screen();
        assert_eq!(press(&mut screen, "d"), Wish::Nothing);
        assert!(drawn(&screen, 80, 24).contains("drain db: give up the mastership"));
        assert_eq!(press(&mut screen, "n"), Wish::Nothing);
        assert_eq!(press(&mut screen, "dn"), Wish::Nothing);
        let wish = press(&mut screen, "dy");
        assert_eq!(
            wish,
            Wish::Hand(Hand::Drain(Whom::Instance("db".to_owned())))
        );
        assert_eq!(press(&mut screen, "q"), Wish::Quit);
    }
}
