//! How verbs print: tables for people, JSON for programs.
//!
//! The rule: what a scheduler sends is data; signs that a terminal would obey
//! never reach it. JSON has the field names of `docs/commands.md`, lengths of
//! time in milliseconds, moments as RFC 3339. No colours.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::SystemTime;

use comfy_table::{Cell, CellAlignment};
use jeroboam_proto::v1;
use jeroboam_units::{Bytes, Cores, Instant, MicroEuro, Span};
use serde::Serialize;

use crate::failure::Failure;

/// Option of every verb that prints a result.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Output {
    /// How to print the result
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub output: Form,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people; may change from version to version
    Table,
    /// For programs; its field names are stable
    Json,
}

impl Output {
    /// Prints `result` as JSON, or else what `table` makes of it.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print<T: Serialize>(
        self,
        result: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.output {
            Form::Table => print(&table(result)),
            Form::Json => {
                let json = serde_json::to_string_pretty(result);
                print(&json.map_err(|error| Failure::Here(error.into()))?)
            }
        }
    }
}

/// Writes the text and a line's end to standard output. A reader that has gone
/// (`jero jobs | head`) is no failure.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let text = text.trim_end();
    if text.is_empty() {
        return Ok(());
    }
    write(format!("{text}\n").as_bytes())
}

/// Writes bytes to standard output as they are.
///
/// # Errors
/// Standard output cannot be written.
pub fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(Failure::local("write", "standard output")),
    }
}

/// Columns of the terminal that standard output is, if it is one.
pub fn terminal_columns() -> Option<usize> {
    let (_, columns) = console::Term::stdout().size_checked()?;
    Some(usize::from(columns))
}

/// Cuts the texts in these columns of a table down where it would be wider than
/// the terminal. The widest is cut first, and none below its heading.
pub fn fit(
    headings: &[&str],
    rows: &mut [Vec<String>],
    cut: &[usize],
    terminal_columns: Option<usize>,
) {
    let Some(terminal_columns) = terminal_columns else {
        return;
    };
    let heading = |column: usize| headings[column].trim_start_matches('>').chars().count();
    let mut widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([heading(column)]).max().unwrap_or(0)
        })
        .collect();
    let mut excess =
        (widths.iter().sum::<usize>() + 2 * (headings.len() - 1)).saturating_sub(terminal_columns);
    while excess > 0 {
        let room = |column: &&usize| widths[**column] > heading(**column).max(CUT_MIN);
        let Some(&widest) = cut
            .iter()
            .filter(room)
            .max_by_key(|column| widths[**column])
        else {
            break;
        };
        widths[widest] -= 1;
        excess -= 1;
    }
    for row in rows {
        for &column in cut {
            let text = &mut row[column];
            if text.chars().count() > widths[column] {
                *text = text.chars().take(widths[column] - 1).chain(['…']).collect();
            }
        }
    }
}

/// The fewest signs that a cut text keeps, with the one that says that it is cut.
const CUT_MIN: usize = 6;

