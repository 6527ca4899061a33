//! Plays a story, line by line, and writes down what the core answers.
//!
//! Words (spans and contract times count from the story's start):
//! `policy KEY=VALUE` · `site NAME owned|leased ..` · `session SITE up|down [by=INCARNATION]
//! [as=NUMBER]` (up keeps what is open there) · `inventory SITE LEASES..` (a session that holds
//! just these) · `node SITE NAME AMOUNTS ..` · `gone SITE NAMES..` · `only SITE NAMES..` (a full
//! report) · `cordon|drain|resume SITE [node=NAME|cluster=NAME]
//! [for=SPAN]` · `withdraw SITE` · `expire SITE` · `restart` · `restore
//! quarantine=SPAN` · `queue NAME ..` · `queue-set NAME ..` · `submit NAME queue=.. [by=..]
//! [request=..]` with indented `job` lines · `cancel|hold|release|retry|preempt SELECTOR [by=..]
//! [reason=..]` · `set SELECTOR priority=N` · `round
//! [sums]` · `plan` (decides, commits nothing) · `place TASK NODE` · `starting|run|end LEASES
//! [OUTCOME]` · `end-all OUTCOME` · `retire BATCH` · `tick SPAN` · `back SPAN` · `cycle ..`, `rest N`
//! ([`crate::cycle`]) · `show ..` · `explain TASK` · `predict TASK` · `standing LEASES`.

use jeroboam_core::effect::Effect;
use jeroboam_core::event::Event;
use jeroboam_core::ids::LeaseId;
use jeroboam_core::rejected::Rejected;
use jeroboam_core::round::{Plan, plan_round};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

use crate::words::Words;
use crate::{cycle, describe, sites, tell};

/// The first instant of every story: 2026-01-01T00:00:00Z.
pub const START: TimeMs = TimeMs(1_767_225_600_000);

/// The story so far.
pub struct Runner {
    pub world: World,
    pub now: TimeMs,
    events: u64,
    pub session: u64,
    pub submissions: u64,
    out: Vec<String>,
}

