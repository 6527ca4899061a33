//! The driver over a disk in memory: apply, append, sync, release, in this order,
//! also when the disk is full.

#![allow(clippy::unwrap_used)]

#[path = "driver/failure.rs"]
mod failure;
#[path = "driver/gate.rs"]
mod gate;
#[path = "driver/order.rs"]
mod order;
#[path = "driver/replay.rs"]
mod replay;
#[path = "driver/service.rs"]
mod service;
#[path = "leases/stage.rs"]
mod stage;
