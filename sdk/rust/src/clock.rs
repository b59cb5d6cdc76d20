//! Time, from the host.

use crate::bindings::host::witgate::host::clock;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> u64 {
    clock::now_ms()
}

/// Nanoseconds of a clock that never goes back; only differences mean something.
pub fn monotonic_ns() -> u64 {
    clock::monotonic_ns()
}
