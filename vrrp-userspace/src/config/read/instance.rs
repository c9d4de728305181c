//! `vrrp_instance`.

use std::time::Duration;

use vrrp_common::vrrp::{MAX_INTERVAL_CS, Version};

use super::{address, global, named_block, transport::Transport, unsupported, value};
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

/// Addresses that an advert has a count for.
const MAX_ADDRESSES: usize = 255;
/// IPv6 addresses that fit into an advert of 1500 bytes, which must not be fragmented.
const MAX_ADDRESSES_V6: usize = (1500 - 40 - 8) / 16;

/// What is read of an instance before it is known to be whole.
pub(super) struct Draft<'a> {
    pub(super) name: &'a Word,
    pub(super) wants_master: Option<(bool, Span)>,
    interface: Option<String>,
    vrid: Option<u8>,
    pub(super) priority: Option<u8>,
    pub(super) version: Option<(Version, Span)>,
    pub(super) interval: Option<(Duration, Span)>,
    pub(super) nopreempt: Option<Span>,
    pub(super) preempt_delay: Option<(Duration, Span)>,
    pub(super) accept: Option<(bool, Span)>,
    pub(super) transport: Transport,
    pub(super) broken: bool,
    pub(super) instance: Instance,
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
            version: Version::V3,
            password: None,
            group: config.global.group_v4.into(),
            unicast: None,
            source: None,
            vrid: 0,
            priority: 0,
            interval_cs: 100,
            addresses: Vec::new(),
            excluded: Vec::new(),
            accept: true,
            strict: config.global.strict,
            higher_prio_send_advert: config.global.higher_prio_send_advert,
            lower_prio_no_advert: config.global.lower_prio_no_advert,
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
            interval: None,
            nopreempt: None,
            preempt_delay: None,
            accept: None,
            transport: Transport::new(&config.global),
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
                let version = global::version(node, diagnostics);
                self.version = version.map(|version| (version, node.span()));
                self.broken |= version.is_none();
            }
            "advert_int" => {
                let interval = value::seconds(node, 0.01..=255.0, diagnostics);
                self.interval = interval.map(|interval| (interval, node.span()));
                self.broken |= interval.is_none();
            }
            "accept" => self.accept = Some((true, node.span())),
            "no_accept" => self.accept = Some((false, node.span())),
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
            | "nopreempt" | "preempt" | "preempt_delay" | "accept" | "no_accept" => {}
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
            "strict_mode" => {
                instance.strict = value::flag(node, diagnostics).unwrap_or(instance.strict);
            }
            "higher_prio_send_advert" => {
                let flag = value::flag(node, diagnostics);
                instance.higher_prio_send_advert = flag.unwrap_or(false);
            }
            "lower_prio_no_advert" => {
                let flag = value::flag(node, diagnostics);
                instance.lower_prio_no_advert = flag.unwrap_or(false);
            }
            keyword => {
                let known = value::notify(keyword, node, &mut instance.notify, diagnostics)
                    || global::announce(keyword, node, &mut instance.announce, diagnostics)
                    || self.transport.read(node, diagnostics);
                if !known {
                    unsupported(node, keywords::INSTANCE, diagnostics);
                }
            }
        }
    }

    pub(super) fn refuse(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: &str,
        diagnostics: &mut Diagnostics,
    ) {
        self.broken = true;
        diagnostics.push(
            Diagnostic::error(span, message).help(format!("{help}; the instance is left out")),
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

    /// `advert_int`, once the version is known: whole seconds in version 2, in version 3 steps of 10 ms
    /// up to what 12 bits of centiseconds hold.
    pub(super) fn settle_interval(&mut self, diagnostics: &mut Diagnostics) {
        let Some((interval, span)) = self.interval.clone() else {
            return;
        };
        let half = Duration::from_millis(500);
        let seconds = (interval + half).as_secs().max(1);
        if self.instance.version == Version::V2 {
            if interval.subsec_nanos() != 0 {
                diagnostics.push(
                    Diagnostic::warning(span, "VRRPv2 knows whole seconds only").help(format!(
                        "{seconds} s is used, as keepalived does; or say `version 3` on every router"
                    )),
                );
            }
            self.instance.interval_cs = u16::try_from(seconds * 100).unwrap_or(u16::MAX);
            return;
        }
        let centiseconds = (interval.as_millis() + 5) / 10;
        if centiseconds > u128::from(MAX_INTERVAL_CS) {
            self.refuse(
                span,
                "advert_int is too long",
                "VRRPv3 carries 40.95 s at most",
                diagnostics,
            );
            return;
        }
        self.instance.interval_cs = u16::try_from(centiseconds)
            .unwrap_or(MAX_INTERVAL_CS)
            .max(1);
        if interval.as_micros() % 10_000 != 0 {
            diagnostics.push(
                Diagnostic::warning(span, "advert_int comes in steps of 0.01 s").help(format!(
                    "{} s is used",
                    f64::from(self.instance.interval_cs) / 100.0
                )),
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
        let of_other_family = addresses
            .first()
            .is_some_and(|first| first.address.is_ipv4() != address.address.is_ipv4());
        if of_other_family && !excluded {
            diagnostics.push(
                Diagnostic::warning(
                    line.span(),
                    format!("{} is not of the family of the first address", address.address),
                )
                .help(
                    "an advert carries one family: put it into virtual_ipaddress_excluded, or into an \
                     instance of its own; it is left out",
                ),
            );
            return;
        }
        let is_v6 = addresses
            .first()
            .is_some_and(|first| first.address.is_ipv6());
        let room = if is_v6 {
            MAX_ADDRESSES_V6
        } else {
            MAX_ADDRESSES
        };
        let full = addresses.len() >= room;
        if full && !excluded {
            diagnostics.push(
                Diagnostic::warning(
                    line.span(),
                    format!("an advert carries {room} addresses at most"),
                )
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
        self.settle(config, diagnostics);
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
