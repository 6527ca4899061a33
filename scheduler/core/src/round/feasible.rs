//! Which nodes would take a task. The planner asks, and the World asks again
//! when a plan is committed: one function for both.

use crate::ids::{KernelId, QueueId, SiteId, TaskId};
use crate::isolation::{Choice, Tenancy, choose, is_missing};
use crate::reason::Refusal;
use crate::resources::{GPU, Resources};
use crate::site::{BUDGET_MICRO_EUR_MAX, Downtime, Node, NodeReport, Site};
use crate::sparse::Sparse;
use crate::spec::Needs;
use crate::time::TimeMs;
use crate::world::World;
use std::collections::BTreeMap;

/// What the decisions made so far in a round take away from the World's room.
#[derive(Debug, Default)]
pub struct Taken {
    nodes: Sparse<Resources>,
    cost_micro_eur: BTreeMap<SiteId, i64>,
    /// Who uses kernels after each of the decisions, the last one last; empty while
    /// nobody asks for isolation.
    kernels: BTreeMap<KernelId, Vec<Tenancy>>,
}

/// What a task takes on a node.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// How it runs there.
    pub choice: Choice,
    /// With its overhead.
    pub amounts: Resources,
    /// What it can cost at most.
    pub cost_micro_eur: i64,
}

impl Taken {
    /// Notes that a tenant's task with these needs goes to a node.
    ///
    /// # Panics
    /// If nobody with such needs may run there: a broken invariant.
    pub fn take(&mut self, world: &World, needs: &Needs, tenant: QueueId, node: &Node) -> Took {
        let choice = self.choose(world, needs, node);
        let choice = choice.expect("places are taken where a task may run");
        let amounts = needs.resources.plus(&choice.overhead);
        *self.of(node) += &amounts;
        let cost_micro_eur = worst_cost_micro_eur(world, needs, node);
        if cost_micro_eur > 0 {
            *self.cost_micro_eur.entry(node.site).or_default() += cost_micro_eur;
        }
        if world.is_isolating() {
            let after = self.tenancy(world, node).with(tenant, choice.way.alone);
            self.kernels.entry(node.kernel).or_default().push(after);
        }
        Took {
            choice,
            amounts,
            cost_micro_eur,
        }
    }

    /// Undoes a [`Taken::take`], of those on one kernel the last.
    pub fn give(&mut self, node: &Node, took: &Took) {
        *self.of(node) -= &took.amounts;
        if took.cost_micro_eur > 0 {
            *self.cost_micro_eur.entry(node.site).or_default() -= took.cost_micro_eur;
        }
        if let Some(uses) = self.kernels.get_mut(&node.kernel) {
            uses.pop();
        }
    }

    /// Who uses a node's kernel.
    pub fn tenancy(&self, world: &World, node: &Node) -> Tenancy {
        let taken = self.kernels.get(&node.kernel).and_then(|uses| uses.last());
        taken.copied().unwrap_or_else(|| world.tenancy(node))
    }

    /// Who will use a node's kernel because of the decisions; `None` if they change nothing.
    pub fn changed_tenancy(&self, node: &Node) -> Option<Tenancy> {
        self.kernels.get(&node.kernel)?.last().copied()
    }

    /// How a task may run on a node.
    ///
    /// # Errors
    /// Why it may not.
    pub fn choose(&self, world: &World, needs: &Needs, node: &Node) -> Result<Choice, Refusal> {
        // Who uses the kernel is far away in memory, and matters rarely.
        let tenancy = if world.is_isolating() {
            self.tenancy(world, node)
        } else {
            Tenancy::Unused
        };
        choose(needs, &node.report.runtimes, tenancy)
    }

    /// What a task would take up on a node, if it may run there.
    pub fn amounts(&self, world: &World, needs: &Needs, node: &Node) -> Resources {
        let choice = self.choose(world, needs, node);
        choice.map_or(needs.resources, |choice| {
            needs.resources.plus(&choice.overhead)
        })
    }

