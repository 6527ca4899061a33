//! The queue tree: VO → group → user, with what each holds, wants and has used.
//!
//! A queue's sums include everything below it. Only leaves hold jobs. The
//! decayed usage is folded in fixed steps ([`crate::usage`]).

use crate::ids::{ClassId, JobId, QueueId};
use crate::isolation::Isolation;
use crate::rejected::Rejected;
use crate::resources::{AMOUNT_MAX, DIMENSIONS, Resources, name as resource_name, spoken};
use crate::spec::PriorityClass;
use crate::time::TimeMs;
use crate::usage::Usage;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Levels below the root, at most.
pub const DEPTH_MAX: usize = 8;
/// Queues, at most.
pub const QUEUES_MAX: usize = 100_000;
/// Characters of one segment of a name, at most.
pub const SEGMENT_MAX: usize = 32;
/// Largest weight.
pub const WEIGHT_MAX: u32 = 1 << 16;

/// Configuration of one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSpec {
    /// Full dotted name, `cms.higgs.alice`.
    pub name: String,
    /// Share among its siblings; 0 gets what the others leave.
    pub weight: u32,
    /// What is its own whenever it asks for it; what lies below a queue may be
    /// guaranteed no more than the queue itself.
    pub guarantee: Resources,
    /// What it may hold at most.
    pub limit: Limit,
    /// Waiting tasks at most, held and blocked ones too; `None` takes the policy's.
    pub queued_max: Option<u64>,
    /// How many tasks at most.
    pub bounds: TaskBounds,
    /// Who may submit here and below; `*` is everybody.
    pub submitters: BTreeSet<String>,
    /// Least isolation of jobs that are submitted here and below.
    pub isolation: Isolation,
    /// Its work is kept apart from that of its siblings, where isolation is asked for; a
    /// queue right below the root is a tenant in any case.
    pub tenant: bool,
}

/// How many tasks at most, in a queue and those below it; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskBounds {
    /// That hold a place.
    pub running_max: Option<u64>,
    /// Of one user, that hold a place.
    pub user_running_max: Option<u64>,
    /// Of one user, that wait; held and blocked ones too.
    pub user_queued_max: Option<u64>,
}

impl TaskBounds {
    /// Changed where something is given; 0 lifts a bound.
    #[must_use]
    pub fn with(self, change: &TaskBounds) -> TaskBounds {
        let of = |now: Option<u64>, given: Option<u64>| match given {
            None => now,
            Some(max) => (max > 0).then_some(max),
        };
        TaskBounds {
            running_max: of(self.running_max, change.running_max),
            user_running_max: of(self.user_running_max, change.user_running_max),
            user_queued_max: of(self.user_queued_max, change.user_queued_max),
        }
    }

    /// True if each user's tasks are counted for it.
    pub fn count_users(&self) -> bool {
        self.user_running_max.is_some() || self.user_queued_max.is_some()
    }

    /// True if it bounds what holds a place.
    pub fn bound_running(&self) -> bool {
        self.running_max.is_some() || self.user_running_max.is_some()
    }
}

/// Tasks of one user in a queue and those below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserTasks {
    /// That hold a place.
    pub running: u64,
    /// That wait; held and blocked ones too.
    pub waiting: u64,
}

/// What may be held at most, per resource; `None` is as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit(pub [Option<i64>; DIMENSIONS]);

impl Limit {
    /// As amounts; where there is no limit, one that nothing reaches.
    pub fn amounts(&self) -> Resources {
        Resources(self.0.map(|amount| amount.unwrap_or(AMOUNT_MAX)))
    }

    /// True if `amount` is more than is allowed of what `asked` asks for.
    pub fn exceeded(&self, amount: &Resources, asked: &Resources) -> bool {
        (0..DIMENSIONS).any(|d| asked[d] > 0 && self.0[d].is_some_and(|max| amount[d] > max))
    }
}

impl QueueSpec {
    /// A queue of this name and weight, with no guarantee and no limit.
    pub fn new(name: impl Into<String>, weight: u32) -> Self {
        QueueSpec {
            name: name.into(),
            weight,
            guarantee: Resources::ZERO,
            limit: Limit::default(),
            queued_max: None,
            bounds: TaskBounds::default(),
            submitters: BTreeSet::new(),
            isolation: Isolation::Shared,
            tenant: false,
        }
    }
}

