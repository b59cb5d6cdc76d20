//! `witgate explain --model`: whom a call would reach, from the configuration alone.
//!
//! Nothing is started and nobody called. A gateway that has just begun would choose so: no deployment
//! rests, none has been used. What one that runs would do now is told by `POST /utils/explain`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use witgate_config::{Draft, Env, Loaded, Source};
use witgate_identity::{KeyHash, Principal};
use witgate_management::{ControlPlane, Unwatched};
use witgate_pipeline::{MayUse, may_use};
use witgate_routing::{
    Cause, Explanation, Facts, Led, Now, RequestControls, State, explain as choose,
};

use super::{fail, print_rows};
use crate::cli::ExplainCall;
use crate::database::open_store;
use crate::source::Place;
use crate::wiring::{self, Paths};

pub(super) fn explain(call: &ExplainCall) -> ExitCode {
    match told(call) {
        Ok(told) if call.json => {
            println!(
                "{}",
                serde_json::to_string_pretty(&told).unwrap_or_default()
            );
            ExitCode::SUCCESS
        }
        Ok(told) => {
            print(&told);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn told(call: &ExplainCall) -> anyhow::Result<Explanation> {
    let model = call.model.as_deref();
    let model = model.context("name the call's model with --model")?;
    let env = crate::environment::environment();
    let (Place { source, .. }, warning) =
        Place::choose(call.config.as_deref(), &env).map_err(|problem| anyhow!("{problem}"))?;
    if let Some(warning) = warning {
        eprintln!("{warning}");
    }
    let loaded = load(&source, &env)?;
    let snapshot = wiring::routing_of(&loaded)
        .map_err(|problems| anyhow!("the configuration is refused:\n{}", problems.join("\n")))?;
    let caller = match &call.key {
        Some(key) => caller(key, &loaded, &source, call)?,
        None => Arc::default(),
    };
    let groups = may_use(&snapshot, &caller, model);
    if groups == MayUse::No {
        bail!(
            "the key may not use {model:?}; it may use {}",
            caller.models.join(", ")
        );
    }
    // There are no words that a router could go by.
    let led = snapshot.auto_router(model).map(|router| Led {
        router: router.name.clone(),
        model: router.default_model.clone(),
        cause: Cause::NoText,
        tier: None,
        score: None,
    });
    let team = caller.team_id.as_deref();
    let resolved = match &led {
        Some(led) => snapshot.resolve_led(model, &led.model, team),
        None => snapshot.resolve_for(model, team),
    };
    let resolution = resolved.map_err(|unknown| match unknown.nearest.is_empty() {
        true => anyhow!("{unknown}"),
        false => anyhow!("{unknown}; did you mean {}?", unknown.nearest.join(", ")),
    })?;
    let now = jiff::Timestamp::now();
    let facts = Facts {
        now: Now {
            unix_s: u64::try_from(now.as_second()).unwrap_or_default(),
            ..Now::default()
        },
        tags: &call.tag,
        access_groups: match &groups {
            MayUse::Groups(groups) => groups,
            MayUse::No | MayUse::Whole => &[],
        },
        is_stream: call.stream,
        ..Facts::default()
    };
    let told = choose(
        &snapshot,
        &State::new(&snapshot),
        &resolution,
        &facts,
        RequestControls::default(),
        &mut SmallRng::seed_from_u64(rand::random()),
    );
    Ok(told.led_by(led))
}

/// Values that a secret manager has yet to give are of no matter to routing.
fn load(source: &Source, env: &Env) -> anyhow::Result<Loaded> {
    let draft = Draft::read(source, env);
    let refused = || {
        let problems = witgate_config::check(source, env);
        let errors = problems.iter().filter(|problem| problem.is_error());
        let lines: Vec<String> = errors.map(ToString::to_string).collect();
        anyhow!("the configuration is refused:\n{}", lines.join("\n"))
    };
    let early = draft.early().map_err(|_| refused())?;
    match wiring::needs_reading(&early) {
        true => Ok(early.loaded),
        false => draft.load(BTreeMap::new()).map_err(|_| refused()),
    }
}

/// Who calls with a key: the administrator, or whom the database knows by it.
fn caller(
    key: &str,
    loaded: &Loaded,
    source: &Source,
    call: &ExplainCall,
) -> anyhow::Result<Arc<Principal>> {
    let master = wiring::master_key(loaded);
    if let Some(admin) = master.as_ref().and_then(|master| master.check(key)) {
        return Ok(Arc::new(admin.clone()));
    }
    let paths = Paths::of(source, call.data_dir.as_deref(), &loaded.environment);
    let is_made =
        loaded.config.general.database_url.is_some() || paths.data_dir.join("witgate.db").exists();
    if !is_made {
        bail!(
            "the key is not the master key, and there is no database of virtual keys in {}; name its folder with --data-dir",
            paths.data_dir.display()
        );
    }
    let hash = KeyHash::parse(key).unwrap_or_else(|| KeyHash::of(key));
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let found = runtime.block_on(async {
        let store = open_store(loaded, &paths).await?;
        let settings = witgate_management::Settings::default();
        let plane = ControlPlane::new(store.clone(), settings, Arc::new(Unwatched));
        let found = plane
            .virtual_key(hash.as_str(), jiff::Timestamp::now())
            .await;
        store.close().await;
        anyhow::Ok(found?)
    })?;
    match found {
        Some(key) => Ok(key.principal),
        None => bail!("there is no such virtual key; give its text (sk-…) or its hash"),
    }
}

fn print(told: &Explanation) {
    let resolved = serde_json::to_value(told.resolved_by).unwrap_or_default();
    let pattern = told.pattern.as_ref().map(|pattern| format!(" {pattern}"));
    let group = told.routing_group.as_ref();
    let group = group.map(|name| format!(" of the routing group {name}"));
    println!(
        "{} → {} (by {}{}), {}{}",
        told.model,
        told.model_group,
        resolved.as_str().unwrap_or_default(),
        pattern.unwrap_or_default(),
        told.routing_strategy,
        group.unwrap_or_default()
    );
    let mut table = vec![["DEPLOYMENT", "PROVIDER", "MODEL", "OUTCOME", "WHY"].map(str::to_owned)];
    for candidate in &told.candidates {
        let is_picked = told.picked.as_ref() == Some(&candidate.model_id);
        let (outcome, why) = match (candidate.dropped_by, is_picked) {
            (Some(filter), _) => (
                format!("dropped by {filter}"),
                candidate.why.clone().unwrap_or_default(),
            ),
            (None, true) => ("picked".to_owned(), told.reason.clone().unwrap_or_default()),
            (None, false) => ("considered".to_owned(), String::new()),
        };
        table.push([
            candidate.model_id.clone(),
            candidate.provider.clone(),
            candidate.model.clone(),
            outcome,
            why,
        ]);
    }
    print_rows(&table);
    if let Some(error) = &told.error {
        println!(
            "nobody is left: {} {}: {}",
            error.status, error.class, error.message
        );
    }
    if !told.fallbacks.is_empty() {
        println!("when it fails: {}", told.fallbacks.join(", "));
    }
}
