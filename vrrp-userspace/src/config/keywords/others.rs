//! In the smaller blocks.

use super::{
    Block, Keyword,
    Standing::{Accepted, Ours, Served, Unsupported},
    Takes::{Boolean, Many, Nothing, Value},
    keyword as k,
};

/// In `vrrp_script`.
pub(in crate::config) static SCRIPT: Block = Block::new("vrrp_script", SCRIPT_KEYWORDS);

#[rustfmt::skip]
const SCRIPT_KEYWORDS: &[Keyword] = &[
    k("script", Value, Served, "COMMAND", "", "What is run; exit code 0 means that all is well. Needed, unless there is a `check`. Several words go into quotation marks, `'` groups words within."),
    k("check", Value, Ours, "tcp HOST:PORT | http URL [expect STATUS|\"TEXT\"] | icmp HOST | haproxy SOCKET [backend NAME] | systemd UNIT", "", "Asks without a script, in its place: whether somebody accepts a connection; whether an answer has a status from 200 to 399, this status, or this text; whether a host answers an echo request; whether HAProxy's stats socket (a path or HOST:PORT) says that the backend has a live server, or that no backend is down; whether the unit is active."),
    k("interval", Value, Served, "SECONDS", "1", "From the start of one run to the start of the next, in steps of 1 ms."),
    k("timeout", Value, Served, "SECONDS", "that of `interval`", "A run that takes longer is ended and has failed."),
    k("weight", Value, Served, "-253…253 [reverse]", "2 (`vrrp_script_default_weight`); under `nopreempt` 0", "`+W` adds W while it passes, `-W` takes W away while it fails, `0` means FAULT while it fails. **keepalived's default is 0.** `reverse` turns the sign round: `+W reverse` takes W away while it passes, `-W reverse` adds W while it fails, `0 reverse` means FAULT while it passes."),
    k("rise", Value, Served, "N", "1", "Successes in a row to be up."),
    k("fall", Value, Served, "N", "1", "Failures in a row to be down; the first run of all counts at once."),
    k("user", Value, Served, "USER [:][GROUP]", "that of `script_user`", "Who runs it."),
    k("init_fail", Nothing, Served, "", "off", "It has failed until `rise` runs succeeded."),
];

/// In `track_file`.
pub(in crate::config) static TRACK_FILE: Block = Block::new("track_file", TRACK_FILE_KEYWORDS);

#[rustfmt::skip]
const TRACK_FILE_KEYWORDS: &[Keyword] = &[
    k("file", Value, Served, "PATH", "", "The file. It is read whenever it changes; one that is not there, or has no number in it, counts as 0. Needed."),
    k("weight", Value, Served, "-254…254 [reverse]", "1", "The number times this is added to the priority: -254 and less mean FAULT, more than 253 is 253. With 0 anything but 0 means FAULT; `reverse` turns the sign round."),
    k("init_file", Value, Served, "[NUMBER] [overwrite]", "off", "Writes the number (0) into the file at the start, if it is not there, or with `overwrite` in any case."),
];

/// In `vrrp_track_process`.
pub(in crate::config) static TRACK_PROCESS: Block =
    Block::new("vrrp_track_process", TRACK_PROCESS_KEYWORDS);

#[rustfmt::skip]
const TRACK_PROCESS_KEYWORDS: &[Keyword] = &[
    k("process", Value, Served, "NAME [PARAMETER …]", "", "The name of the process as `/proc/PID/comm` has it (15 characters); with parameters, or `full_command`, its command line is compared. Needed."),
    k("param_match", Value, Served, "initial|partial", "the same parameters", "Parameters need to be the first ones only; with `partial` the last of these needs to be the beginning of one."),
    k("full_command", Nothing, Served, "", "off", "NAME is compared with the first word of the command line, not with the name of the process."),
    k("weight", Value, Served, "-254…254 [reverse]", "0", "As in `vrrp_script`."),
    k("quorum", Value, Served, "N", "1", "How many there must be."),
    k("quorum_max", Value, Served, "N", "no limit", "How many there may be; 0 means that it must not run."),
    k("delay", Value, Served, "SECONDS", "0", "Both of the following."),
    k("fork_delay", Value, Served, "SECONDS", "0", "How long there must be enough until it is up."),
    k("terminate_delay", Value, Served, "SECONDS", "0", "How long there must be too few until it is down."),
];

