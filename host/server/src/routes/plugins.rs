//! `/plugins…`: what plugins do, and changing one without touching the rest. For administrators only.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::StatusCode;
use serde_json::{Value, json};
use witgate_pipeline::{Reply, detail};

use super::info;

/// Lines of a log when the request does not say how many.
const LINES: usize = 100;

/// What is asked of one plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginRoute {
    /// `GET /plugins/{name}`
    Status,
    /// `GET /plugins/{name}/logs`
    Logs,
    /// `GET /plugins/{name}/shadow`
    Shadow,
    /// `POST /plugins/{name}/reload`
    Reload,
    /// `POST /plugins/{name}/rollback`
    RollBack,
    /// `POST /plugins/{name}/enable`
    Enable,
    /// `POST /plugins/{name}/disable`
    Disable,
}

/// Which plugin is meant.
#[derive(Debug, Clone)]
pub struct Which {
    /// Its name in the configuration.
    pub name: String,
    /// Its kind, where the name alone means several.
    pub kind: Option<String>,
}

/// What is to become of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its component is read anew.
    Reload,
    /// The component before it serves again.
    RollBack,
    /// It is used again.
    Enable,
    /// It is not used any more.
    Disable {
        /// Also when calls then pass without it, or fail.
        force: bool,
    },
}

/// Why nothing was changed or told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No plugin is meant.
    Unknown(String),
    /// Several are meant, or the question makes no sense.
    Unclear(String),
    /// It has to be confirmed.
    Unconfirmed(String),
    /// The plugin that serves goes on; this is what is wrong with the new one.
    Failed(Vec<String>),
}

/// Lines as they are written; `None` now and then when there are none.
pub type Lines = Pin<Box<dyn Stream<Item = Option<Value>> + Send>>;

/// What the routes ask about plugins.
#[async_trait]
pub trait PluginAdmin: Send + Sync {
    /// All of them, in the order of the configuration.
    fn list(&self) -> Vec<Value>;
    /// One of them.
    fn status(&self, which: &Which) -> Result<Value, Refused>;
    /// What its shadow found.
    fn shadow(&self, which: &Which) -> Result<Value, Refused>;
    /// Changes one, and tells how it is then.
    async fn change(&self, which: Which, change: Change) -> Result<Value, Refused>;
    /// The newest lines of its log, oldest first.
    fn logs(&self, which: &Which, limit: usize) -> Result<Vec<Value>, Refused>;
    /// The same, and then those to come.
    fn follow(&self, which: &Which, limit: usize) -> Result<Lines, Refused>;
}

/// `GET /plugins`
pub(super) fn list(admin: &dyn PluginAdmin) -> Reply {
    info::json(&json!({"plugins": admin.list()}))
}

/// A route of one plugin.
pub(super) async fn one(
    admin: &dyn PluginAdmin,
    route: PluginRoute,
    name: String,
    query: Option<&str>,
) -> Reply {
    let kind = info::param(query, "kind").map(str::to_owned);
    let which = Which { name, kind };
    let is_on = |name: &str| info::param(query, name).is_some_and(|value| value == "true");
    let change = match route {
        PluginRoute::Status => return answer(admin.status(&which)),
        PluginRoute::Shadow => return answer(admin.shadow(&which)),
        PluginRoute::Logs => return logs(admin, &which, query, is_on("follow")),
        PluginRoute::Reload => Change::Reload,
        PluginRoute::RollBack => Change::RollBack,
        PluginRoute::Enable => Change::Enable,
        PluginRoute::Disable => Change::Disable {
            force: is_on("force"),
        },
    };
    let changed = admin.change(which, change).await;
    answer(changed.map(|plugin| json!({"status": "success", "plugin": plugin})))
}

fn logs(admin: &dyn PluginAdmin, which: &Which, query: Option<&str>, follow: bool) -> Reply {
    let limit = match info::param(query, "limit").map(str::parse::<usize>) {
        None => LINES,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => {
            let text = "limit must be a number of lines, such as limit=100";
            return detail(StatusCode::BAD_REQUEST, text);
        }
    };
    if !follow {
        return answer(
            admin
                .logs(which, limit)
                .map(|lines| json!({"lines": lines})),
        );
    }
    match admin.follow(which, limit) {
        Ok(lines) => Reply::events(Box::pin(lines.map(|line| match line {
            Some(line) => Bytes::from(format!("data: {line}\n\n")),
            // Proxies in between close what is silent for long.
            None => Bytes::from_static(b": still here\n\n"),
        }))),
        Err(refused) => refusal(refused),
    }
}

fn answer(told: Result<Value, Refused>) -> Reply {
    told.map_or_else(refusal, |value| info::json(&value))
}

fn refusal(refused: Refused) -> Reply {
    let (status, problems) = match refused {
        Refused::Unknown(text) => return detail(StatusCode::NOT_FOUND, &text),
        Refused::Unclear(text) => return detail(StatusCode::BAD_REQUEST, &text),
        Refused::Unconfirmed(text) => (StatusCode::CONFLICT, vec![text]),
        Refused::Failed(problems) => (StatusCode::BAD_REQUEST, problems),
    };
    let body = json!({"status": "refused", "problems": problems});
    Reply::json(status, body.to_string())
}
