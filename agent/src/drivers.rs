//! What starts attempts at a site, one module per container engine.
//!
//! A driver starts, stops and notices the end of attempts whose directories
//! exist; it decides nothing (that is `state`) and knows no session. There is
//! no trait until a second driver exists.

pub mod process;
