//! `vrrp_instance`.

use std::time::Duration;

use vrrp_common::{
    slot::LeaseMode,
    vrrp::{MAX_INTERVAL_CS, Version},
};

use super::{
    address, global, look_at_form, named_block, route, rule, track, transport::Transport,
    unsupported, value, virtual_mac::VirtualMac,
};
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        keywords,
        lexer::Word,
        model::{Config, Instance, Notify},
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
    virtual_mac: VirtualMac,
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
    look_at_form(block.children(), &keywords::INSTANCE, diagnostics);
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
            accept_from: Vec::new(),
            lease: LeaseMode::Strict,
            source: None,
            vrid: 0,
            virtual_mac: None,
            sends_from_port: false,
            priority: 0,
            interval_cs: 100,
            wants_master: false,
            advertised: Vec::new(),
            addresses: Vec::new(),
            excluded: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            promote_secondaries: false,
            accept: true,
            strict: config.global.strict,
            higher_prio_send_advert: config.global.higher_prio_send_advert,
            lower_prio_no_advert: config.global.lower_prio_no_advert,
            nopreempt: false,
            preempt_delay: Duration::ZERO,
            tracks: Vec::new(),
            dont_track_primary: false,
            checksum_message_only: config.global.checksum_message_only,
            down_timer_adverts: config.global.down_timer_adverts,
            announce: config.global.announce,
            notify: Notify {
                tells_priority: config.global.tells_priority,
                ..Notify::default()
            },
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
            virtual_mac: VirtualMac::default(),
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
            "virtual_routes" => {
                let routes = node.children().iter();
                let routes = routes.filter_map(|line| route::read(line, diagnostics));
                instance.routes.extend(routes);
            }
            "virtual_rules" => {
                let rules = node.children().iter();
                let rules = rules.filter_map(|line| rule::read(line, diagnostics));
                instance.rules.extend(rules);
            }
            "promote_secondaries" => instance.promote_secondaries = true,
            "track_script" | "track_interface" | "track_file" | "track_process"
            | "track_arbiter" => {
                let nopreempt = self.nopreempt.is_some();
                let tracks = track::read(node, nopreempt, config, diagnostics);
                // Whoever wants an arbiter is not to go without.
                self.broken |=
                    node.keyword() == "track_arbiter" && tracks.len() < node.children().len();
                self.instance.tracks.extend(tracks);
            }
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
            "lease" => {
                if let Some(mode) = lease(node, diagnostics) {
                    instance.lease = mode;
                }
            }
            "lower_prio_no_advert" => {
                let flag = value::flag(node, diagnostics);
                instance.lower_prio_no_advert = flag.unwrap_or(false);
            }
            keyword => {
                let known = value::notify(keyword, node, &mut instance.notify, diagnostics)
                    || global::announce(keyword, node, &mut instance.announce, false, diagnostics)
                    || self.transport.read(node, diagnostics)
                    || self.virtual_mac.read(node, diagnostics);
                if !known {
                    unsupported(node, &keywords::INSTANCE, diagnostics);
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
            advertised,
            ..
        } = &mut self.instance;
        if addresses
            .iter()
            .chain(&*others)
            .any(|other| other.address == address.address)
        {
            diagnostics.push(
                Diagnostic::warning(line.span(), format!("{} is listed twice", address.address))
                    .help("it is served as the first says; adverts carry it twice, as keepalived's do"),
            );
            if !excluded {
                advertised.push(address.address);
            }
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
            advertised.push(address.address);
            addresses.push(address);
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
        instance.wants_master =
            wants_master || (self.wants_master.is_none() && self.priority == Some(255));
        instance.interface = self.interface?;
        instance.vrid = self.vrid?;
        instance.priority = self
            .priority
            .unwrap_or(if wants_master { 255 } else { 100 });
        self.virtual_mac.settle(&mut instance, diagnostics);
        instance.nopreempt = self.nopreempt.is_some();
        instance.preempt_delay = self
            .preempt_delay
            .map_or(Duration::ZERO, |(delay, _)| delay);
        (!self.broken).then_some(instance)
    }
}

/// What becomes of a MASTER that nobody vouches for: an extension.
fn lease(node: &Node, diagnostics: &mut Diagnostics) -> Option<LeaseMode> {
    let word = value::only_word(node, "strict, peer or off", diagnostics)?;
    match &*word.text.to_lowercase() {
        "strict" => Some(LeaseMode::Strict),
        "peer" => Some(LeaseMode::Peer),
        "off" => Some(LeaseMode::Off),
        other => {
            diagnostics.push(
                Diagnostic::error(word.span.clone(), format!("lease cannot be {other}"))
                    .help("strict, peer or off; it is ignored"),
            );
            None
        }
    }
}