    /// What is left on a node.
    pub fn free(&self, node: &Node) -> Resources {
        match self.nodes.get(node.id.index()) {
            None => node.free(),
            Some(taken) => node.free().minus(taken),
        }
    }

    fn of(&mut self, node: &Node) -> &mut Resources {
        self.nodes.entry(node.id.index(), || Resources::ZERO)
    }
}

/// Why a node would not take a task now; `None` if it would.
pub fn refusal(
    world: &World,
    now: TimeMs,
    taken: &Taken,
    needs: &Needs,
    node: &Node,
) -> Option<Refusal> {
    let site = world.site(node.site);
    let taken_micro_eur = taken.cost_micro_eur.get(&site.id).copied().unwrap_or(0);
    let choice = taken.choose(world, needs, node);
    let amounts = match choice {
        Ok(choice) => needs.resources.plus(&choice.overhead),
        Err(_) => needs.resources,
    };
    match_refusal(needs, &amounts, site, node)
        .or_else(|| contract_refusal(world, now, taken_micro_eur, needs, node))
        .or_else(|| closed_refusal(now, site, node))
        .or_else(|| downtime_refusal(world, now, needs, node))
        .or_else(|| {
            let avoided = needs.avoids(&site.spec.name, &node.report.name);
            avoided.then_some(Refusal::FailedThere)
        })
        .or_else(|| choice.err())
        .or_else(|| (!amounts.fits_in(&taken.free(node))).then_some(Refusal::Busy))
}

/// True if a node would take a task now, or will once enough has ended there.
pub fn will_take(world: &World, now: TimeMs, taken: &Taken, needs: &Needs, node: &Node) -> bool {
    matches!(
        refusal(world, now, taken, needs, node),
        None | Some(Refusal::Busy | Refusal::KernelTaken)
    )
}

/// What no waiting changes: the needs against what the node is.
fn match_refusal(needs: &Needs, amounts: &Resources, site: &Site, node: &Node) -> Option<Refusal> {
    let too_large = || !amounts.fits_in(&node.report.capacity);
    kind_refusal(needs, site, &node.report).or_else(|| too_large().then_some(Refusal::TooLarge))
}

/// The needs against what the node is, its size apart.
pub(crate) fn kind_refusal(needs: &Needs, site: &Site, report: &NodeReport) -> Option<Refusal> {
    let name = &site.spec.name;
    let unwanted = (!needs.sites.is_empty() && !needs.sites.contains(name))
        || needs.sites_excluded.contains(name);
    let labelled = |(key, value): (&String, &String)| report.labels.get(key) == Some(value);
    if unwanted {
        Some(Refusal::SiteUnwanted)
    } else if needs.coe.is_some_and(|coe| coe != report.coe) {
        Some(Refusal::CoeMissing)
    } else if !needs.labels.iter().all(labelled) {
        Some(Refusal::LabelsUnmatched)
    } else if !report
        .taints
        .iter()
        .all(|taint| needs.tolerations.contains(taint))
    {
        Some(Refusal::TaintsNotTolerated)
    } else if is_missing(needs, report) {
        Some(Refusal::IsolationMissing)
    } else {
        None
    }
}

/// Nothing starts at a leased site that cannot end before the contract does, or
/// that could cost more than is left of the budget.
pub(crate) fn contract_refusal(
    world: &World,
    now: TimeMs,
    taken_micro_eur: i64,
    needs: &Needs,
    node: &Node,
) -> Option<Refusal> {
    let site = world.site(node.site);
    let contract = site.spec.contract.as_ref()?;
    if now < contract.start || now + longest_ms(world, needs, node) > contract.end {
        return Some(Refusal::ContractWindow);
    }
    let budget = contract.budget_micro_eur.unwrap_or(BUDGET_MICRO_EUR_MAX);
    let budget = budget.min(BUDGET_MICRO_EUR_MAX);
    let committed = site.cost_micro_eur + site.cost_reserved_micro_eur + taken_micro_eur;
    let with_this = committed.saturating_add(worst_cost_micro_eur(world, needs, node));
    (with_this > budget).then_some(Refusal::ContractBudget)
}

