//! A gateway over fakes, for tests of the real stages: a scripted upstream, scripted guardrails and
//! authenticators, a recorder that keeps what it gets, and a clock that runs on tokio's paused time.

mod ask;
mod guards;
mod upstream;
mod world;

pub use ask::{Answer, chat, completion, embedding, image, moderation, with};
pub use guards::{FakeAuth, FakeGuard};
pub use upstream::{FakeUpstream, Script, chunk, completed, done, usage_chunk};
pub use world::{Setup, World};
