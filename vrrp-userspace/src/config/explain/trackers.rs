//! What an instance tracks, and what happens when it fails.

use vrrp_common::{timers, vrrp::PRIORITY_OWNER};

use super::{clamp, nanos, seconds};
use crate::{
    config::model::{
        Arbiter, Config, Etcd, Instance, Judge, Script, Track, TrackKind, TrackProcess, Weight,
    },
    health::OnUnreachable,
};

/// What is asked, then what the answer does.
pub(super) fn explain(track: &Track, instance: &Instance, config: &Config) -> Vec<String> {
    let name = &track.name;
    let (asked, done) = match track.kind {
        TrackKind::Interface => {
            let effect = effect(instance, track.weight);
            return vec![format!("link of {name}: {effect}")];
        }
        TrackKind::Script => match config.scripts.get(name) {
            Some(script) => (ask(script), vec![effect(instance, track.weight)]),
            None => return Vec::new(),
        },
        TrackKind::File => match config.files.get(name) {
            Some(file) => (
                format!("{name}: the number in {}", file.path.display()),
                vec![times(track.weight)],
            ),
            None => return Vec::new(),
        },
        TrackKind::Process => match config.processes.get(name) {
            Some(process) => (count(process), vec![effect(instance, track.weight)]),
            None => return Vec::new(),
        },
        TrackKind::Arbiter => match config.arbiters.get(name) {
            Some(arbiter) => (judge(arbiter), verdict(arbiter, track, instance)),
            None => return Vec::new(),
        },
    };
    let done = done.into_iter().map(|line| format!("  {line}"));
    [asked].into_iter().chain(done).collect()
}

fn ask(script: &Script) -> String {
    format!(
        "{}: `{}` every {}; {}",
        script.name,
        script.probe,
        seconds(nanos(script.interval)),
        patience(script.fall, script.rise)
    )
}

fn count(process: &TrackProcess) -> String {
    let rule = &process.rule;
    let most = rule
        .quorum_max
        .map_or_else(String::new, |most| format!(", and at most {most}"));
    format!(
        "{}: at least {} of `{}`{most}",
        process.name,
        rule.quorum,
        rule.words.join(" ")
    )
}

/// What it takes to be down and to be up again.
fn patience(fall: u32, rise: u32) -> String {
    let runs = |count: u32| {
        if count == 1 {
            "1 run".to_owned()
        } else {
            format!("{count} runs in a row")
        }
    };
    format!("{} to be down, {} to be up again", runs(fall), runs(rise))
}

/// What a tracked thing does to the priority.
fn effect(instance: &Instance, weight: Weight) -> String {
    let bad = if weight.reverse { "passes" } else { "fails" };
    let base = i32::from(instance.priority);
    if weight.value == 0 {
        return format!("when it {bad}, FAULT: the addresses are released at once");
    }
    if instance.priority == PRIORITY_OWNER {
        return "nothing: an owner stays 255".to_owned();
    }
    // `share` knows about `reverse`.
    let with = |up: bool| clamp(base + weight.share(up).unwrap_or_default());
    let (pass, fail) = (with(true), with(false));
    let moves = if instance.nopreempt {
        "; a MASTER stays one (nopreempt)".to_owned()
    } else {
        let low = pass.min(fail);
        format!("; at {low} every router with more than {low} takes over")
    };
    format!("priority {pass} while it passes, {fail} while it fails{moves}")
}

fn times(weight: Weight) -> String {
    if weight.value == 0 {
        let bad = if weight.reverse {
            "0"
        } else {
            "anything but 0"
        };
        return format!("FAULT while it is {bad}");
    }
    let sign = if weight.reverse { -1 } else { 1 };
    format!(
        "times {} is added to the priority; -254 and less mean FAULT",
        sign * weight.value
    )
}

fn judge(arbiter: &Arbiter) -> String {
    match &arbiter.judge {
        Judge::Quorum { quorum, rise, fall } => format!(
            "{}: {quorum} must pass, asked every {}; {}",
            arbiter.name,
            seconds(nanos(arbiter.interval)),
            patience(*fall, *rise)
        ),
        Judge::Etcd(etcd) => format!(
            "{}: a lease of {} in etcd ({}), below the key {}; only its holder may be MASTER",
            arbiter.name,
            seconds(nanos(etcd.ttl)),
            etcd.endpoints.join(", "),
            etcd.prefix
        ),
    }
}

fn verdict(arbiter: &Arbiter, track: &Track, instance: &Instance) -> Vec<String> {
    match &arbiter.judge {
        Judge::Quorum { fall, .. } => {
            let longest = arbiter.interval * *fall + arbiter.timeout;
            vec![
                effect(instance, track.weight),
                unreachable(
                    arbiter.on_unreachable,
                    "while no target passes",
                    &format!(
                        "a router that is cut off has given up after {} at most",
                        seconds(nanos(longest))
                    ),
                ),
            ]
        }
        Judge::Etcd(etcd) => with_etcd(arbiter, etcd, instance),
    }
}

fn with_etcd(arbiter: &Arbiter, etcd: &Etcd, instance: &Instance) -> Vec<String> {
    let interval = timers::interval_ns(instance.interval_cs);
    let down = timers::master_down_interval(
        instance.version,
        instance.priority,
        interval,
        instance.down_timer_adverts,
    );
    let ttl = nanos(etcd.ttl);
    vec![
        format!(
            "when the MASTER dies, another may take over {} after its last advert at the earliest, and \
             when its lease in etcd has run out: within {}",
            seconds(down),
            seconds(ttl.max(down) + down)
        ),
        unreachable(
            arbiter.on_unreachable,
            "while etcd cannot be asked",
            &format!(
                "a MASTER that is cut off has given up after {} at most",
                seconds(ttl)
            ),
        ),
    ]
}

fn unreachable(choice: OnUnreachable, when: &str, promise: &str) -> String {
    match choice {
        OnUnreachable::Fault => format!("{when} it fails: {promise}"),
        OnUnreachable::Keep => {
            format!("{when} everything stays as it is: two routers may be MASTER then")
        }
        OnUnreachable::Ignore => {
            format!("{when} it counts as passed: two routers may be MASTER then")
        }
    }
}
