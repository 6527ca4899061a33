//! How faults are told, and where in the file a refusal points.

use expect_test::expect;

use super::*;

#[test]
fn many_faults_are_counted() {
    let jobs = (0..30).map(|job| format!("  - {{name: j{job}, run: x, after_ok: nowhere}}\n"));
    let text = format!("queue: cms\njobs:\n{}", jobs.collect::<String>());
    let faults = read_text(&text, Path::new("batch.yaml"), None)
        .unwrap_err()
        .to_string();
    assert_eq!(faults.matches("there is no job").count(), 20);
    assert!(faults.ends_with("and 10 more"), "{faults}");
}

#[test]
fn a_fault_of_the_defaults_is_told_once() {
    let text =
        "queue: cms\ndefaults: {walltime: 5}\njobs: [{name: a, run: b}, {name: b, run: b}]\n";
    check(
        text,
        expect![[r#"
        batch.yaml:2:22: "5" is not a length of time: a number alone does not say its unit
             2 | defaults: {walltime: 5}
               |                      ^
          do: write it like "30m" or "1h30m""#]],
    );
}

#[test]
fn a_file_that_cannot_be_read() {
    let faults = read(Path::new("/nowhere/batch.yaml"), None).unwrap_err();
    expect![[r#"
        /nowhere/batch.yaml: cannot be read: No such file or directory (os error 2)
          do: give the path of a batch file"#]]
    .assert_eq(&faults.to_string());
    assert!(faults.is_local(), "the exit code says so");
}

#[test]
fn aliases_repeat_only_so_much() {
    let nine = |name: &str| format!("[{}]", [name; 9].join(", "));
    let mut text = "queue: cms\nx0: &a0 [a]\n".to_owned();
    for level in 1..12 {
        let below = nine(&format!("*a{}", level - 1));
        text += &format!("x{level}: &a{level} {below}\n");
    }
    let faults = read_text(&text, Path::new("batch.yaml"), None).unwrap_err();
    let told = faults.to_string();
    assert!(told.contains("aliases (`*NAME`) repeat too much"), "{told}");
}

#[test]
fn nobody_is_told_to_wait_for_himself() {
    check(
        "queue: cms\njobs:\n  - {name: merge, run: x}\n  - {name: cc, run: x, needs: outputs-of c}\n",
        expect![[r#"
            batch.yaml:4:31: there is no job `c` in this batch
                 4 |   - {name: cc, run: x, needs: outputs-of c}
                   |                               ^
              do: there are: merge"#]],
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "(queue: a\njobs:\n)?[-{}\\[\\]:,&*|>'\"a-z0-9 \n]{0,80}") {
        let _ = read_text(&text, Path::new("batch.yaml"), None);
    }
}

#[test]
fn a_refusal_points_into_the_file() {
    let text = "queue: cms\ndefaults:\n  run: x\n  isolation: kernel\n  resources: {gpu: 2}\njobs:\n  - name: gen\n  - name: merge\n    resources: {memory: 900GiB}\n    needs: outputs-of gen\n";
    let batch = read_text(text, Path::new("batch.yaml"), None).unwrap();
    let told = |place: &str| match batch.source.spot(place) {
        Some(spot) => format!("{place}\n  {spot}\n"),
        None => format!("{place}\n  nowhere\n"),
    };
    let places = [
        "jobs[1].resources.memory",
        "jobs[1].resources.cpu",
        "jobs[1].resources.gpu",
        "jobs[0].isolation",
        "jobs[1].walltime (ms)",
        "jobs[1] (command, env, labels and paths together)",
        "jobs[].after_ok",
        "jobs[9].name",
        "queue",
        "request_id",
        "",
    ];
    let told: String = places.map(told).concat();
    expect![[r#"
        jobs[1].resources.memory
          batch.yaml:9:25
             9 |     resources: {memory: 900GiB}
               |                         ^
        jobs[1].resources.cpu
          batch.yaml:9:16
             9 |     resources: {memory: 900GiB}
               |                ^
        jobs[1].resources.gpu
          batch.yaml:5:20
             5 |   resources: {gpu: 2}
               |                    ^
        jobs[0].isolation
          batch.yaml:4:14
             4 |   isolation: kernel
               |              ^
        jobs[1].walltime (ms)
          batch.yaml:8:5
             8 |   - name: merge
               |     ^
        jobs[1] (command, env, labels and paths together)
          batch.yaml:8:5
             8 |   - name: merge
               |     ^
        jobs[].after_ok
          batch.yaml:7:3
             7 |   - name: gen
               |   ^
        jobs[9].name
          batch.yaml:7:3
             7 |   - name: gen
               |   ^
        queue
          batch.yaml:1:8
             1 | queue: cms
               |        ^
        request_id
          nowhere

          nowhere
    "#]]
    .assert_eq(&told);

    let batch = read_text(text, Path::new("batch.yaml"), Some("atlas")).unwrap();
    assert!(batch.source.spot("queue").is_none());
}

#[test]
fn an_unknown_site_is_found_in_the_file() {
    let text = "queue: cms\ndefaults: {run: x, sites: [meyrin]}\njobs:\n  - {name: a, sites_excluded: [meyrin, wignr]}\n  - {name: b, sites: lonly}\n";
    let batch = read_text(text, Path::new("batch.yaml"), None).unwrap();
    let spot = |name| {
        let spot = batch.source.site_spot(name);
        spot.map(|spot| spot.to_string().lines().next().unwrap().to_owned())
    };
    assert_eq!(spot("meyrin").unwrap(), "batch.yaml:2:28");
    assert_eq!(spot("wignr").unwrap(), "batch.yaml:4:40");
    assert_eq!(spot("lonly").unwrap(), "batch.yaml:5:22");
    assert_eq!(spot("nowhere"), None);
}
