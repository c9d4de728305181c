//! Sync groups as the control plane sees them: who is in which, and what their scripts are told.

use std::collections::BTreeMap;

use anyhow::Result;
use vrrp_common::election::State;

use super::supervisor::Supervised;
use crate::{
    config::model::{Config, SyncGroup},
    dataplane::Dataplane,
    election::{Command, ElectionHandle, GroupSpec, RouterId, Transition},
    notify::{Announced, Notifier, Subject},
};

/// Every sync group.
#[derive(Default)]
pub(super) struct Groups {
    list: Vec<Group>,
}

struct Group {
    name: String,
    members: BTreeMap<RouterId, State>,
    notifier: Notifier,
    /// The state its scripts were told last.
    told: Option<State>,
}

/// What keepalived's scripts get as the priority of a group.
const NO_PRIORITY: u8 = 0;

impl Groups {
    /// Makes the members of each group act together. Members that are not served leave the others
    /// without them, loudly.
    pub(super) fn start(
        config: &Config,
        supervised: &BTreeMap<RouterId, Supervised>,
        dataplane: &mut Dataplane,
        election: &ElectionHandle,
    ) -> Result<Self> {
        let mut list = Vec::new();
        for group in &config.groups {
            let members = members_of(group, supervised);
            if members.len() < group.members.len() {
                tracing::error!(
                    "(group {}) only {} of its {} instances are served",
                    group.name,
                    members.len(),
                    group.members.len()
                );
            }
            election.send(Command::Group(GroupSpec {
                slot: dataplane.take_slot()?,
                members: members.clone(),
            }));
            let script_user = config.global.script_user.clone();
            let subject = Subject::Group(group.name.clone());
            list.push(Group {
                name: group.name.clone(),
                members: members.into_iter().map(|id| (id, State::Init)).collect(),
                notifier: Notifier::start(subject, group.notify.clone(), script_user),
                told: None,
            });
        }
        Ok(Self { list })
    }

    /// The group an instance is in.
    pub(super) fn name_of(&self, id: RouterId) -> Option<&str> {
        let group = self
            .list
            .iter()
            .find(|group| group.members.contains_key(&id))?;
        Some(&group.name)
    }

    /// A member entered a state. The group is in a state when all its members are.
    pub(super) fn entered(&mut self, transition: &Transition) {
        let mut concerned = self.list.iter_mut();
        let Some(group) = concerned.find(|group| group.members.contains_key(&transition.id)) else {
            return;
        };
        group.members.insert(transition.id, transition.state);
        let state = transition.state;
        let together = group.members.values().all(|member| *member == state);
        if !together || group.told == Some(state) || state == State::Init {
            return;
        }
        group.told = Some(state);
        tracing::info!(
            "VRRP_Group({}) Syncing instances to {} state",
            group.name,
            super::report::state_name(state)
        );
        group.notifier.tell(Announced::Entered(state), NO_PRIORITY);
    }

    /// Tells the scripts that the daemon stops, and waits for them.
    pub(super) async fn tell_and_wait(&self) {
        let told = self.list.iter().map(|group| {
            group
                .notifier
                .tell_and_wait(Announced::Stopped, NO_PRIORITY)
        });
        futures::future::join_all(told).await;
    }
}

fn members_of(group: &SyncGroup, supervised: &BTreeMap<RouterId, Supervised>) -> Vec<RouterId> {
    supervised
        .values()
        .filter(|supervised| group.members.contains(&supervised.instance.name))
        .map(|supervised| supervised.id)
        .collect()
}