/// Plays a story and returns it with today's answers.
pub fn play<'s>(name: &str, story: &'s str) -> String {
    let mut runner = Runner::new();
    let lines: Vec<(usize, &'s str)> = story
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('>'))
        .collect();
    let mut text = String::new();
    let mut next = 0;
    while let Some(&(number, line)) = lines.get(next) {
        next += 1;
        text.push_str(&format!("{line}\n"));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let cut =
            |(number, line): (usize, &'s str)| Words::cut(line, format!("{name}:{}", number + 1));
        let indented = lines[next..]
            .iter()
            .take_while(|(_, line)| line.starts_with("  "));
        let below: Vec<(usize, &'s str)> = indented.copied().collect();
        next += below.len();
        for (_, line) in &below {
            text.push_str(&format!("{line}\n"));
        }
        let below: Vec<Words<'_>> = below.into_iter().map(cut).collect();
        runner.line(&cut((number, line)), &below);
        for answer in runner.out.drain(..) {
            text.push_str(format!("> {answer}").trim_end());
            text.push('\n');
        }
    }
    runner.round_trip();
    text
}

impl Runner {
    fn new() -> Self {
        let mut runner = Runner {
            world: World::default(),
            now: START,
            events: 0,
            session: 0,
            submissions: 0,
            out: Vec::new(),
        };
        let founded = Event::Founded {
            federation: "story".into(),
            lineage: 1,
        };
        runner
            .apply(&founded)
            .expect("a new World takes its founding");
        runner
            .apply(&Event::Started { term: 1 })
            .expect("and its start");
        runner
    }

    /// Writes an answer down.
    pub fn say(&mut self, answer: String) {
        self.out.push(answer);
    }

    /// Applies an event with all checks.
    pub fn apply(&mut self, event: &Event) -> Result<Vec<Effect>, Rejected> {
        let mut before = self.world.clone();
        let result = self.world.apply(self.now, event);
        self.world.check();
        if let Err(rejected) = &result {
            if !matches!(rejected, Rejected::TimeReversed { .. }) {
                before.move_on(self.now);
            }
            assert_eq!(
                before, self.world,
                "a rejected event left traces: {event:?}"
            );
        }
        self.events += 1;
        if self.events.is_multiple_of(7) {
            self.round_trip();
        }
        result
    }

    /// The World goes through its serialised form and comes out the same.
    fn round_trip(&mut self) {
        let bytes = postcard::to_stdvec(&self.world).expect("a World can be written");
        let read: World = postcard::from_bytes(&bytes).expect("and read again");
        assert_eq!(read, self.world, "the serialised form lost something");
        assert_eq!(postcard::to_stdvec(&read).ok(), Some(bytes));
        self.world = read;
    }

    /// Applies an event and tells its effects or its rejection.
    fn event(&mut self, event: &Event) {
        let result = self.apply(event);
        let told = match &result {
            Ok(effects) => tell::effects(effects, &self.world),
            Err(rejected) => tell::rejected(rejected),
        };
        self.out.extend(told);
    }

    /// Plans a round twice, on the World and on a copy.
    pub fn plan(&mut self) -> Plan {
        let mut copy = self.world.clone();
        let plan = plan_round(&mut self.world, self.now);
        assert_eq!(
            plan_round(&mut copy, self.now),
            plan,
            "the same World gave another plan"
        );
        assert_eq!(copy, self.world, "planning changed more than the time");
        self.world.check();
        plan
    }

    /// Commits a plan: exactly its grants come out, and no node holds too much.
    pub fn commit(&mut self, plan: &Plan) {
        let event = plan.clone().into_event();
        let effects = self.apply(&event).expect("a plan of this World is taken");
        let stops = plan.preemptions.len();
        assert_eq!(effects.len(), stops + plan.placements.len());
        for (effect, preemption) in effects.iter().zip(&plan.preemptions) {
            assert!(
                matches!(effect, Effect::Stop { lease, .. } if lease.task == preemption.task),
                "a preemption does something else than stop: {effect:?}"
            );
        }
        for (effect, placement) in effects[stops..].iter().zip(&plan.placements) {
            let Effect::Grant { site, lease } = effect else {
                panic!("a plan does something else than grant: {effect:?}");
            };
            assert_eq!(
                (*site, lease.task),
                (self.world.node(placement.node).site, placement.task)
            );
            let node = self.world.node(placement.node);
            assert!(
                self.world.jobs()[&lease.task.job].resources().fits_in(
                    &node
                        .free()
                        .plus(self.world.jobs()[&lease.task.job].resources())
                ),
                "{} is oversubscribed",
                node.report.name
            );
        }
    }

    fn line(&mut self, line: &Words<'_>, below: &[Words<'_>]) {
        match line.word(0) {
            "tick" => self.now = self.now + line.span_ms(line.word(1)),
            "back" => self.now = self.now + -line.span_ms(line.word(1)),
            "round" => self.round(line.has("sums")),
            "plan" => {
                let plan = self.plan();
                self.out.extend(tell::plan(&plan, &self.world));
            }
            "cycle" => cycle::run(self, line),
            "rest" => cycle::rest(self, line),
            "end-all" => self.end_all(line),
            "starting" | "run" | "end" => self.attempts(line),
            "standing" => {
                for lease in sites::leases(line, line.word(1), &self.world) {
                    self.say(format!("{lease} {:?}", self.world.standing(lease)));
                }
            }
            "show" => {
                let told = describe::show(line, &self.world, self.now);
                self.out.extend(told);
            }
            "explain" => {
                let told = describe::explain(line, &self.world, self.now);
                self.out.extend(told);
            }
            "predict" => {
                let told = describe::predict(line, &self.world, self.now);
                self.say(told);
            }
            _ => {
                let event = self.event_of(line, below);
                self.event(&event);
            }
        }
    }

    fn round(&mut self, sums: bool) {
        let plan = self.plan();
        let placed = tell::plan(&plan, &self.world);
        self.commit(&plan);
        if sums {
            let told = describe::sums(&self.world);
            self.out.extend(told);
        } else {
            self.out.extend(placed);
            let told = tell::waiting(&self.world, self.now);
            self.out.extend(told);
        }
        if !plan.complete {
            self.say("the bound is reached; the next round continues".into());
        }
    }

    /// Every open lease, in order of sites and tasks.
    pub fn open(&self) -> Vec<LeaseId> {
        let sites = self.world.sites().iter();
        sites
            .flat_map(|site| self.world.leases_at(site.id))
            .collect()
    }

    fn end_all(&mut self, line: &Words<'_>) {
        for lease in self.open() {
            let end = sites::end(line, self.now);
            let result = self.apply(&Event::AttemptEnded { lease, end });
            let effects = result.expect("an open lease can end");
            let other = |effect: &&Effect| !matches!(effect, Effect::AttemptEnded(_));
            let other: Vec<Effect> = effects.iter().filter(other).cloned().collect();
            self.out.extend(tell::effects(&other, &self.world));
        }
    }

    fn attempts(&mut self, line: &Words<'_>) {
        for lease in sites::leases(line, line.word(1), &self.world) {
            self.event(&match line.word(0) {
                "starting" => Event::AttemptStarting { lease },
                "run" => Event::AttemptRunning { lease },
                _ => Event::AttemptEnded {
                    lease,
                    end: sites::end(line, self.now),
                },
            });
        }
    }
}
