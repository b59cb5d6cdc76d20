//! Reports of calls that are known to the cent, over both databases.

use serde_json::{Value, json};
use witgate_identity::{KeyHash, Principal, Role};
use witgate_store::{SpendRow, Write};
use witgate_testkit::PostgresServer;

use crate::Changed;
use crate::testing::{HOSTILE, World, admin, user, world, world_in};

fn hash(key: &str) -> String {
    KeyHash::of(key).as_str().to_owned()
}

/// Ann (key `sk-ann`, team red) calls gpt three times on two days, once in vain; Bob (key `sk-bob`, no team) calls claude,
/// once from the cache; a key of nobody's calls once.
async fn calls(world: &World) {
    let rows = json!([
        ["LiteLLM_TeamTable", {"team_id": "red", "team_alias": "Red", "members_with_roles": [{"user_id": "ann", "role": "user"}, {"user_id": "cat", "role": "admin"}]}],
        ["LiteLLM_UserTable", {"user_id": "ann", "user_email": "ann@x.y", "teams": ["red"], "password": "secret"}],
        ["LiteLLM_UserTable", {"user_id": "cat", "teams": ["red"]}],
        ["LiteLLM_UserTable", {"user_id": "bob"}],
        ["LiteLLM_OrganizationMembership", {"user_id": "cat", "organization_id": "org", "user_role": "org_admin"}],
        ["LiteLLM_VerificationToken", {"token": hash("sk-ann"), "key_alias": "ann's", "key_name": "sk-...ann", "user_id": "ann", "team_id": "red"}],
        ["LiteLLM_VerificationToken", {"token": hash("sk-bob"), "user_id": "bob"}],
        ["LiteLLM_VerificationToken", {"token": hash("sk-none")}],
    ]);
    let tables = [
        "LiteLLM_TeamTable",
        "LiteLLM_UserTable",
        "LiteLLM_OrganizationMembership",
        "LiteLLM_VerificationToken",
    ];
    let steps = rows.as_array().unwrap().iter().map(|step| {
        let table = tables.into_iter().find(|table| step[0] == *table).unwrap();
        Write::Insert(table, step[1].as_object().unwrap().clone())
    });
    let now = "2025-12-01T00:00:00Z".parse().unwrap();
    world.plane.store.write(steps.collect(), now).await.unwrap();
    let call = |id: &'static str, who: &str, at: &str, spend: &str, model: &'static str| SpendRow {
        request_id: id.into(),
        litellm_call_id: Some(id.into()),
        session_id: Some(id.into()),
        call_type: "acompletion".into(),
        api_key: hash(&format!("sk-{who}")).into(),
        user: if who == "none" {
            "".into()
        } else {
            who.to_owned().into()
        },
        spend: spend.parse().unwrap(),
        prompt_tokens: 10,
        completion_tokens: 5,
        total_tokens: 15,
        start_time: at.parse().unwrap(),
        end_time: at.parse().unwrap(),
        model: model.into(),
        model_group: model.into(),
        custom_llm_provider: if model == "gpt" {
            "openai".into()
        } else {
            "anthropic".into()
        },
        status: Some("success".into()),
        cache_hit: "None".into(),
        ..SpendRow::default()
    };
    let ann = |row: SpendRow<'static>| SpendRow {
        team_id: Some("red".into()),
        organization_id: Some("org".into()),
        end_user: Some("acme".into()),
        request_tags: r#"["prod","a"]"#.into(),
        session_id: Some("trace".into()),
        metadata: r#"{"user_api_key_alias":"ann's"}"#.into(),
        messages: r#"[{"role":"user","content":"hi"}]"#.into(),
        response: r#"{"id":"a1"}"#.into(),
        ..row
    };
    let calls = [
        ann(call("a1", "ann", "2025-12-30T10:00:00Z", "0.1", "gpt")),
        ann(call("a2", "ann", "2025-12-31T23:59:59.900Z", "0.2", "gpt")),
        SpendRow {
            status: Some("failure".into()),
            completion_tokens: 0,
            total_tokens: 10,
            metadata: r#"{"error_information":{"error_code":"429"}}"#.into(),
            api_base: "https://a".into(),
            ..ann(call("a3", "ann", "2025-12-31T11:00:00Z", "0", "gpt"))
        },
        call("b1", "bob", "2025-12-31T12:00:00Z", "0.05", "claude"),
        SpendRow {
            cache_hit: "True".into(),
            ..call("b2", "bob", "2025-12-31T12:00:01Z", "0", "claude")
        },
        call("n1", "none", "2026-01-01T00:00:00Z", "0.025", "claude"),
    ];
    world.spend(&calls).await;
}

