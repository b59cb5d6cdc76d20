//! `witgate serve`: from the command line to a running gateway.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use witgate_config::{Draft, Loaded, Problem};

use super::check::strict;
use super::fail;
use crate::cli::{Record, Serve};
use crate::process::{self, Base};
use crate::source::Place;
use crate::telemetry::{self, LogOptions};
use crate::wiring::{self, Read, Secrets};

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
    let env = crate::environment::environment();
    let (place, warning) =
        Place::choose(options.config.as_deref(), &env).map_err(|problem| anyhow!("{problem}"))?;
    let draft = Draft::read(&place.source, &env);
    let Ok(early) = draft.early() else {
        return Err(refused(&witgate_config::check(&place.source, &env)));
    };
    // Without secrets to fetch, what is wrong is told before anything is started.
    let loaded = match wiring::needs_reading(&early) {
        true => None,
        false => {
            let loaded = draft.clone().load(BTreeMap::new());
            Some(loaded.map_err(|problems| refused(&problems))?)
        }
    };
    // For everything but connections, which have threads of their own.
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let known = loaded.as_ref().unwrap_or(&early.loaded);
        let telemetry = telemetry::start(&log_options(&options, known), &known.environment)?;
        let ignored = options.ignored.given();
        if !ignored.is_empty() {
            tracing::warn!("without effect here: {}", ignored.join(", "));
        }
        let served = async {
            let base = Base::start(&options, &place.source, &early.loaded.environment)?;
            let secrets = Secrets::default();
            let (mut loaded, secrets) = match loaded {
                Some(loaded) => (loaded, secrets),
                None => {
                    let sources = wiring::sources(&base.paths, &early.loaded).await;
                    let sources = sources.map_err(|lines| refused_for(&lines))?;
                    let draft = draft.clone();
                    let loaded = secrets.load(draft, &early, &base.host, &sources, Read::Due);
                    loaded.await.map_err(|lines| refused_for(&lines))?
                }
            };
            loaded.problems.extend(warning);
            if options.strict_config {
                strict(&mut loaded.problems);
                if loaded.problems.iter().any(Problem::is_error) {
                    return Err(refused(&loaded.problems));
                }
            }
            process::serve(options, (place, env), (draft, loaded), base, secrets).await
        };
        let served = served.await;
        telemetry.stop();
        served
    })
}

fn refused(problems: &[Problem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    refused_for(&lines)
}

fn refused_for(lines: &[String]) -> anyhow::Error {
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
    let router = &loaded.config.router;
    let is_verbose = settings.set_verbose
        || router.set_verbose
        || router.debug_level.as_deref() == Some("DEBUG");
    let level = if options.detailed_debug || on("DETAILED_DEBUG") || is_verbose {
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
