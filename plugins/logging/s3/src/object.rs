//! Where an event is written. Pure.

use serde::Deserialize;
use witgate_plugin::time::rfc3339;

use crate::config::{Partition, Settings};

/// The object of an event. Its content is the event as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The key.
    pub key: String,
    /// Name of the file for somebody who downloads it.
    pub file_name: String,
}

/// What the key is made of.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    id: String,
    #[serde(default, rename = "startTime")]
    start_time: f64,
    /// Of a row of the audit log: when it was written.
    updated_at: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    user_api_key_team_alias: Option<String>,
    user_api_key_alias: Option<String>,
}

impl Object {
    /// Reads the event.
    pub fn new(settings: &Settings, payload: &str) -> Result<Self, serde_json::Error> {
        let event: Event = serde_json::from_str(payload)?;
        if let Some(at) = &event.updated_at {
            return Ok(Self::audit(settings, &event.id, at));
        }
        // The cast saturates, and takes what is no time for the epoch.
        let micros = (event.start_time * 1e6).round() as u64;
        let time = rfc3339(micros / 1000);
        let (day, rest) = time.split_once('T').unwrap_or((&time, ""));
        let clock = rest.get(..8).unwrap_or_default().replace(':', "-");
        let micros = micros % 1_000_000;
        let id = event.id.replace(['/', ':'], "_");

        let mut key = String::new();
        let path = settings.s3_path.as_deref().unwrap_or_default();
        folder(&mut key, path.trim_end_matches('/'));
        let metadata = &event.metadata;
        for (wanted, alias) in [
            (
                settings.s3_use_team_prefix,
                &metadata.user_api_key_team_alias,
            ),
            (settings.s3_use_key_prefix, &metadata.user_api_key_alias),
        ] {
            if wanted && let Some(alias) = alias {
                folder(&mut key, alias);
            }
        }
        folder(&mut key, day);
        if settings.s3_partition_granularity == Partition::Hour {
            folder(&mut key, clock.get(..2).unwrap_or_default());
        }
        key.push_str(&format!("time-{clock}-{micros:06}_{id}.json"));
        Ok(Self {
            key,
            file_name: format!("time-{day}T{clock}-{micros:06}_{}.json", plain(&id)),
        })
    }
}

impl Object {
    /// The object of a row of the audit log.
    fn audit(settings: &Settings, id: &str, at: &str) -> Self {
        let (day, rest) = at.split_once('T').unwrap_or((at, ""));
        let clock = rest.get(..8).unwrap_or_default().replace(':', "-");
        let id = id.replace(['/', ':'], "_");
        let mut key = String::new();
        let path = settings.s3_path.as_deref().unwrap_or_default();
        folder(&mut key, path.trim_end_matches('/'));
        folder(&mut key, "audit_logs");
        folder(&mut key, day);
        key.push_str(&format!("{clock}_{id}.json"));
        Self {
            key,
            file_name: format!("audit-{day}T{clock}_{}.json", plain(&id)),
        }
    }
}

fn folder(key: &mut String, name: &str) {
    if !name.is_empty() {
        key.push_str(name);
        key.push('/');
    }
}

/// Without what has a meaning in a header.
fn plain(text: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\\' => '_',
        c if c.is_ascii_graphic() => c,
        _ => '_',
    };
    text.chars().map(plain).collect()
}
