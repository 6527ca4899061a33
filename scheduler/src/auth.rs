//! Who calls: users and sites by their tokens, or anybody on this machine where
//! no tokens are set up.
//!
//! The rule it keeps: a caller is exactly one of a user, a site or `local`;
//! sites speak in sessions and move files, nothing else; users never speak for a
//! site. Tokens are kept as SHA-256 only, compared in constant time, and appear
//! in no log, error or `Debug`.
//!
//! The token file is TOML, one `user = "token"` a line; a site's token stands
//! alone in a file of its own. Both must be closed to other users of the machine.
//! What a known user may do is decided in [`crate::api`], by queue and operator.
//!
//! Entry points: [`Tokens::load`], [`Tokens::authenticate`], [`Caller::of`].

use crate::config::Config;
use crate::convert::status::refusal;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

/// Name of whoever calls where nobody has to say who they are.
pub const LOCAL: &str = "local";
/// A shorter token could be guessed.
const TOKEN_CHARS_MIN: usize = 16;
/// A longer one fits no header.
const TOKEN_CHARS_MAX: usize = 1_024;
/// Users and sites, at most: each call is compared with all of them.
const TOKENS_MAX: usize = 20_000;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A user, by token.
    User(String),
    /// A site's agent, by token.
    Site(String),
    /// Anybody on this machine: no tokens are set up.
    Local,
}

/// All tokens, as digests.
#[derive(Clone)]
pub struct Tokens {
    entries: Vec<([u8; 32], Caller)>,
    /// False: calls without a token come from [`Caller::Local`].
    required: bool,
    /// Sites that have a token, so that nobody else speaks for them.
    guarded: std::collections::BTreeSet<String>,
}

/// A token file that is not used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others on this machine can read it.
    #[error("{} can be read by every user of this machine; `chmod 600` it and replace its tokens", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// It is not a token file. The text is never repeated.
    #[error("{}:{line}: {what}; {remedy}", path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Two callers have one token.
    #[error("{first} and {second} have the same token; give each its own")]
    Shared {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("count", &self.entries.len())
            .field("required", &self.required)
            .finish()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::User(name) => f.write_str(name),
            Caller::Site(name) => write!(f, "site {name}"),
            Caller::Local => f.write_str(LOCAL),
        }
    }
}

impl Tokens {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// One cannot be read, is open to others, or is not a token file.
    pub fn load(config: &Config) -> Result<Self, AuthError> {
        let mut tokens = Tokens {
            entries: Vec::new(),
            required: config.tokens_file.is_some(),
            guarded: Default::default(),
        };
        if let Some(path) = &config.tokens_file {
            let text = read_closed(path)?;
            for (name, token) in users(path, &text)? {
                let line = line_of(&text, &name);
                tokens.add(path, line, &token, Caller::User(name))?;
            }
        }
        for site in &config.sites {
            if let Some(path) = &site.token_file {
                let name = site.spec.name.clone();
                tokens.guarded.insert(name.clone());
                let text = read_closed(path)?;
                tokens.add(path, 1, text.trim(), Caller::Site(name))?;
            }
        }
        tokens.check_distinct()?;
        Ok(tokens)
    }

