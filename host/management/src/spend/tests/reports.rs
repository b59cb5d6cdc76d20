//! Sums, and what else is told of spend.

use serde_json::{Value, json};
use witgate_identity::{KeyHash, Principal, Role};
use witgate_store::Write;

use super::{RANGE, TIMES, hash, told, worlds};
use crate::Changed;
use crate::testing::{HOSTILE, admin, user, world};

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
        let limited = format!("/global/activity/exceptions?{RANGE}&model_group=claude");
        assert_eq!(told(&world, &admin(), &limited).await["sum_num_rate_limit_exceptions"], 0);
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
        for kind in ["user", "team"] {
            let path = |more: &str| format!("/{kind}/daily/activity{more}?{RANGE}");
            let paged = told(&world, &admin(), &(path("") + "&page_size=1000")).await;
            let whole = told(&world, &admin(), &path("/aggregated")).await;
            assert_eq!(whole, paged);
            assert_eq!(whole["metadata"]["has_more"], false);
        }
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
                422,
            ),
        ] {
            assert_eq!(world.get(&caller, &path).await.0, status, "{path}");
        }
    })
    .await;
}

/// All days are on one page, however many a page of the other operation has; what is too much is refused, and not cut.
#[tokio::test]
async fn aggregated_activity_is_whole_or_refused() {
    let world = world(json!({})).await;
    let row = |n: u64| {
        let row = json!({
            "id": format!("row-{n}"), "user_id": "ann", "date": "2025-12-31", "api_key": "k", "model": format!("m{n}"),
            "custom_llm_provider": "openai", "mcp_namespaced_tool_name": "", "endpoint": "", "spend": 0.5, "prompt_tokens": 2,
            "completion_tokens": 1, "api_requests": 1, "successful_requests": 1, "failed_requests": 0,
        });
        Write::Insert("LiteLLM_DailyUserSpend", row.as_object().cloned().unwrap())
    };
    let add = async |rows: std::ops::Range<u64>| {
        let store = &world.plane.store;
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        store.write(rows.map(row).collect(), now).await.unwrap();
    };
    let path = format!("/user/daily/activity/aggregated?{RANGE}");
    add(0..1_200).await;
    let whole = told(&world, &admin(), &path).await;
    let total = &whole["metadata"];
    assert_eq!(
        (
            &total["total_api_requests"],
            &total["total_spend"],
            &total["total_tokens"]
        ),
        (&json!(1_200), &json!(600.0), &json!(3_600))
    );
    let models = whole["results"][0]["breakdown"]["models"]
        .as_object()
        .unwrap();
    assert_eq!(models.len(), 1_200);
    let page = format!("/user/daily/activity?{RANGE}&page_size=1000");
    let page = told(&world, &admin(), &page).await;
    assert_eq!(page["metadata"]["total_pages"], 2);
    let none = told(&world, &user("bob"), &path).await;
    assert_eq!(none["results"], json!([]));

    add(1_200..20_001).await;
    let (status, refused) = world.get(&admin(), &path).await;
    assert_eq!(status, 400, "{refused}");
    assert!(refused.to_string().contains("20001 rows"), "{refused}");
    let one = told(&world, &admin(), &format!("{path}&model=m7")).await;
    assert_eq!(one["metadata"]["total_api_requests"], 1);
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
                        matches!(status, 200 | 400 | 422),
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

#[tokio::test]
async fn a_teams_spend_is_told_user_by_user() {
    worlds(async |world| {
        let path = format!("/team/spend/by_user?{RANGE}&team_ids=red");
        let all = told(&world, &admin(), &path).await;
        let results = all["results"].as_array().unwrap();
        assert!(results.iter().all(|one| one["team_id"] == "red"), "{all}");
        let ann = results.iter().find(|one| one["user_id"] == "ann").unwrap();
        assert_eq!(ann["team_alias"], "Red", "{all}");
        assert_eq!(ann["spend"], 0.3, "{all}");
        assert_eq!(
            (&ann["api_requests"], &ann["successful_requests"]),
            (&json!(3), &json!(2))
        );
        let own = told(&world, &user("ann"), &path).await;
        assert_eq!(own["results"].as_array().map(Vec::len), Some(1), "{own}");
        for (caller, path, status) in [
            (user("bob"), path.clone(), 404),
            (admin(), format!("/team/spend/by_user?{RANGE}"), 400),
            (admin(), "/team/spend/by_user?team_ids=red".to_owned(), 400),
        ] {
            assert_eq!(world.get(&caller, &path).await.0, status, "{path}");
        }
    })
    .await;
}
