//! Do shares come true? The core in virtual time, against the weights.
//!
//! `cargo bench -p jeroboam-core --bench fairness` prints, for each kind of work, how far the
//! time-integrated shares are from what queues are entitled to, at every level, seed by seed;
//! `-- --quick` runs one small one, `-- NAME` those whose name contains it, `--seeds=N` fewer seeds, and `--detail`
//! tells of every queue. Seven days are
//! simulated, the last five count. Nothing is asserted here: `tests/convergence.rs` does.
//!
//! `setting` says what there is and who comes, `run` lives through it, `judge` compares,
//! `absence` is about queues that were away or alone.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a bench reads its arguments and a clock

#[path = "fairness/absence.rs"]
mod absence;
#[allow(dead_code)] // it throws more than is wanted here
#[path = "../tests/systems/dice.rs"]
mod dice;
#[path = "fairness/judge.rs"]
mod judge;
#[path = "fairness/run.rs"]
mod run;
#[path = "fairness/setting.rs"]
mod setting;

use dice::Dice;
use judge::{LEVELS, Level, Verdict};
use run::Run;
use setting::{Kind, Setting, nodes};
use std::time::Instant;

const DAYS: i64 = 7;
const DAYS_BEFORE: usize = 2;
const MIXED: [Kind; 4] = [Kind::Wide(4), Kind::Wide(64), Kind::Memory, Kind::Gpu];
const WIDTHS: [Kind; 4] = [
    Kind::Wide(4),
    Kind::Wide(64),
    Kind::Wide(16),
    Kind::Wide(64),
];
const WIDE: [f64; 3] = [3.0, 3.0, 5.0];

/// One line of the document.
struct Scene {
    name: &'static str,
    nodes: usize,
    with_gpus: usize,
    kinds: &'static [Kind],
    walltimes_too_long: i64,
    reserves: bool,
    seeds: u64,
    tolerance: [f64; 3],
}

const SCENE: Scene = Scene {
    name: "",
    nodes: 50,
    with_gpus: 0,
    kinds: &WIDTHS,
    walltimes_too_long: 1,
    reserves: true,
    seeds: 8,
    tolerance: WIDE,
};

const SCENES: [Scene; 9] = [
    Scene {
        name: "mixed, 12 nodes, 2 with gpus",
        nodes: 12,
        with_gpus: 2,
        kinds: &MIXED,
        ..SCENE
    },
    Scene {
        name: "one core",
        nodes: 20,
        kinds: &[Kind::OneCore],
        tolerance: [2.0; 3],
        ..SCENE
    },
    Scene {
        name: "widths 1 to 64, 50 nodes",
        ..SCENE
    },
    Scene {
        name: "widths 1 to 64, 50 nodes, walltimes 3 times too long",
        walltimes_too_long: 3,
        ..SCENE
    },
    Scene {
        name: "widths 1 to 64, 50 nodes, whoever fits goes",
        reserves: false,
        ..SCENE
    },
    Scene {
        name: "widths 1 to 64, 200 nodes",
        nodes: 200,
        seeds: 2,
        ..SCENE
    },
    Scene {
        name: "mixed, 50 nodes, 6 with gpus",
        with_gpus: 6,
        kinds: &MIXED,
        ..SCENE
    },
    Scene {
        name: "mixed, walltimes 3 times too long",
        with_gpus: 6,
        kinds: &MIXED,
        walltimes_too_long: 3,
        ..SCENE
    },
    Scene {
        name: "mixed, whoever fits goes",
        with_gpus: 6,
        kinds: &MIXED,
        reserves: false,
        ..SCENE
    },
];

fn main() {
    let mut quick = false;
    let mut wanted = Vec::new();
    let mut seeds = u64::MAX;
    let mut detail = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" | "--test" => quick = true,
            "--detail" => detail = true,
            "--bench" => {}
            other => match other.strip_prefix("--seeds=") {
                Some(number) => seeds = number.parse().unwrap_or(u64::MAX),
                None => wanted.push(argument),
            },
        }
    }
    if quick {
        scene(
            &Scene {
                name: "quick",
                nodes: 4,
                seeds: 1,
                ..SCENE
            },
            1,
            3,
            1,
            true,
        );
        absence::quick();
        return;
    }
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    for each in SCENES.iter().filter(|scene| is_wanted(scene.name)) {
        scene(each, each.seeds.min(seeds), DAYS, DAYS_BEFORE, detail);
    }
    if is_wanted("absence") {
        absence::all();
    }
}

fn scene(scene: &Scene, seeds: u64, days: i64, days_before: usize, detail: bool) {
    println!(
        "{}: {} nodes x 128 cores, {days} days, the last {} count, {seeds} seeds",
        scene.name,
        scene.nodes,
        days as usize - days_before
    );
    let mut all = Sum::default();
    for seed in 0..seeds {
        let started = Instant::now();
        let mut dice = Dice::new(seed);
        let nodes = nodes(scene.nodes, scene.with_gpus);
        let mut setting = Setting::new(nodes, [4, 3, 3], scene.kinds, &mut dice);
        setting.walltimes_too_long = scene.walltimes_too_long;
        setting.reserves = scene.reserves;
        let mut run = Run::new(&setting, seed);
        run.live(days * 24);
        let verdict = judge::judge(&run, &setting, days_before * 24, scene.tolerance);
        println!(
            "  seed {seed}: {}; {} rounds, {:.0?}{}",
            told(&verdict.used, &verdict.levels),
            run.rounds,
            started.elapsed(),
            if verdict.off.is_empty() {
                String::new()
            } else {
                format!("; off: {}", verdict.off.join(", "))
            }
        );
        if detail {
            verdict
                .detail
                .iter()
                .for_each(|line| println!("    {line}"));
        }
        all.add(&verdict);
    }
    all.tell();
}

fn told(used: &[f64; 3], levels: &[Level; 3]) -> String {
    let mut text = format!(
        "used cpu {:.3} memory {:.3} gpu {:.3}; % off, mean/worst",
        used[0], used[1], used[2]
    );
    for (name, level) in LEVELS.iter().zip(levels) {
        text += &format!(
            ", {name} {:.1}/{:.1} ({} of {} off)",
            level.mean, level.worst, level.off, level.entries
        );
    }
    text
}

/// Over all seeds.
#[derive(Default)]
struct Sum {
    seeds: f64,
    used: [f64; 3],
    used_least: [f64; 3],
    levels: [Level; 3],
    by_resource: [[Level; 3]; 3],
}

impl Sum {
    fn add(&mut self, verdict: &Verdict) {
        for r in 0..3 {
            self.used[r] = (self.used[r] * self.seeds + verdict.used[r]) / (self.seeds + 1.0);
            let least = if self.seeds == 0.0 {
                1.0
            } else {
                self.used_least[r]
            };
            self.used_least[r] = least.min(verdict.used[r]);
            for level in 0..3 {
                self.by_resource[r][level].join(&verdict.by_resource[r][level]);
            }
            self.levels[r].join(&verdict.levels[r]);
        }
        self.seeds += 1.0;
    }

    fn tell(&self) {
        println!(
            "  all seeds: {}; least used cpu {:.3} gpu {:.3}",
            told(&self.used, &self.levels),
            self.used_least[0],
            self.used_least[2]
        );
        for (name, levels) in ["cpu", "memory", "gpu"].iter().zip(&self.by_resource) {
            let one_of_three = self.levels[2].entries != levels[2].entries;
            if levels[2].entries > 0 && one_of_three {
                println!("    by {name}: {}", told(&self.used, levels));
            }
        }
    }
}