/// A table without lines; a heading that starts with `>` aligns its column to
/// the right. Empty tables say so.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "none".to_owned();
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(
        headings
            .iter()
            .map(|heading| heading.trim_start_matches('>').to_uppercase()),
    );
    for row in rows {
        table.add_row(row.into_iter().map(|text| Cell::new(plain(&text))));
    }
    for (column, heading) in table.column_iter_mut().zip(headings) {
        column.set_padding((0, 2));
        if heading.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Names and values, one to a line.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let told = facts.iter().filter(|(_, value)| !value.is_empty());
    let lines = told.map(|(name, value)| format!("{name:width$}  {}", plain(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The text with signs that a terminal would obey made visible.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A level of isolation by its name in files.
pub fn isolation(level: v1::Isolation) -> &'static str {
    match level {
        v1::Isolation::Shared => "shared",
        v1::Isolation::Sandbox => "sandbox",
        v1::Isolation::Kernel => "kernel",
    }
}

/// The present moment.
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `5m3s ago`; after two days the moment itself; nothing for "not yet".
pub fn ago(moment_ms: i64) -> String {
    const RECENT_MS: i64 = 2 * 86_400_000;
    let age_ms = now_ms() - moment_ms;
    match moment_ms {
        0 => String::new(),
        _ if (0..1000).contains(&age_ms) => "now".to_owned(),
        _ if age_ms.abs() > RECENT_MS => Instant(moment_ms / 1000 * 1000).to_string(),
        _ if age_ms < 0 => format!("in {}", Span(-age_ms).humane()),
        _ => format!("{} ago", Span(age_ms).humane()),
    }
}

/// For JSON: RFC 3339, or null for "not yet".
pub fn moment(moment_ms: i64) -> Option<Instant> {
    (moment_ms != 0).then_some(Instant(moment_ms))
}

/// Core-time in hours, for tables: `12.5`.
pub fn core_hours(core_ms: i64) -> String {
    let hundredths = core_ms / 36_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Euros for tables; nothing for none.
pub fn euros(micro: i64) -> String {
    if micro == 0 {
        String::new()
    } else {
        MicroEuro(micro).to_string()
    }
}

/// The word for a task's state.
pub fn state(state: i32) -> &'static str {
    match v1::TaskState::try_from(state).unwrap_or(v1::TaskState::Unspecified) {
        v1::TaskState::Unspecified => "unknown",
        v1::TaskState::Held => "held",
        v1::TaskState::Blocked => "blocked",
        v1::TaskState::Queued => "queued",
        v1::TaskState::Leased => "leased",
        v1::TaskState::Starting => "starting",
        v1::TaskState::Running => "running",
        v1::TaskState::Stopping => "stopping",
        v1::TaskState::Succeeded => "succeeded",
        v1::TaskState::Failed => "failed",
        v1::TaskState::Cancelled => "cancelled",
    }
}

/// How many tasks are in each state that has any.
pub type Counts = BTreeMap<&'static str, u64>;

/// Reads the wire's counts.
pub fn counts(tasks: &[v1::StateCount]) -> Counts {
    let mut counts = Counts::new();
    for count in tasks.iter().filter(|count| count.count > 0) {
        *counts.entry(state(count.state)).or_default() += u64::from(count.count);
    }
    counts
}

/// `40 running, 2 succeeded`, in the order of a task's life.
pub fn counts_text(counts: &Counts) -> String {
    const LIFE: [&str; 11] = [
        "held",
        "blocked",
        "queued",
        "leased",
        "starting",
        "running",
        "stopping",
        "succeeded",
        "failed",
        "cancelled",
        "unknown",
    ];
    let there = LIFE
        .iter()
        .filter_map(|state| Some(format!("{} {state}", counts.get(state)?)));
    there.collect::<Vec<_>>().join(", ")
}

/// An amount of resources in JSON.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Amounts {
    cpu_milli: i64,
    memory_mib: i64,
    disk_mib: i64,
    gpu: i64,
    extended: BTreeMap<String, i64>,
}

impl Amounts {
    /// Reads the wire's amounts; absent means none.
    pub fn of(resources: Option<&v1::Resources>) -> Self {
        let resources = resources.cloned().unwrap_or_default();
        Self {
            cpu_milli: resources.cpu_milli,
            memory_mib: resources.memory_mib,
            disk_mib: resources.disk_mib,
            gpu: resources.gpu,
            extended: resources.extended,
        }
    }

    /// For tables: the cores.
    pub fn cpu(&self) -> String {
        Cores(self.cpu_milli).to_string()
    }

    /// For tables: the memory.
    pub fn memory(&self) -> String {
        Bytes::from_mib(self.memory_mib).humane()
    }

    /// For tables: the disk.
    pub fn disk(&self) -> String {
        Bytes::from_mib(self.disk_mib).humane()
    }

    /// For tables: the GPUs.
    pub fn gpu(&self) -> String {
        self.gpu.to_string()
    }

    /// For tables: all that there is, `1 cpu, 2GiB memory`.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        let mut part = |there: bool, text: String| parts.extend(there.then_some(text));
        part(self.cpu_milli != 0, format!("{} cpu", self.cpu()));
        part(self.memory_mib != 0, format!("{} memory", self.memory()));
        part(self.disk_mib != 0, format!("{} disk", self.disk()));
        part(self.gpu != 0, format!("{} gpu", self.gpu));
        for (name, count) in &self.extended {
            part(*count != 0, format!("{count} {name}"));
        }
        parts.join(", ")
    }
}

/// Why something waits, in JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    /// A stable name.
    pub code: String,
    /// The same in words.
    pub text: String,
    /// What change would let it run.
    pub remedy: String,
}

