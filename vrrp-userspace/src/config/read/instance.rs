//! `vrrp_instance`.

use std::time::Duration;

use vrrp_common::vrrp::MAX_INTERVAL_CS;

use super::{address, global, named_block, unsupported, value};
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        keywords,
        lexer::Word,
        model::{Config, Instance, Notify, Script, TrackInterface, TrackScript, Weight},
        source::Span,
        tree::Node,
    },
    net::VirtualAddress,
};

/// What is read of an instance before it is known to be whole.
struct Draft<'a> {
    name: &'a Word,
    wants_master: Option<(bool, Span)>,
    interface: Option<String>,
    vrid: Option<u8>,
    priority: Option<u8>,
    version: Option<(u8, Span)>,
    nopreempt: Option<Span>,
    preempt_delay: Option<(Duration, Span)>,
    broken: bool,
    instance: Instance,
}

/// Reads an instance; `None` where it cannot be served, with the reasons in the diagnostics.
pub(super) fn read(
    block: &Node,
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> Option<Instance> {
    let name = named_block(block, diagnostics)?;
    let mut draft = Draft::new(name, config);
    // Addresses and trackers need to know the interface and `nopreempt`, wherever those stand.
    for node in block.children() {
        draft.read_basic(node, diagnostics);
    }
    draft.settle_preemption(diagnostics);
    for node in block.children() {
        draft.read_dependent(node, config, diagnostics);
    }
    draft.finish(config, diagnostics)
}

impl<'a> Draft<'a> {
    fn new(name: &'a Word, config: &Config) -> Self {
        let instance = Instance {
            name: name.text.clone(),
            interface: String::new(),
            vrid: 0,
            priority: 0,
            interval_cs: 100,
            addresses: Vec::new(),
            excluded: Vec::new(),
            nopreempt: false,
            preempt_delay: Duration::ZERO,
            track_scripts: Vec::new(),
            track_interfaces: Vec::new(),
            dont_track_primary: false,
            checksum_message_only: config.global.checksum_message_only,
            down_timer_adverts: config.global.down_timer_adverts,
            announce: config.global.announce,
            notify: Notify::default(),
            span: name.span.clone(),
        };
        Self {
            name,
            wants_master: None,
            interface: None,
            vrid: None,
            priority: None,
            version: None,
            nopreempt: None,
            preempt_delay: None,
            broken: false,
            instance,
        }
    }

    fn read_basic(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        match node.keyword() {
            "state" => self.state(node, diagnostics),
            "interface" => {
                self.interface = value::only_word(node, "an interface", diagnostics)
                    .map(|word| word.text.clone());
            }
            "virtual_router_id" => {
                self.vrid = value::number(node, 1..=255, diagnostics);
                self.broken |= self.vrid.is_none();
            }
            "priority" => {
                self.priority = value::number(node, 1..=255, diagnostics);
                self.broken |= self.priority.is_none();
            }
            "version" => {
                let version = value::number(node, 2..=3, diagnostics);
                self.version = version.map(|version| (version, node.span()));
                self.broken |= version.is_none();
            }
            "advert_int" => self.advert_int(node, diagnostics),
            "nopreempt" => self.nopreempt = Some(node.span()),
            "preempt" => self.nopreempt = None,
            "preempt_delay" => {
                let delay = value::seconds(node, 0.0..=1000.0, diagnostics);
                self.preempt_delay = delay.map(|delay| (delay, node.span()));
            }
            _ => {}
        }
    }

    fn read_dependent(&mut self, node: &Node, config: &Config, diagnostics: &mut Diagnostics) {
        let instance = &mut self.instance;
        match node.keyword() {
            "state" | "interface" | "virtual_router_id" | "priority" | "version" | "advert_int"
            | "nopreempt" | "preempt" | "preempt_delay" => {}
            "virtual_ipaddress" => self.addresses(node, false, diagnostics),
            "virtual_ipaddress_excluded" => self.addresses(node, true, diagnostics),
            "track_script" => self.track_scripts(node, config, diagnostics),
            "track_interface" => self.track_interfaces(node, diagnostics),
            "dont_track_primary" => instance.dont_track_primary = true,
            "v3_checksum_as_v2" => {
                instance.checksum_message_only = value::flag(node, diagnostics).unwrap_or(false);
            }
            "down_timer_adverts" => {
                if let Some(adverts) = value::number(node, 1..=100, diagnostics) {
                    instance.down_timer_adverts = adverts;
                }
            }
            "notify_master" => instance.notify.master = value::notify_script(node, diagnostics),
            "notify_backup" => instance.notify.backup = value::notify_script(node, diagnostics),
            "notify_fault" => instance.notify.fault = value::notify_script(node, diagnostics),
            "notify_stop" => instance.notify.stop = value::notify_script(node, diagnostics),
            "notify" => instance.notify.any = value::notify_script(node, diagnostics),
            "unicast_peer" => self.refuse(node, "unicast is not yet supported", diagnostics),
            "authentication" => diagnostics.push(
                Diagnostic::warning(node.span(), "VRRPv3 has no authentication")
                    .help("the block is ignored, as keepalived does for version 3"),
            ),
            keyword => {
                if !global::announce(keyword, node, &mut instance.announce, diagnostics) {
                    unsupported(node, keywords::INSTANCE, diagnostics);
                }
            }
        }
    }

    fn refuse(&mut self, node: &Node, message: &str, diagnostics: &mut Diagnostics) {
        self.broken = true;
        diagnostics.push(
            Diagnostic::error(node.span(), message)
                .help("running without it would mean something else; the instance is left out"),
        );
    }

    fn state(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        let Some(word) = value::only_word(node, "MASTER or BACKUP", diagnostics) else {
            return;
        };
        match word.text.as_str() {
            "MASTER" => self.wants_master = Some((true, node.span())),
            "BACKUP" => self.wants_master = Some((false, node.span())),
            other => diagnostics.push(
                Diagnostic::error(word.span.clone(), format!("state cannot be {other}"))
                    .help("MASTER or BACKUP; it is ignored"),
            ),
        }
    }

    /// Seconds in steps of 10 ms, up to what 12 bits of centiseconds hold.
    fn advert_int(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        let Some(interval) = value::seconds(node, 0.01..=40.95, diagnostics) else {
            self.broken = true;
            return;
        };
        let centiseconds = (interval.as_millis() + 5) / 10;
        self.instance.interval_cs = u16::try_from(centiseconds)
            .unwrap_or(MAX_INTERVAL_CS)
            .clamp(1, MAX_INTERVAL_CS);
        if interval.as_micros() % 10_000 != 0 {
            diagnostics.push(
                Diagnostic::warning(node.span(), "advert_int comes in steps of 0.01 s").help(
                    format!("{} s is used", f64::from(self.instance.interval_cs) / 100.0),
                ),
            );
        }
    }

    fn addresses(&mut self, node: &Node, excluded: bool, diagnostics: &mut Diagnostics) {
        let interface = self.interface.clone().unwrap_or_default();
        for line in node.children() {
            match address::read(line, &interface, diagnostics) {
                Ok(Some(address)) => self.add_address(line, address, excluded, diagnostics),
                Ok(None) => {}
                Err(()) => self.broken = true,
            }
        }
    }

    fn add_address(
        &mut self,
        line: &Node,
        address: VirtualAddress,
        excluded: bool,
        diagnostics: &mut Diagnostics,
    ) {
        let Instance {
            addresses,
            excluded: others,
            ..
        } = &mut self.instance;
        if addresses
            .iter()
            .chain(&*others)
            .any(|other| other.address == address.address)
        {
            diagnostics.push(
                Diagnostic::warning(line.span(), format!("{} is listed twice", address.address))
                    .help("the second is ignored"),
            );
            return;
        }
        let full = addresses.len() >= usize::from(u8::MAX);
        if full && !excluded {
            diagnostics.push(
                Diagnostic::warning(line.span(), "an advert carries 255 addresses at most")
                    .help("this one is served but not advertised"),
            );
        }
        if excluded || full {
            others.push(address);
        } else {
            addresses.push(address);
        }
    }

    fn track_scripts(&mut self, node: &Node, config: &Config, diagnostics: &mut Diagnostics) {
        for line in node.children() {
            let Some(script) = config.scripts.get(line.keyword()) else {
                diagnostics.push(
                    Diagnostic::error(
                        line.span(),
                        format!("there is no vrrp_script {}", line.keyword()),
                    )
                    .help("define it, or correct the name; it is not tracked"),
                );
                continue;
            };
            let weight = self.script_weight(line, script, config, diagnostics);
            self.instance.track_scripts.push(TrackScript {
                script: script.name.clone(),
                weight,
            });
        }
    }

    /// The weight of a script here: the tracking line's, else the script's, else the default; and
    /// under `nopreempt`, where priority cannot move the address, FAULT instead of the default.
    fn script_weight(
        &self,
        line: &Node,
        script: &Script,
        config: &Config,
        diagnostics: &mut Diagnostics,
    ) -> Weight {
        let explicit = tracking_weight(line, 253, diagnostics).or(script.weight);
        let nopreempt = self.nopreempt.is_some();
        let default = config.global.default_weight;
        match explicit {
            Some(weight) => {
                if nopreempt && weight.value != 0 {
                    diagnostics.push(
                        Diagnostic::warning(
                            line.span(),
                            format!(
                                "under nopreempt the weight of {} cannot move the address",
                                script.name
                            ),
                        )
                        .help("give it weight 0 to make a failure a FAULT, or remove nopreempt"),
                    );
                }
                weight
            }
            None if nopreempt => {
                diagnostics.push(
                    Diagnostic::lint(
                        line.span(),
                        format!(
                            "{} has no weight: under nopreempt its failure means FAULT",
                            script.name
                        ),
                    )
                    .help("say `weight 0` to make that explicit"),
                );
                Weight {
                    value: 0,
                    reverse: false,
                }
            }
            None => {
                diagnostics.push(
                    Diagnostic::lint(
                        line.span(),
                        format!("{} has no weight: {default} is used here, keepalived 2 would use 0 (FAULT)", script.name),
                    )
                    .help("give it a weight, or set vrrp_script_default_weight 0 in global_defs for keepalived's meaning"),
                );
                Weight {
                    value: default,
                    reverse: false,
                }
            }
        }
    }

    fn track_interfaces(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        for line in node.children() {
            let weight = tracking_weight(line, 253, diagnostics);
            self.instance.track_interfaces.push(TrackInterface {
                interface: line.keyword().to_owned(),
                weight: weight.unwrap_or(Weight {
                    value: 0,
                    reverse: false,
                }),
            });
        }
    }

    fn finish(mut self, config: &Config, diagnostics: &mut Diagnostics) -> Option<Instance> {
        self.settle_version(config, diagnostics);
        let name = &self.name.text;
        let mut missing = |what: &str, help: &str| {
            diagnostics.push(
                Diagnostic::error(
                    self.name.span.clone(),
                    format!("vrrp_instance {name} has no {what}"),
                )
                .help(help.to_owned()),
            );
        };
        if self.interface.is_none() {
            missing("interface", "interface NAME");
        }
        if self.vrid.is_none() && !self.broken {
            missing(
                "virtual_router_id",
                "virtual_router_id 1…255, the same on every node",
            );
        }
        if self.instance.addresses.is_empty() && !self.broken {
            missing("virtual_ipaddress", "virtual_ipaddress { IP/PREFIX }");
            self.broken = true;
        }
        let wants_master = self
            .wants_master
            .as_ref()
            .is_some_and(|(master, _)| *master);
        let mut instance = self.instance;
        instance.interface = self.interface?;
        instance.vrid = self.vrid?;
        instance.priority = self
            .priority
            .unwrap_or(if wants_master { 255 } else { 100 });
        instance.nopreempt = self.nopreempt.is_some();
        instance.preempt_delay = self
            .preempt_delay
            .map_or(Duration::ZERO, |(delay, _)| delay);
        (!self.broken).then_some(instance)
    }

    fn settle_version(&mut self, config: &Config, diagnostics: &mut Diagnostics) {
        match self
            .version
            .clone()
            .or_else(|| config.global.version.clone())
        {
            Some((3, _)) => {}
            Some((version, span)) => {
                self.broken = true;
                diagnostics.push(
                    Diagnostic::error(span, format!("VRRPv{version} is not yet supported")).help(
                        format!(
                            "`version 3` here and on every peer; {} is left out",
                            self.name.text
                        ),
                    ),
                );
            }
            None => diagnostics.push(
                Diagnostic::warning(
                    self.name.span.clone(),
                    format!(
                        "{} names no version: 3 is used, keepalived would use 2",
                        self.name.text
                    ),
                )
                .help("say `version 3` here or `vrrp_version 3` in global_defs, on every peer"),
            ),
        }
    }

    /// What keepalived does with the combinations it does not allow, and a word on those that
    /// surprise people.
    fn settle_preemption(&mut self, diagnostics: &mut Diagnostics) {
        let wants_master = self
            .wants_master
            .as_ref()
            .is_some_and(|(master, _)| *master);
        if wants_master && let Some(span) = self.nopreempt.take() {
            diagnostics.push(
                Diagnostic::warning(span, "nopreempt does not go with state MASTER")
                    .help("it is ignored, as keepalived does; say state BACKUP on every node"),
            );
        }
        if let Some((_, span)) = &self.preempt_delay
            && (wants_master || self.nopreempt.is_some())
        {
            let other = if wants_master {
                "state MASTER"
            } else {
                "nopreempt"
            };
            diagnostics.push(
                Diagnostic::warning(
                    span.clone(),
                    format!("preempt_delay does not go with {other}"),
                )
                .help("it is ignored, as keepalived does"),
            );
            self.preempt_delay = None;
        }
        if let Some((false, span)) = &self.wants_master
            && self.nopreempt.is_none()
            && self.preempt_delay.is_none()
        {
            diagnostics.push(
                Diagnostic::lint(
                    span.clone(),
                    "state BACKUP does not keep this node from preempting",
                )
                .help("add nopreempt if a node that comes back must leave the address where it is"),
            );
        }
    }
}

/// `NAME weight N [reverse]`.
fn tracking_weight(line: &Node, limit: i32, diagnostics: &mut Diagnostics) -> Option<Weight> {
    let (first, rest) = line.arguments().split_first()?;
    if first.text == "weight" {
        return value::weight(rest, limit, diagnostics);
    }
    diagnostics.push(
        Diagnostic::warning(
            first.span.clone(),
            format!("{} means nothing here", first.text),
        )
        .help("NAME weight N [reverse]"),
    );
    None
}