    fn add(
        &mut self,
        path: &Path,
        line: usize,
        token: &str,
        caller: Caller,
    ) -> Result<(), AuthError> {
        let wrong = |what: String, remedy| AuthError::Wrong {
            path: path.to_path_buf(),
            line,
            what,
            remedy,
        };
        let printable = token.chars().all(|c| c.is_ascii_graphic());
        if !printable || !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len()) {
            let what = format!("the token of {caller} is too short, too long or holds blanks");
            return Err(wrong(
                what,
                "use 16 characters or more, for example `openssl rand -hex 32`",
            ));
        }
        if self.entries.len() == TOKENS_MAX {
            return Err(wrong(
                format!("there are more than {TOKENS_MAX} tokens"),
                "remove some",
            ));
        }
        self.entries.push((Sha256::digest(token).into(), caller));
        Ok(())
    }

    fn check_distinct(&self) -> Result<(), AuthError> {
        let mut seen: BTreeMap<[u8; 32], &Caller> = BTreeMap::new();
        for (digest, caller) in &self.entries {
            if let Some(first) = seen.insert(*digest, caller) {
                return Err(AuthError::Shared {
                    first: first.to_string(),
                    second: caller.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Who sends these headers.
    ///
    /// # Errors
    /// No token where one is needed, or one that nobody has.
    pub fn authenticate(&self, headers: &MetadataMap) -> Result<Caller, Status> {
        let Some(header) = headers.get("authorization") else {
            if self.required {
                let remedy = "give --token-file or set JERO_TOKEN_FILE";
                return Err(refusal(
                    Code::Unauthenticated,
                    "TOKEN_MISSING",
                    "this scheduler asks for a token",
                    None,
                    remedy,
                ));
            }
            return Ok(Caller::Local);
        };
        let token = header.to_str().ok().and_then(|header| {
            let (scheme, token) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        self.find(token.unwrap_or_default())
            .cloned()
            .ok_or_else(|| {
                let remedy = "ask the operator for a token; this one was mistyped or withdrawn";
                refusal(
                    Code::Unauthenticated,
                    "TOKEN_UNKNOWN",
                    "nobody has this token",
                    None,
                    remedy,
                )
            })
    }

    /// Looks at every entry whatever the outcome, so that the time says nothing.
    fn find(&self, token: &str) -> Option<&Caller> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = 0_u32;
        for (position, (known, _)) in (1_u32..).zip(&self.entries) {
            let same: Choice = known.ct_eq(&digest);
            found.conditional_assign(&position, same);
        }
        let position = (found as usize).checked_sub(1)?;
        Some(&self.entries[position].1)
    }

    /// Whether a caller may speak for a site.
    ///
    /// # Errors
    /// It is a user, another site, or the site has a token of its own.
    pub fn check_site(&self, caller: &Caller, site: &str) -> Result<(), Status> {
        let (message, remedy) = match caller {
            Caller::Site(name) if name == site => return Ok(()),
            Caller::Local if !self.guarded.contains(site) => return Ok(()),
            Caller::Site(name) => (
                format!("this token is that of the site `{name}`, not of `{site}`"),
                "give the agent its own site's token_file",
            ),
            Caller::User(name) => (
                format!("`{name}` is a user and cannot speak for the site `{site}`"),
                "give the agent its site's token_file",
            ),
            Caller::Local => (
                format!("the site `{site}` has a token, and none was sent"),
                "give the agent its site's token_file",
            ),
        };
        Err(refusal(
            Code::PermissionDenied,
            "NOT_THE_SITE",
            message,
            Some("hello.site"),
            remedy,
        ))
    }
}

/// Lets a call in with its [`Caller`], or not.
#[derive(Debug, Clone)]
pub struct CheckTokens(pub Arc<Tokens>);

impl tonic::service::Interceptor for CheckTokens {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let caller = self.0.authenticate(request.metadata())?;
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}

impl Caller {
    /// Who sent a request that passed [`Tokens`].
    ///
    /// # Errors
    /// It did not pass: a defect of the server, which then refuses.
    pub fn of<T>(request: &Request<T>) -> Result<Caller, Status> {
        let caller = request.extensions().get::<Caller>();
        caller
            .cloned()
            .ok_or_else(|| Status::internal("the call was not authenticated"))
    }

    /// The name under which a user or local caller acts.
    ///
    /// # Errors
    /// Sites are no users.
    pub fn user(&self) -> Result<&str, Status> {
        match self {
            Caller::User(name) => Ok(name),
            Caller::Local => Ok(LOCAL),
            Caller::Site(name) => Err(refusal(
                Code::PermissionDenied,
                "SITE_IS_NO_USER",
                format!(
                    "this is the token of the site `{name}`, which opens sessions and moves files only"
                ),
                None,
                "use a user's token",
            )),
        }
    }
}

/// The text of a file that others cannot read.
fn read_closed(path: &Path) -> Result<String, AuthError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |source| AuthError::Read {
        path: path.to_path_buf(),
        source,
    };
    let mode = std::fs::metadata(path)
        .map_err(failed)?
        .permissions()
        .mode();
    if mode & 0o007 != 0 {
        return Err(AuthError::Open {
            path: path.to_path_buf(),
        });
    }
    if mode & 0o070 != 0 {
        tracing::warn!(path = %path.display(), "this token file can be used by its group; `chmod 600` closes it");
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// Where a user's entry stands.
fn line_of(text: &str, name: &str) -> usize {
    let stands = |line: &str| {
        let key = line.split('=').next().unwrap_or_default();
        key.trim().trim_matches(['"', '\'']) == name
    };
    text.lines().position(stands).unwrap_or(0) + 1
}

/// The users of a token file, by name.
fn users(path: &Path, text: &str) -> Result<BTreeMap<String, String>, AuthError> {
    let wrong = |line, what: String, remedy| AuthError::Wrong {
        path: path.to_path_buf(),
        line,
        what,
        remedy,
    };
    let users: BTreeMap<String, String> =
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..start].matches('\n').count() + 1;
            wrong(
                line,
                "this is not `user = \"token\"`".into(),
                "write one user a line, the token in quotes",
            )
        })?;
    let named = |name: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        (1..=64).contains(&name.len()) && name.chars().all(allowed) && name != LOCAL
    };
    if let Some(name) = users.keys().find(|name| !named(name)) {
        let line = line_of(text, name);
        let what = format!("`{name}` is not a user's name");
        return Err(wrong(
            line,
            what,
            "use letters, digits and - _ . @; `local` is taken",
        ));
    }
    Ok(users)
}

#[cfg(test)]
mod tests;
