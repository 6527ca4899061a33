//! The order of a start: what the configuration names is checked before the data directory is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jeroboam_scheduler::config::Config;

/// Starts with `lines` in the file; says why that ended. Nothing here listens long enough to matter.
async fn refused(directory: &Path, lines: &str) -> String {
    let text = format!("listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n{lines}");
    let config = Config::parse(&directory.join("scheduler.toml"), &text).expect("it is read");
    let served = jeroboam_scheduler::serve(config, std::future::ready(())).await;
    served.expect_err("it must not start").to_string()
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_said_before_the_data_directory_is_touched() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    write(&at("open"), "alice = \"0123456789abcdef\"", 0o644);
    write(&at("cert.pem"), "no certificate", 0o600);
    write(&at("key.pem"), "no key", 0o600);
    let site = "[[site]]\nname = \"meyrin\"\nkind = \"owned\"\n";
    let cases = [
        ("tokens_file = \"missing\"".to_owned(), "missing"),
        ("tokens_file = \"open\"".to_owned(), "chmod 600"),
        (format!("{site}token_file = \"missing\""), "missing"),
        (
            "[tls]\ncert_file = \"cert.pem\"\nkey_file = \"missing\"".to_owned(),
            "missing",
        ),
        (
            "[tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"".to_owned(),
            "key.pem",
        ),
    ];
    for (lines, wanted) in cases {
        let why = refused(directory.path(), &lines).await;
        assert!(why.contains(wanted), "{lines}: {why}");
        assert!(!at("data").exists(), "{lines}: {why}");
    }
}
