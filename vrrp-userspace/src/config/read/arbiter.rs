//! `vrrp_arbiter`, which keepalived does not have.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use vrrp_common::slot::LeaseMode;

use super::{look_at_form, named_block, probe, unsupported, value};
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        keywords,
        lexer::Word,
        model::{Arbiter, Config, Etcd, Instance, Judge, TrackKind},
        tree::Node,
    },
    health::{OnUnreachable, Quorum},
    web::Trust,
};

/// What an arbiter may say, in any order.
struct Draft {
    targets: Vec<crate::health::Probe>,
    needed: Option<usize>,
    rise: u32,
    fall: u32,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    etcd: Etcd,
    is_whole: bool,
}

const DEFAULT_TTL: Duration = Duration::from_secs(5);

pub(super) fn read(block: &Node, diagnostics: &mut Diagnostics) -> Option<Arbiter> {
    let name = named_block(block, diagnostics)?;
    look_at_form(block.children(), &keywords::ARBITER, diagnostics);
    let mut draft = Draft {
        targets: Vec::new(),
        needed: None,
        rise: 1,
        fall: 1,
        interval: None,
        timeout: None,
        etcd: Etcd {
            endpoints: Vec::new(),
            prefix: format!("xvrrp/{}", name.text),
            ttl: DEFAULT_TTL,
            trust: Trust::default(),
            user: None,
        },
        is_whole: true,
    };
    let mut arbiter = Arbiter {
        name: name.text.clone(),
        judge: Judge::Etcd(draft.etcd.clone()),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        weight: super::track::FAULT,
        on_unreachable: OnUnreachable::Fault,
        span: name.span.clone(),
    };
    for node in block.children() {
        match node.keyword() {
            "weight" => {
                if let Some(weight) = value::weight(node.arguments(), 253, diagnostics) {
                    arbiter.weight = weight;
                }
            }
            "on_unreachable" => arbiter.on_unreachable = on_unreachable(node, diagnostics),
            _ => draft.read(node, diagnostics),
        }
    }
    draft.finish(name, arbiter, diagnostics)
}

impl Draft {
    fn read(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        match node.keyword() {
            "target" => match probe::read(node, true) {
                Ok(target) => self.targets.push(target),
                Err(wrong) => {
                    wrong.report(diagnostics);
                    self.is_whole = false;
                }
            },
            "quorum" => self.needed = value::number(node, 1..=1000, diagnostics),
            "rise" => set(&mut self.rise, value::number(node, 1..=65535, diagnostics)),
            "fall" => set(&mut self.fall, value::number(node, 1..=65535, diagnostics)),
            "interval" => self.interval = value::seconds(node, 0.01..=3600.0, diagnostics),
            "timeout" => self.timeout = value::seconds(node, 0.01..=3600.0, diagnostics),
            _ => self.read_etcd(node, diagnostics),
        }
    }

    fn read_etcd(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        let etcd = &mut self.etcd;
        match node.keyword() {
            "etcd" => {
                for word in node.arguments() {
                    match probe::url(word) {
                        Ok(url) => etcd.endpoints.push(url.trim_end_matches('/').to_owned()),
                        Err(wrong) => {
                            wrong.report(diagnostics);
                            self.is_whole = false;
                        }
                    }
                }
            }
            "prefix" => {
                if let Some(word) = value::only_word(node, "a key", diagnostics) {
                    etcd.prefix.clone_from(&word.text);
                }
            }
            "ttl" => {
                // etcd counts in seconds.
                if let Some(seconds) = value::number(node, 1..=3600, diagnostics) {
                    etcd.ttl = Duration::from_secs(seconds);
                }
            }
            "ca" => {
                let word = value::only_word(node, "a file", diagnostics);
                etcd.trust.authority = word.map(|word| PathBuf::from(&word.text));
            }
            "certificate" => {
                let [certificate, key] = node.arguments() else {
                    let what = "certificate needs two files";
                    let help = "certificate FILE KEY-FILE";
                    diagnostics.push(Diagnostic::error(node.span(), what).help(help));
                    return;
                };
                let path = |word: &Word| PathBuf::from(&word.text);
                etcd.trust.identity = Some((path(certificate), path(key)));
            }
            "user" => {
                let [name, password] = node.arguments() else {
                    let what = "user needs a name and a password";
                    let help = "user NAME PASSWORD";
                    diagnostics.push(Diagnostic::error(node.span(), what).help(help));
                    return;
                };
                etcd.user = Some((name.text.clone(), password.text.clone()));
            }
            _ => unsupported(node, &keywords::ARBITER, diagnostics),
        }
    }

