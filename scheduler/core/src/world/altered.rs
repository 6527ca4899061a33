//! Tasks that ask for something else than their job, as a retry rule wants it.
//!
//! More memory stays until the task has ended. Where it failed it does not go again as long
//! as any other place would take it, at once or once something has ended there; that is
//! asked every [`crate::policy::Policy::avoid_ms`] while it waits, and where there is none it forgets
//! where it failed. Each job has [`CLASSES_MAX`] kinds of altered tasks at most; beyond
//! it, a task that failed goes again as it was.

use super::{Timer, World};
use crate::ids::{ClassId, JobId, NodeId, TaskId};
use crate::job::Altered;
use crate::ranges::RangeSet;
use crate::rare::Rare;
use crate::resources::MEMORY;
use crate::round::feasible::{Taken, kind_refusal, will_take};
use crate::site::Node;
use crate::spec::{Avoided, Gang, Needs, RetryRule};
use crate::time::TimeMs;

/// What the altered tasks of one job may ask for, in so many different ways.
pub const CLASSES_MAX: usize = 256;

impl World {
    /// The memory that a rule gives to the next attempt of who asks for these needs: no
    /// more than a known node has that is large enough otherwise; `None` if that is no more
    /// than before.
    pub(super) fn grown_mib(&self, rule: &RetryRule, needs: &Needs) -> Option<i64> {
        let asked = needs.resources[MEMORY];
        let wanted = rule.grown_mib(asked);
        let most = self.memory_up_to(needs, wanted);
        let grown = most.map_or(wanted, |most| most.min(wanted));
        (grown > asked).then_some(grown)
    }

    /// The largest memory of a node that would do otherwise, or any that is at least
    /// `wanted`: the look ends with the first of those. `None` where there is no such node.
    fn memory_up_to(&self, needs: &Needs, wanted: i64) -> Option<i64> {
        let mut most: Option<i64> = None;
        for node in self.nodes.iter().filter(|node| node.is_known()) {
            let site = self.site(node.site);
            let capacity = &node.report.capacity;
            let large = needs.resources.fits_in(capacity);
            if large && !site.withdrawn && kind_refusal(needs, site, &node.report).is_none() {
                most = most.max(Some(capacity[MEMORY]));
                if capacity[MEMORY] >= wanted {
                    break;
                }
            }
        }
        most
    }

    /// A rule grants another attempt to a task that failed on a node: what that asks for.
    pub(super) fn alter_by(&mut self, rule: usize, task: TaskId, node: NodeId) {
        let job = &self.jobs[&task.job];
        let rule = &job.spec.retries[rule];
        if !rule.alters() {
            return;
        }
        let mut needs = job.needs_of(task.index).clone();
        let bounded = job.tasks.altered.len() < CLASSES_MAX;
        if rule.grows()
            && bounded
            && let Some(grown) = self.grown_mib(rule, &needs)
        {
            needs.resources[MEMORY] = grown;
        }
        if (rule.avoid_node || rule.change_site) && bounded {
            let node = self.node(node);
            let site = &self.site(node.site).spec.name;
            let mut avoided = (*needs.avoided).clone();
            avoided.add(rule, site, &node.report.name);
            needs.avoided = avoided.into();
        }
        let task_only = RangeSet::from_iter([(task.index, task.index)]);
        self.alter(task.job, needs, &task_only);
    }

    /// Tasks of a job ask for this from now on.
    fn alter(&mut self, id: JobId, needs: Needs, tasks: &RangeSet) {
        let relents =
            (*needs.avoided != Avoided::default()).then(|| self.now + self.policy.avoid_ms);
        let user = self.classes.user(self.jobs[&id].alone).map(str::to_string);
        let class = self.classes.intern(&needs, &Gang::ALONE, user.as_deref());
        let job = &self.jobs[&id];
        let known = job.tasks.altered.get(&class);
        let own = class != job.alone;
        // Each job counts once for each of its classes.
        let fresh = own && known.is_none();
        let altered = own.then(|| Altered {
            needs,
            tasks: RangeSet::default(),
            relents,
        });
        let unused = self.with_queued(id, |job| {
            let to = altered.map(|altered| (class, altered));
            job.tasks.alter(tasks, to)
        });
        if !fresh {
            self.classes.release(class);
        } else if let Some(at) = relents {
            self.timers.insert((at, Timer::Relent(id)));
        }
        self.release_classes(&unused);
    }

    /// No task of a job has these classes any more.
    pub(super) fn release_classes(&mut self, classes: &[ClassId]) {
        for class in classes {
            self.classes.release(*class);
            if !self.classes.is_used(*class) {
                self.index.forget_class(*class);
            }
        }
    }

    /// Tasks of a job have avoided where they failed for a while: those that wait, and that
    /// nothing else would take, may go back.
    pub(super) fn relent(&mut self, id: JobId, at: TimeMs) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let due = job.tasks.altered.iter();
        let due = due.filter(|(_, altered)| altered.relents == Some(at));
        let due: Vec<ClassId> = due.map(|(class, _)| *class).collect();
        for class in due {
            self.relent_class(id, class);
        }
    }

    fn relent_class(&mut self, id: JobId, class: ClassId) {
        let altered = &self.jobs[&id].tasks.altered[&class];
        let needs = altered.needs.clone();
        let mut waiting = altered.tasks.clone();
        for index in self.jobs[&id].tasks.active_among(&altered.tasks) {
            waiting.remove(index);
        }
        if !waiting.is_empty() && !self.is_wanted_elsewhere(&needs) {
            let anywhere = Needs {
                avoided: Rare::default(),
                ..needs
            };
            self.alter(id, anywhere, &waiting);
        }
        let again = self.now + self.policy.avoid_ms;
        if let Some(altered) = self.job_mut(id).tasks.altered.get_mut(&class) {
            altered.relents = Some(again);
            self.timers.insert((again, Timer::Relent(id)));
        }
    }

    /// True if a node would take a task with these needs, now or once enough has ended.
    fn is_wanted_elsewhere(&self, needs: &Needs) -> bool {
        let taken = Taken::default();
        let takes = |node: &Node| will_take(self, self.now, &taken, needs, node);
        self.nodes.iter().filter(|node| node.is_known()).any(takes)
    }
}