/// One queue of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Its place in the tree's vector.
    pub id: QueueId,
    /// As configured.
    pub spec: QueueSpec,
    /// `None` for the root only.
    pub parent: Option<QueueId>,
    /// The queue that stands for its work where tenants are kept apart: itself, or the
    /// nearest above that is one.
    pub tenant: QueueId,
    /// In order of creation.
    pub children: Vec<QueueId>,
    /// Why nothing starts from here or below; `None` while it does.
    pub cordoned: Option<String>,
    /// Sum over open leases.
    pub held: Resources,
    /// The part of it that nothing may preempt.
    pub held_fixed: Resources,
    /// Tasks with an open lease.
    pub running: u64,
    /// The same by priority class, the lowest first.
    pub running_of: [u64; 3],
    /// Tasks that wait for a place.
    pub queued: u64,
    /// The same by priority class, the lowest first.
    pub queued_of: [u64; 3],
    /// These, and tasks that are held or wait for other jobs: what `queued_max` bounds.
    pub waiting: u64,
    /// Decayed average of `held`.
    pub usage: Usage,
    /// Core-milliseconds of ended attempts.
    pub core_ms: i64,
    /// Cost of ended attempts.
    pub cost_micro_eur: i64,
    /// Of a leaf: its jobs with queued tasks, by requirement class.
    pub pending: BTreeMap<ClassId, Pending>,
    /// Batches in memory that were submitted here.
    pub batches: u64,
    /// Whoever has tasks here or below, where that is bounded.
    pub users: BTreeMap<String, UserTasks>,
}

/// Jobs of one leaf and class that have queued tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// In the order in which they go.
    pub jobs: BTreeSet<PendingJob>,
    /// Their queued tasks.
    pub tasks: u64,
}

/// Order inside a leaf: higher class, then higher priority, then earlier submission, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PendingJob {
    /// Higher goes first.
    pub class: Reverse<PriorityClass>,
    /// Higher goes first.
    pub priority: Reverse<i32>,
    /// Earlier goes first.
    pub submitted: TimeMs,
    /// Lower goes first.
    pub job: JobId,
}

/// All queues; index 0 is the unnamed root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTree {
    queues: Vec<Queue>,
    by_name: BTreeMap<String, QueueId>,
    /// Queues that set a least isolation.
    isolating: u32,
}

impl Default for QueueTree {
    fn default() -> Self {
        let spec = QueueSpec {
            queued_max: Some(u64::MAX),
            ..QueueSpec::new("", 1)
        };
        QueueTree {
            queues: vec![Queue::new(QueueId::ROOT, spec, None)],
            by_name: BTreeMap::new(),
            isolating: 0,
        }
    }
}

impl Queue {
    fn new(id: QueueId, spec: QueueSpec, parent: Option<QueueId>) -> Self {
        Queue {
            id,
            spec,
            parent,
            tenant: id,
            children: Vec::new(),
            cordoned: None,
            held: Resources::ZERO,
            held_fixed: Resources::ZERO,
            running: 0,
            running_of: [0; 3],
            queued: 0,
            queued_of: [0; 3],
            waiting: 0,
            usage: Usage::default(),
            core_ms: 0,
            cost_micro_eur: 0,
            pending: BTreeMap::new(),
            batches: 0,
            users: BTreeMap::new(),
        }
    }

    /// True if tasks of a lower class than this hold a place.
    pub fn runs_lower_than(&self, class: PriorityClass) -> bool {
        self.running_of[..class.index()]
            .iter()
            .any(|running| *running > 0)
    }

    /// True if somebody waits, here or below, while a lower class holds a place.
    pub fn may_be_outranked(&self) -> bool {
        PriorityClass::ALL
            .into_iter()
            .any(|class| self.queued_of[class.index()] > 0 && self.runs_lower_than(class))
    }

    /// True if jobs may be submitted here.
    pub fn is_leaf(&self) -> bool {
        self.children.is_empty() && self.parent.is_some()
    }
}

impl QueueTree {
    /// The queue of an id that the World gave out.
    pub fn queue(&self, id: QueueId) -> &Queue {
        &self.queues[id.index()]
    }

    pub(crate) fn queue_mut(&mut self, id: QueueId) -> &mut Queue {
        &mut self.queues[id.index()]
    }

