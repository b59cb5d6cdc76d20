//! One row per settled request (`LiteLLM_SpendLogs`), how rows are written, and queries over them.

mod insert;
mod marks;
mod packed;
#[cfg(test)]
mod tests;
mod totals;
mod windows;

use std::borrow::Cow;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::rows::{Filter, Is, Row, Select};
use crate::store::{Store, StoreError};

pub(crate) use insert::{Inserted, insert};
pub(crate) use marks::{MARKS, Position};
pub(crate) use packed::Packed;
pub use totals::PROXY_USER;
pub use windows::{SpendWindow, WINDOWS};

/// A row of `LiteLLM_SpendLogs`. Fields have the names of their columns, in snake case.
#[derive(Debug, Clone, PartialEq)]
pub struct SpendRow<'a> {
    /// The answer's id, else the call's; unique. A second row of the same id is not written.
    pub request_id: Cow<'a, str>,
    /// Operation, such as `acompletion`.
    pub call_type: Cow<'a, str>,
    /// SHA-256 of the virtual key, in hex.
    pub api_key: Cow<'a, str>,
    /// US dollars, exact. The column `spend` holds the nearest double, `witgate_spend_usd` every digit.
    pub spend: Decimal,
    /// Tokens read and written.
    pub total_tokens: i64,
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Tokens written.
    pub completion_tokens: i64,
    /// When the request arrived.
    pub start_time: Timestamp,
    /// When its last byte left.
    pub end_time: Timestamp,
    /// When the first byte of the answer was there.
    pub completion_start_time: Option<Timestamp>,
    /// Model as sent to the provider.
    pub model: Cow<'a, str>,
    /// Deployment id.
    pub model_id: Cow<'a, str>,
    /// Public name the client asked for.
    pub model_group: Cow<'a, str>,
    /// Provider, such as `openai`.
    pub custom_llm_provider: Cow<'a, str>,
    /// Base URL of the deployment.
    pub api_base: Cow<'a, str>,
    /// User the key belongs to.
    pub user: Cow<'a, str>,
    /// JSON object.
    pub metadata: Cow<'a, str>,
    /// `True`, `False` or `None`.
    pub cache_hit: Cow<'a, str>,
    /// Key in the cache, or `Cache OFF`.
    pub cache_key: Cow<'a, str>,
    /// JSON array of texts.
    pub request_tags: Cow<'a, str>,
    /// Team the key belongs to.
    pub team_id: Option<Cow<'a, str>>,
    /// Organisation the key belongs to.
    pub organization_id: Option<Cow<'a, str>>,
    /// Customer on whose behalf the call was made.
    pub end_user: Option<Cow<'a, str>>,
    /// The client's address.
    pub requester_ip_address: Option<Cow<'a, str>>,
    /// JSON; `{}` unless prompts are stored.
    pub messages: Cow<'a, str>,
    /// JSON; `{}` unless prompts are stored.
    pub response: Cow<'a, str>,
    /// Trace id of the request.
    pub session_id: Option<Cow<'a, str>>,
    /// `success` or `failure`.
    pub status: Option<Cow<'a, str>>,
    /// Name of the MCP tool that was called.
    pub mcp_namespaced_tool_name: Option<Cow<'a, str>>,
    /// Agent that pays.
    pub billing_agent_id: Option<Cow<'a, str>>,
    /// Agent that called.
    pub agent_id: Option<Cow<'a, str>>,
    /// JSON of the request; `{}` unless prompts are stored.
    pub proxy_server_request: Cow<'a, str>,
    /// The gateway's id of the call.
    pub litellm_call_id: Option<Cow<'a, str>>,
    /// Windows of budgets in which the cost was spent: nothing, or a JSON array of [`SpendWindow`]. Added up in their own table, in no
    /// column of the row.
    pub budget_windows: Cow<'a, str>,
    /// Of the tokens read, those that came from the provider's cache. Counted per day, in no column of the row.
    pub cache_read_tokens: i64,
    /// Of the tokens read, those that went into the provider's cache. Counted per day, in no column of the row.
    pub cache_creation_tokens: i64,
}

/// Which rows a query returns. Conditions that are set must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpendFilter {
    /// This request.
    pub request_id: Option<String>,
    /// Rows of this key, by its hash.
    pub api_key: Option<String>,
    /// Rows of this user.
    pub user: Option<String>,
    /// Rows of this team.
    pub team_id: Option<String>,
    /// Rows of this customer.
    pub end_user: Option<String>,
    /// Requests that arrived at this moment or later.
    pub from: Option<Timestamp>,
    /// Requests that arrived before this moment.
    pub before: Option<Timestamp>,
}

