use super::*;

fn job() -> v1::JobSpec {
    v1::JobSpec {
        name: "gen".into(),
        count: 3,
        command: vec!["true".into()],
        resources: Some(v1::Resources {
            cpu_milli: 1_000,
            ..Default::default()
        }),
        walltime_ms: 60_000,
        ..Default::default()
    }
}

/// What is refused, and where, after a change of an acceptable job.
fn refused(change: impl FnOnce(&mut v1::JobSpec)) -> String {
    let mut job = job();
    change(&mut job);
    let batch = v1::BatchSpec {
        name: "b".into(),
        queue: "cms".into(),
        jobs: vec![self::job(), job],
    };
    match batch_in(&Policy::default(), batch) {
        Ok(_) => "accepted".into(),
        Err(rejected) => rejected.to_string(),
    }
}

#[test]
fn each_fault_is_refused_with_its_place() {
    let file = |path: &str, digest: &str| v1::File {
        path: path.into(),
        digest: digest.into(),
        ..Default::default()
    };
    let digest = "0".repeat(64);
    let seen = [
        refused(|_| ()),
        refused(|job| job.isolation = v1::Isolation::Sandbox.into()),
        refused(|job| job.isolation = v1::Isolation::Kernel.into()),
        refused(|job| job.isolation = 9),
        refused(|job| job.coe = 9),
        refused(|job| job.on_lost_contact = 9),
        refused(|job| job.command.push("a\0b".into())),
        refused(|job| drop(job.env.insert("A=B".into(), "c".into()))),
        refused(|job| {
            let extended = [("fpga".to_string(), 1)].into();
            job.resources = Some(v1::Resources {
                extended,
                ..Default::default()
            });
        }),
        refused(|job| job.inputs.push(file("a", "abc"))),
        refused(|job| job.inputs = vec![file("a", &digest), file("a", &digest)]),
        refused(|job| {
            job.retries.push(v1::RetryRule {
                classes: vec![0],
                ..Default::default()
            })
        }),
        refused(|job| {
            let exit_codes = vec![v1::ExitCodeRange { first: 9, last: 3 }];
            job.retries.push(v1::RetryRule {
                exit_codes,
                ..Default::default()
            });
        }),
    ];
    expect_test::expect![[r#"
        accepted
        accepted
        accepted
        jobs[1].isolation: the value 9 means nothing to this release
        jobs[1].coe: the value 9 means nothing to this release
        jobs[1].on_lost_contact: the value 9 means nothing to this release
        jobs[1].command: it holds a zero byte
        jobs[1].env: "A=B" is not the name of a variable
        jobs[1].resources.fpga: there is no resource `fpga`
        jobs[1].inputs[0].digest: `abc` is not a digest
        jobs[1].inputs[1].path: two inputs have the path `a`
        jobs[1].retries[0].on: the value 0 means nothing to this release
        jobs[1].retries[0].exit: the exit codes 9-3 end before they begin
    "#]]
    .assert_eq(&(seen.join("\n") + "\n"));
}

/// Everything that can be said comes back as it was said.
#[test]
fn a_specification_survives_the_way_in_and_out() {
    let policy = Policy {
        extended_resources: vec!["fpga".into()],
        ..Policy::default()
    };
    let spec = v1::JobSpec {
        env: [("A".to_string(), "b".to_string())].into(),
        image: "root:6".into(),
        priority: -3,
        resources: Some(v1::Resources {
            cpu_milli: 500,
            memory_mib: 1,
            disk_mib: 2,
            gpu: 3,
            extended: [("fpga".to_string(), 4)].into(),
        }),
        coe: v1::Coe::Swarm.into(),
        labels: [("arch".to_string(), "arm".to_string())].into(),
        tolerations: vec![v1::Taint {
            key: "k".into(),
            value: "v".into(),
        }],
        sites: vec!["a".into()],
        sites_excluded: vec!["b".into()],
        after_ok: vec!["x".into()],
        after_any: vec!["xa".into()],
        after_ok_each: vec!["xe".into()],
        after_any_each: vec!["xae".into()],
        inputs: vec![v1::File {
            path: "p".into(),
            digest: "a".repeat(64),
            size_bytes: 7,
            executable: true,
        }],
        outputs: vec!["*.root".into()],
        outputs_of: vec!["y".into()],
        retries: vec![v1::RetryRule {
            exit_codes: vec![v1::ExitCodeRange {
                first: 75,
                last: 80,
            }],
            classes: (1..=7).collect(),
            times: 2,
            delay_ms: 60_000,
            backoff: true,
            memory_permille: 1_500,
            memory_max_mib: 4_096,
            avoid_node: true,
            change_site: true,
        }],
        on_lost_contact: v1::OnLostContact::Wait.into(),
        restartable: true,
        preemptible: Some(false),
        min: 2,
        within: Some(v1::Within {
            what: Some(v1::within::What::Label("rack".into())),
        }),
        running_max: 2,
        ..job()
    };
    let converted = job_in(&policy, 0, spec.clone()).expect("accepted");
    assert_eq!(job_spec(&policy, &converted), spec);
}

/// Who may not be run again is not preempted either, unless that is asked for.
#[test]
fn what_is_not_restartable_is_preemptible_only_on_request() {
    let preemptible = |restartable, preemptible| {
        let spec = v1::JobSpec {
            restartable,
            preemptible,
            ..job()
        };
        let converted = job_in(&Policy::default(), 0, spec.clone()).expect("accepted");
        assert_eq!(job_spec(&Policy::default(), &converted), spec);
        converted.preemptible
    };
    assert!(preemptible(true, None) && !preemptible(true, Some(false)));
    assert!(!preemptible(false, None) && preemptible(false, Some(true)));
}

#[test]
fn the_digest_tells_contents_apart_and_repeats() {
    let batch = |name: &str| v1::BatchSpec {
        name: name.into(),
        queue: "q".into(),
        jobs: vec![job()],
    };
    assert_eq!(digest(&batch("a")), digest(&batch("a")));
    assert_ne!(digest(&batch("a")), digest(&batch("b")));
}

#[test]
fn a_mistyped_resource_is_told_the_nearest_name() {
    let mut job = job();
    job.resources.as_mut().expect("resources").extended = [("cpus".to_owned(), 2)].into();
    let batch = v1::BatchSpec {
        name: "b".into(),
        queue: "cms".into(),
        jobs: vec![job],
    };
    let rejected = batch_in(&Policy::default(), batch).expect_err("no such resource");
    assert_eq!(rejected.cause.place(), Some("jobs[0].resources.cpus"));
    assert_eq!(rejected.cause.remedy(), "did you mean `cpu`?");
}
