//! What the jobs wrote down about themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file to which every task appends a line at its start and at its end.
pub struct Audit {
    path: PathBuf,
    directory: PathBuf,
}

#[derive(Debug, Default)]
struct Run {
    attempt: u32,
    started_ns: u64,
    ended_ns: Option<u64>,
}

impl Audit {
    /// An empty audit below a directory.
    pub fn new(directory: &Path) -> Self {
        let path = directory.join("audit");
        std::fs::write(&path, "").unwrap();
        Audit {
            path,
            directory: directory.to_path_buf(),
        }
    }

    /// A batch whose tasks take a fraction of a second each.
    pub fn batch_file(&self, tasks: u64) -> PathBuf {
        let text = format!(
            r#"name: audited
queue: vo.group.user
jobs:
  - name: work
    count: {tasks}
    resources: {{cpu: 1, memory: 64MiB}}
    walltime: 1m
    run: |
      note() {{ echo "$1 $JERO_JOB $JERO_INDEX $JERO_ATTEMPT $(date +%s%N)" >> {}; }}
      note start
      sleep 0.$((JERO_INDEX % 7 + 1))
      note end
"#,
            self.path.display()
        );
        let path = self.directory.join("audited.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The task ran to its end, and no two of its attempts at a time.
    pub fn check(&self, job: u64, index: u64) {
        let all = self.read();
        let runs = all
            .get(&(job, index))
            .unwrap_or_else(|| panic!("job-{job}[{index}] never ran"));
        let ended = runs.iter().filter(|run| run.ended_ns.is_some()).count();
        assert_eq!(ended, 1, "job-{job}[{index}] ran to its end: {runs:?}");
        for (earlier, later) in runs.iter().zip(&runs[1..]) {
            let ended_ns = earlier.ended_ns.unwrap_or(u64::MAX);
            assert!(
                ended_ns <= later.started_ns,
                "job-{job}[{index}]: attempts {} and {} ran at the same time: {runs:?}",
                earlier.attempt,
                later.attempt
            );
        }
    }

    /// Tasks that started.
    pub fn tasks(&self) -> usize {
        self.read().len()
    }

    /// Attempts that started.
    pub fn starts(&self) -> usize {
        self.read().values().map(Vec::len).sum()
    }

    /// Runs by task, in the order of their starts.
    fn read(&self) -> BTreeMap<(u64, u64), Vec<Run>> {
        let mut runs: BTreeMap<(u64, u64), Vec<Run>> = BTreeMap::new();
        for line in std::fs::read_to_string(&self.path).unwrap().lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [what, job, index, attempt, at] = fields[..] else {
                panic!("{line:?}")
            };
            // Printed ids have a prefix, `job-17`.
            let job = job.trim_start_matches("job-").parse().unwrap();
            let task = runs.entry((job, index.parse().unwrap())).or_default();
            let (attempt, at) = (attempt.parse().unwrap(), at.parse().unwrap());
            match what {
                "start" => {
                    assert!(
                        task.iter().all(|run| run.attempt != attempt),
                        "started twice: {line}"
                    );
                    task.push(Run {
                        attempt,
                        started_ns: at,
                        ended_ns: None,
                    });
                }
                "end" => {
                    let run = task.iter_mut().find(|run| run.attempt == attempt).unwrap();
                    assert!(run.ended_ns.replace(at).is_none(), "ended twice: {line}");
                }
                other => panic!("{other:?}"),
            }
        }
        for task in runs.values_mut() {
            task.sort_by_key(|run| run.started_ns);
        }
        runs
    }
}
