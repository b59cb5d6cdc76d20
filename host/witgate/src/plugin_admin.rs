//! Plugins of the running gateway, as the routes below `/plugins` see them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use witgate_plugins::{LogFollower, LogLine, PluginLog, Status};
use witgate_server::routes::{Change, Lines, PluginAdmin, Refused, Which};

use crate::reload::{Control, meant};

/// After this long without a line a follower is told that there is none.
const SILENCE: Duration = Duration::from_secs(15);

/// Plugins as their routes see them.
pub struct PluginAdministration {
    control: Arc<Control>,
    /// The process's own runtime. What a change starts must not run on a thread that serves.
    runtime: Handle,
    /// The gateway takes no new connections: who follows a log is told that it ends.
    stopping: CancellationToken,
}

impl PluginAdministration {
    /// Must be called on the process's own runtime.
    pub fn new(control: Arc<Control>, stopping: CancellationToken) -> Self {
        Self {
            control,
            runtime: Handle::current(),
            stopping,
        }
    }

    fn log(&self, which: &Which) -> Result<PluginLog, Refused> {
        let plugins = self.control.plugins();
        let plugin = meant(&plugins, which)?;
        plugins.log(&plugin).ok_or_else(|| gone(which))
    }
}

#[async_trait]
impl PluginAdmin for PluginAdministration {
    fn list(&self) -> Vec<Value> {
        self.control
            .plugins()
            .statuses()
            .iter()
            .map(shown)
            .collect()
    }

    fn status(&self, which: &Which) -> Result<Value, Refused> {
        let plugins = self.control.plugins();
        let status = plugins.status(&meant(&plugins, which)?);
        status.as_ref().map(shown).ok_or_else(|| gone(which))
    }

    fn shadow(&self, which: &Which) -> Result<Value, Refused> {
        let plugins = self.control.plugins();
        let plugin = meant(&plugins, which)?;
        let report = self.control.shadow(&plugin).map(|report| report.shown());
        report.ok_or_else(|| {
            let text = format!(
                "the plugin {:?} has no shadow; name another version in plugins.….shadow.source, or say fail: shadow",
                plugin.name
            );
            Refused::Unknown(text)
        })
    }

    async fn change(&self, which: Which, change: Change) -> Result<Value, Refused> {
        let control = self.control.clone();
        // Also when the client leaves meanwhile, it is finished.
        let changing = self.runtime.spawn(async move {
            let plugin = control.change_plugin(which, change).await?;
            let status = control.plugins().status(&plugin);
            Ok(status.as_ref().map(shown).unwrap_or_default())
        });
        changing.await.unwrap_or_else(|error| {
            Err(Refused::Failed(vec![format!("it did not finish: {error}")]))
        })
    }

    fn logs(&self, which: &Which, limit: usize) -> Result<Vec<Value>, Refused> {
        let lines = self.log(which)?.lines(0, limit);
        Ok(lines.iter().map(line).collect())
    }

    fn follow(&self, which: &Which, limit: usize) -> Result<Lines, Refused> {
        let log = self.log(which)?;
        let first = log.lines(0, limit);
        let last = log.lines(0, 1).last().map_or(0, |line| line.number);
        let follow = Follow {
            reader: log.follow(first.last().map_or(last, |line| line.number)),
            ready: first.into(),
            stopping: self.stopping.clone(),
        };
        Ok(Box::pin(stream::unfold(follow, async |mut follow| {
            let next = follow.next().await?;
            Some((next, follow))
        })))
    }
}

/// Somebody who reads a log as it is written.
struct Follow {
    ready: std::collections::VecDeque<LogLine>,
    reader: LogFollower,
    stopping: CancellationToken,
}

impl Follow {
    /// The next line, `Some(None)` after a silence, `None` at the end.
    async fn next(&mut self) -> Option<Option<Value>> {
        if self.ready.is_empty() {
            let more = tokio::select! {
                () = self.stopping.cancelled() => return None,
                more = tokio::time::timeout(SILENCE, self.reader.next()) => more,
            };
            match more {
                Ok(lines) => self.ready = lines?.into(),
                Err(_) => return Some(None),
            }
        }
        Some(self.ready.pop_front().as_ref().map(line))
    }
}

fn shown(status: &Status) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

fn line(line: &LogLine) -> Value {
    let at = i64::try_from(line.at_ms).ok();
    let at = at.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    json!({
        "number": line.number,
        "at": at.map(|at| format!("{at:.3}")),
        "level": line.level,
        "source": line.source,
        "text": line.text.as_ref(),
    })
}

fn gone(which: &Which) -> Refused {
    Refused::Unknown(format!("the plugin {:?} is no longer there", which.name))
}