    fn finish(
        self,
        name: &Word,
        mut arbiter: Arbiter,
        diagnostics: &mut Diagnostics,
    ) -> Option<Arbiter> {
        let mut refuse = |what: String, help: &str| {
            diagnostics.push(Diagnostic::error(name.span.clone(), what).help(help));
        };
        if !self.is_whole {
            return None;
        }
        let name = &name.text;
        arbiter.judge = match (self.targets.len(), self.etcd.endpoints.len()) {
            (0, 0) => {
                refuse(
                    format!("vrrp_arbiter {name} asks nobody"),
                    "target tcp|http|icmp|haproxy|systemd|script … lines, or etcd URL …",
                );
                return None;
            }
            (0, _) => {
                if arbiter.weight.value != 0 {
                    refuse(
                        format!("vrrp_arbiter {name} is a lease: it has no weight"),
                        "only its holder may be MASTER; the weight is ignored",
                    );
                    arbiter.weight = super::track::FAULT;
                }
                Judge::Etcd(self.etcd)
            }
            (targets, 0) => {
                let needed = self.needed.unwrap_or(targets / 2 + 1);
                if needed > targets {
                    refuse(
                        format!("vrrp_arbiter {name} needs {needed} of {targets} targets"),
                        "quorum N, at most as many as there are targets",
                    );
                    return None;
                }
                Judge::Quorum {
                    quorum: Quorum {
                        targets: self.targets,
                        needed,
                    },
                    rise: self.rise,
                    fall: self.fall,
                }
            }
            _ => {
                refuse(
                    format!("vrrp_arbiter {name} has targets and etcd"),
                    "one arbiter for the targets and another for etcd; an instance can track both",
                );
                return None;
            }
        };
        if let Judge::Etcd(etcd) = &arbiter.judge {
            // Three chances to renew a lease before it is over; and a better candidate does not wait long.
            arbiter.interval = (etcd.ttl / 4).min(Duration::from_secs(1));
        }
        arbiter.interval = self.interval.unwrap_or(arbiter.interval);
        arbiter.timeout = self.timeout.unwrap_or(arbiter.interval);
        if let Judge::Etcd(etcd) = &arbiter.judge
            && arbiter.interval + arbiter.timeout > etcd.ttl / 2
        {
            let quarter = etcd.ttl / 4;
            refuse(
                format!(
                    "vrrp_arbiter {name} could lose its lease by one answer that is late: ttl {} s, \
                     interval {} s, timeout {} s",
                    etcd.ttl.as_secs(),
                    arbiter.interval.as_secs_f64(),
                    arbiter.timeout.as_secs_f64(),
                ),
                "interval and timeout together at most half of ttl; a quarter each is used where less \
                 is not said",
            );
            arbiter.interval = arbiter.interval.min(quarter);
            arbiter.timeout = arbiter.timeout.min(quarter);
        }
        Some(arbiter)
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn on_unreachable(node: &Node, diagnostics: &mut Diagnostics) -> OnUnreachable {
    let Some(word) = value::only_word(node, "fault, keep or ignore", diagnostics) else {
        return OnUnreachable::Fault;
    };
    match word.text.as_str() {
        "fault" => OnUnreachable::Fault,
        "keep" => OnUnreachable::Keep,
        "ignore" => OnUnreachable::Ignore,
        other => {
            let what = format!("on_unreachable cannot be {other}");
            let help = "fault, keep or ignore; it is fault";
            diagnostics.push(Diagnostic::error(word.span.clone(), what).help(help));
            OnUnreachable::Fault
        }
    }
}

/// One lease for each group or instance, and a fence that goes by it.
pub(super) fn settle(config: &mut Config, diagnostics: &mut Diagnostics) {
    let leases: BTreeSet<String> = config
        .arbiters
        .values()
        .filter(|arbiter| matches!(arbiter.judge, Judge::Etcd(_)))
        .map(|arbiter| arbiter.name.clone())
        .collect();
    if leases.is_empty() {
        return;
    }
    for group in config.acting_groups() {
        let mut first: Option<String> = None;
        let members = config.instances.iter_mut();
        for member in members.filter(|it| group.members.contains(&it.name)) {
            let span = member.span.clone();
            member.tracks.retain(|track| {
                if track.kind != TrackKind::Arbiter || !leases.contains(&track.name) {
                    return true;
                }
                let first = first.get_or_insert_with(|| track.name.clone());
                if *first != track.name {
                    let what = format!("{} needs the lease of {first} already", group.name);
                    let help = format!("one lease for all of it; {} is not tracked", track.name);
                    diagnostics.push(Diagnostic::error(span.clone(), what).help(help));
                }
                *first == track.name
            });
        }
        // One that a member needs, all need.
        for member in &mut config.instances {
            if first.is_some() && group.members.contains(&member.name) {
                be_fenced(member, diagnostics);
            }
        }
    }
}

/// Without the fence nothing would end with the lease but this process, if it runs.
fn be_fenced(instance: &mut Instance, diagnostics: &mut Diagnostics) {
    if instance.lease == LeaseMode::Strict {
        return;
    }
    instance.lease = LeaseMode::Strict;
    let what = format!(
        "{} needs a lease of an arbiter: `lease` is strict",
        instance.name
    );
    let help = "remove the line, or track_arbiter";
    diagnostics.push(Diagnostic::warning(instance.span.clone(), what).help(help));
}