/// In `vrrp_arbiter`.
pub(in crate::config) static ARBITER: Block = Block::new("vrrp_arbiter", ARBITER_KEYWORDS);

#[rustfmt::skip]
const ARBITER_KEYWORDS: &[Keyword] = &[
    k("target", Many, Ours, "tcp … | http … | icmp … | haproxy … | systemd … | script \"COMMAND\"", "", "Somebody to ask, as `check` in `vrrp_script` does. All targets are asked at once."),
    k("quorum", Value, Ours, "N", "more than half", "How many targets must pass."),
    k("rise", Value, Ours, "N", "1", "Verdicts in a row to be up; with targets only."),
    k("fall", Value, Ours, "N", "1", "Verdicts in a row to be down; with targets only."),
    k("interval", Value, Ours, "SECONDS", "1; with `etcd` a quarter of `ttl`, 1 at most", "From one question to the next. etcd is asked to renew the lease so often, and the holder learns of a better candidate. With `timeout` it is at most half of `ttl`."),
    k("timeout", Value, Ours, "SECONDS", "that of `interval`", "How long an answer may take."),
    k("weight", Value, Ours, "-253…253 [reverse]", "0", "As in `vrrp_script`; 0 means FAULT. A lease in etcd has none: only its holder may be MASTER."),
    k("on_unreachable", Value, Ours, "fault|keep|ignore", "fault", "While no target passes, or etcd cannot be asked: `fault` counts that as a failure, `keep` changes nothing, `ignore` goes on as if there were no arbiter. With the last two, two routers that cannot hear each other may both be MASTER."),
    k("etcd", Many, Ours, "URL …", "", "Members of an etcd cluster (version 3), instead of targets: `http://HOST:2379` or `https://…`."),
    k("prefix", Value, Ours, "KEY", "xvrrp/NAME", "What the keys begin with: the same on every router. Behind it comes the name of the sync group or the instance, which has to be the same on every router too."),
    k("ttl", Value, Ours, "SECONDS", "5", "How long the lease of a MASTER lasts that etcd no longer hears. A MASTER that does not hear etcd has given up before that."),
    k("ca", Value, Ours, "FILE", "those of the machine", "The certificate of the authority that etcd's are from."),
    k("certificate", Value, Ours, "FILE KEY-FILE", "", "Ours, and its key."),
    k("user", Value, Ours, "NAME PASSWORD", "", "Whom to log in as."),
];

/// In `vrrp_sync_group`.
pub(in crate::config) static GROUP: Block = Block::new("vrrp_sync_group", GROUP_KEYWORDS);

