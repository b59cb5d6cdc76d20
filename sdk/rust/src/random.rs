//! Randomness, from the host's operating system.

use crate::bindings::host::witgate::host::random;

/// `count` random bytes, at most 64 KiB.
pub fn bytes(count: u32) -> Vec<u8> {
    random::bytes(count)
}

/// A random (version 4) UUID in its usual text form.
pub fn uuid() -> String {
    random::uuid()
}
