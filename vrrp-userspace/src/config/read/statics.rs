//! `static_ipaddress`, `static_routes`, `static_rules`.

use super::{address, of, route, rule};
use crate::{
    config::{diagnostics::Diagnostics, model::Statics, tree::Node},
    net::VirtualAddress,
};

pub(super) fn read(
    nodes: &[Node],
    default_interface: &str,
    diagnostics: &mut Diagnostics,
) -> Statics {
    let mut statics = Statics::default();
    for line in of(nodes, "static_ipaddress").flat_map(Node::children) {
        statics
            .addresses
            .extend(static_address(line, default_interface, diagnostics));
    }
    for line in of(nodes, "static_routes").flat_map(Node::children) {
        statics.routes.extend(route::read(line, diagnostics));
    }
    for line in of(nodes, "static_rules").flat_map(Node::children) {
        statics.rules.extend(rule::read(line, diagnostics));
    }
    statics
}

/// It has no instance whose interface it could be on.
fn static_address(
    line: &Node,
    default_interface: &str,
    diagnostics: &mut Diagnostics,
) -> Option<VirtualAddress> {
    let mut address = address::read(line, "", diagnostics).ok().flatten()?;
    let interface = address.interface.take();
    address.interface = interface.or_else(|| Some(default_interface.to_owned()));
    Some(address)
}
