//! What `jero` says where TLS with a real `jero serve` does not come about.

use std::path::{Path, PathBuf};

use expect_test::expect;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use crate::scheduler::Scheduler;
use crate::{run, told};

fn with_tls(directory: &Path, name: &str, certificate: CertificateParams) -> Scheduler {
    let key = KeyPair::generate().unwrap();
    let made = certificate.self_signed(&key).unwrap();
    let file = |ending: &str| -> PathBuf { directory.join(format!("{name}.{ending}")) };
    std::fs::write(file("pem"), made.pem()).unwrap();
    std::fs::write(file("key"), key.serialize_pem()).unwrap();
    let tls = format!("[tls]\ncert_file = \"{name}.pem\"\nkey_file = \"{name}.key\"\n");
    Scheduler::start(directory, name, &tls)
}

fn certificate(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

#[test]
fn each_trouble_with_tls_has_its_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let good = with_tls(here, "good", certificate("127.0.0.1"));
    let jero = |url: String, address: &str, ca: &str| {
        let arguments = ["queues", "--ca-file", ca];
        told(&run(here, &url, &arguments)).replace(address, "ADDRESS")
    };
    let https = |scheduler: &Scheduler, ca: &str| {
        let url = format!("https://{}", scheduler.address);
        jero(url, &scheduler.address, ca)
    };
    assert!(https(&good, "good.pem").ends_with("exit 0\n"));

    let other = with_tls(here, "other", certificate("other.example"));
    let mut expired = certificate("127.0.0.1");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let expired = with_tls(here, "expired", expired);
    let mut early = certificate("127.0.0.1");
    early.not_before = date_time_ymd(4000, 1, 1);
    let early = with_tls(here, "early", early);
    let mut authority = certificate("127.0.0.1");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = with_tls(here, "authority", authority);
    let told = [
        https(&good, "other.pem"),
        https(&other, "other.pem"),
        https(&expired, "expired.pem"),
        https(&early, "early.pem"),
        https(&authority, "authority.pem"),
        https(&good, "good.key"),
        https(&good, "good.toml"),
    ];
    expect![[r#"
        jero: the scheduler at https://ADDRESS cannot be reached: its certificate is signed by none that is trusted here
          do: give its certificate, or that of the authority that signed it, by --ca-file, JERO_CA_FILE or `ca_file` in the configuration file
        exit 3

        jero: the scheduler at https://ADDRESS cannot be reached: its certificate is not for the name in https://ADDRESS, only for: other.example
          do: write one of these names in --server, JERO_SERVER or `server` in the configuration file, or make a certificate whose subjectAltName has this one
        exit 3

        jero: the scheduler at https://ADDRESS cannot be reached: its certificate has expired at 2021-01-01T00:00:00Z
          do: renew the certificate that [tls] of the scheduler's file names, and restart it; see also that the clocks of both machines are right
        exit 3

        jero: the scheduler at https://ADDRESS cannot be reached: its certificate is not valid before 4000-01-01T00:00:00Z
          do: renew the certificate that [tls] of the scheduler's file names, and restart it; see also that the clocks of both machines are right
        exit 3

        jero: the scheduler at https://ADDRESS cannot be reached: its certificate cannot be used: Other(OtherError(CaUsedAsEndEntity))
          do: make one as docs/operating.md shows (it must not be an authority itself: CA:FALSE), and name it in [tls] of the scheduler's file
        exit 3

        jero: good.key has no certificate in it
          do: name a PEM file with the scheduler's certificate (-----BEGIN CERTIFICATE-----) or its authority's
        exit 2

        jero: good.toml has no certificate in it
          do: name a PEM file with the scheduler's certificate (-----BEGIN CERTIFICATE-----) or its authority's
        exit 2
    "#]].assert_eq(&told.join("\n"));
}

/// How that shows depends on which end is faster to close; the remedy does not.
#[test]
fn where_one_end_speaks_tls_and_the_other_does_not_the_other_scheme_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let good = with_tls(here, "good", certificate("127.0.0.1"));
    let plain = Scheduler::start(here, "plain", "");
    for (scheme, Scheduler { address, .. }, other) in
        [("http", &good, "https"), ("https", &plain, "http")]
    {
        let arguments = ["queues", "--ca-file", "good.pem"];
        let output = told(&run(here, &format!("{scheme}://{address}"), &arguments));
        assert!(output.ends_with("exit 3\n"), "{output}");
        assert!(
            output.contains(&format!("write {other}://{address}")),
            "{output}"
        );
    }
}

/// Waiting verbs do not go on trying what stays as it is.
#[test]
fn trouble_with_tls_is_not_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let other = with_tls(here, "other", certificate("other.example"));
    let url = format!("https://{}", other.address);
    let arguments = ["wait", "batch-1", "--ca-file", "other.pem"];
    let output = told(&run(here, &url, &arguments));
    assert!(output.ends_with("exit 3\n"), "{output}");
    assert!(!output.contains("trying again"), "{output}");
}
