//! The border between the wire and the core: each message to a domain type and
//! back, exhaustively.
//!
//! The rule it keeps: what comes in is either a whole valid value or a typed
//! refusal that says where the fault is (`jobs[2].resources`); what goes out
//! leaves no variant of the core unsaid, since no `match` here has a wildcard
//! over the core's own enums.
//!
//! Nothing is decided here: what the World accepts is the core's business, who
//! may ask is [`crate::auth`]'s and [`crate::api`]'s. One file per area:
//! [`submission`] and [`report`] come in, [`work`], [`attempt`], [`place`],
//! [`grant`], [`notice`], [`shortage`] and [`status`] go out, [`amounts`] and
//! [`by_hand`] do both.

pub mod amounts;
pub mod attempt;
pub mod by_hand;
mod grant;
pub mod lease;
pub mod notice;
pub mod place;
pub mod report;
pub mod shortage;
pub mod status;
pub mod submission;
pub mod work;

pub use grant::grant;
pub use lease::lease;
pub use status::closing;