    /// All queues in order of creation, the root first.
    pub fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.queues.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.queues.iter_mut()
    }

    /// Number of queues with the root.
    pub fn len(&self) -> usize {
        self.queues.len()
    }

    /// False: the root is always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The queue of a full name.
    ///
    /// # Errors
    /// [`Rejected::UnknownQueue`], with the nearest name there is.
    pub fn find(&self, name: &str) -> Result<QueueId, Rejected> {
        self.by_name
            .get(name)
            .copied()
            .ok_or_else(|| Rejected::UnknownQueue {
                name: name.to_string(),
                near: crate::nearest::nearest(name, self.by_name.keys().map(String::as_str)),
            })
    }

    /// From a queue up to the root, both included.
    pub fn path(&self, from: QueueId) -> impl Iterator<Item = QueueId> + '_ {
        std::iter::successors(Some(from), |id| self.queue(*id).parent)
    }

    /// The children of the lowest queue above both, toward one and toward the other;
    /// `None` where one is, or is above, the other.
    pub fn fork(&self, one: QueueId, other: QueueId) -> Option<(QueueId, QueueId)> {
        let depth = |id: QueueId| self.path(id).count();
        let (deep, deep_other) = (depth(one), depth(other));
        let mut mine = self.path(one).skip(deep.saturating_sub(deep_other));
        let mut theirs = self.path(other).skip(deep_other.saturating_sub(deep));
        // Side by side up to the queue above both.
        let mut fork = None;
        loop {
            match (mine.next(), theirs.next()) {
                (Some(mine), Some(theirs)) if mine != theirs => fork = Some((mine, theirs)),
                _ => return fork,
            }
        }
    }

    /// Why nothing starts from a queue, if it or one above is cordoned.
    pub fn cordoned(&self, id: QueueId) -> Option<(QueueId, &str)> {
        self.path(id)
            .find_map(|id| Some((id, self.queue(id).cordoned.as_deref()?)))
    }

    /// True if `who` is named, here or further up, as one who may submit.
    pub fn may_submit(&self, id: QueueId, who: &str) -> bool {
        self.path(id).any(|id| {
            let submitters = &self.queue(id).spec.submitters;
            submitters.contains("*") || submitters.contains(who)
        })
    }

    /// True if what a user runs is bounded in a queue or above it.
    pub fn bound_users(&self, id: QueueId) -> bool {
        let bounded = |id: QueueId| self.queue(id).spec.bounds.user_running_max.is_some();
        self.path(id).any(bounded)
    }

    /// Children may together be guaranteed no more than their parent; `spec` stands for
    /// the child `changed`, or for a new one. Below the root there is no such bound.
    pub(crate) fn check_guarantee(
        &self,
        parent: QueueId,
        changed: Option<QueueId>,
        spec: &QueueSpec,
        extended: &[String],
    ) -> Result<(), Rejected> {
        if parent == QueueId::ROOT {
            return Ok(());
        }
        let parent = self.queue(parent);
        let others = parent.children.iter().filter(|id| Some(**id) != changed);
        let sum = others.fold(spec.guarantee, |sum, id| {
            sum.plus(&self.queue(*id).spec.guarantee)
        });
        check_sum(&parent.spec, &sum, extended)
    }

    /// A changed guarantee still covers those of the queues below.
    pub(crate) fn check_covers(
        &self,
        id: QueueId,
        spec: &QueueSpec,
        extended: &[String],
    ) -> Result<(), Rejected> {
        let children = self.queue(id).children.iter();
        let sum = children.fold(Resources::ZERO, |sum, id| {
            sum.plus(&self.queue(*id).spec.guarantee)
        });
        check_sum(spec, &sum, extended)
    }

    /// Adds a queue below the one its name says; `extended` are the policy's resources.
    ///
    /// # Errors
    /// A bad name or weight, a name taken, an unknown parent, a parent with batches.
    pub(crate) fn create(
        &mut self,
        spec: QueueSpec,
        extended: &[String],
    ) -> Result<QueueId, Rejected> {
        check_spec(&spec, extended)?;
        if self.by_name.contains_key(&spec.name) {
            return Err(Rejected::QueueExists { name: spec.name });
        }
        if self.queues.len() >= QUEUES_MAX {
            return Err(Rejected::bounds(
                "queues",
                self.queues.len() as u64 + 1,
                0,
                QUEUES_MAX as u64,
            ));
        }
        let parent = match spec.name.rsplit_once('.') {
            None => QueueId::ROOT,
            Some((parent, _)) => self.find(parent)?,
        };
        if self.queue(parent).batches > 0 {
            return Err(Rejected::QueueHoldsBatches {
                parent: self.queue(parent).spec.name.clone(),
            });
        }
        self.check_guarantee(parent, None, &spec, extended)?;
        let id = QueueId(self.queues.len() as u32);
        self.by_name.insert(spec.name.clone(), id);
        self.queue_mut(parent).children.push(id);
        self.isolating += u32::from(spec.isolation > Isolation::Shared);
        self.queues.push(Queue::new(id, spec, Some(parent)));
        self.queue_mut(id).tenant = self.tenant_of(id);
        Ok(id)
    }

    /// Replaces the configuration of a queue, its name apart.
    pub(crate) fn configure(&mut self, id: QueueId, spec: QueueSpec) {
        let marked = spec.tenant != self.queue(id).spec.tenant;
        let before = self.queue(id).spec.isolation > Isolation::Shared;
        let after = spec.isolation > Isolation::Shared;
        self.isolating = self.isolating + u32::from(after) - u32::from(before);
        self.queue_mut(id).spec = spec;
        if marked {
            self.mark_tenants(id);
        }
    }

    /// Brings the tenants of a queue and of those below it after its mark.
    fn mark_tenants(&mut self, id: QueueId) {
        let mut below = vec![id];
        while let Some(id) = below.pop() {
            self.queue_mut(id).tenant = self.tenant_of(id);
            below.extend(&self.queue(id).children);
        }
    }

    /// The tenant of a queue whose parent's is known.
    fn tenant_of(&self, id: QueueId) -> QueueId {
        let queue = self.queue(id);
        match queue.parent {
            Some(parent) if parent != QueueId::ROOT && !queue.spec.tenant => {
                self.queue(parent).tenant
            }
            Some(_) | None => id,
        }
    }

    /// The least isolation of jobs of a queue, by itself and those above it.
    pub fn isolation(&self, id: QueueId) -> Isolation {
        let path = self.path(id).map(|id| self.queue(id).spec.isolation);
        path.max().unwrap_or_default()
    }

    /// Queues that set a least isolation.
    pub fn isolating(&self) -> u32 {
        self.isolating
    }

    /// True if a batch in memory was submitted to a queue or below it.
    pub(crate) fn has_batches(&self, id: QueueId) -> bool {
        let mut below = vec![id];
        while let Some(id) = below.pop() {
            let queue = self.queue(id);
            if queue.batches > 0 {
                return true;
            }
            below.extend(&queue.children);
        }
        false
    }
}

