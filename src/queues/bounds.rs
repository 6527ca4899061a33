//! Guarantees and limits as they are given on the command line.
//!
//! The rule: what is given changes those resources alone; `NAME=none` takes one away, and
//! a bare `none` all of them. Whether the amounts make sense is the scheduler's to say.

use std::collections::BTreeMap;
use std::str::FromStr;

use jeroboam_proto::v1;
use jeroboam_units::{Bytes, Cores, UnitError};

/// What a resource is set to; `None` takes the bound away.
type Set = BTreeMap<String, Option<i64>>;

/// Changes of a guarantee or a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounds {
    /// Away with all of them.
    Lifted,
    /// By the name of the resource, in the wire's units.
    Of(Set),
}

impl FromStr for Bounds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "none" {
            return Ok(Self::Lifted);
        }
        let mut set = Set::new();
        for part in text.split(',') {
            let (name, amount) = part.split_once('=').ok_or_else(|| {
                format!("`{part}` is no amount; write NAME=AMOUNT, such as cpu=100,memory=400GiB, or none")
            })?;
            let (name, amount) = (name.trim(), amount.trim());
            let amount = match amount {
                "none" => None,
                amount => Some(read(name, amount)?),
            };
            if name.is_empty() || set.insert(name.to_owned(), amount).is_some() {
                return Err(format!("`{part}`: name each resource once"));
            }
        }
        Ok(Self::Of(set))
    }
}

fn read(name: &str, amount: &str) -> Result<i64, String> {
    let wrong = |error: UnitError| error.to_string();
    match name {
        "cpu" => amount.parse().map(|Cores(milli)| milli).map_err(wrong),
        "memory" | "disk" => amount.parse().map(Bytes::mib_ceil).map_err(wrong),
        _ => match amount.parse() {
            Ok(count) if count >= 0 => Ok(count),
            _ => Err(format!(
                "`{amount}` is no count of {name}; write digits, or none"
            )),
        },
    }
}

impl Bounds {
    /// The guarantee after this change.
    pub fn guarantee(&self, before: Option<v1::Resources>) -> v1::Resources {
        let Self::Of(set) = self else {
            return v1::Resources::default();
        };
        let mut after = before.unwrap_or_default();
        for (name, amount) in set {
            let amount = amount.unwrap_or(0);
            match name.as_str() {
                "cpu" => after.cpu_milli = amount,
                "memory" => after.memory_mib = amount,
                "disk" => after.disk_mib = amount,
                "gpu" => after.gpu = amount,
                _ => drop(after.extended.insert(name.clone(), amount)),
            }
        }
        after
    }

    /// The limit after this change.
    pub fn limit(&self, before: Option<v1::Limit>) -> v1::Limit {
        let Self::Of(set) = self else {
            return v1::Limit::default();
        };
        let mut after = before.unwrap_or_default();
        for (name, amount) in set {
            match (name.as_str(), *amount) {
                ("cpu", amount) => after.cpu_milli = amount,
                ("memory", amount) => after.memory_mib = amount,
                ("disk", amount) => after.disk_mib = amount,
                ("gpu", amount) => after.gpu = amount,
                (_, Some(amount)) => drop(after.extended.insert(name.clone(), amount)),
                (_, None) => drop(after.extended.remove(name)),
            }
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_is_not_named_stays() {
        let before = v1::Limit {
            cpu_milli: Some(1_000),
            gpu: Some(2),
            extended: [("fpga".to_owned(), 3)].into(),
            ..v1::Limit::default()
        };
        let changed = |text: &str| {
            let bounds: Bounds = text.parse().expect("an amount");
            bounds.limit(Some(before.clone()))
        };
        let after = changed("cpu=2.5,memory=1GiB,fpga=none");
        assert_eq!(
            (after.cpu_milli, after.memory_mib, after.gpu),
            (Some(2_500), Some(1_024), Some(2))
        );
        assert!(after.extended.is_empty());
        assert_eq!(changed("none"), v1::Limit::default());
        assert_eq!(changed("gpu=none").gpu, None);

        let guaranteed: Bounds = "gpu=1,cpu=none".parse().expect("an amount");
        let before = v1::Resources {
            cpu_milli: 1_000,
            memory_mib: 7,
            ..v1::Resources::default()
        };
        let after = guaranteed.guarantee(Some(before));
        assert_eq!((after.cpu_milli, after.memory_mib, after.gpu), (0, 7, 1));
    }

    #[test]
    fn faults_say_what_to_write() {
        let fault = |text: &str| text.parse::<Bounds>().expect_err("a fault");
        let texts = ["", "cpu", "cpu=8,cpu=9", "memory=400", "gpu=-1", "=4"];
        expect![[r#"
            `` is no amount; write NAME=AMOUNT, such as cpu=100,memory=400GiB, or none
            `cpu` is no amount; write NAME=AMOUNT, such as cpu=100,memory=400GiB, or none
            `cpu=9`: name each resource once
            "400" is not an amount of bytes: a number alone does not say its unit; write it like "4GiB" or "512MiB"
            `-1` is no count of gpu; write digits, or none
            `=4`: name each resource once
        "#]].assert_eq(&texts.map(|text| fault(text) + "\n").concat());
    }
}
