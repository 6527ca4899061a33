#![allow(clippy::unwrap_used)]

use super::*;
use jeroboam_core::event::Event;
use jeroboam_core::resources::{EXTENDED, Resources};
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

const SITES: &str = r#"
data_dir = "data"
[[site]]
name = "meyrin"
kind = "owned"
token_file = "meyrin.token"
[[site]]
name = "cloud-west"
kind = "leased"
contract = { start = "2026-01-01T00:00:00Z", end = "2027-01-01T00:00:00Z", price_per_core_hour = 0.04, budget = 10 }
[[queue]]
name = "cms.higgs"
weight = 3
submitters = ["*"]
[[queue]]
name = "cms"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/jero/scheduler.toml"), text)
}

/// What is refused in a file, as it is printed.
fn fault(text: &str) -> String {
    parse(text).map_or_else(
        |error| error.to_string().replace("/etc/jero/", ""),
        |_| "accepted".into(),
    )
}

/// The shipped defaults are the core's own, where it has any.
#[test]
fn the_defaults_agree_with_the_core() {
    let config = parse("data_dir = \"data\"").unwrap();
    assert_eq!(config.policy, Policy::default());
    assert_eq!(config.data_dir, Path::new("/etc/jero/data"));
    assert!(config.listen.ip().is_loopback());
}

