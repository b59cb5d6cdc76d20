//! Where finished calls go: the log sinks and the spend ledger.

use std::sync::Arc;

use arc_swap::ArcSwap;
use witgate_events::{Completed, Failure, Hub, Outcome, ProxyFailure, spend};
use witgate_pipeline::Recorder;
use witgate_store::{SpendRow, SpendWriter};

/// What the configuration says about spend rows.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// Rows for calls that succeeded (`disable_spend_logs: false`).
    pub successes: bool,
    /// Rows for calls that failed (`disable_error_logs: false`).
    pub failures: bool,
}

/// Hands each finished call to the hub and to the ledger. Neither waits.
pub struct Fanout {
    /// The log sinks.
    pub hub: Arc<Hub>,
    /// The ledger.
    pub spend: SpendWriter,
    /// Which rows are written; swapped at a reload.
    pub ledger: ArcSwap<Ledger>,
}

impl Recorder for Fanout {
    fn record(&self, call: Completed) {
        let ledger = **self.ledger.load();
        let rows = match &call.outcome {
            Outcome::Success => ledger.successes,
            // A row per refused stranger would let strangers fill the disk.
            Outcome::Failure(failure) => {
                ledger.successes && ledger.failures && failure.class != "ProxyException"
            }
        };
        let call = Arc::new(call);
        if rows {
            let for_row = call.clone();
            // The row is made by the writer's own task: the request does not pay for it.
            self.spend.record_with(call.weight(), move || row(&for_row));
        }
        match &call.outcome {
            // No deployment was called: only sinks that ask for failures of the gateway itself get these.
            Outcome::Failure(failure) if call.served.model_id.is_empty() => {
                self.hub
                    .publish_proxy_failure(proxy_failure(&call, failure));
            }
            _ => {
                self.hub.publish(call);
            }
        }
    }

    fn record_attempt(&self, call: Completed) {
        self.hub.publish(call);
    }
}

fn proxy_failure(call: &Completed, failure: &Failure) -> ProxyFailure {
    ProxyFailure {
        call_id: call.call_id.clone(),
        route: call.route.clone(),
        failure: failure.clone(),
        caller: call.caller.clone(),
        model: Some(call.served.model_group.clone()).filter(|model| !model.is_empty()),
        metadata: None,
        audience: call.audience.clone(),
    }
}

/// LiteLLM's row of a call.
fn row(call: &Completed) -> SpendRow {
    let prompts = spend::Prompts::none();
    let tokens = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    SpendRow {
        request_id: call.log_id(),
        call_type: call.call_type.clone().into_owned(),
        api_key: call.caller.key_hash.clone().unwrap_or_default(),
        spend: call.cost.total.unwrap_or_default(),
        total_tokens: tokens(call.usage.total_tokens),
        prompt_tokens: tokens(call.usage.prompt_tokens),
        completion_tokens: tokens(call.usage.completion_tokens),
        start_time: call.times.start,
        end_time: call.times.end,
        completion_start_time: call.times.first_token,
        model: call.served.model.clone(),
        model_id: call.served.model_id.clone(),
        model_group: call.served.model_group.clone(),
        custom_llm_provider: call.served.provider.clone(),
        api_base: call.served.api_base.clone(),
        user: call.caller.user_id.clone().unwrap_or_default(),
        metadata: spend::metadata(call),
        cache_hit: spend::cache_hit(call).to_owned(),
        cache_key: spend::cache_key(call).to_owned(),
        request_tags: spend::request_tags(call),
        team_id: call.caller.team_id.clone(),
        organization_id: call.caller.org_id.clone(),
        end_user: call.caller.end_user_id.clone(),
        requester_ip_address: call.request.ip.clone(),
        messages: prompts.messages,
        response: prompts.response,
        session_id: Some(call.trace_id.clone()),
        status: Some(
            if call.succeeded() {
                "success"
            } else {
                "failure"
            }
            .to_owned(),
        ),
        mcp_namespaced_tool_name: None,
        billing_agent_id: None,
        agent_id: None,
        proxy_server_request: prompts.proxy_server_request,
        litellm_call_id: Some(call.call_id.clone()),
    }
}
