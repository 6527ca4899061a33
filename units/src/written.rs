//! Serde for amounts: text where people read it, the integer elsewhere.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A quantity with a textual form and an integer behind it.
pub(crate) trait Written: Copy + fmt::Display + FromStr<Err = crate::UnitError> {
    /// The integer behind it.
    type Integer: Serialize + for<'de> Deserialize<'de>;
    /// What it is, for serde's own complaints, with examples.
    const EXPECTED: &'static str;

    fn integer(self) -> Self::Integer;
    fn from_integer(integer: Self::Integer) -> Self;
}

pub(crate) fn serialize<T: Written, S: Serializer>(
    amount: T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.collect_str(&amount)
    } else {
        amount.integer().serialize(serializer)
    }
}

pub(crate) fn deserialize<'de, T: Written, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Text(PhantomData))
    } else {
        T::Integer::deserialize(deserializer).map(T::from_integer)
    }
}

/// Numbers are read through their shortest decimal text, so that `0.045` is
/// exact, and a number without a unit gets the same refusal as its text.
struct Text<T>(PhantomData<T>);

/// The key under which the `toml` crate hands over a date that is not quoted.
const TOML_DATETIME_KEY: &str = "$__toml_private_datetime";

impl<'de, T: Written> Visitor<'de> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        match map.next_entry::<String, String>()? {
            Some((key, text)) if key == TOML_DATETIME_KEY => self.visit_str(&text),
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }
}

/// `Serialize` and `Deserialize` for a newtype over its integer.
macro_rules! written {
    ($quantity:ident, $integer:ty, $expected:literal) => {
        impl crate::written::Written for $quantity {
            type Integer = $integer;
            const EXPECTED: &'static str = $expected;

            fn integer(self) -> $integer {
                self.0
            }

            fn from_integer(integer: $integer) -> Self {
                Self(integer)
            }
        }

        impl serde::Serialize for $quantity {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::written::serialize(*self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $quantity {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::written::deserialize(deserializer)
            }
        }
    };
}
pub(crate) use written;
