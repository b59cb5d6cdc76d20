//! Hours of traffic in seconds: the real snapshot, state, selection, cooldowns and walks, under a clock that jumps from
//! event to event, over deployments that behave as a test says. What is checked is what comes out of many calls together:
//! who serves how many, whether limits hold, how failures pass.
//!
//! Everything random comes from one seed, so that a run is the same each time.

#![allow(clippy::unwrap_used, reason = "a simulation stops where it fails")]

mod gateways;
mod limits;
mod recovery;
mod strategies;
mod suite;
mod traffic;
mod world;
