//! Sync groups as the control plane sees them: who is in which, and what their scripts are told.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use vrrp_common::election::State;

use super::{
    arbiters::{self, Arbiters},
    supervisor::Supervised,
};
use crate::{
    config::model::{Config, Notify, ScriptUser, SyncGroup},
    dataplane::Dataplane,
    election::{Command, ElectionHandle, GroupSpec, RouterId, Transition},
    notify::{Announced, Desk, Notifier, Subject},
};

/// Every sync group.
#[derive(Default)]
pub(super) struct Groups {
    list: Vec<Group>,
}

struct Group {
    name: String,
    /// Its slot in `MASTER_SEEN`.
    slot: u32,
    notify: Notify,
    script_user: Option<ScriptUser>,
    members: BTreeMap<RouterId, State>,
    notifier: Notifier,
    /// The state its scripts were told last.
    told: Option<State>,
    /// It is one instance that needs a lease: nobody hears of it as a group.
    is_alone: bool,
    /// Until when its arbiter let it be MASTER, when it was asked for; `None` where it needs none.
    permit_until_ns: Option<u64>,
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
        desk: &Desk,
        arbiters: &mut Arbiters,
    ) -> Result<Self> {
        let mut groups = Self::default();
        groups.reload(config, supervised, dataplane, election, desk, arbiters)?;
        Ok(groups)
    }

    /// Follows a configuration. A group that has the name and the members it had goes on as it is. Returns
    /// slots that are free once the election knows.
    pub(super) fn reload(
        &mut self,
        config: &Config,
        supervised: &BTreeMap<RouterId, Supervised>,
        dataplane: &mut Dataplane,
        election: &ElectionHandle,
        desk: &Desk,
        arbiters: &mut Arbiters,
    ) -> Result<Vec<u32>> {
        let script_user = config.global.script_user.as_ref();
        let mut before = std::mem::take(&mut self.list);
        let groups = config.acting_groups();
        let mut is_new = before.len() != groups.len();
        for group in &groups {
            let members = members_of(group, supervised);
            if members.len() < group.members.len() {
                tracing::error!(
                    "(group {}) only {} of its {} instances are served",
                    group.name,
                    members.len(),
                    group.members.len()
                );
            }
            let same = |it: &Group| {
                it.name == group.name
                    && it.is_alone == group.is_alone
                    && it.members.keys().eq(members.keys())
            };
            let mut entry = if let Some(at) = before.iter().position(same) {
                before.swap_remove(at)
            } else {
                is_new = true;
                Group::new(group, members, dataplane.take_slot()?, script_user, desk)
            };
            entry.notify_by(&group.notify, script_user);
            let permit = arbiters::needed(config, &group.members)
                .map(|arbiter| arbiters.take(arbiter, &group.name, entry.slot));
            is_new |= entry.permit_until_ns.is_some() != permit.is_some();
            entry.permit_until_ns = permit;
            self.list.push(entry);
        }
        let leased = self.list.iter();
        let leased = leased.filter(|group| group.permit_until_ns.is_some());
        arbiters.keep(&leased.map(|group| group.slot).collect());
        if is_new {
            let specs = self.list.iter().map(|group| GroupSpec {
                slot: group.slot,
                members: group.members.keys().copied().collect(),
                permit_until_ns: group.permit_until_ns,
            });
            election.send(Command::Regroup(specs.collect()));
        }
        Ok(before.into_iter().map(|gone| gone.slot).collect())
    }

    /// The group an instance is in.
    pub(super) fn name_of(&self, id: RouterId) -> Option<&str> {
        let group = self
            .list
            .iter()
            .find(|group| group.members.contains_key(&id) && !group.is_alone)?;
        Some(&group.name)
    }

    /// Members that go on where the daemon before left off were told of then.
    pub(super) fn take_up(&mut self, supervised: &BTreeMap<RouterId, Supervised>) {
        for group in &mut self.list {
            for (id, state) in &mut group.members {
                let member = supervised.get(id).filter(|it| it.tenure().is_some());
                if let Some(told) = member.and_then(|it| it.last_transition) {
                    *state = told.state;
                }
            }
            let mut states = group.members.values();
            let first = states.next().copied();
            group.told = first.filter(|first| states.all(|state| state == first));
        }
    }

    /// A member entered a state. The group is in a state when all its members are.
    pub(super) fn entered(&mut self, transition: &Transition) {
        let mut concerned = self.list.iter_mut();
        let Some(group) = concerned.find(|group| group.members.contains_key(&transition.id)) else {
            return;
        };
        if group.is_alone {
            return;
        }
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
        let why = super::report::why(transition);
        let announced = Announced::Entered(state);
        group.notifier.tell(announced, NO_PRIORITY, why);
    }

    /// The queues of their scripts.
    pub(super) fn notifiers(&self) -> impl Iterator<Item = Notifier> {
        self.list.iter().map(|group| group.notifier.clone())
    }

    /// Tells the scripts that the daemon stops, and waits for them.
    pub(super) async fn tell_and_wait(&self) {
        let real = self.list.iter().filter(|group| !group.is_alone);
        let told = real.map(|group| {
            let why = "the daemon stops".to_owned();
            group
                .notifier
                .tell_and_wait(Announced::Stopped, NO_PRIORITY, why)
        });
        futures::future::join_all(told).await;
    }
}

impl Group {
    fn new(
        group: &SyncGroup,
        members: BTreeMap<RouterId, State>,
        slot: u32,
        script_user: Option<&ScriptUser>,
        desk: &Desk,
    ) -> Self {
        let states: BTreeSet<u8> = members.values().map(|state| *state as u8).collect();
        // Members that all stand alike are told of when that changes.
        let told = members
            .values()
            .next()
            .copied()
            .filter(|_| states.len() == 1);
        let subject = Subject::Group(group.name.clone());
        Self {
            name: group.name.clone(),
            slot,
            notify: group.notify.clone(),
            script_user: script_user.cloned(),
            notifier: Notifier::start(
                subject,
                group.notify.clone(),
                script_user.cloned(),
                desk.clone(),
            ),
            members,
            told,
            is_alone: group.is_alone,
            permit_until_ns: None,
        }
    }

    /// Events from here on have other scripts.
    fn notify_by(&mut self, notify: &Notify, script_user: Option<&ScriptUser>) {
        if *notify == self.notify && script_user == self.script_user.as_ref() {
            return;
        }
        self.notify.clone_from(notify);
        self.script_user = script_user.cloned();
        self.notifier.change(notify.clone(), script_user.cloned());
    }
}

/// The members that are served, each with the state it was last heard to be in.
fn members_of(
    group: &SyncGroup,
    supervised: &BTreeMap<RouterId, Supervised>,
) -> BTreeMap<RouterId, State> {
    let served = supervised.values();
    let members = served.filter(|it| group.members.contains(&it.instance.name));
    let members = members.map(|it| {
        let state = it
            .last_transition
            .map_or(State::Init, |entered| entered.state);
        (it.id, state)
    });
    members.collect()
}
