//! A custom logger: one readable line per call.
//!
//! `12:34:56 fast → gpt-4o-mini 0.84 s, 120 tokens, $0.000031, key my-app`

use serde::Deserialize;
use witgate_plugin::log_sink::{Event, LogSink, Outcome};
use witgate_plugin::time::{ms_from_s, time_of_day};
use witgate_plugin::{Error, files, metrics};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    file: String,
    slow_ms: u64,
}

/// The log sink.
pub struct Lines(Settings);

/// The few members of LiteLLM's standard logging payload that a line is made of.
#[derive(Deserialize)]
pub struct Call {
    #[serde(rename = "startTime")]
    start_s: f64,
    #[serde(rename = "endTime")]
    end_s: f64,
    model_group: Option<String>,
    model: String,
    status: String,
    total_tokens: u64,
    response_cost: f64,
    error_str: Option<String>,
    metadata: Caller,
}

#[derive(Deserialize)]
struct Caller {
    user_api_key_alias: Option<String>,
}

impl LogSink for Lines {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        let mut lines = String::new();
        for event in batch {
            let call: Call = serde_json::from_str(&event.payload)?;
            lines += &line(&call, self.0.slow_ms);
            metrics::add("lines", &[("status", &call.status)], 1);
        }
        files::append(&self.0.file, lines.as_bytes())?;
        Ok(Outcome::Delivered)
    }
}

/// The line of a call.
pub fn line(call: &Call, slow_ms: u64) -> String {
    let (hour, minute, second) = time_of_day(ms_from_s(call.start_s));
    let group = call.model_group.as_deref().unwrap_or("-");
    let took_s = call.end_s - call.start_s;
    let mark = if ms_from_s(took_s) > slow_ms {
        " SLOW"
    } else {
        ""
    };
    let key = call.metadata.user_api_key_alias.as_deref().unwrap_or("-");
    let what = match &call.error_str {
        Some(error) if call.status == "failure" => format!("FAILED: {}", error.replace('\n', " ")),
        _ => format!("{} tokens, ${:.6}", call.total_tokens, call.response_cost),
    };
    format!(
        "{hour:02}:{minute:02}:{second:02} {group} → {} {took_s:.2} s{mark}, {what}, key {key}\n",
        call.model
    )
}

witgate_plugin::export_log_sink!(Lines);

#[cfg(test)]
mod tests {
    use super::*;

    fn call(more: &str) -> Call {
        let json = format!(
            r#"{{"startTime":45296.5,"endTime":45297.34,"model_group":"fast","model":"gpt-4o-mini","total_tokens":120,
            "response_cost":0.000031,"metadata":{{"user_api_key_alias":"my-app"}},{more}}}"#
        );
        serde_json::from_str(&json).expect("payload")
    }

    #[test]
    fn a_success_and_a_failure() {
        let success = call(r#""status":"success","error_str":null"#);
        assert_eq!(
            line(&success, 5000),
            "12:34:56 fast → gpt-4o-mini 0.84 s, 120 tokens, $0.000031, key my-app\n"
        );
        let failure = call(r#""status":"failure","error_str":"no\nluck""#);
        assert_eq!(
            line(&failure, 500),
            "12:34:56 fast → gpt-4o-mini 0.84 s SLOW, FAILED: no luck, key my-app\n"
        );
    }
}
