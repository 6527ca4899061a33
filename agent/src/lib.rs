//! placeholder
pub mod attempt;
pub mod drivers;
pub mod shim;
