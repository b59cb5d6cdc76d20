//! The ledger: single calls, and whose spend is how high.

use std::collections::BTreeMap;

use jiff::Span;
use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Select, Sums};

use super::{Days, EVERY_CALL, KEYS, LOGS, money, own, spent, text, whole};
use crate::fields::moment;
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

/// Rows of an answer without pages, at most.
const ROWS: u64 = 5_000;
const PAGE: u64 = 50;
const PAGE_MAX: u64 = 100;

/// What a list of calls leaves out: it is long, and told call by call.
const LONG: [&str; 3] = ["messages", "response", "proxy_server_request"];

const SORTABLE: [&str; 6] = [
    "startTime",
    "endTime",
    "spend",
    "total_tokens",
    "model",
    "request_duration_ms",
];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/spend/logs"],
        who: Who::Anyone,
        what: "Lists calls, newest first, at most the 5000 newest where no days are named; of several days their sums, unless summarize is false.",
        body: &[],
        query: &[
            "api_key",
            "user_id",
            "request_id",
            "start_date",
            "end_date",
            "summarize",
        ],
        run: |plane, ask| Box::pin(logs(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/spend/logs/ui", "/spend/logs/v2"],
        who: Who::Anyone,
        what: "Lists calls page by page.",
        body: &[],
        query: &[
            "start_date",
            "end_date",
            "page",
            "page_size",
            "api_key",
            "user_id",
            "request_id",
            "team_id",
            "min_spend",
            "max_spend",
            "status_filter",
            "model",
            "model_id",
            "key_alias",
            "end_user",
            "error_code",
            "session_id",
            "sort_by",
            "sort_order",
        ],
        run: |plane, ask| Box::pin(pages(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/spend/logs/session/ui"],
        who: Who::Anyone,
        what: "Lists the calls of a session, oldest first.",
        body: &[],
        query: &["session_id", "page", "page_size"],
        run: |plane, ask| Box::pin(session(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/spend/logs/ui/{request_id}"],
        who: Who::Anyone,
        what: "Tells what was asked and answered in a call, where that is kept.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(one(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/spend/keys"],
        who: Who::Anyone,
        what: "Lists keys, those that spent most first, at most 5000.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(keys(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/spend/users"],
        who: Who::Anyone,
        what: "Lists users, those that spent most first, at most 5000.",
        body: &[],
        query: &["user_id"],
        run: |plane, ask| Box::pin(users(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/spend/tags"],
        who: Who::Anyone,
        what: "Tells what was spent for each tag.",
        body: &[],
        query: &["start_date", "end_date"],
        run: |plane, ask| Box::pin(tags(plane, ask)),
    },
];

async fn logs(plane: &ControlPlane, ask: Ask) -> Outcome {
    let days = Days::asked(&ask)?;
    let key = ask.param("api_key").map(crate::keys::hash);
    let summarize = !ask
        .param("summarize")
        .is_some_and(|flag| flag.eq_ignore_ascii_case("false"));
    if let (Some(days), true, None) = (days, summarize, ask.param("request_id")) {
        let filter = own(&ask, days.daily(), "user_id", "api_key")?.and_if("api_key", key);
        return by_day(plane, days, filter).await;
    }
    let filter = days.map_or_else(Filter::all, Days::ledger);
    let filter = own(&ask, filter, "user", "api_key")?
        .and_if("api_key", key)
        .and_if("request_id", ask.param("request_id"));
    let select = Select {
        filter,
        order: vec![("startTime", true)],
        offset: 0,
        limit: Some(ROWS + 1),
    };
    let mut rows = plane.store.rows(LOGS, &select).await?;
    if rows.len() as u64 > ROWS {
        if days.is_some() {
            let message = format!(
                "these days have more than {ROWS} calls; ask for fewer, or page by page (/spend/logs/ui)"
            );
            return Err(Refusal::detail(400, message));
        }
        rows.truncate(ROWS as usize);
    }
    Ok(rows
        .into_iter()
        .map(|row| Value::Object(tidy(row)))
        .collect())
}

/// The column with every digit of the spend is ours, not LiteLLM's.
fn tidy(mut row: Row) -> Row {
    row.remove("witgate_spend_usd");
    row
}

/// For each day what was spent, by key, by user and by model. Days after the last call are there, too.
async fn by_day(plane: &ControlPlane, days: Days, filter: Filter) -> Outcome {
    let sums = Sums {
        filter,
        by: vec!["date", "api_key", "user_id", "model"],
        sums: vec!["spend"],
        ..Sums::default()
    };
    #[derive(Default)]
    struct Day {
        spend: f64,
        keys: BTreeMap<String, f64>,
        users: BTreeMap<String, f64>,
        models: BTreeMap<String, f64>,
    }
    let mut by_day: BTreeMap<String, Day> = BTreeMap::new();
    for row in plane.all_sums(EVERY_CALL, sums).await? {
        let day = by_day.entry(text(&row, "date").to_owned()).or_default();
        let spend = super::float(&row, "spend");
        day.spend += spend;
        for (sums, column) in [
            (&mut day.keys, "api_key"),
            (&mut day.users, "user_id"),
            (&mut day.models, "model"),
        ] {
            *sums.entry(text(&row, column).to_owned()).or_default() += spend;
        }
    }
    // A chart ends where it was asked to end.
    if let Some(last) = by_day
        .keys()
        .next_back()
        .and_then(|day| day.parse::<jiff::civil::Date>().ok())
    {
        let following = last.series(Span::new().days(1)).skip(1);
        for day in following.take_while(|day| *day <= days.last).take(3_660) {
            by_day.insert(day.to_string(), Day::default());
        }
    }
    let rounded = |sums: BTreeMap<String, f64>| -> Map<String, Value> {
        sums.into_iter()
            .map(|(name, spend)| (name, money(spend).into()))
            .collect()
    };
    let told = by_day.into_iter().map(|(day, sums)| {
        let mut told = rounded(sums.keys);
        told.insert("startTime".to_owned(), day.into());
        told.insert("spend".to_owned(), money(sums.spend).into());
        told.insert("users".to_owned(), rounded(sums.users).into());
        told.insert("models".to_owned(), rounded(sums.models).into());
        Value::Object(told)
    });
    Ok(told.collect())
}

async fn pages(plane: &ControlPlane, ask: Ask) -> Outcome {
    let time = |name: &str| {
        let text = ask.param(name).ok_or_else(|| {
            Refusal::error(400, "bad_request", "Start date and end date are required").param(name)
        })?;
        let at = moment(text).map(witgate_store::time_text);
        at.ok_or_else(|| {
            let message =
                format!("{name} {text:?} is no time; times are written YYYY-MM-DD HH:MM:SS");
            Refusal::bad(message).param(name)
        })
    };
    let filter = Filter::of("startTime", Is::AtLeast(time("start_date")?.into()))
        .and("startTime", Is::AtMost(time("end_date")?.into()));
    let mut filter = own(&ask, filter, "user", "api_key")?
        .and_if("api_key", ask.param("api_key").map(crate::keys::hash))
        .and_if("request_id", ask.param("request_id"))
        .and_if("team_id", ask.param("team_id"))
        .and_if("model", ask.param("model"))
        .and_if("model_id", ask.param("model_id"))
        .and_if("end_user", ask.param("end_user"))
        .and_if("session_id", ask.param("session_id"));
    for (param, member) in [
        ("key_alias", "user_api_key_alias"),
        ("error_code", "error_information.error_code"),
    ] {
        if let Some(text) = ask.param(param) {
            filter = filter.and("metadata", Is::Member(member, text.to_owned()));
        }
    }
    let dollars = |name: &str| match ask.param(name) {
        None => Ok(None),
        Some(text) => match text.parse::<f64>() {
            Ok(dollars) if dollars.is_finite() => Ok(Some(Value::from(dollars))),
            _ => Err(Refusal::bad(format!("{name} is a number of US dollars")).param(name)),
        },
    };
    if let Some(least) = dollars("min_spend")? {
        filter = filter.and("spend", Is::AtLeast(least));
    }
    if let Some(most) = dollars("max_spend")? {
        filter = filter.and("spend", Is::AtMost(most));
    }
    filter = match ask.param("status_filter") {
        None => filter,
        // Rows of older releases have no status, and are of calls that were answered.
        Some("success") => filter.and("status", Is::Not("failure".into())),
        Some("failure") => filter.and_if("status", Some("failure")),
        Some(_) => {
            let message = "status_filter is success or failure";
            return Err(Refusal::bad(message).param("status_filter"));
        }
    };
    let order = ask.order(&SORTABLE, "startTime", true)?;
    page_of(plane, &ask, filter, order).await
}

async fn page_of(
    plane: &ControlPlane,
    ask: &Ask,
    filter: Filter,
    order: (&'static str, bool),
) -> Outcome {
    let page = ask.page("page_size", PAGE, PAGE_MAX)?;
    let total = plane.store.count(LOGS, &filter).await?;
    let select = Select {
        filter,
        order: vec![order],
        offset: page.offset(),
        limit: Some(page.size),
    };
    let rows = plane.store.rows(LOGS, &select).await?;
    let shown = |row: Row| {
        let mut row = tidy(row);
        row.retain(|name, _| !LONG.contains(&name.as_str()));
        Value::Object(row)
    };
    let data: Vec<Value> = rows.into_iter().map(shown).collect();
    Ok(json!({
        "data": data, "total": total, "page": page.page, "page_size": page.size,
        "total_pages": page.pages(total),
    }))
}

async fn session(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.required("session_id")?;
    let filter = Filter::by("session_id", id).and("session_id", Is::Differs("litellm_call_id"));
    let filter = own(&ask, filter, "user", "api_key")?;
    let answer = page_of(plane, &ask, filter, ("startTime", false)).await?;
    if answer.get("total") != Some(&json!(0)) || !plane.store.has_column(LOGS, "litellm_call_id") {
        return Ok(answer);
    }
    // A call without a session is one of its own, named after it.
    let filter = Filter::by("litellm_call_id", id).and("session_id", Is::Equal(id.into()));
    let filter = own(&ask, filter, "user", "api_key")?;
    page_of(plane, &ask, filter, ("startTime", false)).await
}

async fn one(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.named.clone().unwrap_or_default();
    let filter = Filter::by("request_id", id.as_str());
    let select = own(&ask, filter, "user", "api_key")?.into();
    let Some(row) = plane.store.rows(LOGS, &select).await?.pop() else {
        let message = format!("no call with the id {id:?}, or it is somebody else's");
        return Err(Refusal::detail(404, message));
    };
    let told = LONG.map(|name| (name.to_owned(), row.get(name).cloned().unwrap_or_default()));
    Ok(Value::Object(Map::from_iter(told)))
}

async fn keys(plane: &ControlPlane, ask: Ask) -> Outcome {
    // Sessions of the UI spend nothing.
    let filter = Filter::of("team_id", Is::Not("litellm-dashboard".into()));
    by_spend(plane, KEYS, own(&ask, filter, "user_id", "token")?).await
}

async fn users(plane: &ControlPlane, ask: Ask) -> Outcome {
    if !ask.sees_all() && ask.user().is_none() {
        return Err(ask.admin_only());
    }
    let filter = own(&ask, Filter::all(), "user_id", "user_id")?;
    by_spend(plane, "LiteLLM_UserTable", filter).await
}

async fn by_spend(plane: &ControlPlane, table: &'static str, filter: Filter) -> Outcome {
    let select = Select {
        filter,
        order: vec![("spend", true)],
        offset: 0,
        limit: Some(ROWS),
    };
    let rows = plane.store.rows(table, &select).await?;
    let shown = rows.into_iter().map(|mut row| {
        row.remove("password");
        let mut shown = Value::Object(row);
        crate::audit::mask(&mut shown);
        shown
    });
    Ok(shown.collect())
}

async fn tags(plane: &ControlPlane, ask: Ask) -> Outcome {
    let filter = Days::asked(&ask)?.map_or_else(Filter::all, Days::daily);
    let filter = match ask.sees_all() {
        true => filter,
        false => filter.and("api_key", Is::In(plane.own_keys(&ask).await?)),
    };
    let rows = plane.tag_sums(filter).await?;
    let told = rows.iter().map(|row| {
        json!({
            "individual_request_tag": text(row, "tag"), "log_count": whole(row, "api_requests"), "total_spend": spent(row),
        })
    });
    Ok(told.collect())
}

impl ControlPlane {
    /// What was spent for each tag, most first.
    pub(super) async fn tag_sums(&self, filter: Filter) -> Result<Vec<Row>, Refusal> {
        let sums = Sums {
            filter,
            by: vec!["tag"],
            sums: vec!["spend", "api_requests"],
            order: Some(("spend", true)),
            ..Sums::default()
        };
        self.all_sums("LiteLLM_DailyTagSpend", sums).await
    }
}
