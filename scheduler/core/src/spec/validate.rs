//! What can be said about a submission without the World: bounds, names, dependencies.

use super::{
    BatchSpec, By, DELAY_MAX_MS, GROWTH_PERMILLE_MAX, JOBS_PER_BATCH_MAX, JobSpec, LIST_MAX,
    NAME_MAX, RETRIES_MAX, RetryRule, SPEC_BYTES_MAX, TASKS_PER_BATCH_MAX, WALLTIME_MAX_MS,
};
use crate::rejected::Rejected;
use crate::resources::{AMOUNT_MAX, MEMORY};
use std::collections::BTreeMap;

impl BatchSpec {
    /// Checks everything that needs no World.
    ///
    /// # Errors
    /// The first thing found wrong, with its place (`jobs[2].after_ok`) and remedy.
    pub fn validate(&self) -> Result<(), Rejected> {
        check_name("name", &self.name)?;
        if self.jobs.is_empty() || self.jobs.len() > JOBS_PER_BATCH_MAX {
            return Err(Rejected::bounds(
                "jobs",
                self.jobs.len() as u64,
                1,
                JOBS_PER_BATCH_MAX as u64,
            ));
        }
        let tasks: u64 = self.jobs.iter().map(|job| u64::from(job.count)).sum();
        if tasks > TASKS_PER_BATCH_MAX {
            return Err(Rejected::bounds(
                "jobs[].count (sum of tasks)",
                tasks,
                1,
                TASKS_PER_BATCH_MAX,
            ));
        }
        let mut names = BTreeMap::new();
        for (position, job) in self.jobs.iter().enumerate() {
            job.validate(position)?;
            if let Some(first) = names.insert(job.name.as_str(), position) {
                return Err(Rejected::invalid(
                    format!("jobs[{position}].name"),
                    format!(
                        "the job name `{}` is already that of jobs[{first}]",
                        job.name
                    ),
                    "give every job of the batch a name of its own",
                ));
            }
        }
        self.check_dependencies(&names)
    }

    /// Every dependency names a job of the batch, and no chain leads back.
    fn check_dependencies(&self, names: &BTreeMap<&str, usize>) -> Result<(), Rejected> {
        for (position, job) in self.jobs.iter().enumerate() {
            let after = job.after.iter().map(|after| (after.field(), &after.job));
            let outputs = job.outputs_of.iter().map(|name| ("outputs_of", name));
            for (field, wanted) in after.chain(outputs) {
                if !names.contains_key(wanted.as_str()) {
                    return Err(Rejected::invalid(
                        format!("jobs[{position}].{field}"),
                        format!("there is no job `{wanted}` in this batch"),
                        "name a job of the same batch",
                    ));
                }
            }
            for after in job.after.iter().filter(|after| after.by == By::Element) {
                let other = &self.jobs[names[after.job.as_str()]];
                if other.count != job.count {
                    let (here, there) = (job.count, other.count);
                    return Err(Rejected::invalid(
                        format!("jobs[{position}].{}", after.field()),
                        format!("`{}` has {there} tasks and this job {here}", after.job),
                        "give both the same `count`, or wait for the whole job",
                    ));
                }
            }
        }
        match self.find_cycle(names) {
            None => Ok(()),
            Some(cycle) => Err(Rejected::invalid(
                "jobs[].after_ok".to_string(),
                format!("the dependencies form a cycle: {}", cycle.join(" -> ")),
                "remove one of these dependencies",
            )),
        }
    }

    /// Depth-first search with an explicit stack, since chains may be long.
    fn find_cycle(&self, names: &BTreeMap<&str, usize>) -> Option<Vec<String>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let needs: Vec<Vec<usize>> = self
            .jobs
            .iter()
            .map(|job| job.dependencies().map(|(name, ..)| names[name]).collect())
            .collect();
        let mut marks = vec![Mark::New; self.jobs.len()];
        for root in 0..self.jobs.len() {
            let mut path: Vec<(usize, usize)> = Vec::new();
            if marks[root] == Mark::New {
                marks[root] = Mark::Open;
                path.push((root, 0));
            }
            while let Some((job, next)) = path.last_mut() {
                let Some(&needed) = needs[*job].get(*next) else {
                    marks[*job] = Mark::Done;
                    path.pop();
                    continue;
                };
                *next += 1;
                match marks[needed] {
                    Mark::Done => {}
                    Mark::New => {
                        marks[needed] = Mark::Open;
                        path.push((needed, 0));
                    }
                    Mark::Open => {
                        let start = path.iter().position(|(job, _)| *job == needed).unwrap_or(0);
                        let cycle = path[start..].iter().map(|(job, _)| *job).chain([needed]);
                        return Some(cycle.map(|job| self.jobs[job].name.clone()).collect());
                    }
                }
            }
        }
        None
    }
}

