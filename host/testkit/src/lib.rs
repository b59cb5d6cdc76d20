//! Fake upstreams and vendors that speak real HTTP, and a harness around the real binary.