/// Asks of both databases.
async fn worlds(suite: impl AsyncFn(World)) {
    let config = || json!({"litellm_settings": {"max_budget": 100.0}});
    let sqlite = world(config()).await;
    calls(&sqlite).await;
    suite(sqlite).await;
    let server = PostgresServer::start().await;
    let postgres = world_in(&server.url(), config()).await;
    calls(&postgres).await;
    suite(postgres).await;
}

async fn told(world: &World, caller: &Principal, path: &str) -> Value {
    let (status, answer) = world.get(caller, path).await;
    assert_eq!(status, 200, "{path} {answer}");
    answer
}

fn ids(rows: &Value) -> Vec<&str> {
    let rows = rows.as_array().unwrap();
    rows.iter()
        .map(|row| row["request_id"].as_str().unwrap())
        .collect()
}

const RANGE: &str = "start_date=2025-12-30&end_date=2025-12-31";
const TIMES: &str = "start_date=2025-12-30 00:00:00&end_date=2026-01-01 00:00:00";

#[tokio::test]
async fn single_calls() {
    worlds(async |world| {
        let all = told(&world, &admin(), "/spend/logs").await;
        assert_eq!(ids(&all), ["n1", "a2", "b2", "b1", "a3", "a1"]);
        assert_eq!(
            (&all[1]["spend"], &all[1]["request_tags"]),
            (&json!(0.2), &json!(["prod", "a"]))
        );
        assert_eq!(all[1].get("witgate_spend_usd"), None);
        for (query, expected) in [
            ("api_key=sk-ann", vec!["a2", "a3", "a1"]),
            ("user_id=bob", vec!["b2", "b1"]),
            ("request_id=a1", vec!["a1"]),
            ("request_id=a1'--", vec![]),
            (
                "start_date=2025-12-30&end_date=2025-12-30&summarize=false",
                vec!["a1"],
            ),
            (
                "start_date=2025-12-30&end_date=2025-12-31&summarize=False&api_key=sk-bob",
                vec!["b2", "b1"],
            ),
        ] {
            let rows = told(&world, &admin(), &format!("/spend/logs?{query}")).await;
            assert_eq!(ids(&rows), expected, "{query}");
        }
        let days = told(
            &world,
            &admin(),
            "/spend/logs?start_date=2025-12-30&end_date=2026-01-03",
        )
        .await;
        let spend: Vec<&Value> = days
            .as_array()
            .unwrap()
            .iter()
            .map(|day| &day["spend"])
            .collect();
        assert_eq!(spend, [0.1, 0.25, 0.025, 0.0, 0.0]);
        assert_eq!(days[1]["startTime"], "2025-12-31");
        assert_eq!(days[1]["models"], json!({"gpt": 0.2, "claude": 0.05}));
        assert_eq!(days[1]["users"], json!({"ann": 0.2, "bob": 0.05}));
        assert_eq!(days[1][hash("sk-ann")], 0.2);
        assert_eq!(
            days[4],
            json!({"startTime": "2026-01-03", "spend": 0.0, "users": {}, "models": {}})
        );
        // Everybody sees their own.
        assert_eq!(
            ids(&told(&world, &user("bob"), "/spend/logs").await),
            ["b2", "b1"]
        );
        let nobody = Principal {
            key_hash: Some(KeyHash::of("sk-none")),
            role: Some(Role::InternalUser),
            ..Principal::default()
        };
        assert_eq!(ids(&told(&world, &nobody, "/spend/logs").await), ["n1"]);
        let own = told(&world, &user("bob"), &format!("/spend/logs?{RANGE}")).await;
        assert_eq!(
            (own.as_array().unwrap().len(), &own[0]["spend"]),
            (1, &json!(0.05))
        );
        for (caller, path, status) in [
            (user("bob"), "/spend/logs?user_id=ann", 403),
            (Principal::default(), "/spend/logs", 401),
            (nobody.clone(), "/spend/logs?user_id=ann", 403),
            (
                admin(),
                "/spend/logs?start_date=2025-13-01&end_date=2025-12-31",
                400,
            ),
            (
                admin(),
                "/spend/logs?start_date=2025-12-31T00:00:00&end_date=x",
                400,
            ),
        ] {
            assert_eq!(world.get(&caller, path).await.0, status, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_of_calls() {
    worlds(async |world| {
        let first = told(
            &world,
            &admin(),
            &format!("/spend/logs/ui?{TIMES}&page_size=4"),
        )
        .await;
        assert_eq!(ids(&first["data"]), ["n1", "a2", "b2", "b1"]);
        assert_eq!(
            (
                &first["total"],
                &first["page"],
                &first["page_size"],
                &first["total_pages"]
            ),
            (&json!(6), &json!(1), &json!(4), &json!(2))
        );
        assert_eq!(first["data"][0].get("messages"), None);
        let second = told(
            &world,
            &admin(),
            &format!("/spend/logs/v2?{TIMES}&page_size=4&page=2"),
        )
        .await;
        assert_eq!(ids(&second["data"]), ["a3", "a1"]);
        for (query, expected) in [
            ("status_filter=failure", vec!["a3"]),
            ("status_filter=success&team_id=red", vec!["a2", "a1"]),
            ("min_spend=0.05&max_spend=0.1", vec!["b1", "a1"]),
            ("key_alias=ann's&end_user=acme&model=gpt", vec!["a2", "a1"]),
            ("error_code=429", vec!["a3"]),
            (
                "sort_by=spend&sort_order=asc&min_spend=0.05",
                vec!["b1", "a1", "a2"],
            ),
            ("key_alias=' OR 1=1 --", vec![]),
        ] {
            let rows = told(&world, &admin(), &format!("/spend/logs/ui?{TIMES}&{query}")).await;
            assert_eq!(ids(&rows["data"]), expected, "{query}");
        }
        let own = told(&world, &user("bob"), &format!("/spend/logs/ui?{TIMES}")).await;
        assert_eq!(own["total"], 2);
        let session = told(&world, &admin(), "/spend/logs/session/ui?session_id=trace").await;
        assert_eq!(ids(&session["data"]), ["a1", "a3", "a2"]);
        // A call without a session is one of its own.
        let session = told(&world, &admin(), "/spend/logs/session/ui?session_id=b1").await;
        assert_eq!(ids(&session["data"]), ["b1"]);
        let call = told(&world, &user("ann"), "/spend/logs/ui/a1").await;
        assert_eq!(
            (&call["messages"][0]["content"], &call["response"]["id"]),
            (&json!("hi"), &json!("a1"))
        );
        for (caller, path, status) in [
            (user("bob"), "/spend/logs/ui/a1".to_owned(), 404),
            (admin(), "/spend/logs/ui".to_owned(), 400),
            (
                admin(),
                "/spend/logs/ui?start_date=x&end_date=y".to_owned(),
                400,
            ),
            (
                admin(),
                format!("/spend/logs/ui?{TIMES}&page_size=101"),
                400,
            ),
            (admin(), format!("/spend/logs/ui?{TIMES}&page=0"), 400),
            (
                admin(),
                format!("/spend/logs/ui?{TIMES}&min_spend=NaN"),
                400,
            ),
            (
                admin(),
                format!("/spend/logs/ui?{TIMES}&sort_by=metadata"),
                400,
            ),
            (
                admin(),
                format!("/spend/logs/ui?{TIMES}&status_filter=x"),
                400,
            ),
            (admin(), "/spend/logs/session/ui".to_owned(), 422),
        ] {
            assert_eq!(world.get(&caller, &path).await.0, status, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_spent_how_much() {
    worlds(async |world| {
        let keys = told(&world, &admin(), "/spend/keys").await;
        assert_eq!(
            (&keys[0]["token"], keys.as_array().unwrap().len()),
            (&json!(hash("sk-ann")), 3)
        );
        assert!((keys[0]["spend"].as_f64().unwrap() - 0.3).abs() < 1e-9);
        assert_eq!(
            told(&world, &user("bob"), "/spend/keys")
                .await
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let users = told(&world, &admin(), "/spend/users").await;
        assert_eq!(
            (&users[0]["user_id"], users[0].get("password")),
            (&json!("ann"), None)
        );
        let bob = told(&world, &admin(), "/spend/users?user_id=bob").await;
        assert_eq!(
            (bob.as_array().unwrap().len(), &bob[0]["user_id"]),
            (1, &json!("bob"))
        );
        assert_eq!(
            world.get(&user("bob"), "/spend/users?user_id=ann").await.0,
            403
        );
        let tags = told(&world, &admin(), "/spend/tags").await;
        assert_eq!(
            tags[0],
            json!({"individual_request_tag": "a", "log_count": 3, "total_spend": 0.3})
        );
        assert_eq!(told(&world, &user("bob"), "/spend/tags").await, json!([]));
        assert_eq!(
            told(
                &world,
                &user("ann"),
                "/spend/tags?start_date=2025-12-30&end_date=2025-12-30"
            )
            .await[1]["total_spend"],
            0.1
        );
    })
    .await;
}

#[tokio::test]
async fn what_everybody_spent() {
    worlds(async |world| {
        for (path, expected) in [
            ("/global/spend", json!({"spend": 0.375, "max_budget": 100.0})),
            ("/global/spend/logs", json!([{"date": "2025-12-30", "spend": 0.1}, {"date": "2025-12-31", "spend": 0.25}, {"date": "2026-01-01", "spend": 0.025}])),
            ("/global/spend/logs?api_key=sk-bob", json!([{"date": "2025-12-31", "spend": 0.05}])),
            ("/global/spend/keys?limit=1", json!([{"api_key": hash("sk-ann"), "key_alias": "ann's", "key_name": "sk-...ann", "total_spend": 0.3}])),
            ("/global/spend/models", json!([{"model": "gpt", "total_spend": 0.3}, {"model": "claude", "total_spend": 0.075}])),
            ("/global/spend/models?limit=1", json!([{"model": "gpt", "total_spend": 0.3}])),
            ("/global/all_end_users", json!({"end_users": ["acme"]})),
            ("/global/spend/all_tag_names", json!({"tag_names": ["a", "prod"]})),
            ("/global/spend/tags?tags=prod,none", json!({"spend_per_tag": [{"name": "prod", "spend": 0.3, "log_count": 3}]})),
            ("/global/spend/tags?tags=all-tags&start_date=2025-12-30&end_date=2025-12-30", json!({"spend_per_tag": [{"name": "a", "spend": 0.1, "log_count": 1}, {"name": "prod", "spend": 0.1, "log_count": 1}]})),
            ("/global/spend/provider?start_date=2025-12-30&end_date=2026-01-01", json!([{"provider": "openai", "spend": 0.3}, {"provider": "anthropic", "spend": 0.075}])),
            ("/global/spend/teams", json!({
                "daily_spend": [{"date": "2025-12-30", "Red": 0.1}, {"date": "2025-12-31", "Red": 0.2, "Unassigned": 0.05}, {"date": "2026-01-01", "Unassigned": 0.025}],
                "teams": ["Red", "Unassigned"],
                "total_spend_per_team": [{"team_id": "Red", "total_spend": 0.3}, {"team_id": "Unassigned", "total_spend": 0.075}],
            })),
        ] {
            assert_eq!(told(&world, &admin(), path).await, expected, "{path}");
            // Others have no part in it, but for keys that are let in.
            assert_eq!(world.get(&user("ann"), path).await.0, 401, "{path}");
            let permissions = json!({"get_spend_routes": true}).as_object().cloned().unwrap();
            let reporter = Principal { permissions, ..user("rep") };
            assert_eq!(world.get(&reporter, path).await.0, 200, "{path}");
        }
        let customers = world.done("/global/spend/end_users", json!({"startTime": "2025-12-31"})).await;
        assert_eq!(customers, json!([{"end_user": "acme", "total_count": 2, "total_spend": 0.2}]));
        let customers = json!({"api_key": "sk-bob"});
        assert_eq!(world.done("/global/spend/end_users", customers).await, json!([]));
        for (path, status) in [
            ("/global/spend/keys?limit=0", 400),
            ("/global/spend/keys?limit=' OR 1", 400),
            ("/global/spend/provider", 400),
            ("/global/spend/report", 400),
            ("/global/spend/report?start_date=2025-12-30&end_date=2025-12-31&group_by=x", 400),
        ] {
            assert_eq!(world.get(&admin(), path).await.0, status, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn reports_to_charge_by() {
    worlds(async |world| {
        let ann = json!([{"model": "gpt", "spend": 0.2, "total_tokens": 25, "api_key": hash("sk-ann")}]);
        let path = |more: &str| format!("/global/spend/report?{RANGE}{more}");
        let teams = told(&world, &admin(), &path("")).await;
        assert_eq!(teams[1], json!({"group_by_day": "2025-12-31T00:00:00+00:00", "teams": [
            {"team_name": "Red", "total_spend": 0.2, "metadata": ann},
            {"team_name": "Unassigned Team", "total_spend": 0.05, "metadata": [{"model": "claude", "spend": 0.05, "total_tokens": 30, "api_key": hash("sk-bob")}]},
        ]}));
        assert_eq!(teams[0]["teams"].as_array().unwrap().len(), 1);
        let red = told(&world, &admin(), &path("&group_by=team&team_id=red")).await;
        assert_eq!(red[1]["teams"].as_array().unwrap().len(), 1);
        let customers = told(&world, &admin(), &path("&group_by=customer")).await;
        assert_eq!(customers[1], json!({"group_by_day": "2025-12-31T00:00:00+00:00", "customers": [{"customer": "acme", "total_spend": 0.2, "metadata": ann}]}));
        assert_eq!(told(&world, &admin(), &path("&customer_id=none")).await, json!([]));
        let bob = json!([{"api_key": hash("sk-bob"), "total_cost": 0.05, "total_input_tokens": 20, "total_output_tokens": 10, "model_details": [
            {"model": "claude", "total_cost": 0.05, "total_input_tokens": 20, "total_output_tokens": 10},
        ]}]);
        for filter in ["&api_key=sk-bob", "&internal_user_id=bob"] {
            assert_eq!(told(&world, &admin(), &path(filter)).await, bob, "{filter}");
        }
        let keys = told(&world, &admin(), &path("&group_by=api_key")).await;
        assert_eq!((keys.as_array().unwrap().len(), &keys[0]["total_cost"]), (2, &json!(0.3)));
        assert_eq!(world.get(&user("ann"), &path("")).await.0, 401);
    })
    .await;
}

#[tokio::test]
async fn how_much_was_asked() {
    worlds(async |world| {
        let activity = told(&world, &admin(), &format!("/global/activity?{RANGE}")).await;
        assert_eq!(activity, json!({
            "daily_data": [{"date": "Dec 30", "api_requests": 1, "total_tokens": 15}, {"date": "Dec 31", "api_requests": 4, "total_tokens": 55}],
            "sum_api_requests": 5, "sum_total_tokens": 70,
        }));
        let own = told(&world, &user("bob"), &format!("/global/activity?{RANGE}")).await;
        assert_eq!(own["sum_api_requests"], 2);
        let models = told(&world, &admin(), &format!("/global/activity/model?{RANGE}")).await;
        assert_eq!((&models[0]["model"], &models[0]["sum_api_requests"], &models[1]["sum_total_tokens"]), (&json!("gpt"), &json!(3), &json!(30)));
        let hits = told(&world, &admin(), &format!("/global/activity/cache_hits?{RANGE}")).await;
        assert_eq!(hits[0], json!({
            "api_key": "Unnamed Key", "call_type": "acompletion", "model": "claude", "total_rows": 2, "cache_hit_true_rows": 1,
            "cached_completion_tokens": 5, "generated_completion_tokens": 5,
        }));
        assert_eq!((&hits[1]["api_key"], &hits[1]["total_rows"]), (&json!("ann's"), &json!(3)));
        let limited = told(&world, &admin(), &format!("/global/activity/exceptions?{RANGE}&model_group=gpt")).await;
        assert_eq!(limited, json!({"daily_data": [{"date": "Dec 31", "num_rate_limit_exceptions": 1}], "sum_num_rate_limit_exceptions": 1}));
        let limited = told(&world, &admin(), &format!("/global/activity/exceptions/deployment?{RANGE}&model_group=gpt")).await;
        assert_eq!((&limited[0]["api_base"], &limited[0]["sum_num_rate_limit_exceptions"]), (&json!("https://a"), &json!(1)));
        assert_eq!(world.get(&admin(), "/global/activity").await.0, 400);
        assert_eq!(world.get(&user("ann"), &format!("/global/activity/exceptions?{RANGE}&model_group=gpt")).await.0, 401);
    })
    .await;
}

#[tokio::test]
async fn activity_day_by_day() {
    worlds(async |world| {
        let all = told(&world, &admin(), &format!("/user/daily/activity?{RANGE}")).await;
        let total = &all["metadata"];
        assert_eq!(
            (
                &total["total_spend"],
                &total["total_api_requests"],
                &total["total_failed_requests"],
                &total["total_tokens"]
            ),
            (&json!(0.35), &json!(5), &json!(1), &json!(70))
        );
        assert_eq!(
            (&total["page"], &total["total_pages"], &total["has_more"]),
            (&json!(1), &json!(1), &json!(false))
        );
        let last = &all["results"][0];
        assert_eq!(
            (
                &last["date"],
                &last["metrics"]["spend"],
                &last["metrics"]["successful_requests"]
            ),
            (&json!("2025-12-31"), &json!(0.25), &json!(3))
        );
        let parts = &last["breakdown"];
        assert_eq!(parts["models"]["gpt"]["metrics"]["spend"], 0.2);
        assert_eq!(
            parts["providers"]["anthropic"]["metrics"]["api_requests"],
            2
        );
        assert_eq!(
            parts["api_keys"][hash("sk-ann")]["metadata"],
            json!({"key_alias": "ann's", "team_id": "red"})
        );
        assert_eq!(
            parts["models"]["gpt"]["api_key_breakdown"][hash("sk-ann")]["metrics"]["total_tokens"],
            25
        );
        assert_eq!(
            parts["entities"]["ann"]["metadata"],
            json!({"user_email": "ann@x.y"})
        );
        assert_eq!(parts["mcp_servers"], json!({}));
        let page = told(
            &world,
            &admin(),
            &format!("/user/daily/activity?{RANGE}&page_size=1&page=2"),
        )
        .await;
        assert_eq!(
            (
                &page["metadata"]["total_pages"],
                &page["metadata"]["has_more"]
            ),
            (&json!(3), &json!(true))
        );
        let own = told(
            &world,
            &user("bob"),
            &format!("/user/daily/activity?{RANGE}"),
        )
        .await;
        assert_eq!(own["metadata"]["total_spend"], 0.05);
        let cat = user("cat");
        for (caller, path, spend) in [
            (admin(), "team", 0.3),
            (admin(), "organization", 0.3),
            (admin(), "customer", 0.3),
            (admin(), "tag", 0.6),
            (admin(), "tag?tags=prod", 0.3),
            (admin(), "tag?tags=prod&exclude_tags=prod", 0.0),
            (admin(), "team?team_ids=red,blue&model=none", 0.0),
            (admin(), "customer?end_user_ids=acme&api_key=sk-ann", 0.3),
            (cat.clone(), "team", 0.3),
            (cat.clone(), "team?team_ids=red", 0.3),
            (cat.clone(), "organization", 0.3),
            // A member sees what their own keys did.
            (user("ann"), "team", 0.3),
            (user("ann"), "tag?tags=prod", 0.3),
            (user("bob"), "tag", 0.0),
            (user("bob"), "team", 0.0),
        ] {
            let (name, query) = path.split_once('?').unwrap_or((path, ""));
            let answer = told(
                &world,
                &caller,
                &format!("/{name}/daily/activity?{RANGE}&{query}"),
            )
            .await;
            assert_eq!(answer["metadata"]["total_spend"], spend, "{path} {answer}");
        }
        let team = told(&world, &admin(), &format!("/team/daily/activity?{RANGE}")).await;
        assert_eq!(
            team["results"][0]["breakdown"]["entities"]["red"]["metadata"],
            json!({"team_alias": "Red"})
        );
        for (caller, path, status) in [
            (
                user("bob"),
                format!("/user/daily/activity?{RANGE}&user_id=ann"),
                403,
            ),
            (
                user("bob"),
                format!("/team/daily/activity?{RANGE}&team_ids=red"),
                404,
            ),
            (
                user("bob"),
                format!("/organization/daily/activity?{RANGE}"),
                403,
            ),
            (
                cat,
                format!("/organization/daily/activity?{RANGE}&organization_ids=other"),
                403,
            ),
            (
                user("bob"),
                format!("/customer/daily/activity?{RANGE}"),
                401,
            ),
            (admin(), "/user/daily/activity".to_owned(), 400),
            (
                admin(),
                format!("/user/daily/activity?{RANGE}&page_size=1001"),
                400,
            ),
        ] {
            assert_eq!(world.get(&caller, &path).await.0, status, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn hostile_parameters_find_nothing_and_break_nothing() {
    worlds(async |world| {
        let hostile: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
        let long = "x".repeat(100_000);
        for operation in crate::spend::OPERATIONS.iter().copied().flatten() {
            if operation.method != "GET" {
                continue;
            }
            for text in [hostile.as_str(), "%00", long.as_str()] {
                for param in operation.query {
                    let path = operation.name().replace("{request_id}", "a1");
                    let dates = if path.contains("/ui") { TIMES } else { RANGE };
                    let path =
                        format!("{path}?{param}={text}&{dates}&model_group=gpt&session_id=trace");
                    let (status, answer) = world.get(&admin(), &path).await;
                    assert!(
                        matches!(status, 200 | 400) || text == "%00" && status == 422,
                        "{param} {status} {answer} {:.200}",
                        path
                    );
                }
            }
        }
        assert_eq!(
            world
                .plane
                .store
                .count("LiteLLM_SpendLogs", &Default::default())
                .await
                .unwrap(),
            6
        );
    })
    .await;
}

#[tokio::test]
async fn the_master_key_alone_resets_spend() {
    worlds(async |world| {
        let other = Principal {
            key_hash: Some(KeyHash::of("sk-other")),
            role: Some(Role::ProxyAdmin),
            ..user("root")
        };
        let (status, answer) = world.post(&other, "/global/spend/reset", json!({})).await;
        assert_eq!(status, 401);
        assert!(
            answer["error"]["message"]
                .as_str()
                .unwrap()
                .contains("only for MASTER KEY")
        );
        let done = world.done("/global/spend/reset", json!({})).await;
        assert_eq!(done["status"], "success");
        let spend = |row: &Value| row["spend"].as_f64().unwrap();
        let keys = told(&world, &admin(), "/spend/keys").await;
        assert!(keys.as_array().unwrap().iter().all(|key| spend(key) == 0.0));
        let team = world
            .plane
            .store
            .row("LiteLLM_TeamTable", "team_id", "red")
            .await
            .unwrap();
        assert_eq!(team.unwrap()["spend"], 0.0);
        // Users keep theirs, and so does the ledger.
        assert!(spend(&told(&world, &admin(), "/spend/users").await[0]) > 0.0);
        let heard = world.heard.0.lock().clone();
        let spends = heard
            .iter()
            .filter(|what| matches!(what, Changed::Spend { .. }));
        assert_eq!(spends.count(), 4, "{heard:?}");
    })
    .await;
}

#[tokio::test]
async fn what_a_call_costs() {
    let config = json!({"model_list": [
        {"model_name": "mine", "litellm_params": {"model": "openai/gpt-4o"}},
        {"model_name": "own", "litellm_params": {"model": "openai/unknown", "input_cost_per_token": 0.5, "output_cost_per_token": 1}},
    ]});
    let world = world(config).await;
    let answer = json!({"model": "gpt-4o", "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}});
    for (body, cost) in [
        (json!({"completion_response": answer}), 0.0035),
        (
            json!({"model": "mine", "completion_response": answer}),
            0.0035,
        ),
        (
            json!({"model": "own", "completion_response": answer}),
            600.0,
        ),
        (
            json!({"model": "own", "messages": [{"role": "user", "content": "hi"}]}),
            4.0,
        ),
    ] {
        let (status, answer) = world
            .post(&user("ann"), "/spend/calculate", body.clone())
            .await;
        assert_eq!(
            (status, &answer["cost"]),
            (200, &json!(cost)),
            "{body} {answer}"
        );
    }
    for (body, status, says) in [
        (
            json!({"model": "gpt-4o"}),
            400,
            "Either 'messages' or 'completion_response' must be provided",
        ),
        (
            json!({"messages": []}),
            400,
            "Missing required field 'model'",
        ),
        (
            json!({"model": "nothing", "messages": []}),
            400,
            "no price is known",
        ),
        (
            json!({"model": "gpt-4o", "completion_response": {}}),
            400,
            "no usage to price",
        ),
        (
            json!({"model": "gpt-4o", "messages": "hi"}),
            422,
            "valid list",
        ),
    ] {
        let (got, answer) = world.post(&admin(), "/spend/calculate", body.clone()).await;
        assert_eq!(got, status, "{body} {answer}");
        assert!(answer.to_string().contains(says), "{answer}");
    }
}

#[tokio::test]
async fn the_audit_log_is_told_page_by_page() {
    let world = world(json!({"litellm_settings": {"store_audit_logs": true}})).await;
    for id in ["a", "b", "c"] {
        world.done("/budget/new", json!({"budget_id": id})).await;
    }
    world.done("/budget/delete", json!({"id": "a"})).await;
    let log = told(&world, &admin(), "/audit?page_size=3").await;
    assert_eq!((&log["total"], &log["total_pages"]), (&json!(4), &json!(2)));
    let deleted = told(&world, &admin(), "/audit?action=deleted&object_id=a").await;
    let entry = &deleted["audit_logs"][0];
    assert_eq!(
        (&deleted["total"], &entry["table_name"]),
        (&json!(1), &json!("LiteLLM_BudgetTable"))
    );
    assert_eq!(entry["before_value"]["budget_id"], "a");
    let id = entry["id"].as_str().unwrap();
    assert_eq!(
        told(&world, &admin(), &format!("/audit/{id}")).await,
        *entry
    );
    assert_eq!(
        told(&world, &admin(), "/audit?end_date=2025-12-31T00:00:00Z").await["total"],
        0
    );
    for (caller, path, status) in [
        (admin(), "/audit/none", 404),
        (admin(), "/audit?sort_by=before_value", 400),
        (admin(), "/audit?start_date=x", 400),
        (user("ann"), "/audit", 401),
    ] {
        assert_eq!(world.get(&caller, path).await.0, status, "{path}");
    }
}
