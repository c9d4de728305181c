//! What two instances cannot share: a name, a VRID on an interface, an address on an interface, a
//! virtual MAC. The first is served.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    model::Instance,
};

/// What the instances before have, each with who has it.
#[derive(Default)]
struct Taken {
    names: HashSet<String>,
    /// An IPv4 and an IPv6 virtual router may share a number (RFC 9568 5.2.3).
    vrids: HashMap<(String, bool, u8), String>,
    addresses: HashMap<(String, IpAddr), String>,
    macs: HashMap<(String, [u8; 6]), String>,
}

pub(super) fn leave_out(instances: &mut Vec<Instance>, diagnostics: &mut Diagnostics) {
    let mut taken = Taken::default();
    instances.retain(|instance| match taken.conflict(instance) {
        None => {
            taken.take(instance);
            true
        }
        Some((what, help)) => {
            let help = format!("{help}; this one is left out");
            diagnostics.push(Diagnostic::error(instance.span.clone(), what).help(help));
            false
        }
    });
}

/// Where each of its addresses is.
fn addresses(instance: &Instance) -> impl Iterator<Item = (String, IpAddr)> {
    let all = instance.addresses.iter().chain(&instance.excluded);
    all.map(|entry| {
        let device = entry.interface.as_ref().unwrap_or(&instance.interface);
        (device.clone(), entry.address)
    })
}

impl Taken {
    fn conflict(&self, instance: &Instance) -> Option<(String, &'static str)> {
        let Instance {
            name,
            interface,
            vrid,
            ..
        } = instance;
        if self.names.contains(name) {
            let what = format!("there is another vrrp_instance {name}");
            return Some((what, "give each instance its own name"));
        }
        let key = (interface.clone(), instance.group.is_ipv4(), *vrid);
        if let Some(first) = self.vrids.get(&key) {
            let what =
                format!("virtual_router_id {vrid} on {interface} is already that of {first}");
            let help = "each virtual router on an interface needs its own number from 1 to 255";
            return Some((what, help));
        }
        for key in addresses(instance) {
            if let Some(first) = self.addresses.get(&key) {
                let (device, address) = key;
                let what = format!("{address} on {device} is already an address of {first}");
                return Some((what, "an address belongs to one virtual router"));
            }
        }
        let mac = instance.virtual_mac?;
        let first = self.macs.get(&(interface.clone(), mac))?;
        let what = format!("{first} has the virtual MAC of {name} already");
        let help = "give each its own; a MAC of five bytes is the same for IPv4 and IPv6";
        Some((what, help))
    }

    fn take(&mut self, instance: &Instance) {
        let Instance {
            name,
            interface,
            vrid,
            ..
        } = instance;
        self.names.insert(name.clone());
        let key = (interface.clone(), instance.group.is_ipv4(), *vrid);
        self.vrids.insert(key, name.clone());
        let addresses = addresses(instance).map(|key| (key, name.clone()));
        self.addresses.extend(addresses);
        if let Some(mac) = instance.virtual_mac {
            self.macs.insert((interface.clone(), mac), name.clone());
        }
    }
}
