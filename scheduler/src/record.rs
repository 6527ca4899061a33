//! How events and the World stand on disk: postcard of the core's own types.
//!
//! The format version is the journal's. The order of an enum's variants and of
//! a struct's fields is part of it; see `docs/design/0002-disk-format.md`.

use jeroboam_core::event::Event;
use jeroboam_core::time::TimeMs;
use jeroboam_core::world::World;

/// An event and the time at which it was applied.
pub fn encode(now: TimeMs, event: &Event) -> Vec<u8> {
    postcard::to_stdvec(&(now, event)).expect("events have a known length and no maps of maps")
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// The bytes are none of ours, or of another format.
pub fn decode(bytes: &[u8]) -> Result<(TimeMs, Event), postcard::Error> {
    postcard::from_bytes(bytes)
}

/// The whole World.
pub fn encode_world(world: &World) -> Vec<u8> {
    postcard::to_stdvec(world).expect("the World has a known length")
}

/// Reads what [`encode_world`] wrote.
///
/// # Errors
/// The bytes are none of ours, or of another format.
pub fn decode_world(bytes: &[u8]) -> Result<World, postcard::Error> {
    let mut world: World = postcard::from_bytes(bytes)?;
    world.share_specs();
    Ok(world)
}
