use super::*;
use jeroboam_core::event::Placement;
use jeroboam_core::ids::{JobId, NodeId, TaskId};
use std::collections::BTreeSet;

/// The document's table is the program's.
#[test]
fn the_documented_table_is_the_one_described() {
    let documented: Vec<String> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter(|line| line.starts_with("| `jeroboam_"))
        .map(str::to_string)
        .collect();
    let described: Vec<String> = METRICS
        .iter()
        .map(|metric| {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            format!(
                "| `{}` | {kind} | {} | {} |",
                metric.name, metric.labels, metric.text
            )
        })
        .collect();
    assert_eq!(documented, described);
}

/// Everything that this crate records is described, and the other way round.
#[test]
fn every_metric_that_is_recorded_is_described() {
    let mut recorded = BTreeSet::new();
    let mut files = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src"
    ))];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a directory of sources");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file");
        let names = text.split("\"jeroboam_").skip(1);
        recorded
            .extend(names.filter_map(|rest| Some(format!("jeroboam_{}", rest.split_once('"')?.0))));
    }
    let described: BTreeSet<String> = METRICS
        .iter()
        .map(|metric| metric.name.to_string())
        .collect();
    // Not what stands before a name: the macro's prefix.
    let named = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    recorded.retain(|name| name != "jeroboam_" && named(name));
    assert_eq!(recorded, described);
}

#[test]
fn a_scrape_shows_the_state_in_base_units() {
    let recorder = builder().expect("buckets").build_recorder();
    let handle = recorder.handle();
    let page = metrics::with_local_recorder(&recorder, || {
        describe();
        let mut world = World::default();
        let spec = jeroboam_core::queue::QueueSpec {
            submitters: BTreeSet::new(),
            ..jeroboam_core::queue::QueueSpec::new("cms", 1)
        };
        world
            .apply(TimeMs(1), &jeroboam_core::event::Event::QueueCreated(spec))
            .expect("a queue");
        for queue in own_series(&world) {
            record_amounts(
                &world,
                "jeroboam_queue_held",
                &name_of(queue),
                &Resources::of(1_500, 2, 0, 0),
            );
        }
        waiting::record(&world, TimeMs(1));
        let placement = Placement {
            way: None,
            task: TaskId {
                job: JobId(1),
                index: 0,
            },
            node: NodeId(0),
        };
        let plan = Plan {
            placements: vec![placement; 7],
            preemptions: Vec::new(),
            reservations: None,
            complete: false,
        };
        record_round(
            Duration::from_millis(3),
            Duration::from_millis(2),
            &plan,
            &world,
        );
        handle.render()
    });
    for line in [
        "jeroboam_queue_held{queue=\"cms\",resource=\"cpu\"} 1.5",
        "jeroboam_queue_held{queue=\"(all)\",resource=\"memory\"} 2097152",
        "jeroboam_waiting_tasks{reason=\"busy\"} 0",
        "jeroboam_placements_total 7",
        "jeroboam_rounds_cut_total 1",
        "jeroboam_round_seconds_bucket{phase=\"plan\",le=\"0.005\"} 1",
        "# TYPE jeroboam_round_seconds histogram",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}
