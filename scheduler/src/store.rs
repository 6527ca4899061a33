//! What the scheduler keeps on disk: journal, snapshots, history and spool, under one directory and one lock.
//!
//! The rule: nothing here knows what its bytes mean, and everything that it says is durable survives a power cut.
//!
//! [`journal`] keeps the records, [`history`] finished work (in the same durable step), both over an [`engine`].

mod durable_file;
pub mod engine;
mod error;
pub mod history;
pub mod journal;

pub use error::StoreError;
