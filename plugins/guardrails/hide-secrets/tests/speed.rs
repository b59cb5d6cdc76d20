//! A coarse guard against a detector that looks at ordinary text too long.

use std::time::Instant;

use hide_secrets::config::{Detectors, Settings};
use hide_secrets::mask::{Counts, whole};

#[test]
fn ordinary_messages_cost_nanoseconds_per_byte() {
    let detectors = Detectors::new(&Settings::default()).expect("defaults");
    let text = include_str!("cases/ordinary.txt");
    let mut best = f64::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        let found = whole(&detectors, std::hint::black_box(text), &mut Counts::new());
        best = best.min(start.elapsed().as_nanos() as f64 / text.len() as f64);
        assert!(found.is_none());
    }
    println!("{best:.2} ns per byte over {} bytes", text.len());
    // Unoptimised code on a busy machine; the release build takes about a twentieth.
    assert!(best < 200.0, "{best:.1} ns per byte");
}
