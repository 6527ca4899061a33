//! The node's clock and the identity of its running kernel.
//!
//! Deadlines on a node run on `CLOCK_BOOTTIME`: monotonic, and counting while
//! the host is suspended. The wall clock is read for people only.

use std::sync::OnceLock;

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since the kernel started, time in suspend included.
pub fn boottime_ms() -> i64 {
    clock_ms(ClockId::CLOCK_BOOTTIME)
}

/// Milliseconds since the Unix epoch, for records that people read.
pub fn wall_ms() -> i64 {
    clock_ms(ClockId::CLOCK_REALTIME)
}

/// The running kernel's boot id (a UUID); it changes with every boot.
pub fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        let path = "/proc/sys/kernel/random/boot_id";
        let text = std::fs::read_to_string(path);
        text.expect("every Linux with /proc mounted has a boot id")
            .trim()
            .to_owned()
    })
}

fn clock_ms(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("the clock exists since Linux 2.6.39");
    time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000
}
