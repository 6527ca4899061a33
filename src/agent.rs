//! The site's side of the command: the hidden verb that agents start for each
//! attempt.

/// `jero attempt-shim DIR` watches over the attempt in that directory.
pub const SHIM_VERB: &str = "attempt-shim";