impl Default for SpendRow<'_> {
    /// A row with LiteLLM's column defaults, at the epoch.
    fn default() -> Self {
        Self {
            request_id: Cow::Borrowed(""),
            call_type: Cow::Borrowed(""),
            api_key: Cow::Borrowed(""),
            spend: Decimal::ZERO,
            total_tokens: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            start_time: Timestamp::UNIX_EPOCH,
            end_time: Timestamp::UNIX_EPOCH,
            completion_start_time: None,
            model: Cow::Borrowed(""),
            model_id: Cow::Borrowed(""),
            model_group: Cow::Borrowed(""),
            custom_llm_provider: Cow::Borrowed(""),
            api_base: Cow::Borrowed(""),
            user: Cow::Borrowed(""),
            metadata: Cow::Borrowed("{}"),
            cache_hit: Cow::Borrowed(""),
            cache_key: Cow::Borrowed(""),
            request_tags: Cow::Borrowed("[]"),
            team_id: None,
            organization_id: None,
            end_user: None,
            requester_ip_address: None,
            messages: Cow::Borrowed("{}"),
            response: Cow::Borrowed("{}"),
            session_id: None,
            status: None,
            mcp_namespaced_tool_name: None,
            billing_agent_id: None,
            agent_id: None,
            budget_windows: Cow::Borrowed(""),
            proxy_server_request: Cow::Borrowed("{}"),
            litellm_call_id: None,
            cache_read_tokens: 0,
            cache_creation_tokens: 0,
        }
    }
}

impl SpendRow<'_> {
    /// Milliseconds between start and end.
    fn duration_ms(&self) -> i64 {
        self.end_time.as_millisecond() - self.start_time.as_millisecond()
    }
}

const TABLE: &str = "LiteLLM_SpendLogs";

impl Store {
    /// The newest rows that pass a filter, newest first, at most `limit`.
    pub async fn spend_logs(
        &self,
        filter: &SpendFilter,
        limit: u32,
    ) -> Result<Vec<SpendRow<'static>>, StoreError> {
        let mut of = Filter::all()
            .and_if("request_id", filter.request_id.as_deref())
            .and_if("api_key", filter.api_key.as_deref())
            .and_if("user", filter.user.as_deref())
            .and_if("team_id", filter.team_id.as_deref())
            .and_if("end_user", filter.end_user.as_deref());
        if let Some(from) = filter.from {
            of = of.and("startTime", Is::AtLeast(time_text(from).into()));
        }
        if let Some(before) = filter.before {
            of = of.and("startTime", Is::Below(time_text(before).into()));
        }
        let select = Select {
            filter: of,
            order: vec![("startTime", true), ("request_id", true)],
            offset: 0,
            limit: Some(u64::from(limit)),
        };
        let rows = self.rows(TABLE, &select).await?;
        Ok(rows.iter().map(row).collect())
    }

    /// How many rows there are.
    pub async fn spend_log_count(&self) -> Result<u64, StoreError> {
        self.count(TABLE, &Filter::all()).await
    }
}

/// A time as the database holds it: fixed width, so that text order is time order.
pub(crate) fn time_text(at: Timestamp) -> String {
    TimeText(at).to_string()
}

/// [`time_text`], for writing into a buffer.
struct TimeText(Timestamp);

impl std::fmt::Display for TimeText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

fn row(row: &Row) -> SpendRow<'static> {
    let optional = |column: &str| -> Option<Cow<'static, str>> {
        match row.get(column)? {
            Value::Null => None,
            Value::String(text) => Some(Cow::Owned(text.clone())),
            json => Some(Cow::Owned(json.to_string())),
        }
    };
    let text = |column: &str| optional(column).unwrap_or_default();
    let integer = |column: &str| row.get(column).and_then(Value::as_i64).unwrap_or_default();
    let time = |column: &str| row.get(column).and_then(Value::as_str)?.parse().ok();
    SpendRow {
        request_id: text("request_id"),
        call_type: text("call_type"),
        api_key: text("api_key"),
        spend: exact(row),
        total_tokens: integer("total_tokens"),
        prompt_tokens: integer("prompt_tokens"),
        completion_tokens: integer("completion_tokens"),
        start_time: time("startTime").unwrap_or(Timestamp::UNIX_EPOCH),
        end_time: time("endTime").unwrap_or(Timestamp::UNIX_EPOCH),
        completion_start_time: time("completionStartTime"),
        model: text("model"),
        model_id: text("model_id"),
        model_group: text("model_group"),
        custom_llm_provider: text("custom_llm_provider"),
        api_base: text("api_base"),
        user: text("user"),
        metadata: text("metadata"),
        cache_hit: text("cache_hit"),
        cache_key: text("cache_key"),
        request_tags: text("request_tags"),
        team_id: optional("team_id"),
        organization_id: optional("organization_id"),
        end_user: optional("end_user"),
        requester_ip_address: optional("requester_ip_address"),
        messages: text("messages"),
        response: text("response"),
        session_id: optional("session_id"),
        status: optional("status"),
        mcp_namespaced_tool_name: optional("mcp_namespaced_tool_name"),
        billing_agent_id: optional("billing_agent_id"),
        agent_id: optional("agent_id"),
        proxy_server_request: text("proxy_server_request"),
        litellm_call_id: optional("litellm_call_id"),
        budget_windows: Cow::Borrowed(""),
        cache_read_tokens: 0,
        cache_creation_tokens: 0,
    }
}

/// The exact amount; a row that another program wrote has only the double.
fn exact(row: &Row) -> Decimal {
    let double = row.get("spend").and_then(Value::as_f64).unwrap_or_default();
    let exact = row.get("witgate_spend_usd").and_then(Value::as_str);
    let exact: Decimal = exact.and_then(|text| text.parse().ok()).unwrap_or_default();
    match exact.is_zero() && double != 0.0 {
        true => Decimal::try_from(double).unwrap_or_default(),
        false => exact,
    }
}
