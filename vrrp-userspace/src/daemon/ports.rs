//! Interfaces that carry instances: attached once each, members of the group, told again to the
//! switch when their link or their address changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    dataplane::{Dataplane, Device},
    net::{Interface, InterfaceTable, Membership, strips_vlan_tags},
};

/// Every interface with an instance, by index.
#[derive(Default)]
pub(super) struct Ports {
    by_index: BTreeMap<u32, Port>,
}

/// An interface that carries instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Counts how often the interface with this index was made anew.
    pub(super) generation: u32,
    /// The groups that adverts are sent to.
    pub(super) groups: BTreeSet<IpAddr>,
    /// The addresses adverts come from.
    pub(super) sources: BTreeSet<IpAddr>,
}

#[derive(Default)]
struct Port {
    generation: u32,
    memberships: BTreeMap<IpAddr, Membership>,
    /// What switches were told last: whether there was a link, and from which addresses.
    told: (bool, BTreeSet<IpAddr>),
    /// Why it cannot be served.
    problem: Option<String>,
}

impl Ports {
    /// Whether one of these interfaces has not been attached to yet.
    pub(super) fn lacks(&self, wanted: &BTreeMap<u32, Wanted>) -> bool {
        wanted.iter().any(|(index, wanted)| {
            let port = self.by_index.get(index);
            port.is_none_or(|port| port.problem.is_some() || port.generation != wanted.generation)
        })
    }

    /// Brings interfaces and dataplane to what the instances want.
    pub(super) async fn review(
        &mut self,
        wanted: &BTreeMap<u32, Wanted>,
        table: &InterfaceTable,
        dataplane: &mut Dataplane,
    ) {
        self.by_index.retain(|index, port| {
            let wanted = wanted.get(index);
            wanted.is_some_and(|wanted| wanted.generation == port.generation)
        });
        dataplane.detach_except(|index| self.by_index.contains_key(&index));
        for (index, wanted) in wanted {
            let Some(interface) = table.by_index(*index) else {
                continue;
            };
            let port = self.by_index.entry(*index).or_default();
            port.generation = wanted.generation;
            let problem = match attach(interface, table, dataplane).await {
                Ok(()) => port.join(interface, wanted),
                Err(problem) => Err(problem),
            };
            port.problem = problem.err();
        }
    }

    /// Why an interface cannot be served.
    pub(super) fn problem(&self, ifindex: u32) -> Option<&str> {
        self.by_index.get(&ifindex)?.problem.as_deref()
    }
}

impl Port {
    fn join(&mut self, interface: &Interface, wanted: &Wanted) -> Result<(), String> {
        let name = &interface.name;
        let (had_link, old_sources) = &self.told;
        let news = (interface.running && !had_link) || wanted.sources != *old_sources;
        let groups = &wanted.groups;
        self.memberships.retain(|group, _| groups.contains(group));
        for group in groups {
            match self.memberships.get(group) {
                None => {
                    let membership = Membership::join(interface.index, *group)
                        .map_err(|error| format!("join {group} on {name}: {error}"))?;
                    self.memberships.insert(*group, membership);
                }
                Some(membership) if news => {
                    tracing::debug!("{name}: joining {group} again");
                    membership
                        .renew()
                        .map_err(|error| format!("join {group} on {name} again: {error}"))?;
                }
                Some(_) => {}
            }
        }
        self.told = (interface.running, wanted.sources.clone());
        Ok(())
    }
}

async fn attach(
    interface: &Interface,
    table: &InterfaceTable,
    dataplane: &mut Dataplane,
) -> Result<(), String> {
    if dataplane.attachment(interface.index).is_some() {
        return Ok(());
    }
    let device = Device {
        index: interface.index,
        name: interface.name.clone(),
        kind: interface.kind.clone(),
        vlan_child: table
            .vlan_child(interface.index)
            .map(|child| child.name.clone()),
        strips_vlan_tags: strips_vlan_tags(&interface.name).await,
    };
    let attachment = dataplane
        .attach(&device)
        .map_err(|error| error.to_string())?;
    let (name, mode) = (&interface.name, attachment.mode);
    let fence = if attachment.fences() {
        ""
    } else {
        "; NO FENCE: the kernel answers for the addresses on its own"
    };
    tracing::info!(
        "{name}: attached, {mode} ({}), {}{fence}",
        attachment.reason,
        attachment.held_by
    );
    Ok(())
}
