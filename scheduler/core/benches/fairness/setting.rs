//! What a federation has and who uses it: nodes, a tree of VOs, groups and users with
//! unequal weights, and what each user submits.

use jeroboam_core::resources::{CPU, GPU, MEMORY, Resources};

use crate::dice::Dice;

pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// Walltimes, a hundredfold apart: few, so that requirement classes stay few.
const WALLTIMES_MIN: [i64; 12] = [6, 10, 15, 24, 36, 60, 90, 150, 240, 360, 480, 600];
pub const WALLTIME_MAX_MS: i64 = 600 * 60_000;

/// What a user submits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One core, 1 GiB.
    OneCore,
    /// Powers of two up to so many cores, 1 GiB a core.
    Wide(i64),
    /// 1 to 4 cores, 8 to 32 GiB a core.
    Memory,
    /// 1 or 2 gpus, 4 or 8 cores and 16 GiB for each.
    Gpu,
}

/// A task as it is drawn: what it asks for, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    pub cost: Resources,
    pub walltime_ms: i64,
}

#[derive(Debug, Clone)]
pub struct User {
    pub queue: String,
    pub kind: Kind,
    /// Comes so long after the start.
    pub from_ms: i64,
}

#[derive(Debug, Clone)]
pub struct Setting {
    pub nodes: Vec<Resources>,
    /// Names with weights, parents first.
    pub queues: Vec<(String, u32)>,
    pub users: Vec<User>,
    /// Walltime limits are so much longer than they need to be.
    pub walltimes_too_long: i64,
    /// False: whoever fits goes, and nobody waits for room.
    pub reserves: bool,
}

impl Kind {
    pub fn draw(self, dice: &mut Dice) -> Drawn {
        let walltime_ms = dice.pick(&WALLTIMES_MIN) * 60_000;
        let (cores, memory_gib, gpus) = match self {
            Kind::OneCore => (1, 1, 0),
            Kind::Wide(most) => {
                let cores = 1 << dice.between(0, most.ilog2().into());
                (cores, cores, 0)
            }
            Kind::Memory => {
                let cores = dice.pick(&[1, 2, 4]);
                (cores, cores * dice.pick(&[8, 16, 32]), 0)
            }
            Kind::Gpu => {
                let gpus = dice.between(1, 2);
                (gpus * dice.pick(&[4, 8]), 16 * gpus, gpus)
            }
        };
        Drawn {
            cost: amounts(cores, memory_gib, gpus),
            walltime_ms,
        }
    }

    /// The resource that it asks most of, by its place in [`LOOKED_AT`].
    pub fn asks_most_of(self) -> usize {
        match self {
            Kind::OneCore | Kind::Wide(_) => 0,
            Kind::Memory => 1,
            Kind::Gpu => 2,
        }
    }

    /// The most that one of its tasks asks for.
    pub fn largest(self) -> Resources {
        match self {
            Kind::OneCore => amounts(1, 1, 0),
            Kind::Wide(most) => amounts(most, most, 0),
            Kind::Memory => amounts(4, 128, 0),
            Kind::Gpu => amounts(16, 32, 2),
        }
    }
}

impl Setting {
    /// So many VOs, groups of each, users of each; the users' kinds in turn, from a
    /// place that the dice say.
    pub fn new(
        nodes: Vec<Resources>,
        [vos, groups, users]: [usize; 3],
        kinds: &[Kind],
        dice: &mut Dice,
    ) -> Setting {
        let mut setting = Setting {
            nodes,
            queues: Vec::new(),
            users: Vec::new(),
            walltimes_too_long: 1,
            reserves: true,
        };
        let mut turn = dice.between(0, kinds.len() as i64 - 1) as usize;
        for vo in 0..vos {
            let vo = setting.add(format!("vo{vo}"), dice.pick(&[1, 2, 3, 5]));
            for group in 0..groups {
                let group = setting.add(format!("{vo}.g{group}"), dice.pick(&[1, 2, 4]));
                for user in 0..users {
                    let queue = setting.add(format!("{group}.u{user}"), dice.pick(&[1, 2, 3]));
                    let kind = kinds[turn % kinds.len()];
                    turn += 1;
                    setting.users.push(User {
                        queue,
                        kind,
                        from_ms: 0,
                    });
                }
            }
        }
        setting
    }

    fn add(&mut self, name: String, weight: u32) -> String {
        self.queues.push((name.clone(), weight));
        name
    }

    pub fn pool(&self) -> Resources {
        self.nodes
            .iter()
            .fold(Resources::ZERO, |pool, node| pool.plus(node))
    }
}

/// Nodes of 128 cores and 512 GiB, the first of them with 8 gpus.
pub fn nodes(many: usize, with_gpus: usize) -> Vec<Resources> {
    let gpus = |node: usize| if node < with_gpus { 8 } else { 0 };
    (0..many)
        .map(|node| amounts(128, 512, gpus(node)))
        .collect()
}

pub fn amounts(cores: i64, memory_gib: i64, gpus: i64) -> Resources {
    Resources::of(cores * 1_000, memory_gib * 1_024, 0, gpus)
}

/// The resources that are looked at.
pub const LOOKED_AT: [usize; 3] = [CPU, MEMORY, GPU];
