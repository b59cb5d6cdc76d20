//! `witgate serve`: from the command line to a running gateway.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use witgate_config::{Env, Loaded, Problem, Source};

use super::check::strict;
use super::fail;
use crate::cli::{Record, Serve};
use crate::process;
use crate::telemetry::{self, LogOptions};

pub(super) fn serve(options: Serve) -> ExitCode {
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// `witgate plugin record`: serves, and records.
pub(super) fn record(what: Record) -> ExitCode {
    serve(Serve {
        record: Some(what.recorded),
        ..what.serve
    })
}

fn start(options: Serve) -> anyhow::Result<()> {
    let env = Env::new(std::env::vars());
    let (source, warning) =
        Source::choose(options.config.as_deref(), &env).map_err(|problem| anyhow!("{problem}"))?;
    let mut loaded = witgate_config::load(&source, &env).map_err(|problems| refused(&problems))?;
    loaded.problems.extend(warning);
    if options.strict_config {
        strict(&mut loaded.problems);
        if loaded.problems.iter().any(Problem::is_error) {
            return Err(refused(&loaded.problems));
        }
    }
    // For everything but connections, which have threads of their own.
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let telemetry = telemetry::start(&log_options(&options, &loaded), &loaded.environment)?;
        let ignored = options.ignored.given();
        if !ignored.is_empty() {
            tracing::warn!("without effect here: {}", ignored.join(", "));
        }
        let served = process::serve(options, source, env, loaded).await;
        telemetry.stop();
        served
    })
}

fn refused(problems: &[Problem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow!("the configuration is refused:\n{}", lines.join("\n"))
}

/// LiteLLM's switches for the log, newest first: flags, `LITELLM_LOG`, `set_verbose`; `WITGATE_LOG` in
/// `tracing`'s own syntax beats them all.
fn log_options(options: &Serve, loaded: &Loaded) -> LogOptions {
    let env = &loaded.environment;
    let on = |name: &str| {
        env.non_empty(name)
            .is_some_and(|v| ["true", "1", "yes", "on"].contains(&v.to_lowercase().as_str()))
    };
    let settings = &loaded.config.litellm;
    let level = if options.detailed_debug || on("DETAILED_DEBUG") || settings.set_verbose {
        "debug"
    } else if options.debug || on("DEBUG") {
        "info"
    } else {
        match env
            .non_empty("LITELLM_LOG")
            .map(str::to_uppercase)
            .as_deref()
        {
            Some("DEBUG") => "debug",
            Some("WARNING" | "WARN") => "warn",
            Some("ERROR" | "CRITICAL") => "error",
            _ => "info",
        }
    };
    LogOptions {
        json: options.log_format.as_deref() == Some("json")
            || (options.log_format.is_none() && (settings.json_logs || on("JSON_LOGS"))),
        filter: env
            .non_empty("WITGATE_LOG")
            .map_or_else(|| level.to_owned(), str::to_owned),
    }
}
