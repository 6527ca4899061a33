//! What queued work costs in memory, counted at the allocator.
//!
//! `cargo bench --bench memory` prints bytes a job and a task, as asked of the allocator (what it adds for itself is in the
//! resident size, which `--bench store` prints); `-- --quick` runs small sizes, to see that the bench works. Nothing is asserted.

use jeroboam_core::event::Event;
use jeroboam_core::queue::QueueSpec;
use jeroboam_core::resources::Resources;
use jeroboam_core::spec::{BatchSpec, JobSpec, Needs};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOW: TimeMs = TimeMs(1_000_000_000_000);

/// The system's allocator, with a count of what is in use.
struct Counting;

static IN_USE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; the count is beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the block is the system's, since `alloc` gave it.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick" || arg == "--test");
    let scale = if quick { 100 } else { 1 };
    println!(
        "a job record is {} bytes",
        size_of::<jeroboam_core::job::Job>()
    );
    measure(
        "single jobs of 1,000 classes",
        1_000 / scale,
        1_000,
        1,
        1_000,
    );
    measure("arrays of 1,000 tasks", 10, 100 / scale, 1_000, 100);
    measure("one array of 1,000,000 tasks", 1, 1, 1_000_000, 1);
}

fn measure(name: &str, batches: u32, jobs: u32, count: u32, classes: u32) {
    let mut world = World::default();
    let queue = Event::QueueCreated(QueueSpec {
        submitters: BTreeSet::from(["*".to_string()]),
        ..QueueSpec::new("q", 1)
    });
    world.apply(NOW, &queue).expect("the queue is accepted");
    let before = IN_USE_BYTES.load(Ordering::Relaxed);
    for batch in 0..batches {
        let jobs = (0..jobs).map(|job| job_of(batch * jobs + job, count, classes));
        let submitted = Event::BatchSubmitted {
            request_id: format!("request-{batch}"),
            digest: [0; 32],
            by: "bench".into(),
            spec: BatchSpec {
                name: format!("batch-{batch}"),
                queue: "q".into(),
                jobs: jobs.collect(),
            },
        };
        world.apply(NOW, &submitted).expect("the batch is accepted");
    }
    let bytes = IN_USE_BYTES.load(Ordering::Relaxed) - before;
    let all_jobs = f64::from(batches) * f64::from(jobs);
    println!(
        "{name}: {:.0} bytes a job, {:.1} bytes a task ({all_jobs} jobs)",
        bytes as f64 / all_jobs,
        bytes as f64 / (all_jobs * f64::from(count)),
    );
}

fn job_of(number: u32, count: u32, classes: u32) -> JobSpec {
    let memory_mib = 1_024 + i64::from(number % classes);
    JobSpec {
        count,
        command: vec!["simulate".into(), "--seed".into(), number.to_string()],
        ..JobSpec::new(
            format!("job-{number}"),
            Needs::new(Resources::of(1_000, memory_mib, 0, 0), 3_600_000),
        )
    }
}
