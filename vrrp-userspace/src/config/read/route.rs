//! Lines of `virtual_routes` and `static_routes`, as `ip route` takes them:
//! `[blackhole|unreachable|prohibit|throw] [to] NET|default [via|gw IP] [or IP] [dev IF] [src IP]
//! [metric N] [table T] [scope S] [mtu N] [onlink] [nexthop via IP [dev IF] [weight N] [onlink]]…
//! [no_track]`. A line with anything else is left out: it would mean something else without.

use std::net::{IpAddr, Ipv6Addr};

use super::words::{Line, Wrong, network};
use crate::{
    config::{diagnostics::Diagnostics, tree::Node},
    net::{EVERYWHERE, Hop, MAIN_TABLE, Network, Route, RouteKind},
};

/// Reads one line; `None` where it is left out, with the reason in the diagnostics.
pub(super) fn read(node: &Node, diagnostics: &mut Diagnostics) -> Option<Route> {
    let mut line = Line::new(node);
    let route = read_words(&mut line).and_then(|draft| draft.finish(node));
    route.map_err(|wrong| wrong.report(diagnostics)).ok()
}

/// A route as far as it has been read.
struct Draft {
    destination: Option<Network>,
    /// `default` or none at all: of the family of whatever else is there.
    is_default: bool,
    wants_v6: bool,
    several: bool,
    route: Route,
}

fn read_words(line: &mut Line<'_>) -> Result<Draft, Wrong> {
    let mut draft = Draft {
        destination: None,
        is_default: false,
        wants_v6: false,
        several: false,
        route: Route {
            destination: EVERYWHERE,
            kind: RouteKind::Unicast,
            hops: Vec::new(),
            source: None,
            metric: None,
            table: MAIN_TABLE,
            scope: None,
            mtu: None,
            tracked: true,
        },
    };
    while let Some(word) = line.next() {
        let route = &mut draft.route;
        match word.text.as_str() {
            "blackhole" => route.kind = RouteKind::Blackhole,
            "unreachable" => route.kind = RouteKind::Unreachable,
            "prohibit" => route.kind = RouteKind::Prohibit,
            "throw" => route.kind = RouteKind::Throw,
            "unicast" | "to" => {}
            "inet" => draft.wants_v6 = false,
            "inet6" => draft.wants_v6 = true,
            "via" | "gw" => {
                let via = line.gateway(word)?;
                if draft.hop().via.replace(via).is_some() {
                    let help = "`or IP` or `nexthop via IP` for another way";
                    return Err(Wrong::word(word, "this way has a gateway already", help));
                }
            }
            "or" => {
                draft.several = true;
                let via = Some(line.gateway(word)?);
                route.hops.push(Hop {
                    via,
                    weight: 1,
                    ..Hop::default()
                });
            }
            "dev" | "oif" => draft.hop().interface = Some(line.device(word)?),
            "onlink" => draft.hop().onlink = true,
            "weight" => draft.hop().weight = line.number(word, 1..=256)?,
            "nexthop" => {
                draft.several = true;
                route.hops.push(Hop {
                    weight: 1,
                    ..Hop::default()
                });
            }
            "src" => route.source = Some(line.address(word)?),
            "metric" | "priority" | "preference" => {
                route.metric = Some(line.number(word, 0..=u32::MAX)?);
            }
            "table" => route.table = line.table(word)?,
            "scope" => route.scope = Some(line.scope(word)?),
            "mtu" => route.mtu = Some(line.number(word, 68..=65535)?),
            "no_track" => route.tracked = false,
            "default" => draft.is_default = true,
            _ if draft.destination.is_none() && !draft.is_default => {
                draft.destination = Some(network(word)?);
            }
            _ => return Err(Wrong::unknown(word, "route")),
        }
    }
    Ok(draft)
}

impl Draft {
    /// The way that is being described.
    fn hop(&mut self) -> &mut Hop {
        let hops = &mut self.route.hops;
        if hops.is_empty() {
            hops.push(Hop {
                weight: 1,
                ..Hop::default()
            });
        }
        // There is one now.
        let last = hops.len() - 1;
        &mut hops[last]
    }

    fn finish(mut self, node: &Node) -> Result<Route, Wrong> {
        let route = &mut self.route;
        let of_gateway = route.hops.iter().find_map(|hop| hop.via).or(route.source);
        let is_v6 = match (self.destination, of_gateway) {
            (Some(destination), _) => destination.address.is_ipv6(),
            (None, Some(address)) => address.is_ipv6(),
            (None, None) => self.wants_v6,
        };
        if self.destination.is_none() && !self.is_default {
            return Err(Wrong::line(
                node,
                "this route leads nowhere",
                "NET via IP, or default via IP",
            ));
        }
        route.destination = self.destination.unwrap_or(if is_v6 {
            Network {
                address: Ipv6Addr::UNSPECIFIED.into(),
                prefix: 0,
            }
        } else {
            EVERYWHERE
        });
        let gateways = route.hops.iter().filter_map(|hop| hop.via);
        let mut others = gateways.chain(route.source);
        if others.any(|address: IpAddr| address.is_ipv6() != is_v6) {
            return Err(Wrong::line(
                node,
                "this route mixes IPv4 and IPv6",
                "one family in each route",
            ));
        }
        let sends_on = route.kind == RouteKind::Unicast;
        if sends_on && route.hops.is_empty() {
            return Err(Wrong::line(
                node,
                "this route has no way to go",
                "say `via IP`, `dev INTERFACE`, or both",
            ));
        }
        if !sends_on && !route.hops.is_empty() {
            let help = "leave via and dev out";
            return Err(Wrong::line(node, "this route sends nothing anywhere", help));
        }
        Ok(self.route)
    }
}
