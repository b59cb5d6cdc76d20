//! `LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD`: events of calls on standard output, a line of JSON each.

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use witgate_config::Loaded;
use witgate_events::{Delivery, EncodedEvent, Sink};

/// The variable, and the sink's name.
pub(super) const VARIABLE: &str = "LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD";
/// How long an event may wait for others, in seconds: somebody looks on.
pub(super) const INTERVAL_S: f64 = 0.1;

/// Whether events are printed: LiteLLM takes any value for yes, here `false` means no.
pub(super) fn is_wanted(loaded: &Loaded) -> bool {
    let env = &loaded.environment;
    env.non_empty(VARIABLE).is_some() && env.flag(VARIABLE) != Some(false)
}

/// Standard output as a sink.
pub(super) struct Printed;

#[async_trait]
impl Sink for Printed {
    async fn deliver(&self, batch: &[EncodedEvent]) -> Delivery {
        let mut lines = Vec::with_capacity(batch.iter().map(|event| event.json.len() + 1).sum());
        for event in batch {
            lines.extend_from_slice(&event.json);
            lines.push(b'\n');
        }
        let mut out = tokio::io::stdout();
        let written = async {
            out.write_all(&lines).await?;
            out.flush().await
        };
        match written.await {
            Ok(()) => Delivery::Delivered,
            // Half of it may be there: another try would print that twice.
            Err(error) => Delivery::Rejected {
                reason: format!("standard output: {error}"),
            },
        }
    }
}
