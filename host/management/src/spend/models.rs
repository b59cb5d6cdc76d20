//! `/model/metrics*`: how fast deployments answer, and how they fail, from the ledger.
//!
//! A deployment is called by its address, or by its model where it has none that tells it apart; days are days of UTC.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Span, Timestamp};
use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Sums};

use super::{LOGS, float, text, whole};
use crate::fields::moment;
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

/// `DAYS_IN_A_MONTH` when nobody says: LiteLLM's, four weeks.
const DAYS: u32 = 28;

/// `alerting_threshold` when the configuration does not say: seconds.
const SLOW_S: f64 = 300.0;

const QUERY: &[&str] = &[
    "_selected_model_group",
    "startTime",
    "endTime",
    "api_key",
    "customer",
];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/model/metrics"],
        who: Who::Viewer,
        what: "Tells the seconds that deployments took for a token, day by day.",
        body: &[],
        query: QUERY,
        run: |plane, ask| Box::pin(latency(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/model/streaming_metrics"],
        who: Who::Viewer,
        what: "Tells the seconds until the first token of a stream, day by day.",
        body: &[],
        query: QUERY,
        run: |plane, ask| Box::pin(first_token(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/model/metrics/slow_responses"],
        who: Who::Viewer,
        what: "Tells how many calls took longer than alerting_threshold.",
        body: &[],
        query: QUERY,
        run: |plane, ask| Box::pin(slow(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/model/metrics/exceptions"],
        who: Who::Viewer,
        what: "Tells how many calls failed, by deployment and kind of error.",
        body: &[],
        query: QUERY,
        run: |plane, ask| Box::pin(exceptions(plane, ask)),
    },
];

/// Rows of the ledger that are asked about; of the last days (`DAYS_IN_A_MONTH`) when nothing is said.
fn asked(plane: &ControlPlane, ask: &Ask) -> Result<Filter, Refusal> {
    let time = |name: &str, default: Timestamp| match ask.param(name) {
        // LiteLLM's own pages send what JavaScript makes of nothing.
        None | Some("undefined" | "null") => Ok(default),
        Some(asked) => {
            let day = || moment(&format!("{asked}T00:00:00"));
            moment(asked).or_else(day).ok_or_else(|| {
                let message = format!("{name} {asked:?} is no time; it is ISO 8601");
                Refusal::bad(message).param(name)
            })
        }
    };
    let days = plane.settings.load().metrics_days.unwrap_or(DAYS);
    let hours = Span::new().try_hours(i64::from(days).saturating_mul(24));
    let month = hours.ok().and_then(|hours| ask.now.checked_sub(hours).ok());
    let first = time("startTime", month.unwrap_or(ask.now))?;
    let last = time("endTime", ask.now)?;
    let given = |name: &str| {
        let said = ask.param(name);
        said.filter(|text| !["undefined", "null"].contains(text))
    };
    let key = given("api_key").map(crate::keys::hash);
    Ok(
        Filter::of("startTime", Is::AtLeast(first.to_string().into()))
            .and("startTime", Is::AtMost(last.to_string().into()))
            .and_if("model_group", given("_selected_model_group"))
            .and_if("api_key", key)
            .and_if("end_user", given("customer")),
    )
}

/// What a deployment is called in a chart: its address up to the deployment of an Azure, or its model.
fn called(row: &Row) -> String {
    let base = text(row, "api_base");
    match base.split("/openai/").next() {
        Some(base) if base.starts_with("http") => base.to_owned(),
        _ => text(row, "model").to_owned(),
    }
}

/// A chart: for each day what each deployment has.
fn chart(values: impl Iterator<Item = (String, String, f64)>) -> Value {
    let mut days: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for (day, name, value) in values {
        all.insert(name.clone());
        days.entry(day).or_default().insert(name, value.into());
    }
    let data: Vec<Value> = days
        .into_iter()
        .map(|(day, mut values)| {
            values.insert("date".to_owned(), day.into());
            values.into()
        })
        .collect();
    json!({"data": data, "all_api_bases": all})
}

/// Calls that an upstream answered, by deployment and day.
fn answered(plane: &ControlPlane, ask: &Ask) -> Result<Sums, Refusal> {
    let filter = asked(plane, ask)?
        .and("status", Is::Not("failure".into()))
        .and("cache_hit", Is::Not("True".into()));
    Ok(Sums {
        filter,
        by: vec!["api_base", "model"],
        day: Some("startTime"),
        ..Sums::default()
    })
}

async fn latency(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut sums = answered(plane, &ask)?;
    sums.filter = sums.filter.and("completion_tokens", Is::AtLeast(1.into()));
    sums.sums = vec!["request_duration_ms", "completion_tokens"];
    let rows = plane.all_sums(LOGS, sums).await?;
    // Two models at one address are one line of the chart.
    let mut lines: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
    for row in &rows {
        let line = lines.entry((text(row, "day").to_owned(), called(row)));
        let (ms, tokens) = line.or_default();
        *ms += whole(row, "request_duration_ms");
        *tokens += whole(row, "completion_tokens");
    }
    Ok(chart(lines.into_iter().map(
        |((day, name), (ms, tokens))| (day, name, ms as f64 / 1000.0 / tokens.max(1) as f64),
    )))
}

async fn first_token(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut sums = answered(plane, &ask)?;
    sums.filter = sums.filter.and("completionStartTime", Is::Given);
    sums.seconds = Some(("startTime", "completionStartTime"));
    let rows = plane.all_sums(LOGS, sums).await?;
    let mut lines: BTreeMap<(String, String), (f64, i64)> = BTreeMap::new();
    for row in &rows {
        let calls = whole(row, "n");
        let line = lines.entry((text(row, "day").to_owned(), called(row)));
        let (seconds, all) = line.or_default();
        *seconds += float(row, "seconds") * calls as f64;
        *all += calls;
    }
    Ok(chart(lines.into_iter().map(
        |((day, name), (seconds, calls))| {
            // Whole milliseconds: the database keeps no more.
            let mean = seconds / calls.max(1) as f64;
            (day, name, (mean * 1000.0).round() / 1000.0)
        },
    )))
}

async fn slow(plane: &ControlPlane, ask: Ask) -> Outcome {
    let settings = plane.settings.load_full();
    let threshold = settings
        .general("alerting_threshold")
        .and_then(Value::as_f64);
    let ms = (threshold.unwrap_or(SLOW_S) * 1000.0) as i64;
    let filter = asked(plane, &ask)?.and("cache_hit", Is::Not("True".into()));
    let count = async |filter: Filter| {
        let sums = Sums {
            filter,
            by: vec!["api_base", "model"],
            ..Sums::default()
        };
        plane.all_sums(LOGS, sums).await
    };
    let mut told: BTreeMap<String, [i64; 2]> = BTreeMap::new();
    let slow = filter
        .clone()
        .and("request_duration_ms", Is::AtLeast(ms.into()));
    for (at, filter) in [filter, slow].into_iter().enumerate() {
        for row in &count(filter).await? {
            if let Some(calls) = told.entry(called(row)).or_default().get_mut(at) {
                *calls += whole(row, "n");
            }
        }
    }
    let mut told: Vec<(String, [i64; 2])> = told.into_iter().collect();
    told.sort_by_key(|(_, [_, slow])| std::cmp::Reverse(*slow));
    let told = told.into_iter().map(
        |(name, [total, slow])| json!({"api_base": name, "total_count": total, "slow_count": slow}),
    );
    Ok(told.collect())
}

async fn exceptions(plane: &ControlPlane, ask: Ask) -> Outcome {
    let sums = Sums {
        filter: asked(plane, &ask)?.and_if("status", Some("failure")),
        by: vec!["api_base", "model"],
        member: Some(("metadata", "error_information.error_class")),
        ..Sums::default()
    };
    let rows = plane.all_sums(LOGS, sums).await?;
    let mut told: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut kinds = BTreeSet::new();
    for row in &rows {
        let (model, base) = (text(row, "model"), text(row, "api_base"));
        let name = match base {
            "" => model.to_owned(),
            base => format!("{model}-{base}"),
        };
        let kind = match text(row, "member") {
            "" => "Unknown",
            kind => kind,
        };
        kinds.insert(kind.to_owned());
        let counts = told.entry(name).or_default();
        for name in [kind, "total_exceptions"] {
            let before = counts.get(name).and_then(Value::as_i64).unwrap_or(0);
            counts.insert(name.to_owned(), (before + whole(row, "n")).into());
        }
    }
    let data: Vec<Value> = told
        .into_iter()
        .map(|(name, mut counts)| {
            counts.insert("model".to_owned(), name.into());
            counts.into()
        })
        .collect();
    Ok(json!({"data": data, "exception_types": kinds}))
}
