//! Sites join, report, fall silent and come back.

use super::World;
use crate::effect::Effect;
use crate::ids::{LeaseId, SiteId, TaskId};
use crate::job::{ActiveState, AttemptEnd, Outcome};
use crate::rejected::Rejected;
use crate::site::{Closed, Closing, PRICE_MICRO_EUR_MAX, Part, Site, SiteSpec};
use crate::spec::OnLostContact;
use crate::time::TimeMs;
use std::collections::BTreeSet;

/// Sites of a federation.
pub const SITES_MAX: usize = 10_000;

/// What the journal says about a lease that an agent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseStanding {
    /// Open here: renewed.
    Open,
    /// The journal proves that it has ended: the agent stops it.
    Ended,
    /// Not known: kept until its deadline and reported to the operator.
    Unknown,
}

impl World {
    pub(super) fn start_term(&mut self, term: u64) -> Result<Vec<Effect>, Rejected> {
        self.term = term;
        self.sites.iter_mut().for_each(|site| site.session = None);
        Ok(Vec::new())
    }

    /// Leases of the older lineage are void: their tasks are queued again, but
    /// no site gets anything before the agents have fenced what they run.
    pub(super) fn restore(
        &mut self,
        lineage: u64,
        quarantine_until: TimeMs,
    ) -> Result<Vec<Effect>, Rejected> {
        let mut effects = Vec::new();
        let open: Vec<TaskId> = self.open_tasks(|_| true).collect();
        let lost = |task| (task, AttemptEnd::bare(Outcome::Lost));
        self.end_attempts(open.into_iter().map(lost), &mut effects);
        self.lineage = lineage;
        for site in &mut self.sites {
            self.index.touch_site(site.id);
            site.session = None;
            site.quarantined_until = quarantine_until;
            site.kernels_doubted = true;
        }
        // What ran after the backup is not known.
        self.kernels.doubt();
        self.index.clear();
        Ok(effects)
    }

    pub(super) fn declare_site(&mut self, spec: &SiteSpec) -> Result<Vec<Effect>, Rejected> {
        check_site(spec)?;
        if let Ok(site) = self.find_site_mut(&spec.name) {
            site.spec = spec.clone();
            site.withdrawn = false;
            let id = site.id;
            self.index.touch_site(id);
            return Ok(Vec::new());
        }
        if self.sites.len() >= SITES_MAX {
            return Err(Rejected::bounds(
                "site",
                self.sites.len() as u64 + 1,
                0,
                SITES_MAX as u64,
            ));
        }
        let id = SiteId(self.sites.len() as u32);
        self.site_by_name.insert(spec.name.clone(), id);
        self.sites.push(Site::new(id, spec.clone()));
        self.index.touch_site(id);
        Ok(Vec::new())
    }

    pub(super) fn withdraw_site(&mut self, name: &str) -> Result<Vec<Effect>, Rejected> {
        self.find_site_mut(name)?.withdrawn = true;
        Ok(Vec::new())
    }

    pub(super) fn close_site(
        &mut self,
        name: &str,
        how: Option<Closing>,
        reason: &str,
        by: &str,
    ) -> Result<Vec<Effect>, Rejected> {
        let closed = how.map(|how| Closed {
            how,
            reason: reason.to_string(),
            by: by.to_string(),
            since: self.now,
            until: None,
        });
        self.close_part(name, &Part::Site, closed)
    }

    /// What the journal says about a lease; see `LeaseStanding`.
    pub fn standing(&self, lease: LeaseId) -> LeaseStanding {
        if self.open_attempt(lease).is_ok() {
            return LeaseStanding::Open;
        }
        if lease.lineage != self.lineage || !self.was_job(lease.task.job) {
            return LeaseStanding::Unknown;
        }
        let Some(job) = self.jobs.get(&lease.task.job) else {
            return LeaseStanding::Ended; // Only finished jobs leave memory.
        };
        let never_granted = match job.tasks.past.get(&lease.task.index) {
            Some(past) => lease.attempt > past.attempts,
            None => !job.tasks.succeeded.contains(lease.task.index),
        };
        if never_granted {
            LeaseStanding::Unknown
        } else {
            LeaseStanding::Ended
        }
    }

    /// An inventory was accepted: what the site does not hold has ended.
    pub(super) fn open_session(
        &mut self,
        name: &str,
        session: u64,
        incarnation: &str,
        agent_version: &str,
        leases: &BTreeSet<LeaseId>,
    ) -> Result<Vec<Effect>, Rejected> {
        let unknown = leases
            .iter()
            .filter(|lease| self.standing(**lease) == LeaseStanding::Unknown)
            .count();
        let site = self.find_site_mut(name)?;
        if site.session.is_some_and(|current| current >= session) {
            return Err(Rejected::SessionClosed {
                name: name.to_string(),
                session,
            });
        }
        let id = site.id;
        check_claim(site, incarnation)?;
        site.session = Some(session);
        site.incarnation = Some(incarnation.to_string());
        site.agent_version = agent_version.to_string();
        site.unknown_leases = unknown as u32;
        self.index.touch_site(id);
        let mut effects = Vec::new();
        let gone: Vec<TaskId> = self
            .leases_at(id)
            .filter(|lease| !leases.contains(lease))
            .map(|lease| lease.task)
            .collect();
        let end = |task: TaskId| {
            // What was never reported preparing or running may not have arrived.
            let outcome = match self.jobs[&task.job].tasks.active[&task.index].state {
                ActiveState::Leased => Outcome::NotRun,
                ActiveState::Starting
                | ActiveState::Running { .. }
                | ActiveState::Stopping { .. } => Outcome::Lost,
            };
            (task, AttemptEnd::bare(outcome))
        };
        let ends: Vec<(TaskId, AttemptEnd)> = gone.into_iter().map(end).collect();
        self.end_attempts(ends, &mut effects);
        // A stop is derived from state in every session.
        effects.extend(self.stops_at(id));
        Ok(effects)
    }