#[test]
fn every_fault_has_its_place_and_remedy() {
    let with = |text: &str| fault(&format!("data_dir = \"d\"\n{text}"));
    let seen = [
        fault(""),
        fault("data_dir = \"d\"\nlisten = \n"),
        with("lisen = \"127.0.0.1:1\""),
        with("listen = \"here\""),
        with("[leases]\ncontact_limit = 30"),
        with("[leases]\ncontact_limit = \"30q\""),
        with("[leases]\ncontact_limit = \"20s\""),
        with("[policy]\ngrace = \"2h\""),
        with("[retention]\nmemory = \"100000h\""),
        with("[log]\nformat = \"xml\""),
        with("[journal]\nsnapshot_records = 0"),
        with("[journal]\nsnapshot_bytes = \"1KiB\""),
        with("[retention]\nspool_queue_percent_max = 0"),
        with("[retention]\nspool_queue_percent_max = 101"),
        with("[[site]]\nname = \"a\""),
        with("[[site]]\nname = \"A B\"\nkind = \"owned\""),
        with("[[site]]\nname = \"a\"\nkind = \"leased\""),
        with("[[site]]\nname = \"a\"\nkind = \"owned\"\n[[site]]\nname = \"a\"\nkind = \"owned\""),
        with("[[queue]]\nname = \"cms.higgs\""),
        with("[[queue]]\nname = \"cms\"\n[[queue]]\nname = \"cms\""),
        with("[[queue]]\nname = \"cms\"\nwieght = 3"),
        with("[[queue]]\nname = \"cms\"\nguarantee = { cpu = 8, memory = 4 }"),
        with("[[queue]]\nname = \"cms\"\nguarantee = { fpga = 1 }"),
        with("[[queue]]\nname = \"cms\"\nlimit = { gpu = -1 }"),
        with("[[queue]]\nname = \"cms\"\nlimit = { cpu = 1.5 }\nguarantee = { cpu = 2 }"),
        with(
            "[policy]\nextended_resources = [\"fpga\"]\n[[queue]]\nname = \"cms\"\n\
             [[queue]]\nname = \"cms.a\"\nguarantee = { fpga = 2 }",
        ),
    ];
    expect_test::expect![[r#"
        scheduler.toml: `data_dir` is missing; name the directory for journal, history and files
        scheduler.toml:2:10: string values must be quoted; expected is literal string
        scheduler.toml:2:1: unknown field `lisen`; expected is one of `listen`, `metrics_listen`, `data_dir`, `tls`, `tokens_file`, `operators`, `log`, `leases`, `rounds`, `journal`, `retention`, `policy`, `site`, `queue`
        scheduler.toml:2:10: invalid socket address syntax; docs/operating.md shows every key with its unit
        scheduler.toml:3:17: "30" is not a length of time: a number alone does not say its unit; write it like "30m" or "1h30m"
        scheduler.toml:3:17: "30q" is not a length of time: unknown unit "q", the units are d, h, m (minutes), s and ms; write it like "30m" or "1h30m"
        scheduler.toml:2:2: `leases.heartbeat_interval` of 10s is out of bounds; use a span from 100ms to a third of the contact limit, 6s666ms
        scheduler.toml:3:1: policy.grace_ms: 7200000 is outside 0 ..= 3600000; use a value from 0 to 3600000
        scheduler.toml:3:1: policy.finished_in_memory_ms: 360000000000 is outside 0 ..= 36000000000; use a value from 0 to 36000000000
        scheduler.toml:3:10: unknown variant `xml`; expected is `human` or `json`
        scheduler.toml:3:1: `journal.snapshot_records` is 0; use 1 or more
        scheduler.toml:3:1: `journal.snapshot_bytes` of 1KiB would write snapshots all the time; use 1MiB or more
        scheduler.toml:3:1: `retention.spool_queue_percent_max` of 0 is out of bounds; use 1 to 100; 100 sets no bound of its own
        scheduler.toml:3:1: `retention.spool_queue_percent_max` of 101 is out of bounds; use 1 to 100; 100 sets no bound of its own
        scheduler.toml:2:1: missing field `kind`; docs/operating.md shows every key with its unit
        scheduler.toml:3:1: site.name: `A B` is not a site name; use 1 to 64 of a-z, 0-9, - and _
        scheduler.toml:4:1: the leased site `a` has no contract; add contract = { start, end, price_per_core_hour, budget }
        scheduler.toml:6:1: the site `a` is declared twice; remove one of the two
        scheduler.toml:3:1: there is no queue `cms`; `jero queues` lists those there are
        scheduler.toml:5:1: the queue `cms` exists already; use `jero queue set` to change it
        scheduler.toml:4:1: unknown field `wieght`; expected is one of `name`, `weight`, `queued_max`, `running_max`, `user_running_max`, `user_queued_max`, `submitters`, `guarantee`, `limit`, `isolation`, `tenant`
        scheduler.toml:4:24: "4" is not an amount of bytes: a number alone does not say its unit; write it like "4GiB" or "512MiB"
        scheduler.toml:4:15: there is no resource `fpga`; use cpu, memory, disk, gpu, or a name in `policy.extended_resources`
        scheduler.toml:4:11: `-1` is no count; write it like { cpu = 100, memory = "400GiB", gpu = 8 }
        scheduler.toml:5:1: queue.guarantee: `cms` would be guaranteed 2 of cpu, more than its limit of 1.5; lower the guarantee, or raise the limit
        scheduler.toml:8:1: queue.guarantee: the queues below `cms` would together be guaranteed 2 of fpga, it itself 0; raise the parent's guarantee first, or lower those below
    "#]].assert_eq(&(seen.join("\n") + "\n"));
}

#[test]
fn nothing_beyond_loopback_without_tls_and_tokens() {
    let tls = "[tls]\ncert_file = \"c\"\nkey_file = \"k\"\n";
    let site = "[[site]]\nname = \"a\"\nkind = \"owned\"\n";
    let open = |more: &str| {
        fault(&format!(
            "data_dir = \"d\"\nlisten = \"0.0.0.0:7117\"\n{more}"
        ))
    };
    let seen = [
        open(""),
        open("tokens_file = \"t\"\n"),
        open(tls),
        open(&format!("tokens_file = \"t\"\n{tls}")),
        open(&format!("tokens_file = \"t\"\n{tls}{site}")),
        open(&format!(
            "tokens_file = \"t\"\n{tls}{site}token_file = \"a\"\n"
        )),
        fault("data_dir = \"d\"\nmetrics_listen = \"0.0.0.0:9\""),
        fault("data_dir = \"d\"\nlisten = \"[::1]:0\"\nmetrics_listen = \"127.0.0.1:9\""),
    ];
    expect_test::expect![[r#"
        scheduler.toml:2:1: 0.0.0.0:7117 can be reached from other machines, and there is no TLS; set [tls] cert_file and key_file as well as tokens_file, or listen on 127.0.0.1
        scheduler.toml:2:1: 0.0.0.0:7117 can be reached from other machines, and there is no TLS; set [tls] cert_file and key_file as well as tokens_file, or listen on 127.0.0.1
        scheduler.toml:2:1: 0.0.0.0:7117 can be reached from other machines, and there is no token file; set [tls] cert_file and key_file as well as tokens_file, or listen on 127.0.0.1
        accepted
        scheduler.toml:8:1: the site `a` has no token, and 0.0.0.0:7117 can be reached from other machines; give it a token_file
        accepted
        scheduler.toml:2:1: 0.0.0.0:9 can be reached from other machines, and metrics know neither TLS nor tokens; listen on 127.0.0.1 and let a proxy on this machine publish them
        accepted
    "#]].assert_eq(&(seen.join("\n") + "\n"));
}

#[test]
fn the_world_follows_the_file_and_then_there_is_nothing_more_to_do() {
    let config = parse(SITES).unwrap();
    let mut world = World::default();
    let apply = |world: &mut World, config: &Config| {
        let events = config.events(world);
        for event in &events {
            world.apply(TimeMs(1), event).unwrap();
        }
        events.len()
    };
    assert_eq!(
        apply(&mut world, &config),
        4,
        "two sites, two queues, parents first"
    );
    assert_eq!(apply(&mut world, &config), 0);

    // A queue changed by hand stays as it is; a site that is gone is withdrawn.
    let change = jeroboam_core::event::QueueChange {
        weight: Some(9),
        ..Default::default()
    };
    let changed = Event::QueueChanged {
        name: "cms.higgs".into(),
        change,
    };
    world.apply(TimeMs(1), &changed).unwrap();
    let fewer =
        SITES.replace("name = \"meyrin\"", "name = \"wigner\"") + "[policy]\nscore_fill = 2\n";
    let events = parse(&fewer).unwrap().events(&world);
    let kinds: Vec<String> = events
        .iter()
        .map(|event| match event {
            Event::PolicyChanged(policy) => format!("policy {}", policy.score_fill),
            Event::SiteDeclared(site) => format!("declared {}", site.name),
            Event::SiteWithdrawn { name } => format!("withdrawn {name}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["policy 2", "declared wigner", "withdrawn meyrin"]);
}

#[test]
fn what_is_printed_shows_every_section() {
    let printed = parse(SITES).unwrap().to_string();
    for part in [
        "listen=127.0.0.1:7117",
        "leases.contact_limit=1h",
        "retention.spool_bytes_max=20GiB",
        "policy.grace=10s",
        "sites=2",
    ] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
}

/// Every key with a default is explained, and none that there is not.
#[test]
fn the_operating_guide_explains_every_key() {
    let defaults: toml::Table = toml::from_str(DEFAULTS).unwrap();
    let mut shipped: BTreeSet<String> = ["metrics_listen", "journal.accept_loss_after"]
        .map(String::from)
        .into();
    for (key, value) in &defaults {
        match value.as_table() {
            Some(section) => shipped.extend(section.keys().map(|name| format!("{key}.{name}"))),
            None => drop(shipped.insert(key.clone())),
        }
    }
    let guide = include_str!("../../../docs/operating.md");
    let table = guide
        .split_once("| key | meaning |")
        .unwrap()
        .1
        .split_once("\n\n")
        .unwrap()
        .0;
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let explained: BTreeSet<String> = rows.map(|(key, _)| key.to_string()).collect();
    assert_eq!(explained, shipped);
}

#[test]
fn queues_are_guaranteed_and_limited_by_the_file() {
    let text = "data_dir = \"d\"\n[policy]\nextended_resources = [\"fpga\"]\n[[queue]]\nname = \"cms\"\n\
        guarantee = { cpu = \"100\", memory = \"400GiB\", fpga = 1 }\nlimit = { gpu = 0, disk = \"1GiB\" }";
    let queues = parse(text).unwrap().queues;
    let mut guarantee = Resources::of(100_000, 409_600, 0, 0);
    guarantee[EXTENDED] = 1;
    assert_eq!(queues[0].guarantee, guarantee);
    let none = None;
    let limit = [none, none, Some(1_024), Some(0), none, none, none, none];
    assert_eq!(queues[0].limit.0, limit);
}
