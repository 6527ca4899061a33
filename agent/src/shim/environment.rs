//! The environment of a job: small, the same everywhere, nothing inherited.
//!
//! | variable | value |
//! |---|---|
//! | `PATH` | `/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin` |
//! | `HOME`, `JERO_SCRATCH` | the attempt's scratch directory, where the job starts |
//! | `TMPDIR` | an empty directory of the attempt, beside the scratch directory |
//! | `LANG` | `C.UTF-8` |
//! | `USER`, `LOGNAME` | the user the agent runs as |
//! | `JERO_BATCH`, `JERO_BATCH_NAME` | `batch-3`, its name |
//! | `JERO_JOB`, `JERO_JOB_NAME` | `job-17`, its name |
//! | `JERO_INDEX`, `JERO_COUNT` | the element of the array, from 0, and how many there are |
//! | `JERO_ATTEMPT` | the attempt, from 1 |
//! | `JERO_CPUS` | cores, rounded up to whole ones, at least 1 |
//! | `JERO_MEMORY_MIB` | the memory limit; 0 for none |
//! | `JERO_SITE`, `JERO_NODE`, `JERO_QUEUE` | where it runs and for whom |
//! | `JERO_EXE` | the `jero` executable; a command that begins with the word `jero` runs it |
//!
//! The job's own `env` replaces any of these but the `JERO_` ones.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::attempt::{AttemptDir, LeaseRecord};

/// In a job's environment: its working directory.
pub(crate) const SCRATCH_VARIABLE: &str = "JERO_SCRATCH";

/// In a shim's environment, not in its job's: the directory of its attempt, by
/// which a sweep knows it.
pub(crate) const SHIM_DIR_VARIABLE: &str = "JERO_SHIM_DIR";

/// Where programs are looked for.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of a job. `exe` is the `jero` executable, `user` whom it runs as.
pub(crate) fn environment(
    lease: &LeaseRecord,
    dir: &AttemptDir,
    exe: &Path,
    user: &str,
) -> BTreeMap<OsString, OsString> {
    let mut variables = BTreeMap::from([
        ("PATH".into(), PATH.into()),
        ("HOME".into(), dir.scratch().into()),
        ("TMPDIR".into(), dir.tmp().into()),
        ("LANG".into(), "C.UTF-8".into()),
        ("USER".into(), user.into()),
        ("LOGNAME".into(), user.into()),
    ]);
    variables.extend(
        lease
            .env
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    variables.extend(described(lease).map(|(name, value)| (name.into(), value.into())));
    variables.insert(SCRATCH_VARIABLE.into(), dir.scratch().into());
    variables.insert("JERO_EXE".into(), exe.into());
    variables
}

fn described(lease: &LeaseRecord) -> [(&'static str, String); 12] {
    let whole_cpus = (lease.resources.cpu_milli.saturating_add(999) / 1000).max(1);
    [
        ("JERO_BATCH", format!("batch-{}", lease.batch)),
        ("JERO_BATCH_NAME", lease.batch_name.clone()),
        ("JERO_JOB", format!("job-{}", lease.lease.job)),
        ("JERO_JOB_NAME", lease.job_name.clone()),
        ("JERO_INDEX", lease.lease.index.to_string()),
        ("JERO_COUNT", lease.count.to_string()),
        ("JERO_ATTEMPT", lease.lease.attempt.to_string()),
        ("JERO_CPUS", whole_cpus.to_string()),
        ("JERO_MEMORY_MIB", lease.resources.memory_mib.to_string()),
        ("JERO_SITE", lease.site.clone()),
        ("JERO_NODE", lease.node.clone()),
        ("JERO_QUEUE", lease.queue.clone()),
    ]
}

/// As `execve` wants them; the error says which variable cannot be passed.
pub(crate) fn encoded(variables: BTreeMap<OsString, OsString>) -> Result<Vec<CString>, String> {
    let encode = |(name, value): (OsString, OsString)| {
        let shown = name.to_string_lossy().into_owned();
        let bytes = name.into_vec();
        if bytes.is_empty() || bytes.contains(&b'=') {
            return Err(format!(
                "the name {shown:?} cannot be one of an environment variable"
            ));
        }
        let entry = [bytes, b"=".to_vec(), value.into_vec()].concat();
        CString::new(entry).map_err(|_| format!("the variable {shown:?} contains a NUL byte"))
    };
    variables.into_iter().map(encode).collect()
}