    /// Open leases at a site.
    pub fn leases_at(&self, site: SiteId) -> impl Iterator<Item = LeaseId> + '_ {
        self.open_tasks(move |at| at == site).map(move |task| {
            let attempt = self.jobs[&task.job].tasks.active[&task.index].attempt;
            self.lease(task, attempt)
        })
    }

    fn stops_at(&self, site: SiteId) -> Vec<Effect> {
        let stopping = |lease: &LeaseId| {
            let active = &self.jobs[&lease.task.job].tasks.active[&lease.task.index];
            matches!(active.state, ActiveState::Stopping { .. })
        };
        self.leases_at(site)
            .filter(stopping)
            .map(|lease| Effect::Stop { site, lease })
            .collect()
    }

    fn open_tasks<'a>(
        &'a self,
        wanted: impl Fn(SiteId) -> bool + 'a,
    ) -> impl Iterator<Item = TaskId> + 'a {
        let jobs = self
            .jobs
            .values()
            .filter(|job| !job.tasks.active.is_empty());
        let active = jobs.flat_map(|job| {
            job.tasks
                .active
                .iter()
                .map(|(index, a)| (job.id, *index, a))
        });
        active
            .filter(move |(_, _, active)| wanted(self.nodes[active.node.index()].site))
            .map(|(job, index, _)| TaskId { job, index })
    }

    pub(super) fn close_session(
        &mut self,
        name: &str,
        session: u64,
    ) -> Result<Vec<Effect>, Rejected> {
        let site = self.current(name, session)?;
        site.session = None;
        Ok(Vec::new())
    }

    /// The site, if this is its current session.
    pub(super) fn current(&mut self, name: &str, session: u64) -> Result<&mut Site, Rejected> {
        let site = self.find_site_mut(name)?;
        if site.session != Some(session) {
            return Err(Rejected::SessionClosed {
                name: name.to_string(),
                session,
            });
        }
        Ok(site)
    }

    /// The site was silent for W: what its shims fence by themselves is out,
    /// what waits for the site (`on_lost_contact: wait`) stays.
    pub(super) fn expire_leases(&mut self, name: &str) -> Result<Vec<Effect>, Rejected> {
        let site = self.find_site_mut(name)?;
        site.session = None;
        let id = site.id;
        let mut effects = Vec::new();
        let fenced =
            |task: &TaskId| self.jobs[&task.job].spec.on_lost_contact == OnLostContact::Restart;
        let out: Vec<TaskId> = self.open_tasks(|at| at == id).filter(fenced).collect();
        let lost = |task| (task, AttemptEnd::bare(Outcome::Lost));
        self.end_attempts(out.into_iter().map(lost), &mut effects);
        Ok(effects)
    }
}

/// Another state directory may take a site over only when the admitted one has
/// neither a live session nor an open lease.
pub fn check_claim(site: &Site, incarnation: &str) -> Result<(), Rejected> {
    let admitted = site.incarnation.as_deref();
    if admitted.is_none_or(|admitted| admitted == incarnation) {
        return Ok(());
    }
    let until = if site.session.is_some() {
        "its session ends"
    } else if site.running > 0 {
        "its open leases are out"
    } else {
        return Ok(());
    };
    Err(Rejected::SiteClaimed {
        name: site.spec.name.clone(),
        until: until.to_string(),
    })
}

fn check_site(spec: &SiteSpec) -> Result<(), Rejected> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if spec.name.is_empty() || spec.name.len() > 64 || !spec.name.chars().all(allowed) {
        return Err(Rejected::invalid(
            "site.name",
            format!("`{}` is not a site name", spec.name),
            "use 1 to 64 of a-z, 0-9, - and _",
        ));
    }
    let Some(contract) = &spec.contract else {
        return Ok(());
    };
    if contract.end <= contract.start {
        return Err(Rejected::invalid(
            format!("site[{}].contract", spec.name),
            "the contract ends before it starts",
            "set `end` after `start`",
        ));
    }
    let price = contract.price_micro_eur_per_core_hour;
    if price > PRICE_MICRO_EUR_MAX {
        return Err(Rejected::bounds(
            &format!("site[{}].contract.price (µ€)", spec.name),
            price as u64,
            0,
            PRICE_MICRO_EUR_MAX as u64,
        ));
    }
    if price < 0 || contract.budget_micro_eur.is_some_and(|b| b < 0) {
        return Err(Rejected::invalid(
            format!("site[{}].contract", spec.name),
            "price or budget is negative",
            "give amounts in euros from 0 up",
        ));
    }
    Ok(())
}