impl JobSpec {
    /// A NUL character would end a word before its end: no program can be given one.
    fn check_nul(&self, place: &impl Fn(&str) -> String) -> Result<(), Rejected> {
        let nul = |word: &String| word.contains('\0');
        let env = || self.env.iter().any(|(name, value)| nul(name) || nul(value));
        let field = match self.command.iter().any(nul) {
            true => "command",
            false if env() => "env",
            false => return Ok(()),
        };
        Err(Rejected::invalid(
            place(field),
            "it has a NUL character, which no program can be given",
            "leave it out",
        ))
    }

    fn validate(&self, position: usize) -> Result<(), Rejected> {
        let place = |field: &str| format!("jobs[{position}].{field}");
        check_name(&place("name"), &self.name)?;
        if self.count == 0 || u64::from(self.count) > TASKS_PER_BATCH_MAX {
            return Err(Rejected::bounds(
                &place("count"),
                self.count.into(),
                1,
                TASKS_PER_BATCH_MAX,
            ));
        }
        if self
            .command
            .first()
            .is_none_or(|program| program.is_empty())
        {
            return Err(Rejected::invalid(
                place("command"),
                "the command is empty",
                "name a program",
            ));
        }
        self.check_nul(&place)?;
        self.check_bytes(position)?;
        self.check_lists(&place)?;
        self.check_retries(position)?;
        let resources = &self.needs.resources;
        if !resources.is_valid() || resources.is_zero() {
            return Err(Rejected::invalid(
                place("resources"),
                "a task must ask for something, and for no negative or absurd amount",
                "ask at least for cpu, for example {cpu: 1, memory: 1GiB}",
            ));
        }
        let walltime_ms = self.needs.walltime_ms;
        if !(1..=WALLTIME_MAX_MS).contains(&walltime_ms) {
            return Err(Rejected::bounds(
                &place("walltime (ms)"),
                walltime_ms.max(0) as u64,
                1,
                WALLTIME_MAX_MS as u64,
            ));
        }
        self.check_gang(&place)?;
        for file in &self.inputs {
            check_path(&place("inputs"), &file.path)?;
        }
        for glob in &self.outputs {
            check_path(&place("outputs"), glob)?;
        }
        Ok(())
    }

    fn check_gang(&self, place: &dyn Fn(&str) -> String) -> Result<(), Rejected> {
        if !(1..=self.count).contains(&self.min) {
            let (min, count) = (self.min.into(), self.count.into());
            return Err(Rejected::bounds(&place("min"), min, 1, count));
        }
        if self.running_max.is_some_and(|max| max < self.min) {
            return Err(Rejected::invalid(
                place("running_max"),
                format!("fewer than the {} tasks that go together", self.min),
                "raise `running_max`, or lower `min`",
            ));
        }
        if self.within.is_some() && self.min < 2 {
            return Err(Rejected::invalid(
                place("within"),
                "it says what the places of a gang have in common, and there is no gang",
                "set `min` to 2 or more, or leave `within` out",
            ));
        }
        Ok(())
    }

    fn check_bytes(&self, position: usize) -> Result<(), Rejected> {
        let env_bytes = self
            .env
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let labels = self.needs.labels.iter();
        let labels_bytes = labels.map(|(key, value)| key.len() + value.len());
        let taints = self.needs.tolerations.iter();
        let taints_bytes = taints.map(|taint| taint.key.len() + taint.value.len());
        let strings = self
            .command
            .iter()
            .chain(&self.outputs)
            .chain(self.inputs.iter().map(|file| &file.path))
            .chain([&self.image]);
        let bytes: usize = strings
            .map(String::len)
            .chain(env_bytes)
            .chain(labels_bytes)
            .chain(taints_bytes)
            .sum();
        if bytes > SPEC_BYTES_MAX {
            return Err(Rejected::bounds(
                &format!("jobs[{position}] (command, env, labels and paths together)"),
                bytes as u64,
                0,
                SPEC_BYTES_MAX as u64,
            ));
        }
        Ok(())
    }

