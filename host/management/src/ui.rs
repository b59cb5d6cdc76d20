//! What LiteLLM's UI asks at its start: `/sso/get/ui_settings`.

use serde_json::{Value, json};

use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane};

/// What the operator says to a UI.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UiSettings {
    /// `PROXY_BASE_URL`
    pub base_url: Option<String>,
    /// `PROXY_LOGOUT_URL`: where it goes when somebody signs out.
    pub logout_url: Option<String>,
    /// Whether people sign in at an identity provider.
    pub has_sso: bool,
    /// `MAX_SPENDLOG_ROWS_TO_QUERY`: with more rows of calls it asks for no reports over all of them; LiteLLM's million unless set.
    pub spend_logs_most: Option<u64>,
    /// `litellm_settings.ui_theme_config`
    pub theme: serde_json::Map<String, Value>,
    /// What `/get_image` shows.
    pub logo: Picture,
    /// What `/get_favicon` shows.
    pub favicon: Picture,
}

/// A picture of the UI.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Picture {
    /// Witgate's own.
    #[default]
    Own,
    /// At this address, where browsers are sent; the gateway never asks it.
    At(String),
    /// A file of the operator's, read when the configuration was.
    File(&'static str, bytes::Bytes),
}

/// Whether browsers can be sent there.
#[must_use]
pub fn is_page(url: &str) -> bool {
    url::Url::parse(url)
        .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

/// LiteLLM's `MAX_SPENDLOG_ROWS_TO_QUERY`.
const SPEND_LOGS_MOST: u64 = 1_000_000;

pub(crate) const OPERATIONS: &[Operation] = &[Operation {
    method: "GET",
    paths: &["/sso/get/ui_settings"],
    who: Who::Anyone,
    what: "Tells a UI where it is, how people sign in, and whether there are too many rows of calls for reports over all of them.",
    body: &[],
    query: &[],
    run: |plane, ask| Box::pin(settings(plane, ask)),
}];

async fn settings(plane: &ControlPlane, _: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    let ui = &settings.ui;
    let most = ui.spend_logs_most.unwrap_or(SPEND_LOGS_MOST);
    // One more than matters: who has a hundred million waits for no count of them.
    let sql =
        r#"SELECT count(*) AS n FROM (SELECT 1 AS one FROM "LiteLLM_SpendLogs" LIMIT ?) some"#;
    let counted = plane
        .store
        .report(sql, vec![most.saturating_add(1).into()])
        .await?;
    let rows = counted.first().and_then(|row| row.get("n")?.as_u64());
    let rows = rows.unwrap_or_default();
    let disabled = settings
        .general("default_team_disabled")
        .and_then(Value::as_bool);
    Ok(json!({
        "PROXY_BASE_URL": ui.base_url,
        "PROXY_LOGOUT_URL": ui.logout_url,
        "DEFAULT_TEAM_DISABLED": disabled.unwrap_or_default(),
        "SSO_ENABLED": ui.has_sso,
        "NUM_SPEND_LOGS_ROWS": rows,
        "DISABLE_EXPENSIVE_DB_QUERIES": rows > most,
    }))
}
