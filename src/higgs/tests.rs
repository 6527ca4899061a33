#![allow(clippy::unwrap_used)]

use std::sync::OnceLock;

use super::expectation::Expectation;
use super::merge::{check_complete, read_all, table};
use super::process::Channel;
use super::selection::Stage;
use super::*;

fn part(index: u64, events: u64) -> Part {
    Part {
        seed: 1,
        index,
        events,
    }
}

/// One production for all tests that only look.
fn sample() -> &'static Tally {
    static SAMPLE: OnceLock<Tally> = OnceLock::new();
    SAMPLE.get_or_init(|| produce(&[part(0, 8_000)]))
}

fn store(directory: &tempfile::TempDir, name: &str, part: Part) -> PathBuf {
    let path = directory.path().join(name);
    produce(&[part]).store(&path).unwrap();
    path
}

#[test]
fn merging_equals_generating_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("generate/1")).unwrap();
    store(&directory, "b.json", part(0, 300));
    store(&directory, "generate/1/a.json", part(1, 200));
    store(&directory, "c.json", part(2, 100));
    let merged = read_all(directory.path()).unwrap();
    assert_eq!(merged, produce(&[part(0, 300), part(1, 200), part(2, 100)]));
    assert_eq!(merged.events(), 600);
    check_complete(&merged, directory.path(), Some(3)).unwrap();
}

#[test]
fn a_merged_file_merges_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sum.json");
    produce(&[part(0, 100), part(1, 100)]).store(&path).unwrap();
    store(&directory, "2.json", part(2, 100));
    let merged = read_all(directory.path()).unwrap();
    assert_eq!(merged, produce(&[part(0, 100), part(1, 100), part(2, 100)]));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let read = |name: &str, part| std::fs::read(store(&directory, name, part)).unwrap();
    let first = read("a", part(7, 500));
    assert_eq!(first, read("b", part(7, 500)));
    let counts = |part| produce(&[part]).channels;
    assert_ne!(counts(part(7, 500)), counts(part(8, 500)));
    assert_ne!(
        counts(part(7, 500)),
        counts(Part {
            seed: 2,
            ..part(7, 500)
        })
    );
    let plot = || {
        let expectation = Expectation::of(sample()).unwrap();
        plot::draw(&expectation, 5).unwrap()
    };
    assert_eq!(plot(), plot());
}

#[test]
fn the_cut_flow_never_rises_and_ends_in_the_spectrum() {
    for (name, channel) in &sample().channels {
        let flow: Vec<u64> = channel.cut_flow.values().copied().collect();
        assert_eq!(flow[0], 8_000);
        assert!(flow.is_sorted_by(|a, b| a >= b), "{name:?}: {flow:?}");
        let spectrum = &channel.four_muon_mass;
        let sum = spectrum.counts.iter().sum::<u64>() + spectrum.overflow + spectrum.underflow;
        assert_eq!(sum, channel.cut_flow[&Stage::Selected]);
        assert!(sum > 200, "{name:?}: {sum}");
    }
}

#[test]
fn peaks_are_at_the_published_masses() {
    let expectation = Expectation::of(sample()).unwrap();
    let higgs = expectation.higgs_peak().unwrap();
    let off = (higgs.position_gev - published::HIGGS_MASS_GEV).abs();
    assert!(
        off < 4.0 * higgs.error_gev + 0.02 && higgs.error_gev < 0.1,
        "{higgs:?}"
    );
    assert!((0.7..1.4).contains(&higgs.width_gev), "{higgs:?}");
    let z = expectation.z_peak().unwrap();
    // The selection prefers the heavy side of the line: 0.04 GeV at high statistics.
    let off = (z.position_gev - published::Z_MASS_GEV).abs();
    assert!(off < 4.0 * z.error_gev + 0.05 && z.error_gev < 0.3, "{z:?}");
}

#[test]
fn yields_are_those_of_the_documentation() {
    // 106.0 and 41.0 of docs/physics.md, four standard deviations of this sample apart.
    let expectation = Expectation::of(sample()).unwrap();
    let higgs = expectation.within(Channel::Higgs, 118.0..130.0);
    let continuum = expectation.within(Channel::Continuum, 118.0..130.0);
    assert!((100.0..112.0).contains(&higgs), "{higgs}");
    assert!((24.0..60.0).contains(&continuum), "{continuum}");
}

#[test]
fn the_continuum_rises_where_two_z_bosons_fit() {
    let expectation = Expectation::of(sample()).unwrap();
    let within = |range| expectation.within(Channel::Continuum, range);
    assert!(within(186.0..206.0) > 2.5 * within(156.0..176.0));
}