#[rustfmt::skip]
const GROUP_KEYWORDS: &[Keyword] = &[
    k("group", Many, Served, "{ INSTANCE … }", "", "Its instances. An instance is in one group at most."),
    k("track_script", Many, Served, "{ SCRIPT [weight W] … }", "", "As if every instance of the group had it."),
    k("track_interface", Many, Served, "{ IF [weight W] … }", "", "As if every instance of the group had it."),
    k("track_file", Many, Served, "{ FILE [weight W] … }", "", "As if every instance of the group had it."),
    k("track_process", Many, Served, "{ PROCESS [weight W] … }", "", "As if every instance of the group had it."),
    k("track_arbiter", Many, Ours, "{ ARBITER [weight W] … }", "", "As if every instance of the group had it: the group has one lease in etcd."),
    k("track_bfd", Many, Unsupported, "{ BFD … }", "", "Bidirectional Forwarding Detection."),
    k("sync_group_tracking_weight", Nothing, Served, "", "off", "Weights count in the group. Without it only checks of weight 0 do: the members' priorities must not differ."),
    k("global_tracking", Nothing, Accepted, "", "", "Gone from keepalived: every check of the group counts for all."),
    k("notify_master", Value, Served, "COMMAND [USER [:][GROUP]]", "", "Run when all of it is MASTER."),
    k("notify_backup", Value, Served, "COMMAND [USER [:][GROUP]]", "", "Run when all of it is BACKUP."),
    k("notify_fault", Value, Served, "COMMAND [USER [:][GROUP]]", "", "Run when all of it is in FAULT."),
    k("notify_stop", Value, Served, "COMMAND [USER [:][GROUP]]", "", "Run when the daemon stops."),
    k("notify", Value, Served, "COMMAND [USER [:][GROUP]]", "", "Run on every change with four more arguments: GROUP, its name, the state, 0."),
    k("notify_priority_changes", Boolean, Accepted, "[BOOL]", "off", "A group has no priority."),
    k("smtp_alert", Boolean, Served, "[BOOL]", "that of `global_defs`", "Mails about its states."),
];

/// In `garp_group`.
pub(in crate::config) static GARP_GROUP: Block = Block::new("garp_group", GARP_GROUP_KEYWORDS);

#[rustfmt::skip]
const GARP_GROUP_KEYWORDS: &[Keyword] = &[
    k("garp_interval", Value, Served, "SECONDS", "0", "The pause after each gratuitous ARP on any of these interfaces."),
    k("gna_interval", Value, Served, "SECONDS", "0", "The pause after each unsolicited neighbour advertisement."),
    k("interface", Many, Served, "IF", "", "An interface of the group."),
    k("interfaces", Many, Served, "{ IF … }", "", "The interfaces of the group."),
];

/// In `authentication`.
pub(in crate::config) static AUTHENTICATION: Block =
    Block::new("authentication", AUTHENTICATION_KEYWORDS);

#[rustfmt::skip]
const AUTHENTICATION_KEYWORDS: &[Keyword] = &[
    k("auth_type", Value, Served, "PASS", "", "`AH` leaves the instance out: RFC 3768 removed it."),
    k("auth_pass", Value, Served, "PASSWORD", "", "The first eight characters count."),
];

/// A line of `unicast_peer`.
pub(in crate::config) static UNICAST_PEER: Block =
    Block::new("unicast_peer", UNICAST_PEER_KEYWORDS);

#[rustfmt::skip]
const UNICAST_PEER_KEYWORDS: &[Keyword] = &[
    k("min_ttl", Value, Served, "0…255", "0", "An advert of this peer with a lower TTL does not count; adverts of others do not either then."),
    k("max_ttl", Value, Served, "0…255", "255", "The same for a higher TTL."),
];

/// A line of `track_script` and its like.
pub(in crate::config) static TRACK: Block = Block::new("track_script and its like", TRACK_KEYWORDS);

#[rustfmt::skip]
const TRACK_KEYWORDS: &[Keyword] = &[
    k("weight", Value, Served, "-253…253", "that of its definition; 0 for an interface", "As in `vrrp_script`."),
    k("reverse", Nothing, Served, "", "noreverse", "Behind a weight, as there."),
    k("noreverse", Nothing, Served, "", "noreverse", "Behind a weight: not so."),
];

/// A line of `virtual_ipaddress` and its like.
pub(in crate::config) static ADDRESS: Block = Block::new("an address", ADDRESS_KEYWORDS);

