//! The price map: `/reload/model_cost_map`, `/schedule/model_cost_map_reload`, `/model/cost_map/source`.
//!
//! The program carries a map. Another is fetched where the operator says where it is (`LITELLM_MODEL_COST_MAP_URL`), now or
//! every few hours; the schedule is a row that all gateways on the database go by.

use jiff::{Span, Timestamp};
use serde_json::{Value, json};
use witgate_store::{Filter, StoreError, Write};

use crate::audit::Action;
use crate::operation::{Operation, Outcome, Who};
use crate::stored::{CONFIG as TABLE, object};
use crate::{Ask, ControlPlane, Refusal};

/// LiteLLM's row of the schedule.
const ROW: &str = "model_cost_map_reload_config";

const NO_ADDRESS: &str = "no price map is fetched: set LITELLM_MODEL_COST_MAP_URL to where it is, and LITELLM_LOCAL_MODEL_COST_MAP not";

/// The longest time between two fetches: a year.
const HOURS_MAX: i64 = 24 * 366;

/// What prices calls, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceSource {
    /// Where maps are fetched from, without credentials; `None` where nobody says.
    pub url: Option<String>,
    /// `LITELLM_LOCAL_MODEL_COST_MAP`: none is fetched.
    pub is_local: bool,
    /// When the map in force was fetched; `None` for the program's own.
    pub fetched: Option<Timestamp>,
    /// Why the last fetch put nothing in force.
    pub failed: Option<String>,
    /// Models with a price.
    pub models: usize,
}

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/reload/model_cost_map"],
        who: Who::Admin,
        what: "Fetches the price map and prices calls by it; one that cannot be right changes nothing.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(reload(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/schedule/model_cost_map_reload"],
        who: Who::Admin,
        what: "Has the price map fetched every so many hours.",
        body: &[],
        query: &["hours"],
        run: |plane, ask| Box::pin(schedule(plane, ask)),
    },
    Operation {
        method: "DELETE",
        paths: &["/schedule/model_cost_map_reload"],
        who: Who::Admin,
        what: "Has the price map fetched no more.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(cancel(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/schedule/model_cost_map_reload/status"],
        who: Who::Viewer,
        what: "Tells when the price map is fetched.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(status(plane)),
    },
    Operation {
        method: "GET",
        paths: &["/model/cost_map/source"],
        who: Who::Viewer,
        what: "Tells which price map is in force.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(async move { source(plane) }),
    },
];

impl ControlPlane {
    /// How often the price map is to be fetched, in hours; `None` when nobody has asked for it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn price_schedule(&self) -> Result<Option<i64>, StoreError> {
        let row = self.store.row(TABLE, "param_name", ROW).await?;
        let held = row.map(|row| object(row.get("param_value")));
        let hours = held.and_then(|held| held.get("interval_hours")?.as_i64());
        Ok(hours.filter(|hours| (1..=HOURS_MAX).contains(hours)))
    }
}

async fn reload(plane: &ControlPlane, ask: Ask) -> Outcome {
    let configuration = plane.configuration()?;
    let source = configuration.prices();
    if source.url.is_none() && !source.is_local {
        return Err(Refusal::bad(NO_ADDRESS));
    }
    let models = configuration.fetch_prices().await.map_err(|why| {
        let text = format!("the price map in force stays: {why}");
        Refusal::error(502, "internal_server_error", text)
    })?;
    Ok(json!({
        "message": format!("Price data reloaded successfully! {models} models updated."), "status": "success",
        "models_count": models, "timestamp": ask.now,
    }))
}

async fn schedule(plane: &ControlPlane, ask: Ask) -> Outcome {
    let said = ask.required("hours")?;
    let hours = said
        .parse::<i64>()
        .ok()
        .filter(|hours| (1..=HOURS_MAX).contains(hours));
    let Some(hours) = hours else {
        let text = format!("hours is a whole number from 1 to {HOURS_MAX}");
        return Err(Refusal::bad(text).param("hours"));
    };
    let configuration = plane.configuration()?;
    let source = configuration.prices();
    if source.url.is_none() || source.is_local {
        return Err(Refusal::bad(NO_ADDRESS));
    }
    let value = json!({"interval_hours": hours, "force_reload": false});
    let row = json!({"param_name": ROW, "param_value": value});
    let row = row.as_object().cloned().unwrap_or_default();
    let mut steps: Vec<Write> = Vec::new();
    steps.extend(plane.note(&ask, Action::Updated, TABLE, ROW, None, Some(&row)));
    steps.push(Write::Upsert(TABLE, row));
    plane.store.write(steps, ask.now).await?;
    configuration.prices_scheduled();
    Ok(json!({
        "message": format!("Model cost map reload scheduled for every {hours} hours"), "status": "success",
        "interval_hours": hours, "timestamp": ask.now,
    }))
}

async fn cancel(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut steps: Vec<Write> = Vec::new();
    steps.extend(plane.note(&ask, Action::Deleted, TABLE, ROW, None, None));
    steps.push(Write::Delete(TABLE, Filter::by("param_name", ROW)));
    plane.store.write(steps, ask.now).await?;
    plane.configuration()?.prices_scheduled();
    Ok(json!({
        "message": "Periodic model cost map reload cancelled successfully", "status": "success", "timestamp": ask.now,
    }))
}

async fn status(plane: &ControlPlane) -> Outcome {
    let hours = plane.price_schedule().await?;
    let last = plane.configuration()?.prices().fetched;
    let next = hours.zip(last).and_then(|(hours, last)| {
        let next = last.checked_add(Span::new().try_hours(hours).ok()?);
        next.ok()
    });
    Ok(json!({
        "scheduled": hours.is_some(), "interval_hours": hours, "last_run": hours.and(last), "next_run": next,
    }))
}

fn source(plane: &ControlPlane) -> Outcome {
    let source = plane.configuration()?.prices();
    let name = if source.fetched.is_some() {
        "remote"
    } else {
        "local"
    };
    Ok(json!({
        "source": name, "url": source.url, "is_env_forced": source.is_local, "fallback_reason": source.failed,
        "model_count": source.models, "loaded_at": source.fetched.map_or(Value::Null, |at| json!(at)),
    }))
}
