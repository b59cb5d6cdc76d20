//! Each log sink against a vendor that checks every header and field, and that fails in every way.

use serde_json::Value;
use witgate_testkit::{FakeUpstream, FakeVendor, Gateway, GatewayBuilder};

use crate::support::{Stage, base_config};

mod datadog;
mod generic_api;
mod otel;
mod prometheus;
mod s3;
mod signing;

/// A gateway with further YAML, its builder to be shaped.
async fn stage(more: &str, shape: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()) + more;
    Stage::of(upstream, shape(Gateway::builder(config))).await
}

/// The first `count` things that the vendor took; nothing may have been refused.
async fn taken(vendor: &FakeVendor, count: usize) -> Vec<Value> {
    let taken = vendor.taken().wait_for(count).await;
    vendor.refused_nothing();
    taken
}

/// Waits until an event of this sink was dropped and counted.
async fn dropped(stage: &Stage, sink: &str) {
    stage
        .gateway
        .metrics_until("a dropped event", |metrics| {
            metrics.text().lines().any(|line| {
                line.starts_with("witgate_events_dropped")
                    && line.contains(sink)
                    && !line.ends_with(" 0")
            })
        })
        .await;
}
