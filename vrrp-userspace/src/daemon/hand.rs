//! What somebody does by hand: `xvrrp drain`, `undrain`, `priority`.

use vrrp_common::vrrp::PRIORITY_OWNER;

use super::{Daemon, supervisor::Supervised};
use crate::control::{Hand, Kind, Whom};

impl Daemon {
    /// Does it, and says what was done.
    pub(super) fn lend_a_hand(&mut self, hand: &Hand) -> Result<String, String> {
        let said = match hand {
            Hand::Drain(whom) => self.drain(whom, true)?,
            Hand::Undrain(whom) => self.drain(whom, false)?,
            Hand::Priority { instance, priority } => self.set_priority(instance, *priority)?,
        };
        tracing::info!("by hand: {said}");
        self.note(Kind::Hand, hand.whom(), &said);
        let table = self.interfaces.borrow().clone();
        for supervised in self.supervised.values_mut() {
            supervised.weigh(&table, &self.ports, &self.checks, &self.election);
        }
        self.state_changed();
        Ok(said)
    }

    fn drain(&mut self, whom: &Whom, drained: bool) -> Result<String, String> {
        let mut names = Vec::new();
        match whom {
            Whom::All => {
                for supervised in self.supervised.values_mut() {
                    supervised.drained = drained;
                    names.push(supervised.instance.name.clone());
                }
            }
            Whom::Instance(name) => {
                self.by_name(name)?.drained = drained;
                names.push(name.clone());
            }
        }
        let names = names.join(", ");
        Ok(if drained {
            format!("{names}: out until `xvrrp undrain`")
        } else {
            format!("{names}: may take part again")
        })
    }

    fn set_priority(&mut self, name: &str, priority: u8) -> Result<String, String> {
        let supervised = self.by_name(name)?;
        if supervised.instance.priority == PRIORITY_OWNER || priority == PRIORITY_OWNER {
            return Err(format!(
                "{name}: 255 is the owner of the addresses, and nothing that can be given by hand"
            ));
        }
        if priority == 0 {
            return Err(format!("{name}: a priority is 1 to 254"));
        }
        supervised.priority_by_hand = Some(priority);
        Ok(format!(
            "{name}: base priority {priority} until the next reload ({} in the configuration)",
            supervised.instance.priority
        ))
    }

    fn by_name(&mut self, name: &str) -> Result<&mut Supervised, String> {
        let known: Vec<String> = self
            .supervised
            .values()
            .map(|it| it.instance.name.clone())
            .collect();
        let mut all = self.supervised.values_mut();
        all.find(|it| it.instance.name == name).ok_or_else(|| {
            format!(
                "there is no instance {name} (there are {})",
                known.join(", ")
            )
        })
    }
}