/// Nothing starts that may still run when a declared downtime of its node begins, nor
/// during one.
pub(crate) fn downtime_refusal(
    world: &World,
    now: TimeMs,
    needs: &Needs,
    node: &Node,
) -> Option<Refusal> {
    let site = world.site(node.site);
    if site.downtimes.is_empty() {
        return None;
    }
    let end = now + longest_ms(world, needs, node);
    let mut downtimes = site.downtimes_of(node);
    let meets = |downtime: &Downtime| now < downtime.until && end > downtime.from;
    downtimes.any(meets).then_some(Refusal::Downtime)
}

/// True if a task that starts on a node at a time has to end before its contract does, and
/// before a downtime begins.
pub fn ends_in_time(world: &World, at: TimeMs, needs: &Needs, node: &Node) -> bool {
    let contract = world.site(node.site).spec.contract;
    let end = at + longest_ms(world, needs, node);
    contract.is_none_or(|contract| end <= contract.end)
        && downtime_refusal(world, at, needs, node).is_none()
}

fn closed_refusal(now: TimeMs, site: &Site, node: &Node) -> Option<Refusal> {
    let closed = site_refusal(now, site);
    if closed == Some(Refusal::SiteClosed) {
        closed
    } else if !takes_tasks(site, node) {
        let open = node.present && node.report.schedulable && site.closed_at(node).is_none();
        Some(if open {
            Refusal::NodeQuarantined
        } else {
            Refusal::NodeClosed
        })
    } else {
        closed
    }
}

/// True if a node that is there takes new tasks: its engine does, nobody has closed it,
/// and it is not in quarantine.
pub(crate) fn takes_tasks(site: &Site, node: &Node) -> bool {
    let open = node.present && node.report.schedulable && node.health.quarantine.is_none();
    open && site.closed_at(node).is_none()
}

/// What keeps everything away from a site.
pub(crate) fn site_refusal(now: TimeMs, site: &Site) -> Option<Refusal> {
    if site.withdrawn || site.closed.is_some() {
        Some(Refusal::SiteClosed)
    } else if now < site.quarantined_until || site.health.quarantine.is_some() {
        Some(Refusal::SiteQuarantined)
    } else if site.session.is_none() {
        Some(Refusal::SiteDisconnected)
    } else {
        None
    }
}

/// True if a node has gpus that are not asked for: it is taken last where room is kept.
pub fn leaves_gpus(needs: &Needs, node: &Node) -> bool {
    needs.resources[GPU] == 0 && node.report.capacity[GPU] > 0
}

/// How long a task may hold a node at most: its scaled walltime limit and the grace.
pub fn longest_ms(world: &World, needs: &Needs, node: &Node) -> i64 {
    node.scaled_ms(needs.walltime_ms)
        .saturating_add(world.policy().grace_ms)
}

/// When what runs on a node ends at the latest; `None` if it was told to end already.
pub fn latest_end(world: &World, node: &Node, task: &TaskId) -> Option<TimeMs> {
    let job = &world.jobs()[&task.job];
    let active = &job.tasks.active[&task.index];
    let until = active.granted + longest_ms(world, job.needs_of(task.index), node);
    (!active.is_stopping()).then_some(until)
}

/// What a task can cost on a node at most; 0 at an owned site.
pub fn worst_cost_micro_eur(world: &World, needs: &Needs, node: &Node) -> i64 {
    world
        .site(node.site)
        .spec
        .contract
        .as_ref()
        .map_or(0, |contract| {
            contract.cost_micro_eur(&needs.resources, longest_ms(world, needs, node))
        })
}