    fn check_lists(&self, place: &dyn Fn(&str) -> String) -> Result<(), Rejected> {
        let lists = [
            ("command", self.command.len()),
            ("env", self.env.len()),
            ("labels", self.needs.labels.len()),
            ("tolerations", self.needs.tolerations.len()),
            ("sites", self.needs.sites.len()),
            ("sites_excluded", self.needs.sites_excluded.len()),
            ("after_ok and the like", self.after.len()),
            ("inputs", self.inputs.len()),
            ("outputs", self.outputs.len()),
            ("outputs_of", self.outputs_of.len()),
            ("retries", self.retries.len()),
        ];
        match lists.into_iter().find(|(_, length)| *length > LIST_MAX) {
            None => Ok(()),
            Some((field, length)) => Err(Rejected::bounds(
                &place(field),
                length as u64,
                0,
                LIST_MAX as u64,
            )),
        }
    }

    fn check_retries(&self, position: usize) -> Result<(), Rejected> {
        for (number, rule) in self.retries.iter().enumerate() {
            let bounds = [
                ("exit_codes", rule.exit_codes.len() as u64, LIST_MAX as u64),
                ("classes", rule.classes.len() as u64, LIST_MAX as u64),
                ("times", rule.times.into(), RETRIES_MAX.into()),
                // A negative one is far too large.
                ("delay (ms)", rule.delay_ms as u64, DELAY_MAX_MS as u64),
            ];
            if let Some((field, value, max)) =
                bounds.into_iter().find(|(_, value, max)| value > max)
            {
                let place = format!("jobs[{position}].retries[{number}].{field}");
                return Err(Rejected::bounds(&place, value, 0, max));
            }
            self.check_alteration(&format!("jobs[{position}].retries[{number}]"), rule)?;
        }
        Ok(())
    }

    /// What a rule changes for the next attempt can be changed.
    fn check_alteration(&self, place: &str, rule: &RetryRule) -> Result<(), Rejected> {
        if rule.alters() && self.min > 1 {
            return Err(Rejected::invalid(
                place,
                "the tasks of a gang have the same needs, and no attempt can have others",
                "leave out `memory`, `avoid_node` and `change_site`, or set `min` to 1",
            ));
        }
        if !rule.grows() {
            return match rule.memory_max_mib {
                None => Ok(()),
                Some(_) => Err(Rejected::invalid(
                    format!("{place}.memory_max"),
                    "it bounds what `memory` grows to, and that does not grow",
                    "add `memory: x2`, or leave `memory_max` out",
                )),
            };
        }
        let growth = u64::from(rule.memory_permille);
        let growth_max = u64::from(GROWTH_PERMILLE_MAX);
        if !(1_001..=growth_max).contains(&growth) {
            let place = format!("{place}.memory (thousandths)");
            return Err(Rejected::bounds(&place, growth, 1_001, growth_max));
        }
        let asked = self.needs.resources[MEMORY];
        if asked == 0 || rule.memory_max_mib.is_some_and(|max| max <= asked) {
            return Err(Rejected::invalid(
                format!("{place}.memory"),
                "the memory that the job asks for cannot grow",
                "ask for some `memory`, and for less than `memory_max`",
            ));
        }
        if rule.memory_max_mib.is_some_and(|max| max > AMOUNT_MAX) {
            let (place, max) = (format!("{place}.memory_max (MiB)"), rule.memory_max_mib);
            let max = max.unwrap_or_default() as u64;
            return Err(Rejected::bounds(&place, max, 1, AMOUNT_MAX as u64));
        }
        Ok(())
    }
}

/// Whether a text can be the name of a batch or a job.
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    // Names become directories: `.` and `..` are other ones.
    let standing = text == "." || text == "..";
    (1..=NAME_MAX).contains(&text.len()) && !standing && text.chars().all(allowed)
}

/// Whether a path, or a pattern of paths, is relative and leads nowhere outside
/// the directory it starts from.
pub fn stays_inside(path: &str) -> bool {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    !path.contains('\0') && path.split('/').all(plain)
}

fn check_name(place: &str, name: &str) -> Result<(), Rejected> {
    if !is_name(name) {
        return Err(Rejected::invalid(
            place.to_string(),
            format!("`{name}` is not a name"),
            "use 1 to 128 letters, digits and the signs - _ . +, other than `.` and `..`",
        ));
    }
    Ok(())
}

/// A path or glob that stays inside the scratch directory.
fn check_path(place: &str, path: &str) -> Result<(), Rejected> {
    if stays_inside(path) {
        return Ok(());
    }
    Err(Rejected::invalid(
        place.to_string(),
        format!("`{path}` does not name a place inside the scratch directory"),
        "use a relative path without `.` and `..`",
    ))
}
