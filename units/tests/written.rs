//! What is read, what is refused and with which words, and that everything
//! written is read back as it was.

use std::fmt::Display;
use std::str::FromStr;

use expect_test::{Expect, expect};
use jeroboam_units::{Bytes, Cores, Instant, MicroEuro, Span, UnitError};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Reads every line's text; writes each amount's integer and form, or the error.
fn check<T>(lines: &[&str], integer: impl Fn(T) -> i128, expected: Expect)
where
    T: FromStr<Err = UnitError> + Display + Copy,
{
    let mut seen = String::new();
    for text in lines {
        match text.parse::<T>() {
            Ok(amount) => seen += &format!("{text:?} = {} {amount}\n", integer(amount)),
            Err(error) => seen += &format!("{error}\n"),
        }
    }
    expected.assert_eq(&seen);
}

#[test]
fn cores() {
    check::<Cores>(
        &[
            "8", "0.5", "500m", "1.5", " 2 ", "1.250", "1500m", "0", "0.0005", "0.5m", "-1", "",
            "eight",
        ],
        |cores| cores.0.into(),
        expect![[r#"
            "8" = 8000 8
            "0.5" = 500 0.5
            "500m" = 500 0.5
            "1.5" = 1500 1.5
            " 2 " = 2000 2
            "1.250" = 1250 1.25
            "1500m" = 1500 1.5
            "0" = 0 0
            "0.0005" is not an amount of cores: it is not a whole number of thousandths of a core; write it like "8", "0.5" or "500m"
            "0.5m" is not an amount of cores: it is not a whole number of thousandths of a core; write it like "8", "0.5" or "500m"
            "-1" is not an amount of cores: it is negative; write it like "8", "0.5" or "500m"
            "" is not an amount of cores: it is empty; write it like "8", "0.5" or "500m"
            "eight" is not an amount of cores: a decimal number was expected at "eight"; write it like "8", "0.5" or "500m"
        "#]],
    );
    check::<Cores>(
        &[
            "8 cores",
            "8GiB",
            "1.2.3",
            "1.",
            ".5",
            "1e3",
            "9223372036854775807",
            "99999999999999999999999999999999999999999999",
        ],
        |cores| cores.0.into(),
        expect![[r#"
            "8 cores" is not an amount of cores: unknown unit "cores", the units are m (thousandths of a core), or none for whole cores; write it like "8", "0.5" or "500m"
            "8GiB" is not an amount of cores: unknown unit "GiB", the units are m (thousandths of a core), or none for whole cores; write it like "8", "0.5" or "500m"
            "1.2.3" is not an amount of cores: a decimal number was expected at "1.2.3"; write it like "8", "0.5" or "500m"
            "1." is not an amount of cores: a decimal number was expected at "1."; write it like "8", "0.5" or "500m"
            ".5" is not an amount of cores: a decimal number was expected at ".5"; write it like "8", "0.5" or "500m"
            "1e3" is not an amount of cores: unknown unit "e3", the units are m (thousandths of a core), or none for whole cores; write it like "8", "0.5" or "500m"
            "9223372036854775807" is not an amount of cores: it is too large; write it like "8", "0.5" or "500m"
            "99999999999999999999999999999999999999999999" is not an amount of cores: it is too large; write it like "8", "0.5" or "500m"
        "#]],
    );
}

#[test]
fn bytes() {
    check::<Bytes>(
        &[
            "4GiB", "512MiB", "10KiB", "100B", "1.5GiB", "4 GiB", "5GB", "1kB", "3TiB", "0B",
            "16383PiB",
        ],
        |bytes| bytes.0.into(),
        expect![[r#"
            "4GiB" = 4294967296 4GiB
            "512MiB" = 536870912 512MiB
            "10KiB" = 10240 10KiB
            "100B" = 100 100B
            "1.5GiB" = 1610612736 1536MiB
            "4 GiB" = 4294967296 4GiB
            "5GB" = 5000000000 5000000000B
            "1kB" = 1000 1000B
            "3TiB" = 3298534883328 3TiB
            "0B" = 0 0B
            "16383PiB" = 18445618173802708992 16383PiB
        "#]],
    );
    check::<Bytes>(
        &[
            "4096", "4G", "4Gi", "4gib", "0.3KiB", "16384PiB", "-1GiB", "GiB", "", "4GiBMiB",
        ],
        |bytes| bytes.0.into(),
        expect![[r#"
            "4096" is not an amount of bytes: a number alone does not say its unit; write it like "4GiB" or "512MiB"
            "4G" is not an amount of bytes: unknown unit "G", the units are B, KiB, MiB, GiB, TiB, PiB and kB, MB, GB, TB, PB; write it like "4GiB" or "512MiB"
            "4Gi" is not an amount of bytes: unknown unit "Gi", the units are B, KiB, MiB, GiB, TiB, PiB and kB, MB, GB, TB, PB; write it like "4GiB" or "512MiB"
            "4gib" is not an amount of bytes: unknown unit "gib", the units are B, KiB, MiB, GiB, TiB, PiB and kB, MB, GB, TB, PB; write it like "4GiB" or "512MiB"
            "0.3KiB" is not an amount of bytes: it is not a whole number of bytes; write it like "4GiB" or "512MiB"
            "16384PiB" is not an amount of bytes: it is too large; write it like "4GiB" or "512MiB"
            "-1GiB" is not an amount of bytes: it is negative; write it like "4GiB" or "512MiB"
            "GiB" is not an amount of bytes: a decimal number was expected at "GiB"; write it like "4GiB" or "512MiB"
            "" is not an amount of bytes: it is empty; write it like "4GiB" or "512MiB"
            "4GiBMiB" is not an amount of bytes: unknown unit "GiBMiB", the units are B, KiB, MiB, GiB, TiB, PiB and kB, MB, GB, TB, PB; write it like "4GiB" or "512MiB"
        "#]],
    );
}

#[test]
fn spans() {
    check::<Span>(
        &[
            "30m",
            "2h",
            "1h30m",
            "500ms",
            "10s",
            "7d",
            "1.5s",
            "90m",
            "1h 30m",
            "0s",
            "1d2h3m4s5ms",
        ],
        |span| span.0.into(),
        expect![[r#"
            "30m" = 1800000 30m
            "2h" = 7200000 2h
            "1h30m" = 5400000 1h30m
            "500ms" = 500 500ms
            "10s" = 10000 10s
            "7d" = 604800000 7d
            "1.5s" = 1500 1s500ms
            "90m" = 5400000 1h30m
            "1h 30m" = 5400000 1h30m
            "0s" = 0 0s
            "1d2h3m4s5ms" = 93784005 1d2h3m4s5ms
        "#]],
    );
    check::<Span>(
        &[
            "30",
            "1h30",
            "30min",
            "30m1h",
            "1h1h",
            "0.5ms",
            "-5s",
            "",
            "forever",
            "99999999999d",
        ],
        |span| span.0.into(),
        expect![[r#"
            "30" is not a length of time: a number alone does not say its unit; write it like "30m" or "1h30m"
            "1h30" is not a length of time: a number alone does not say its unit; write it like "30m" or "1h30m"
            "30min" is not a length of time: unknown unit "min", the units are d, h, m (minutes), s and ms; write it like "30m" or "1h30m"
            "30m1h" is not a length of time: "h" stands after a unit that is not larger; write it like "30m" or "1h30m"
            "1h1h" is not a length of time: "h" stands after a unit that is not larger; write it like "30m" or "1h30m"
            "0.5ms" is not a length of time: it is not a whole number of milliseconds; write it like "30m" or "1h30m"
            "-5s" is not a length of time: it is negative; write it like "30m" or "1h30m"
            "" is not a length of time: it is empty; write it like "30m" or "1h30m"
            "forever" is not a length of time: a decimal number was expected at "forever"; write it like "30m" or "1h30m"
            "99999999999d" = 8639999999913600000 99999999999d
        "#]],
    );
}

#[test]
fn instants() {
    check::<Instant>(
        &[
            "2026-03-01T08:00:00Z",
            "2026-03-01T09:00:00.250+01:00",
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ],
        |instant| instant.0.into(),
        expect![[r#"
            "2026-03-01T08:00:00Z" = 1772352000000 2026-03-01T08:00:00Z
            "2026-03-01T09:00:00.250+01:00" = 1772352000250 2026-03-01T08:00:00.25Z
            "1970-01-01T00:00:00Z" = 0 1970-01-01T00:00:00Z
            "1969-12-31T23:59:59Z" = -1000 1969-12-31T23:59:59Z
        "#]],
    );
    check::<Instant>(
        &[
            "2026-03-01",
            "2026-03-01T08:00:00",
            "2026-13-01T08:00:00Z",
            "2026-03-01T08:00:00.0001Z",
            "tomorrow",
            "",
        ],
        |instant| instant.0.into(),
        expect![[r#"
            "2026-03-01" is not a moment in time: failed to find time component, which is required for parsing a timestamp; write it like "2026-03-01T08:00:00Z"
            "2026-03-01T08:00:00" is not a moment in time: failed to find offset component, which is required for parsing a timestamp; write it like "2026-03-01T08:00:00Z"
            "2026-13-01T08:00:00Z" is not a moment in time: failed to parse two digit integer as month: parameter 'month' is not in the required range of 1..=12; write it like "2026-03-01T08:00:00Z"
            "2026-03-01T08:00:00.0001Z" is not a moment in time: it is not a whole number of milliseconds; write it like "2026-03-01T08:00:00Z"
            "tomorrow" is not a moment in time: failed to parse four digit integer as year: invalid digit, expected 0-9 but got t; write it like "2026-03-01T08:00:00Z"
            "" is not a moment in time: it is empty; write it like "2026-03-01T08:00:00Z"
        "#]],
    );
}

#[test]
fn euros() {
    check::<MicroEuro>(
        &[
            "0.045",
            "12.5",
            "3",
            "0.000001",
            "0",
            "0.0000001",
            "-3",
            "3 EUR",
            "",
            "9999999999999999",
        ],
        |euros| euros.0.into(),
        expect![[r#"
            "0.045" = 45000 0.045
            "12.5" = 12500000 12.50
            "3" = 3000000 3.00
            "0.000001" = 1 0.000001
            "0" = 0 0.00
            "0.0000001" is not an amount of euros: it is not a whole number of millionths of a euro; write it like "0.045" or "12.50"
            "-3" is not an amount of euros: it is negative; write it like "0.045" or "12.50"
            "3 EUR" is not an amount of euros: unknown unit "EUR", the units are none (the number is of euros); write it like "0.045" or "12.50"
            "" is not an amount of euros: it is empty; write it like "0.045" or "12.50"
            "9999999999999999" is not an amount of euros: it is too large; write it like "0.045" or "12.50"
        "#]],
    );
}

#[test]
fn tables_get_two_parts_of_a_span_and_rounded_bytes() {
    let spans = [
        0,
        7,
        999,
        1_999,
        65_432,
        3_600_000,
        5_430_000,
        273_600_000,
        -65_432,
    ];
    let bytes = [
        0,
        1023,
        1024,
        1536,
        104_857_500,
        1_610_612_736,
        215_822_106_624,
        u64::MAX,
    ];
    let spans = spans.map(|ms| Span(ms).humane()).join(" ");
    let bytes = bytes.map(|bytes| Bytes(bytes).humane()).join(" ");
    expect![[r#"
        0s 7ms 999ms 1s 1m5s 1h 1h30m 3d4h -1m5s
        0B 1023B 1KiB 1.5KiB 99.9MiB 1.5GiB 201GiB 16383PiB
    "#]]
    .assert_eq(&format!("{spans}\n{bytes}\n"));
}

#[test]
fn mib_are_rounded_up() {
    let mib = [0, 1, 1 << 20, (1 << 20) + 1, u64::MAX].map(|bytes| Bytes(bytes).mib_ceil());
    assert_eq!(mib, [0, 1, 1, 2, 1 << 44]);
    assert_eq!(Bytes::from_mib(512), Bytes(512 << 20));
    assert_eq!(Bytes::from_mib(-1), Bytes(0));
}

#[derive(Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Everything {
    cpu: Cores,
    memory: Bytes,
    walltime: Span,
    start: Instant,
    price: MicroEuro,
}

const TOML: &str = r#"
cpu = 0.5
memory = "4GiB"
walltime = "1h30m"
start = 2026-03-01T08:00:00Z
price = 0.045
"#;

#[test]
fn files_may_leave_off_quotes_where_nothing_is_guessed() {
    let read: Everything = toml::from_str(TOML).expect("all amounts are right");
    let json = serde_json::to_string(&read).expect("amounts can always be written");
    expect![[r#"{"cpu":"0.5","memory":"4GiB","walltime":"1h30m","start":"2026-03-01T08:00:00Z","price":"0.045"}"#]].assert_eq(&json);
    assert_eq!(
        serde_json::from_str::<Everything>(&json).expect("just written"),
        read
    );
}

#[test]
fn bare_numbers_are_refused_where_a_unit_would_be_guessed() {
    let refusal = |text: &str| match toml::from_str::<Everything>(text) {
        Ok(read) => panic!("read as {read:?}"),
        Err(error) => error.to_string(),
    };
    expect![[r#"
        TOML parse error at line 3, column 10
          |
        3 | memory = 4096
          |          ^^^^
        "4096" is not an amount of bytes: a number alone does not say its unit; write it like "4GiB" or "512MiB"
    "#]].assert_eq(&refusal(&TOML.replace("\"4GiB\"", "4096")));
    expect![[r#"
        TOML parse error at line 4, column 12
          |
        4 | walltime = 90
          |            ^^
        "90" is not a length of time: a number alone does not say its unit; write it like "30m" or "1h30m"
    "#]].assert_eq(&refusal(&TOML.replace("\"1h30m\"", "90")));
    expect![[r#"
        TOML parse error at line 6, column 17
          |
        6 | price = { eur = 1 }
          |                 ^
        invalid type: integer `1`, expected a string
    "#]]
    .assert_eq(&refusal(&TOML.replace("0.045", "{ eur = 1 }")));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(amount in 0..=i64::MAX) {
        prop_assert_eq!(Cores(amount).to_string().parse(), Ok(Cores(amount)));
        prop_assert_eq!(Span(amount).to_string().parse(), Ok(Span(amount)));
        prop_assert_eq!(MicroEuro(amount).to_string().parse(), Ok(MicroEuro(amount)));
    }

    #[test]
    fn bytes_are_read_back(unit in 0u32..=50, count in any::<u64>()) {
        let bytes = Bytes((count >> unit) << unit);
        prop_assert_eq!(bytes.to_string().parse(), Ok(bytes));
    }

    #[test]
    fn instants_are_read_back(ms in -62_135_596_800_000i64..=253_402_207_200_000) {
        prop_assert_eq!(Instant(ms).to_string().parse(), Ok(Instant(ms)));
    }

    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,40}") {
        let _ = (text.parse::<Cores>(), text.parse::<Bytes>(), text.parse::<Span>());
        let _ = (text.parse::<Instant>(), text.parse::<MicroEuro>());
    }
}