impl Waiting {
    /// Reads the wire's reason; an empty one is none.
    pub fn of(reason: Option<&v1::WaitingReason>) -> Option<Self> {
        let reason = reason.filter(|reason| !reason.code.is_empty())?;
        let v1::WaitingReason { code, text, remedy } = reason.clone();
        Some(Self { code, text, remedy })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn tables_are_compact_aligned_and_harmless() {
        let rows = [["job-1", "5", "a"], ["job-20", "1000", "\u{1b}[31mred\n"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).to_vec();
        expect![[r#"
            JOB     TASKS  NAME
            job-1       5  a
            job-20   1000  �[31mred�"#]]
        .assert_eq(&table(&["job", ">tasks", "name"], rows));
        assert_eq!(table(&["job"], Vec::new()), "none");
    }

    #[test]
    fn wide_tables_are_cut_to_the_terminal_where_they_may_be() {
        let headings = ["node", "labels", "taints"];
        let wide = || {
            vec![
                ["n1", "rack=r1,disk=ssd,os=el9", "gpu=a100"]
                    .map(str::to_owned)
                    .to_vec(),
            ]
        };
        let told = |terminal_columns| {
            let mut rows = wide();
            fit(&headings, &mut rows, &[1, 2], terminal_columns);
            table(&headings, rows)
        };
        assert_eq!(told(None), told(Some(200)));
        expect![[r#"
            NODE  LABELS                   TAINTS
            n1    rack=r1,disk=ssd,os=el9  gpu=a100

            NODE  LABELS          TAINTS
            n1    rack=r1,disk=…  gpu=a100

            NODE  LABELS  TAINTS
            n1    rack=…  gpu=a…"#]]
        .assert_eq(&[told(Some(39)), told(Some(30)), told(Some(5))].join("\n\n"));
    }

    #[test]
    fn facts_leave_out_what_is_not_there() {
        let told = facts(&[
            ("name", "x".into()),
            ("finished", String::new()),
            ("cost", "1".into()),
        ]);
        expect![[r#"
            name      x
            cost      1"#]]
        .assert_eq(&told);
    }

    #[test]
    fn moments_are_told_as_ages() {
        let now_ms = now_ms();
        assert_eq!(ago(0), "");
        assert_eq!(ago(now_ms - 303_500), "5m3s ago");
        assert_eq!(ago(1_772_352_000_250), "2026-03-01T08:00:00Z");
        assert!(ago(now_ms + 100_500).starts_with("in 1m"));
    }

    #[test]
    fn amounts_and_counts_are_told_in_order() {
        let extended = [("fpga".to_owned(), 2)].into();
        let wire = v1::Resources {
            cpu_milli: 1500,
            memory_mib: 2560,
            gpu: 1,
            extended,
            disk_mib: 0,
        };
        let counted = |state: v1::TaskState, count| v1::StateCount {
            state: state.into(),
            count,
        };
        let tasks = [
            counted(v1::TaskState::Succeeded, 2),
            counted(v1::TaskState::Queued, 0),
            counted(v1::TaskState::Running, 40),
        ];
        assert_eq!(
            Amounts::of(Some(&wire)).text(),
            "1.5 cpu, 2.5GiB memory, 1 gpu, 2 fpga"
        );
        assert_eq!(counts_text(&counts(&tasks)), "40 running, 2 succeeded");
        assert_eq!(core_hours(5_430_000), "1.50");
    }
}
