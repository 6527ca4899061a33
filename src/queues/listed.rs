//! How queues are printed.
//!
//! The table shows cores and leaves out what no queue has; all resources are in the wide
//! one, in the facts of one queue, and in JSON.

use std::collections::{BTreeMap, BTreeSet};

use jeroboam_proto::v1;
use jeroboam_units::{Bytes, Cores};
use serde::Serialize;

use crate::output::{self, Amounts};

/// A queue, in JSON.
#[derive(Debug, Serialize)]
pub struct Queue {
    queue: String,
    weight: u32,
    cordoned: String,
    queued_max: u64,
    running_max: Option<u64>,
    user_running_max: Option<u64>,
    user_queued_max: Option<u64>,
    users: Vec<User>,
    submitters: Vec<String>,
    submitters_above: Vec<String>,
    queued: u64,
    running: u64,
    guarantee: Amounts,
    limit: Limits,
    demand: Amounts,
    entitlement: Amounts,
    held: Amounts,
    reserved: Amounts,
    usage: Amounts,
    core_ms: i64,
    cost_micro_eur: i64,
    isolation: &'static str,
    tenant: String,
}

/// Tasks of a user in a queue that bounds them, in JSON.
#[derive(Debug, Serialize)]
struct User {
    user: String,
    running: u64,
    waiting: u64,
}

impl User {
    fn of(user: v1::UserTasks) -> Self {
        Self {
            user: user.user,
            running: user.running,
            waiting: user.waiting,
        }
    }
}

impl Queue {
    /// Reads the wire's queue.
    pub fn of(queue: v1::Queue) -> Self {
        let bounds = queue.bounds.unwrap_or_default();
        Self {
            isolation: output::isolation(queue.isolation()),
            running_max: bounds.running_max,
            user_running_max: bounds.user_running_max,
            user_queued_max: bounds.user_queued_max,
            users: queue.users.into_iter().map(User::of).collect(),
            guarantee: Amounts::of(queue.guarantee.as_ref()),
            limit: Limits::of(queue.limit.unwrap_or_default()),
            reserved: Amounts::of(queue.reserved.as_ref()),
            demand: Amounts::of(queue.demand.as_ref()),
            entitlement: Amounts::of(queue.entitlement.as_ref()),
            held: Amounts::of(queue.held.as_ref()),
            usage: Amounts::of(queue.usage.as_ref()),
            queue: queue.name,
            weight: queue.weight,
            cordoned: queue.cordoned,
            queued_max: queue.queued_max,
            submitters: queue.submitters,
            submitters_above: queue.submitters_above,
            queued: queue.queued,
            running: queue.running,
            core_ms: queue.core_ms,
            cost_micro_eur: queue.cost_micro_eur,
            tenant: queue.tenant,
        }
    }

    /// The least isolation; nothing where none is set.
    fn isolation(&self) -> String {
        match self.isolation {
            "shared" => String::new(),
            level => level.to_owned(),
        }
    }

    /// All who may submit here, by name.
    fn may_submit(&self) -> String {
        let named: BTreeSet<&str> = self
            .submitters
            .iter()
            .chain(&self.submitters_above)
            .map(String::as_str)
            .collect();
        match named {
            named if named.is_empty() => "nobody".to_owned(),
            named if named.contains("*") => "*".to_owned(),
            named => named.into_iter().collect::<Vec<_>>().join(","),
        }
    }
}

/// What may be held at most, in JSON; null is as much as there is.
#[derive(Debug, Serialize)]
struct Limits {
    cpu_milli: Option<i64>,
    memory_mib: Option<i64>,
    disk_mib: Option<i64>,
    gpu: Option<i64>,
    extended: BTreeMap<String, i64>,
}

impl Limits {
    fn of(limit: v1::Limit) -> Self {
        Self {
            cpu_milli: limit.cpu_milli,
            memory_mib: limit.memory_mib,
            disk_mib: limit.disk_mib,
            gpu: limit.gpu,
            extended: limit.extended,
        }
    }

    fn cpu(&self) -> String {
        let cpu = self.cpu_milli.map(|milli| Cores(milli).to_string());
        cpu.unwrap_or_default()
    }

    /// `100 cpu, 0 gpu`; a limit of none is one, too.
    fn text(&self) -> String {
        let mib = |amount| Bytes::from_mib(amount).humane();
        let standing = [
            self.cpu_milli.map(|milli| format!("{} cpu", Cores(milli))),
            self.memory_mib
                .map(|amount| format!("{} memory", mib(amount))),
            self.disk_mib.map(|amount| format!("{} disk", mib(amount))),
            self.gpu.map(|count| format!("{count} gpu")),
        ];
        let named = self.extended.iter();
        let named = named.map(|(name, count)| format!("{count} {name}"));
        let parts: Vec<String> = standing.into_iter().flatten().chain(named).collect();
        parts.join(", ")
    }
}

/// A column of the table; one that is empty in every row is left out if it may be.
struct Column {
    heading: &'static str,
    /// Left out where no queue has any.
    optional: bool,
    /// May be cut to the terminal's width.
    cut: bool,
    text: fn(&Queue) -> String,
}

