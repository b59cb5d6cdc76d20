//! Fake upstreams and vendors that speak real HTTP, and a harness around the real binary.
//!
//! Nothing here is used in production. The fakes listen on ephemeral ports of the loopback
//! interface, take their behaviour from a [`Reply`] (a list of steps, so that a test decides
//! what is on the wire and when) and keep what they saw in a [`Journal`] that can be awaited.
//! The tests themselves are in `tests/`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test harness fails by panicking, with the reason as its message"
)]

mod gate;
mod http1;
mod journal;
mod reply;

pub mod judges;
pub mod openai;

mod anthropic;
mod bench_upstream;
mod buckets;
mod clouds;
mod collector;
mod datadog;
mod idp;
mod issuer;
mod langfuse;
mod postgres;
mod recorder;
mod redis;
mod s3;
mod slack;
mod upstream;
mod vault;
mod vendor;

mod gateway;
mod metrics;
mod qdrant;
mod raw;

pub use anthropic::FakeAnthropic;
pub use bench_upstream::BenchUpstream;
pub use buckets::{BUCKET, fake_buckets};
pub use clouds::{
    AZURE_ACCOUNT, AZURE_SECRET, REDIS_ACCOUNT, REDIS_TOKEN, fake_clouds, service_account,
};
pub use collector::fake_collector;
pub use datadog::fake_datadog;
pub use gate::Gate;
pub use gateway::{
    Gateway, GatewayBuilder, Refusal, Signal, SpendRow, binary, fixture_dir, plugin_dir,
    workspace_root,
};
pub use http1::Recorded;
pub use idp::{FakeIdp, Token};
pub use issuer::{FakeIssuer, Spoilt, now_s};
pub use journal::{Journal, PATIENCE};
pub use langfuse::FakeLangfuse;
pub use metrics::Metrics;
pub use postgres::{HeldLocks, PostgresServer};
pub use qdrant::{COLLECTION, QDRANT_KEY, fake_qdrant};
pub use raw::{RawConnection, RawResponse};
pub use recorder::{FakeOtlp, Recorder};
pub use redis::{RedisCluster, RedisSentinel, RedisServer};
pub use reply::Reply;
pub use s3::{S3Key, fake_s3};
pub use slack::FakeSlack;
pub use upstream::{Departure, FakeUpstream};
pub use vault::FakeVault;
pub use vendor::{FakeVendor, Judgement};
