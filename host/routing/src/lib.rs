//! Which deployment serves a request: pure functions of a snapshot and atomic state.