#[rustfmt::skip]
const ADDRESS_KEYWORDS: &[Keyword] = &[
    k("dev", Value, Served, "IF", "the instance's interface", "Where the address is."),
    k("brd", Value, Served, "+|-|IP", "none", "The broadcast address; `+` and `-` derive it."),
    k("broadcast", Value, Served, "+|-|IP", "none", "As `brd`."),
    k("label", Value, Served, "DEVICE:TEXT", "none", "As `ip address` shows it, 15 characters at most."),
    k("scope", Value, Served, "global|site|link|host|nowhere", "global", "Its scope."),
    k("no_track", Nothing, Served, "", "tracked", "Its interface (`dev`) may be down without FAULT."),
    k("noprefixroute", Nothing, Served, "", "off", "No route to its subnet comes with it."),
    k("preferred_lft", Value, Served, "0|forever|SECONDS", "forever; 0 for IPv6 /128", "For how long new connections may use it as their source."),
    k("-nodad", Nothing, Unsupported, "", "off", "IPv6: the wait of duplicate address detection. A MASTER has its addresses at once, as without this word."),
    k("peer", Value, Unsupported, "IP", "", "A point-to-point address."),
    k("home", Nothing, Unsupported, "", "", "Mobile IPv6."),
    k("mngtmpaddr", Nothing, Unsupported, "", "", "Temporary IPv6 addresses."),
    k("autojoin", Nothing, Unsupported, "", "", "Joining the multicast group of that address."),
    k("use_vmac", Nothing, Unsupported, "", "", "The virtual MAC for an address on another interface."),
    k("track_group", Value, Unsupported, "GROUP", "", "Instances that follow a static address."),
];

/// A line of `virtual_routes` and `static_routes`.
pub(in crate::config) static ROUTE: Block = Block::new("a route", ROUTE_KEYWORDS);

#[rustfmt::skip]
const ROUTE_KEYWORDS: &[Keyword] = &[
    k("NETWORK", Value, Served, "IP[/PREFIX]|default", "", "Where it leads; `to` may stand in front."),
    k("via", Value, Served, "[inet|inet6] IP", "", "The gateway; `gw` is the same."),
    k("or", Value, Served, "IP", "", "A second gateway that takes turns with the first."),
    k("dev", Value, Served, "IF", "", "The interface; `oif` is the same."),
    k("nexthop", Value, Served, "via IP [dev IF] [weight N] …", "", "One of several ways."),
    k("src", Value, Served, "IP", "", "The source address of packets that this machine sends itself."),
    k("table", Value, Served, "TABLE", "main", "A number or a name of iproute2."),
    k("inet6", Nothing, Served, "", "as the addresses say", "`default` is that of IPv6."),
    k("metric", Value, Served, "N", "0", "Smaller wins; `priority` and `preference` are the same."),
    k("scope", Value, Served, "global|site|link|host|nowhere", "as iproute2 has it", "Its scope."),
    k("mtu", Value, Served, "N", "", "The largest packet."),
    k("weight", Value, Served, "1…256", "1", "How often this way is taken, beside others."),
    k("onlink", Nothing, Served, "", "", "The gateway is on the link although no subnet says so."),
    k("blackhole, unreachable, prohibit, throw", Value, Served, "NETWORK", "", "A route that leads nowhere."),
    k("no_track", Nothing, Served, "", "tracked", "Its interface may be down without FAULT."),
];

/// A line of `virtual_rules` and `static_rules`.
pub(in crate::config) static RULE: Block = Block::new("a rule", RULE_KEYWORDS);

#[rustfmt::skip]
const RULE_KEYWORDS: &[Keyword] = &[
    k("inet6", Nothing, Served, "", "as the networks say", "A rule for IPv6 that names no network."),
    k("from", Value, Served, "NETWORK", "all", "Packets from there."),
    k("to", Value, Served, "NETWORK", "all", "Packets to there."),
    k("iif", Value, Served, "IF", "", "That come in there; `dev` is the same."),
    k("oif", Value, Served, "IF", "", "That go out there."),
    k("fwmark", Value, Served, "N[/MASK]", "", "With this mark."),
    k("table", Value, Served, "TABLE", "", "Where they are looked up; `lookup` is the same."),
    k("blackhole, unreachable, prohibit", Nothing, Served, "", "", "What happens to them instead."),
    k("priority", Value, Served, "N", "counted down from 16384", "When the rule is looked at; `preference` and `order` are the same."),
    k("no_track", Nothing, Accepted, "", "", "The interfaces of a rule need not be there."),
];
