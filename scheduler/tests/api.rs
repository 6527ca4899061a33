//! The API over real connections: a whole service on a free loopback port, its
//! store on disk, and agents that say what each test has them say.

#![allow(clippy::unwrap_used)]

#[path = "api/agent.rs"]
mod agent;
#[path = "api/changes.rs"]
mod changes;
#[path = "api/endings.rs"]
mod endings;
#[path = "api/files.rs"]
mod files;
#[path = "api/finished.rs"]
mod finished;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/logs.rs"]
mod logs;
#[path = "api/places.rs"]
mod places;
#[path = "api/retention.rs"]
mod retention;
#[path = "api/service.rs"]
mod service;
#[path = "api/sessions.rs"]
mod sessions;
#[path = "api/sizes.rs"]
mod sizes;
#[path = "api/stopping.rs"]
mod stopping;
#[path = "api/submissions.rs"]
mod submissions;
#[path = "api/tokens.rs"]
mod tokens;
#[path = "api/waiting.rs"]
mod waiting;
#[path = "api/work.rs"]
mod work;
