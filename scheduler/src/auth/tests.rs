#![allow(clippy::unwrap_used)]

use super::*;
use std::os::unix::fs::PermissionsExt as _;

const ALICE: &str = "alice-0123456789abcdef";
const MEYRIN: &str = "meyrin-0123456789abcdef";

/// A configuration with these files beside it, closed to others.
fn config(directory: &Path, files: &[(&str, &str)], toml: &str) -> Config {
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!("data_dir = \"d\"\n{toml}");
    Config::parse(&directory.join("scheduler.toml"), &text).unwrap()
}

const TOML: &str = "tokens_file = \"tokens\"\n[[site]]\nname = \"meyrin\"\nkind = \"owned\"\ntoken_file = \"meyrin\"\n";

fn load(users: &str, site: &str) -> Result<Tokens, AuthError> {
    let directory = tempfile::tempdir().unwrap();
    Tokens::load(&config(
        directory.path(),
        &[("tokens", users), ("meyrin", site)],
        TOML,
    ))
}

fn call(tokens: &Tokens, header: Option<&str>) -> Result<Caller, Code> {
    let mut headers = MetadataMap::new();
    if let Some(header) = header {
        headers.insert("authorization", header.parse().unwrap());
    }
    tokens
        .authenticate(&headers)
        .map_err(|status| status.code())
}

#[test]
fn a_token_says_who_calls() {
    let users = format!("alice = \"{ALICE}\"\nbob = \"bob-bob-bob-bob-bob\"\n");
    let tokens = load(&users, &format!("{MEYRIN}\n")).unwrap();
    let bearer = |token: &str| call(&tokens, Some(&format!("Bearer {token}")));
    assert_eq!(bearer(ALICE), Ok(Caller::User("alice".into())));
    assert_eq!(
        bearer("bob-bob-bob-bob-bob"),
        Ok(Caller::User("bob".into()))
    );
    assert_eq!(bearer(MEYRIN), Ok(Caller::Site("meyrin".into())));
    assert_eq!(bearer(&ALICE[1..]), Err(Code::Unauthenticated));
    assert_eq!(bearer(""), Err(Code::Unauthenticated));
    assert_eq!(call(&tokens, Some(ALICE)), Err(Code::Unauthenticated));
    assert_eq!(call(&tokens, None), Err(Code::Unauthenticated));
}

#[test]
fn without_a_token_file_callers_are_local_and_sites_keep_their_token() {
    let directory = tempfile::tempdir().unwrap();
    let toml = TOML.replace("tokens_file = \"tokens\"\n", "")
        + "[[site]]\nname = \"open\"\nkind = \"owned\"\n";
    let tokens = Tokens::load(&config(directory.path(), &[("meyrin", MEYRIN)], &toml)).unwrap();
    assert_eq!(call(&tokens, None), Ok(Caller::Local));
    let meyrin = call(&tokens, Some(&format!("Bearer {MEYRIN}"))).unwrap();
    let may = |caller: &Caller, site: &str| tokens.check_site(caller, site).is_ok();
    assert!(may(&meyrin, "meyrin") && may(&Caller::Local, "open"));
    assert!(!may(&meyrin, "open"), "a site speaks for itself only");
    assert!(
        !may(&Caller::Local, "meyrin"),
        "a site with a token asks for it"
    );
    assert!(
        !may(&Caller::User("alice".into()), "open"),
        "users speak for no site"
    );
    assert!(meyrin.user().is_err(), "sites are no users");
}

#[test]
fn bad_token_files_are_refused_without_repeating_a_token() {
    let alice = format!("alice = \"{ALICE}\"\n");
    let seen = [
        load(&format!("alice = \"{ALICE}\" \"\n"), MEYRIN),
        load("# users\nalice = \"short\"\n", MEYRIN),
        load(&format!("{alice}local = \"another-0123456789\"\n"), MEYRIN),
        load(&alice, ALICE),
        load(&alice, "two words-0123456789"),
    ];
    let seen: Vec<String> = seen.map(|loaded| loaded.unwrap_err().to_string()).into();
    for (message, expected) in seen.iter().zip([
        ":1: this is not `user = \"token\"`",
        ":2: the token of alice is too short",
        ":2: `local` is not a user's name",
        "alice and site meyrin have the same token",
        "the token of site meyrin is too short, too long or holds blanks",
    ]) {
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("0123456789"), "{message}");
    }
    let tokens = load(&alice, MEYRIN).unwrap();
    assert!(!format!("{tokens:?}").contains("0123"));
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let alice = format!("alice = \"{ALICE}\"\n");
    let config = config(
        directory.path(),
        &[("tokens", &alice), ("meyrin", MEYRIN)],
        TOML,
    );
    let path = directory.path().join("tokens");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
    assert!(matches!(Tokens::load(&config), Err(AuthError::Open { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Tokens::load(&config), Err(AuthError::Read { .. })));
}
