//! Reports of calls that are known to the cent, over both databases.

mod reports;

use serde_json::{Value, json};
use witgate_identity::{KeyHash, Principal, Role};
use witgate_store::{SpendRow, Write};
use witgate_testkit::PostgresServer;

use crate::testing::{World, admin, user, world, world_in};

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
        ["LiteLLM_VerificationToken", {"token": hash("sk-ann"), "key_alias": "ann's", "key_name": "sk-...ann", "user_id": "ann", "team_id": "red", "metadata": {"logging": [{"callback_vars": {"langfuse_secret_key": "s3cret"}}]}}],
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
        // Answered, after another deployment refused.
        SpendRow {
            metadata: r#"{"error_information":{"error_code":"429"}}"#.into(),
            ..call("b1", "bob", "2025-12-31T12:00:00Z", "0.05", "claude")
        },
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
            ("error_code=429", vec!["b1", "a3"]),
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
                422,
            ),
            (admin(), format!("/spend/logs/ui?{TIMES}&page=0"), 422),
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
        assert!(!keys.to_string().contains("s3cret"), "{keys}");
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