#[test]
fn the_plot_and_the_table_say_what_they_are() {
    let expectation = Expectation::of(sample()).unwrap();
    let svg = plot::draw(&expectation, 5).unwrap();
    for text in [
        "toy Monte Carlo",
        "[GeV]",
        "Events / 2 GeV",
        "H → ZZ*",
        "Pseudo-data",
        "seed 5",
        "</svg>",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    let table = table(sample(), &expectation);
    for text in [
        "8000 events per channel",
        "Higgs peak at 125.",
        "Z peak at 91.",
        "138 fb⁻¹",
    ] {
        assert!(table.contains(text), "{text} in {table}");
    }
}

/// What the refusal of a directory says, with the directory's name cut out.
fn refusal(directory: &tempfile::TempDir, expected: Option<usize>) -> String {
    let path = directory.path();
    let error = read_all(path)
        .and_then(|tally| check_complete(&tally, path, expected))
        .expect_err("refused");
    error.to_string().replace(path.to_str().unwrap(), "DIR")
}

fn check_refusal(prepare: impl FnOnce(&tempfile::TempDir), expected: expect_test::Expect) {
    let directory = tempfile::tempdir().unwrap();
    prepare(&directory);
    expected.assert_eq(&refusal(&directory, Some(2)));
}

/// Index 0 as it is, and edited by text.
fn edited(directory: &tempfile::TempDir, from: &str, to: &str) {
    let path = store(directory, "0.json", part(0, 50));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn refusals_name_file_and_remedy() {
    use expect_test::expect;
    check_refusal(
        |_| (),
        expect!["no histogram (*.json) below DIR; run `jero higgs generate --out` into it first"],
    );
    check_refusal(
        |d| std::fs::remove_dir(d.path()).unwrap(),
        expect![
            "cannot list DIR: No such file or directory (os error 2); give --inputs the directory with the jobs' outputs"
        ],
    );
    check_refusal(
        |d| {
            store(d, "0.json", part(0, 50));
        },
        expect![
            "1 indices below DIR, where --expect says 2; generate those that are missing, or correct --expect"
        ],
    );
    check_refusal(
        |d| {
            store(d, "0.json", part(3, 50));
            store(d, "1.json", part(5, 50));
        },
        expect![
            "the histogram of index 4 of seed 1 is missing below DIR; run `jero higgs generate --index 4 --seed 1` again"
        ],
    );
    check_refusal(
        |d| {
            store(d, "0.json", part(3, 50));
            store(d, "1.json", part(3, 60));
        },
        expect![
            "histogram DIR/1.json holds index 3 of seed 1, which was added before; remove one of the two files, or generate with another --index"
        ],
    );
    check_refusal(
        |d| std::fs::write(d.path().join("0.json"), "{\n  \"format\"").unwrap(),
        expect![
            "DIR/0.json is not a histogram of `jero higgs generate`: EOF while parsing an object at line 2 column 10; run the job that writes it again, or move the file elsewhere"
        ],
    );
    check_refusal(
        |d| std::fs::create_dir(d.path().join("0.json")).unwrap(),
        expect!["no histogram (*.json) below DIR; run `jero higgs generate --out` into it first"],
    );
    check_refusal(
        |d| edited(d, "jeroboam-higgs-1", "jeroboam-higgs-9"),
        expect![[
            r#"histogram DIR/0.json is corrupt: its format is "jeroboam-higgs-9", not "jeroboam-higgs-1"; run the job that writes it again"#
        ]],
    );
    check_refusal(
        |d| edited(d, "\"overflow\":", "\"overflow\":1"),
        expect![
            "histogram DIR/0.json is corrupt: Higgs: the spectrum does not add up to the selected events; run the job that writes it again"
        ],
    );
    check_refusal(
        |d| edited(d, "\"generated\":50", "\"generated\":51"),
        expect![
            "histogram DIR/0.json is corrupt: Higgs: 51 generated events, where its parts say 50; run the job that writes it again"
        ],
    );
    check_refusal(
        |d| edited(d, "\"acceptance\":", "\"acceptance\":9"),
        expect![
            "histogram DIR/0.json is corrupt: Higgs: the cut flow rises; run the job that writes it again"
        ],
    );
    check_refusal(
        |d| edited(d, "\"events\":50", "\"events\":18446744073709551615"),
        expect![
            "histogram DIR/0.json is corrupt: it says more than 1000000 parts or 1000000000 events a part; run the job that writes it again"
        ],
    );
    check_refusal(
        |d| edited(d, "\"bins\":360", "\"bins\":361"),
        expect![
            "histogram DIR/0.json is corrupt: Continuum: 360 bins, where the binning says 361; run the job that writes it again"
        ],
    );
    check_refusal(
        |d| edited(d, "\"width_gev\":0.5", "\"width_gev\":0.0"),
        expect![
            "histogram DIR/0.json is corrupt: its bins are 360 bins of 0 GeV from 70 GeV; run the job that writes it again"
        ],
    );
    check_refusal(
        |d| {
            edited(d, "\"width_gev\":0.5", "\"width_gev\":0.25");
            store(d, "1.json", part(1, 50));
        },
        expect![
            "histogram DIR/1.json has 360 bins of 0.5 GeV from 70 GeV where the others have 360 bins of 0.25 GeV from 70 GeV; generate all of them with the same version of jero"
        ],
    );
}

#[test]
fn a_refused_histogram_changes_nothing() {
    let mut sum = produce(&[part(0, 50)]);
    let before = sum.clone();
    let twice = produce(&[part(0, 60)]);
    sum.add(&twice, Path::new("twice.json"))
        .expect_err("the same index");
    assert_eq!(sum, before);
}

#[test]
fn a_channel_without_reference_events_is_refused() {
    let mut tally = produce(&[part(0, 1)]);
    tally
        .channels
        .values_mut()
        .for_each(|channel| channel.in_reference = 0);
    let message = Expectation::of(&tally)
        .map(|_| ())
        .expect_err("nothing")
        .to_string();
    assert!(message.contains("--events"), "{message}");
}