fn check_sum(parent: &QueueSpec, sum: &Resources, extended: &[String]) -> Result<(), Rejected> {
    match (0..DIMENSIONS).find(|d| sum[*d] > parent.guarantee[*d]) {
        None => Ok(()),
        Some(d) => Err(Rejected::invalid(
            "queue.guarantee",
            format!(
                "the queues below `{}` would together be guaranteed {} of {}, it itself {}",
                parent.name,
                spoken(d, sum[d]),
                resource_name(d, extended),
                spoken(d, parent.guarantee[d])
            ),
            "raise the parent's guarantee first, or lower those below",
        )),
    }
}

/// Checks name, weight, guarantee, limit and submitters.
pub(crate) fn check_spec(spec: &QueueSpec, extended: &[String]) -> Result<(), Rejected> {
    let segments: Vec<&str> = spec.name.split('.').collect();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let good =
        |segment: &&str| (1..=SEGMENT_MAX).contains(&segment.len()) && segment.chars().all(allowed);
    if segments.len() > DEPTH_MAX || !segments.iter().all(good) {
        return Err(Rejected::invalid(
            "queue.name",
            format!("`{}` is not a queue name", spec.name),
            "use up to 8 segments of a-z, 0-9, - and _ joined by dots, for example cms.higgs.alice",
        ));
    }
    if spec.weight > WEIGHT_MAX {
        return Err(Rejected::bounds(
            "queue.weight",
            spec.weight.into(),
            0,
            WEIGHT_MAX.into(),
        ));
    }
    let limit = spec.limit.amounts();
    if !spec.guarantee.is_valid()
        || limit
            .0
            .iter()
            .any(|amount| !(0..=AMOUNT_MAX).contains(amount))
    {
        return Err(Rejected::invalid(
            "queue",
            format!(
                "guarantee or limit of `{}` is negative or absurd",
                spec.name
            ),
            "use amounts that a federation can have",
        ));
    }
    if let Some(d) = (0..DIMENSIONS).find(|d| spec.guarantee[*d] > limit[*d]) {
        return Err(Rejected::invalid(
            "queue.guarantee",
            format!(
                "`{}` would be guaranteed {} of {}, more than its limit of {}",
                spec.name,
                spoken(d, spec.guarantee[d]),
                resource_name(d, extended),
                spoken(d, limit[d])
            ),
            "lower the guarantee, or raise the limit",
        ));
    }
    if spec.submitters.len() > crate::spec::LIST_MAX {
        let count = spec.submitters.len() as u64;
        return Err(Rejected::bounds(
            "queue.submitters",
            count,
            0,
            crate::spec::LIST_MAX as u64,
        ));
    }
    Ok(())
}
