//! Whether a state directory is still the one it was, on the machine it was on.
//!
//! A copied directory speaks of attempts that run elsewhere: an agent that
//! resumed it would report live ones as lost, or sweep another agent's
//! processes. So the state names its place, and a state found elsewhere is set
//! aside under a new incarnation. After a reboot with attempts unfinished a
//! clone of the disk cannot be told from the machine itself: then the
//! incarnation is new too, and the scheduler waits until the older one's leases
//! are out, but the attempts are this machine's and are settled as lost.
//!
//! Pure: reading and writing `agent.json` is in `session/state_dir.rs`.

use serde::{Deserialize, Serialize};

use super::Allegiance;

/// Where a state directory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Of the host's installation (`/etc/machine-id`), empty where there is none.
    pub machine_id: String,
    /// Of the running kernel.
    pub boot_id: String,
    /// The directory's resolved path.
    pub path: String,
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// What `agent.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Of this file.
    pub format: u32,
    /// The site.
    pub site: String,
    /// Random, hexadecimal.
    pub incarnation: String,
    /// Empty before the first welcome.
    pub federation: String,
    /// Of the last welcome.
    pub lineage: u64,
    /// Where it was last used.
    pub place: Place,
}

impl Identity {
    /// To whom the agent belongs.
    pub fn allegiance(&self) -> Allegiance {
        Allegiance {
            federation: self.federation.clone(),
            lineage: self.lineage,
        }
    }
}

/// What a stored identity is worth here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The same incarnation goes on.
    Same,
    /// Copied or moved: a new incarnation, and the attempts are not ours.
    Elsewhere(&'static str),
    /// Rebooted with attempts unfinished: a new incarnation, the attempts are ours.
    Rebooted,
}

/// Compares where a state says it was with where it is.
pub fn judge(stored: &Place, here: &Place, unfinished: bool) -> Judgement {
    if stored.machine_id != here.machine_id {
        return Judgement::Elsewhere("it was written on another machine");
    }
    if stored.path != here.path {
        return Judgement::Elsewhere("it was written in another directory");
    }
    if stored.inode != here.inode {
        return Judgement::Elsewhere("the directory has been replaced by a copy");
    }
    let rebooted = stored.boot_id != here.boot_id;
    // Device numbers may change with a boot, not within one.
    if !rebooted && stored.device != here.device {
        return Judgement::Elsewhere("the directory has moved to another disk");
    }
    if rebooted && unfinished {
        return Judgement::Rebooted;
    }
    Judgement::Same
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            machine_id: "m".into(),
            boot_id: "b".into(),
            path: "/s".into(),
            device: 1,
            inode: 2,
        }
    }

    #[test]
    fn a_copy_is_noticed_wherever_it_is() {
        let here = place();
        assert_eq!(judge(&place(), &here, true), Judgement::Same);
        for change in [
            |p: &mut Place| p.machine_id = "other".into(),
            |p: &mut Place| p.path = "/t".into(),
            |p: &mut Place| p.inode = 3,
            |p: &mut Place| p.device = 4,
        ] {
            let mut stored = place();
            change(&mut stored);
            let judged = judge(&stored, &here, false);
            assert!(matches!(judged, Judgement::Elsewhere(_)), "{stored:?}");
        }
    }

    #[test]
    fn a_reboot_counts_only_while_attempts_are_unfinished() {
        let mut here = place();
        here.boot_id = "later".into();
        here.device = 9;
        assert_eq!(judge(&place(), &here, false), Judgement::Same);
        assert_eq!(judge(&place(), &here, true), Judgement::Rebooted);
    }
}
