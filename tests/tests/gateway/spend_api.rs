//! Calls are made, then everything that tells of spend tells of exactly these.

use serde_json::{Value, json};
use witgate_testkit::openai;

use crate::support::{Client, Stage, chat};

/// What a call of `gpt-4o` costs at the upstream's usage.
const COST: f64 = 97.5e-6;

const TOKENS: u64 = openai::PROMPT_TOKENS + openai::COMPLETION_TOKENS;

/// The days of these calls: a test may run over midnight.
fn days(rows: &[Value]) -> [String; 2] {
    let days = rows
        .iter()
        .map(|row| row["startTime"].as_str().unwrap()[..10].to_owned());
    [days.clone().min().unwrap(), days.max().unwrap()]
}

fn dollars(value: &Value, calls: f64) {
    let told = value.as_f64().unwrap_or(f64::NAN);
    assert!(
        (told - calls * COST).abs() < 1e-12,
        "{value} is not {calls} calls"
    );
}

/// What the first of each day spent, day after day.
fn total(report: &Value, list: &str) -> Value {
    let days = report.as_array().unwrap().iter();
    let spent = days.map(|day| day[list][0]["total_spend"].as_f64().unwrap());
    spent.sum::<f64>().into()
}

#[tokio::test]
async fn reports_tell_of_exactly_the_calls_that_were_made() {
    let stage = Stage::plain().await;
    let admin = &stage.client;
    let post = async |path: &str, body: Value| admin.post(path, &body).await.ok();
    post("/customer/new", json!({"user_id": "acme", "max_budget": 5})).await;
    post("/tag/new", json!({"name": "blue", "description": "b"})).await;
    post(
        "/budget/new",
        json!({"budget_id": "shared", "max_budget": 9}),
    )
    .await;
    let made = post(
        "/key/generate",
        json!({"key_alias": "ann's", "user_id": "ann", "budget_id": "shared"}),
    )
    .await;
    let (key, token) = (
        made["key"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    let ann = Client::of(&stage.gateway).key(key);
    let mut body = chat("gpt-4o");
    body["user"] = json!("acme");
    body["metadata"] = json!({"tags": ["blue"]});
    let answer = ann.chat(&body).await.ok();
    ann.chat(&body).await.ok();
    admin.chat(&chat("gpt-4o")).await.ok();
    let [first, last] = days(&stage.gateway.wait_for_spend_rows(3).await);
    let days = format!("start_date={first}&end_date={last}");
    let times = format!("start_date={first}%2000:00:00&end_date={last}%2023:59:59.999");

    let get = async |path: &str| admin.get(path).await.ok();
    let logs = get(&format!("/spend/logs?api_key={key}")).await;
    assert_eq!(logs.as_array().unwrap().len(), 2, "{logs}");
    dollars(&logs[0]["spend"], 1.0);
    assert_eq!(
        (&logs[0]["end_user"], &logs[0]["user"]),
        (&json!("acme"), &json!("ann"))
    );
    let page = get(&format!("/spend/logs/ui?{times}&page_size=2")).await;
    assert_eq!(
        (&page["total"], page["data"].as_array().unwrap().len()),
        (&json!(3), 2),
        "{page}"
    );
    let keys = get("/spend/keys").await;
    assert_eq!(keys[0]["token"], token);
    dollars(&keys[0]["spend"], 2.0);
    let tags = get("/spend/tags").await;
    assert_eq!(
        (&tags[0]["individual_request_tag"], &tags[0]["log_count"]),
        (&json!("blue"), &json!(2))
    );
    dollars(&tags[0]["total_spend"], 2.0);
    dollars(&get("/customer/info?end_user_id=acme").await["spend"], 2.0);
    dollars(
        &post("/tag/info", json!({"names": ["blue"]})).await["blue"]["spend"],
        2.0,
    );
    dollars(&get("/global/spend").await["spend"], 3.0);
    let models = get("/global/spend/models").await;
    dollars(&models[0]["total_spend"], 3.0);
    let activity = get(&format!("/global/activity?{days}")).await;
    assert_eq!(
        (&activity["sum_api_requests"], &activity["sum_total_tokens"]),
        (&json!(3), &json!(3 * TOKENS))
    );
    let report = get(&format!("/global/spend/report?{days}&group_by=customer")).await;
    let acme = &report[0]["customers"][0];
    assert_eq!(
        (&acme["customer"], &acme["metadata"][0]["api_key"]),
        (&json!("acme"), &json!(token))
    );
    dollars(&total(&report, "customers"), 2.0);
    let report = get(&format!("/global/spend/report?{days}&group_by=api_key")).await;
    assert_eq!(report.as_array().unwrap().len(), 2, "{report}");
    let teams = get(&format!("/global/spend/report?{days}")).await;
    assert_eq!(teams[0]["teams"][0]["team_name"], "Unassigned Team");
    dollars(&total(&teams, "teams"), 3.0);

    // What she spends in a team is told of her there.
    post(
        "/team/new",
        json!({"team_id": "red", "team_alias": "Red", "members": ["ann"]}),
    )
    .await;
    let body = json!({"user_id": "ann", "team_id": "red"});
    let made = post("/key/generate", body).await;
    let of_team = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    of_team.chat(&chat("gpt-4o")).await.ok();
    stage.gateway.wait_for_spend_rows(4).await;
    let by_user = get(&format!("/team/spend/by_user?{days}&team_ids=red")).await;
    let row = &by_user["results"][0];
    assert_eq!(
        (&row["user_id"], &row["team_alias"], &row["api_requests"]),
        (&json!("ann"), &json!("Red"), &json!(1)),
        "{by_user}"
    );
    dollars(&row["spend"], 1.0);

    let whole = get(&format!(
        "/team/daily/activity/aggregated?{days}&team_ids=red"
    ))
    .await;
    dollars(&whole["metadata"]["total_spend"], 1.0);

    // Ann sees what she spent, and nobody else's.
    let own = ann.get(&format!("/user/daily/activity?{days}")).await.ok();
    dollars(&own["metadata"]["total_spend"], 3.0);
    assert_eq!(own["metadata"]["total_api_requests"], 3);
    assert_eq!(
        ann.get("/spend/logs").await.ok().as_array().unwrap().len(),
        3
    );
    ann.get("/global/spend").await.error(401);
    ann.get("/audit").await.error(401);

    // What the answer cost is what it would cost.
    let cost = post("/spend/calculate", json!({"completion_response": answer})).await;
    dollars(&cost["cost"], 1.0);

    post("/global/spend/reset", json!({})).await;
    dollars(&get("/spend/keys").await[0]["spend"], 0.0);
    dollars(&get("/global/spend").await["spend"], 4.0);
    assert!(!stage.gateway.printed(key), "the key is in the log");
}
