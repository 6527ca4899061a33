//! Guarantees and limits in the file: amounts by the name of their resource.
//!
//! The rule: each amount is read like the same one in a batch file, and a fault stands at
//! its own key. Which names there are beyond the standing ones is the policy's.

use super::error::{ConfigError, Step, Text};
use Step::Key;
use jeroboam_core::policy::Policy;
use jeroboam_core::resources::{CPU, DIMENSIONS, DISK, GPU, MEMORY};
use jeroboam_units::{Bytes, Cores};
use serde::Deserialize;
use std::collections::BTreeMap;

/// As they are written.
pub(super) type Amounts = BTreeMap<String, toml::Value>;

/// By dimension; `None` where nothing is written.
pub(super) fn read(
    source: &Text<'_>,
    policy: &Policy,
    at: &[Step<'_>; 3],
    written: &Amounts,
) -> Result<[Option<i64>; DIMENSIONS], ConfigError> {
    let mut amounts = [None; DIMENSIONS];
    for (name, value) in written {
        let [queue, position, field] = *at;
        let at = [queue, position, field, Key(name)];
        let (dimension, amount) = match name.as_str() {
            "cpu" => (CPU, in_units(value, |Cores(milli)| milli)),
            "memory" => (MEMORY, in_units(value, Bytes::mib_ceil)),
            "disk" => (DISK, in_units(value, Bytes::mib_ceil)),
            "gpu" => (GPU, count(value)),
            other => match policy.extended_dimension(other) {
                Some(dimension) => (dimension, count(value)),
                None => {
                    let what = format!("there is no resource `{other}`");
                    let remedy =
                        "use cpu, memory, disk, gpu, or a name in `policy.extended_resources`";
                    return Err(source.wrong(&at, what, remedy));
                }
            },
        };
        let amount = amount.map_err(|fault| {
            // The units' own faults say what to write.
            let (what, remedy) = fault.split_once("; ").unwrap_or((
                &fault,
                "write it like { cpu = 100, memory = \"400GiB\", gpu = 8 }",
            ));
            source.wrong(&at, what, remedy)
        })?;
        amounts[dimension] = Some(amount);
    }
    Ok(amounts)
}

fn in_units<'de, T: Deserialize<'de>>(
    value: &toml::Value,
    amount: impl FnOnce(T) -> i64,
) -> Result<i64, String> {
    let read = T::deserialize(value.clone());
    read.map(amount)
        .map_err(|error| error.message().trim_end().to_owned())
}

fn count(value: &toml::Value) -> Result<i64, String> {
    match value.as_integer() {
        Some(count) if count >= 0 => Ok(count),
        _ => Err(format!("`{value}` is no count")),
    }
}
