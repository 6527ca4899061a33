#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;

use expect_test::{Expect, expect};

use super::*;

const WHOLE: &str = r#"
site = "meyrin"
scheduler = "http://127.0.0.1:7117"
token_file = "meyrin.token"
state_dir = "state"
cache_bytes_max = "64MiB"

[[cluster]]
name = "hosts"
coe = "process"

[[cluster.node]]
name = "meyrin-1"
cpu = "1500m"
memory = "2GiB"
disk = "10GiB"
gpu = 1
speed = 12.5
labels = { rack = "r1" }
taints = [{ key = "gpu" }]

[[cluster.node]]
name = "meyrin-2"
cpu = 2
memory = "512MiB"
"#;

/// Loads a site file beside a token file of the given mode.
fn load_with(
    text: &str,
    token: &str,
    mode: u32,
) -> (tempfile::TempDir, Result<Config, ConfigError>) {
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("meyrin.token");
    std::fs::write(&token_file, token).unwrap();
    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(mode)).unwrap();
    let path = dir.path().join("site.toml");
    std::fs::write(&path, text).unwrap();
    let loaded = Config::load(&path);
    (dir, loaded)
}

/// The error without the temporary directory's name.
fn check(text: &str, expected: Expect) {
    let (dir, loaded) = load_with(text, "s3cret\n", 0o600);
    let error = loaded.unwrap_err().to_string();
    expected.assert_eq(&error.replace(&format!("{}/", dir.path().display()), ""));
}

fn changed(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from}");
    WHOLE.replacen(from, to, 1)
}

#[test]
fn a_whole_file_is_read_and_printed_without_its_secret() {
    let (dir, loaded) = load_with(WHOLE, "s3cret\n", 0o600);
    let config = loaded.unwrap();
    assert_eq!(config.token.as_ref().unwrap().secret(), "s3cret");
    assert_eq!(config.state_dir, dir.path().join("state"));
    let [cluster] = config.clusters.as_slice() else {
        panic!("one cluster, not {:?}", config.clusters);
    };
    let node = &cluster.nodes[0];
    assert_eq!(
        (node.cpu_milli, node.memory_mib, node.disk_mib),
        (1500, 2048, 10240)
    );
    assert_eq!((node.gpu, node.speed_milli), (1, 12_500));
    assert_eq!(node.taints[0].key, "gpu");
    assert_eq!(cluster.nodes[1].cpu_milli, 2000);
    assert!(
        cluster.nodes[1].disk_mib > 0,
        "undeclared: a share of what there is"
    );
    for printed in [config.to_string(), format!("{config:?}")] {
        assert!(!printed.contains("s3cret"), "{printed}");
    }
    expect!["site = meyrin, scheduler = http://127.0.0.1:7117, token = set, trust = none, state_dir = state, cache_bytes_max = 64MiB, cluster hosts = 2 nodes with 3.5 cores and 2560MiB"]
        .assert_eq(&config.to_string().replace(&format!("{}/", dir.path().display()), ""));
}

#[test]
fn faults_are_told_with_place_and_remedy() {
    check(
        &changed("cpu = \"1500m\"", "cpus = \"1500m\""),
        expect![
            "site.toml:14:1: unknown field `cpus`, expected one of `name`, `cpu`, `memory`, `disk`, `gpu`, `labels`, `taints`, `speed`, `runtimes`; the keys and their form are in the example of docs/operating.md"
        ],
    );
    check(
        &changed("memory = \"2GiB\"", "memory = 2048"),
        expect![[
            r#"site.toml:15:10: "2048" is not an amount of bytes: a number alone does not say its unit; write it like "4GiB" or "512MiB"; the keys and their form are in the example of docs/operating.md"#
        ]],
    );
    check(
        &changed("site = \"meyrin\"\n", ""),
        expect![
            "site.toml:1:1: missing field `site`; the keys and their form are in the example of docs/operating.md"
        ],
    );
    check(
        &changed("\"http://127.0.0.1:7117\"", "\"127.0.0.1:7117\""),
        expect![[
            r#"site.toml:3:13: "127.0.0.1:7117" is not the address of a scheduler; write it like "https://jero.example.org:7117" or "http://127.0.0.1:7117""#
        ]],
    );
    check(
        &changed("http://127.0.0.1:7117", "http://jero.example.org:7117"),
        expect![
            "site.toml:3:13: the site's token would travel in the clear to jero.example.org; use https://"
        ],
    );
    check(
        &changed("\"process\"", "\"kubernetes\""),
        expect![[r#"site.toml:10:7: there is no driver for "kubernetes"; use "process""#]],
    );
    check(
        &changed(
            "cpu = 2",
            "cpu = 2\nruntimes = [{ name = \"runsc\", isolation = \"sandbox\" }]",
        ),
        expect![
            "site.toml:25:12: the process engine starts no containers, so it has no runtimes; remove `runtimes`; work that asks for `sandbox` or `kernel` gets a host whose kernel nobody else has used"
        ],
    );
    check(
        &changed("meyrin-2", "meyrin-1"),
        expect![[
            r#"site.toml:23:8: there are two nodes named "meyrin-1"; give every node of the site a name of its own"#
        ]],
    );
    check(
        &changed("speed = 12.5", "speed = -1.0"),
        expect![
            "site.toml:18:9: -1 is no speed; give the HEPScore23 of one core, between 0.001 and 1000, like 10.0"
        ],
    );
    check(
        &changed("cpu = 2", "cpu = 0"),
        expect![[r#"site.toml:24:7: the node has no cores; write it like "8""#]],
    );
    check(
        "site = \"a\"\nscheduler = \"http://[::1]:1\"\nstate_dir = \"s\"\n",
        expect![[
            r#"site.toml:4:1: the site has no cluster; add `[[cluster]]` with `name`, `coe = "process"` and at least one `[[cluster.node]]`"#
        ]],
    );
    check(
        "site = \"a/b\"\nscheduler = \"http://[::1]:1\"\nstate_dir = \"s\"\n",
        expect![[
            r#"site.toml:1:8: "a/b" cannot name a site; use 1 to 63 letters, digits and the signs - _ ."#
        ]],
    );
    check(
        "site = \n",
        expect![
            "site.toml:1:8: string values must be quoted, expected literal string; the keys and their form are in the example of docs/operating.md"
        ],
    );
}

#[test]
fn a_token_that_others_can_read_is_refused() {
    let (_dir, loaded) = load_with(WHOLE, "s3cret\n", 0o644);
    assert!(
        matches!(loaded, Err(ConfigError::TokenExposed(_))),
        "{loaded:?}"
    );
    let (_dir, loaded) = load_with(WHOLE, "two words\n", 0o600);
    assert!(
        matches!(loaded, Err(ConfigError::TokenUnusable(_))),
        "{loaded:?}"
    );
}