const fn column(heading: &'static str, text: fn(&Queue) -> String) -> Column {
    Column {
        heading,
        optional: false,
        cut: false,
        text,
    }
}

const fn optional(heading: &'static str, text: fn(&Queue) -> String) -> Column {
    Column {
        optional: true,
        ..column(heading, text)
    }
}

const fn cut(heading: &'static str, text: fn(&Queue) -> String) -> Column {
    Column {
        cut: true,
        ..column(heading, text)
    }
}

/// Cores; nothing for none.
fn cores(amounts: &Amounts) -> String {
    match amounts.cpu() {
        none if none == "0" => String::new(),
        cores => cores,
    }
}

const TABLE: [Column; 15] = [
    column("queue", |queue| queue.queue.clone()),
    column(">weight", |queue| queue.weight.to_string()),
    optional(">guaranteed cpu", |queue| cores(&queue.guarantee)),
    optional(">limit cpu", |queue| queue.limit.cpu()),
    column(">entitled cpu", |queue| queue.entitlement.cpu()),
    column(">held cpu", |queue| queue.held.cpu()),
    optional(">reserved cpu", |queue| cores(&queue.reserved)),
    column(">usage cpu", |queue| queue.usage.cpu()),
    column(">demand cpu", |queue| queue.demand.cpu()),
    column(">queued", |queue| queue.queued.to_string()),
    column(">running", |queue| queue.running.to_string()),
    column(">core-h", |queue| output::core_hours(queue.core_ms)),
    column(">euros", |queue| output::euros(queue.cost_micro_eur)),
    cut("may submit", Queue::may_submit),
    cut("cordoned", |queue| queue.cordoned.clone()),
];

const WIDE: [Column; 12] = [
    column("queue", |queue| queue.queue.clone()),
    column(">weight", |queue| queue.weight.to_string()),
    optional("guarantee", |queue| queue.guarantee.text()),
    optional("limit", |queue| queue.limit.text()),
    optional("isolation", Queue::isolation),
    column("demand", |queue| queue.demand.text()),
    column("entitlement", |queue| queue.entitlement.text()),
    column("held", |queue| queue.held.text()),
    optional("reserved", |queue| queue.reserved.text()),
    column("usage", |queue| queue.usage.text()),
    column(">queued", |queue| queue.queued.to_string()),
    column(">running", |queue| queue.running.to_string()),
];

/// Cores of each, cut to the terminal's width.
pub fn table(queues: &[Queue]) -> String {
    print(&TABLE, queues)
}

/// All resources of each, as wide as it is.
pub fn wide(queues: &[Queue]) -> String {
    print(&WIDE, queues)
}

fn print(columns: &[Column], queues: &[Queue]) -> String {
    let there = |column: &&Column| {
        let mut texts = queues.iter().map(column.text);
        !column.optional || texts.any(|text| !text.is_empty())
    };
    let columns: Vec<&Column> = columns.iter().filter(there).collect();
    let row = |queue| columns.iter().map(|column| (column.text)(queue)).collect();
    let mut rows: Vec<Vec<String>> = queues.iter().map(row).collect();
    let headings: Vec<&str> = columns.iter().map(|column| column.heading).collect();
    let cut: Vec<usize> = (0..columns.len()).filter(|c| columns[*c].cut).collect();
    output::fit(&headings, &mut rows, &cut, output::terminal_columns());
    output::table(&headings, rows)
}

/// All there is to say of one.
pub fn facts(queue: &Queue) -> String {
    let count = |max: Option<u64>| max.map(|max| max.to_string()).unwrap_or_default();
    let facts = output::facts(&[
        ("queue", queue.queue.clone()),
        ("weight", queue.weight.to_string()),
        ("queued at most", queue.queued_max.to_string()),
        ("running at most", count(queue.running_max)),
        ("a user's running", count(queue.user_running_max)),
        ("a user's queued", count(queue.user_queued_max)),
        ("may submit", queue.may_submit()),
        ("cordoned", queue.cordoned.clone()),
        ("guarantee", queue.guarantee.text()),
        ("limit", queue.limit.text()),
        ("isolation", queue.isolation()),
        ("tenant", queue.tenant.clone()),
        ("entitlement", queue.entitlement.text()),
        ("held", queue.held.text()),
        ("reserved", queue.reserved.text()),
        ("usage", queue.usage.text()),
        ("demand", queue.demand.text()),
        ("queued", queue.queued.to_string()),
        ("running", queue.running.to_string()),
        ("core-hours", output::core_hours(queue.core_ms)),
        ("euros", output::euros(queue.cost_micro_eur)),
    ]);
    if queue.users.is_empty() {
        return facts;
    }
    let row = |user: &User| {
        vec![
            user.user.clone(),
            user.running.to_string(),
            user.waiting.to_string(),
        ]
    };
    let rows = queue.users.iter().map(row).collect();
    let users = output::table(&["user", ">running", ">waiting"], rows);
    format!("{facts}\n\n{users}")
}
