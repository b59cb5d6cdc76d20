//! The jobs at times of a table, over both databases.

use jiff::Timestamp;
use serde_json::{Value, json};
use witgate_identity::ScopeKind;
use witgate_store::{Filter, Row, SpendRow, Write};
use witgate_testkit::PostgresServer;

use super::{Resets, Retention};
use crate::Changed;
use crate::testing::{World, world, world_in};

const KEYS: &str = "LiteLLM_VerificationToken";
const USERS: &str = "LiteLLM_UserTable";
const TEAMS: &str = "LiteLLM_TeamTable";
const BUDGETS: &str = "LiteLLM_BudgetTable";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

async fn insert(world: &World, rows: &[(&'static str, Value)]) {
    let steps = rows
        .iter()
        .map(|(table, row)| Write::Insert(table, row.as_object().unwrap().clone()));
    world
        .plane
        .store
        .write(steps.collect(), at("2026-01-01T00:00:00Z"))
        .await
        .unwrap();
}

async fn row(world: &World, table: &'static str, column: &'static str, id: &str) -> Row {
    world
        .plane
        .store
        .row(table, column, id)
        .await
        .unwrap()
        .unwrap()
}

async fn worlds(config: Value, suite: impl AsyncFn(World)) {
    suite(world(config.clone()).await).await;
    let server = PostgresServer::start().await;
    suite(world_in(&server.url(), config).await).await;
}

#[tokio::test]
async fn budgets_begin_anew_when_they_are_due() {
    worlds(json!({}), async |world| {
        let due = "2026-01-08T00:00:00Z";
        let of = |duration: &str| json!({"spend": 5.0, "max_budget": 9.0, "budget_duration": duration, "budget_reset_at": due});
        let mut rows = Vec::new();
        for (table, id, durations) in [
            (KEYS, "token", vec!["1d", "30d", "1h", "15m"]),
            (USERS, "user_id", vec!["7d"]),
            (TEAMS, "team_id", vec!["1mo"]),
        ] {
            for duration in durations {
                let mut row = of(duration);
                row[id] = duration.into();
                rows.push((table, row));
            }
        }
        // Neither of these is ever due.
        rows.push((KEYS, json!({"token": "never", "spend": 5.0, "budget_reset_at": due})));
        // This one has a duration and no time: it gets one, and keeps what it spent.
        rows.push((KEYS, json!({"token": "old", "spend": 5.0, "budget_duration": "1d"})));
        let proxy = json!({"user_id": "litellm-proxy-budget", "spend": 5.0, "budget_duration": "1d", "budget_reset_at": due});
        rows.push((USERS, proxy));
        insert(&world, &rows).await;
        for (now, reset, expected) in [
            ("2026-01-07T23:59:59.999Z", 0, vec![]),
            ("2026-01-08T00:00:00Z", 7, vec![
                (KEYS, "token", "1d", 0.0, "2026-01-09T00:00:00.000Z"),
                (KEYS, "token", "30d", 0.0, "2026-02-01T00:00:00.000Z"),
                (KEYS, "token", "1h", 0.0, "2026-01-08T01:00:00.000Z"),
                (KEYS, "token", "15m", 0.0, "2026-01-08T00:15:00.000Z"),
                (USERS, "user_id", "7d", 0.0, "2026-01-12T00:00:00.000Z"),
                (TEAMS, "team_id", "1mo", 0.0, "2026-02-01T00:00:00.000Z"),
                (USERS, "user_id", "litellm-proxy-budget", 0.0, "2026-01-09T00:00:00.000Z"),
                (KEYS, "token", "old", 5.0, "2026-01-08T00:00:00.000Z"),
            ]),
            ("2026-01-08T00:09:00Z", 0, vec![]),
            ("2026-01-08T03:10:00Z", 2, vec![
                (KEYS, "token", "1h", 0.0, "2026-01-08T04:00:00.000Z"),
                (KEYS, "token", "15m", 0.0, "2026-01-08T03:15:00.000Z"),
            ]),
            // Long after: once, and not for every window that passed.
            ("2026-04-01T00:05:00Z", 8, vec![
                (KEYS, "token", "1d", 0.0, "2026-04-02T00:00:00.000Z"),
                (KEYS, "token", "old", 0.0, "2026-04-02T00:00:00.000Z"),
                (KEYS, "token", "30d", 0.0, "2026-05-01T00:00:00.000Z"),
                (USERS, "user_id", "7d", 0.0, "2026-04-06T00:00:00.000Z"),
            ]),
        ] {
            world.heard.0.lock().clear();
            // The one without a time got it at the first tick: due with the others from then on.
            let resets = world.plane.reset_budgets(at(now)).await.unwrap();
            let expected_count = reset + u64::from(now == "2026-01-08T00:00:00Z");
            assert_eq!(resets, Resets { own: expected_count, ..Resets::default() }, "{now}");
            let heard = world.heard.0.lock().clone();
            assert_eq!(heard.len() as u64, expected_count, "{now} {heard:?}");
            for (table, column, id, spend, next) in expected {
                if id == "old" && spend == 5.0 {
                    continue;
                }
                let row = row(&world, table, column, id).await;
                assert_eq!((&row["spend"], &row["budget_reset_at"]), (&json!(spend), &json!(next)), "{now} {id}");
            }
            if now == "2026-01-07T23:59:59.999Z" {
                let old = row(&world, KEYS, "token", "old").await;
                assert_eq!((&old["spend"], &old["budget_reset_at"]), (&json!(5.0), &json!("2026-01-08T00:00:00.000Z")));
            }
            if now == "2026-01-08T00:00:00Z" {
                let told = |kind, id: &str| heard.contains(&Changed::Spend { kind, id: id.to_owned(), spent: rust_decimal::Decimal::ZERO });
                assert!(told(ScopeKind::Key, "1d") && told(ScopeKind::User, "7d") && told(ScopeKind::Team, "1mo"));
                assert!(told(ScopeKind::Proxy, "litellm-proxy-budget"));
            }
        }
        assert_eq!(row(&world, KEYS, "token", "never").await["spend"], 5.0);
    })
    .await;
}

#[tokio::test]
async fn budgets_that_are_shared_begin_anew_for_all_who_have_them() {
    let config = json!({"litellm_settings": {"max_end_user_budget_id": "default"}});
    worlds(config, async |world| {
        let budget = |id: &str, due: &str| {
            (BUDGETS, json!({"budget_id": id, "budget_duration": "1d", "budget_reset_at": due, "created_by": "t", "updated_by": "t"}))
        };
        let due = "2026-01-08T00:00:00Z";
        insert(&world, &[
            budget("b", due),
            budget("default", due),
            budget("later", "2026-01-09T00:00:00Z"),
            (KEYS, json!({"token": "linked", "spend": 5.0, "budget_id": "b"})),
            (KEYS, json!({"token": "own", "spend": 5.0, "budget_id": "b", "budget_duration": "30d", "budget_reset_at": "2026-02-01T00:00:00Z"})),
            (KEYS, json!({"token": "later", "spend": 5.0, "budget_id": "later"})),
            ("LiteLLM_TeamMembership", json!({"team_id": "t", "user_id": "ann", "spend": 5.0, "budget_id": "b"})),
            (TEAMS, json!({"team_id": "d", "metadata": {"team_member_budget_id": "b"}})),
            ("LiteLLM_TeamMembership", json!({"team_id": "d", "user_id": "bob", "spend": 5.0})),
            ("LiteLLM_TeamMembership", json!({"team_id": "none", "user_id": "bob", "spend": 5.0})),
            ("LiteLLM_EndUserTable", json!({"user_id": "acme", "spend": 5.0, "budget_id": "b"})),
            ("LiteLLM_EndUserTable", json!({"user_id": "free", "spend": 5.0})),
            ("LiteLLM_EndUserTable", json!({"user_id": "other", "spend": 5.0, "budget_id": "later"})),
            ("LiteLLM_OrganizationTable", json!({"organization_id": "o", "organization_alias": "o", "spend": 5.0, "budget_id": "b", "created_by": "t", "updated_by": "t"})),
            ("LiteLLM_TagTable", json!({"tag_name": "prod", "spend": 5.0, "budget_id": "b"})),
            ("LiteLLM_TagTable", json!({"tag_name": "idle", "spend": 0.0, "budget_id": "b"})),
        ])
        .await;
        let none = world.plane.reset_budgets(at("2026-01-07T23:59:59Z")).await.unwrap();
        assert_eq!(none, Resets::default());
        let resets = world.plane.reset_budgets(at(due)).await.unwrap();
        assert_eq!(resets, Resets { own: 0, budgets: 2, holders: 7 });
        let mut heard: Vec<(ScopeKind, String)> = world.heard.0.lock().iter().map(|what| match what {
            Changed::Spend { kind, id, .. } => (*kind, id.clone()),
            other => panic!("{other:?}"),
        }).collect();
        heard.sort_by_key(|(kind, id)| (*kind as u8, id.clone()));
        let expected = [
            (ScopeKind::Key, "linked"), (ScopeKind::TeamMember, "d:bob"), (ScopeKind::TeamMember, "t:ann"),
            (ScopeKind::Organization, "o"), (ScopeKind::EndUser, "acme"), (ScopeKind::EndUser, "free"), (ScopeKind::Tag, "prod"),
        ];
        assert_eq!(heard, expected.map(|(kind, id)| (kind, id.to_owned())));
        for (table, column, id, spend) in [
            (KEYS, "token", "linked", 0.0),
            (KEYS, "token", "own", 5.0),
            (KEYS, "token", "later", 5.0),
            ("LiteLLM_TeamMembership", "user_id", "ann", 0.0),
            ("LiteLLM_TeamMembership", "team_id", "d", 0.0),
            ("LiteLLM_TeamMembership", "team_id", "none", 5.0),
            ("LiteLLM_EndUserTable", "user_id", "acme", 0.0),
            ("LiteLLM_EndUserTable", "user_id", "free", 0.0),
            ("LiteLLM_EndUserTable", "user_id", "other", 5.0),
            ("LiteLLM_OrganizationTable", "organization_id", "o", 0.0),
            ("LiteLLM_TagTable", "tag_name", "prod", 0.0),
        ] {
            assert_eq!(row(&world, table, column, id).await["spend"], spend, "{table} {id}");
        }
        assert_eq!(row(&world, BUDGETS, "budget_id", "b").await["budget_reset_at"], "2026-01-09T00:00:00.000Z");
        // Twice is once.
        assert_eq!(world.plane.reset_budgets(at(due)).await.unwrap(), Resets::default());
    })
    .await;
}

fn call(id: String, key: &'static str, spend: &str, at: Timestamp) -> SpendRow<'static> {
    SpendRow {
        request_id: id.into(),
        call_type: "acompletion".into(),
        api_key: key.into(),
        spend: spend.parse().unwrap(),
        start_time: at,
        end_time: at,
        ..SpendRow::default()
    }
}

#[tokio::test]
async fn old_calls_leave_the_ledger_batch_by_batch() {
    worlds(json!({}), async |world| {
        let calls: Vec<SpendRow<'_>> = (0..10)
            .map(|day| {
                call(
                    format!("c{day}"),
                    "k",
                    "0.1",
                    at("2026-01-01T00:00:00Z") + jiff::SignedDuration::from_hours(24 * day),
                )
            })
            .collect();
        world.spend(&calls).await;
        let left = async || {
            world
                .plane
                .store
                .count("LiteLLM_SpendLogs", &Filter::all())
                .await
                .unwrap()
        };
        let retention = |batch, loops| Retention {
            keep_s: 3 * 86_400,
            batch,
            loops,
        };
        for (now, retention, removed, stay) in [
            ("2026-01-04T00:00:00Z", retention(1000, 500), 0, 10),
            ("2026-01-04T00:00:00.001Z", retention(1000, 500), 1, 9),
            ("2026-01-20T00:00:00Z", retention(2, 2), 4, 5),
            ("2026-01-20T00:00:00Z", retention(5, 9), 5, 0),
            ("2026-01-20T00:00:00Z", retention(5, 9), 0, 0),
        ] {
            assert_eq!(
                world
                    .plane
                    .remove_old_calls(retention, at(now))
                    .await
                    .unwrap(),
                removed,
                "{now}"
            );
            assert_eq!(left().await, stay, "{now}");
        }
        // What they cost is still known.
        assert_eq!(
            world
                .plane
                .store
                .count("LiteLLM_DailyUserSpend", &Filter::all())
                .await
                .unwrap(),
            10
        );
    })
    .await;
}

#[test]
fn how_long_calls_are_kept() {
    let seconds = |period: Value| {
        Retention::of(Some(&period)).map(|r| r.map(|r| (r.keep_s, r.batch, r.loops)))
    };
    assert_eq!(Retention::of(None), Ok(None));
    assert_eq!(seconds(Value::Null), Ok(None));
    for (period, expected) in [
        (json!("30d"), 2_592_000),
        (json!(7), 604_800),
        (json!("7"), 604_800),
        (json!("12h"), 43_200),
        (json!("1mo"), 2_592_000),
    ] {
        assert_eq!(seconds(period), Ok(Some((expected, 1000, 500))));
    }
    for wrong in [
        json!("soon"),
        json!(-1),
        json!(0),
        json!("0d"),
        json!(1.5),
        json!([]),
        json!(u64::MAX),
    ] {
        let told = seconds(wrong.clone()).unwrap_err();
        assert!(told.contains("such as 30d"), "{wrong} {told}");
    }
}

#[tokio::test]
async fn sessions_that_ended_are_removed() {
    worlds(json!({}), async |world| {
        let session = |token: String, expires: &str| {
            (
                KEYS,
                json!({"token": token, "team_id": "litellm-dashboard", "expires": expires}),
            )
        };
        let mut rows: Vec<(&'static str, Value)> = (0..600)
            .map(|n| session(format!("s{n}"), "2026-01-01T00:00:00Z"))
            .collect();
        rows.push(session("open".to_owned(), "2026-01-03T00:00:00Z"));
        rows.push((
            KEYS,
            json!({"token": "key", "expires": "2026-01-01T00:00:00Z"}),
        ));
        insert(&world, &rows).await;
        assert_eq!(
            world
                .plane
                .remove_old_sessions(at("2026-01-01T00:00:00Z"))
                .await
                .unwrap(),
            0
        );
        assert_eq!(
            world
                .plane
                .remove_old_sessions(at("2026-01-02T00:00:00Z"))
                .await
                .unwrap(),
            600
        );
        assert_eq!(world.heard.0.lock().len(), 600);
        assert_eq!(
            world.plane.store.count(KEYS, &Filter::all()).await.unwrap(),
            2
        );
    })
    .await;
}

#[tokio::test]
async fn accounts_that_are_not_the_sum_of_their_calls_are_told() {
    worlds(json!({}), async |world| {
        let now = at("2026-01-08T00:00:00Z");
        insert(&world, &[
            (KEYS, json!({"token": "k"})),
            (KEYS, json!({"token": "daily", "budget_duration": "1d", "budget_reset_at": "2026-01-09T00:00:00Z"})),
            (KEYS, json!({"token": "linked", "budget_id": "b"})),
            (BUDGETS, json!({"budget_id": "b", "budget_duration": "1d", "budget_reset_at": "2026-01-09T00:00:00Z", "created_by": "t", "updated_by": "t"})),
            (USERS, json!({"user_id": "litellm-proxy-budget"})),
            (TEAMS, json!({"team_id": "red"})),
            ("LiteLLM_TeamMembership", json!({"team_id": "red", "user_id": "ann"})),
            ("LiteLLM_TagTable", json!({"tag_name": "prod"})),
        ])
        .await;
        let team = |row: SpendRow<'static>| SpendRow { team_id: Some("red".into()), user: "ann".into(), request_tags: r#"["prod"]"#.into(), ..row };
        world
            .spend(&[
                team(call("1".to_owned(), "k", "0.1", at("2026-01-01T00:00:00Z"))),
                call("2".to_owned(), "k", "0.2", now),
                call("3".to_owned(), "daily", "0.25", at("2026-01-07T12:00:00Z")),
                call("4".to_owned(), "linked", "0.25", at("2026-01-07T12:00:00Z")),
            ])
            .await;
        let set = |table, column: &'static str, id: &str, spend: f64| Write::Update {
            table,
            filter: Filter::by(column, id),
            set: json!({"spend": spend}).as_object().unwrap().clone(),
            add: Vec::new(),
        };
        // As a reset leaves them.
        let reset = vec![set(KEYS, "token", "daily", 0.0), set(KEYS, "token", "linked", 0.0)];
        world.plane.store.write(reset, now).await.unwrap();
        assert_eq!(world.plane.reconcile().await.unwrap(), []);
        // A call within the minutes in which the reset may have been made counts to either window.
        world.spend(&[call("5".to_owned(), "daily", "0.5", at("2026-01-08T00:05:00Z"))]).await;
        assert_eq!(world.plane.reconcile().await.unwrap(), []);
        let zero = vec![set(KEYS, "token", "daily", 0.0)];
        world.plane.store.write(zero, now).await.unwrap();
        assert_eq!(world.plane.reconcile().await.unwrap(), []);
        let wrong = vec![
            set(KEYS, "token", "k", 0.4),
            set(KEYS, "token", "daily", 1.0),
            set(TEAMS, "team_id", "red", 0.0),
            set("LiteLLM_TagTable", "tag_name", "prod", 0.2),
            set(USERS, "user_id", "litellm-proxy-budget", 0.0),
            set("LiteLLM_TeamMembership", "team_id", "red", 0.0),
        ];
        world.plane.store.write(wrong, now).await.unwrap();
        let drifts = world.plane.reconcile().await.unwrap();
        let mut told: Vec<(ScopeKind, &str, f64, f64)> = drifts.iter().map(|d| (d.kind, d.id.as_str(), d.spend, (d.calls * 1e9).round() / 1e9)).collect();
        told.sort_by_key(|(kind, id, ..)| (*kind as u8, id.to_owned()));
        assert_eq!(told, [
            (ScopeKind::Key, "daily", 1.0, 0.5),
            (ScopeKind::Key, "k", 0.4, 0.3),
            (ScopeKind::Team, "red", 0.0, 0.1),
            (ScopeKind::TeamMember, "red:ann", 0.0, 0.1),
            (ScopeKind::Tag, "prod", 0.2, 0.1),
            (ScopeKind::Proxy, "litellm-proxy-budget", 0.0, 1.3),
        ]);
        assert_eq!(drifts.iter().find(|d| d.id == "daily").unwrap().since, Some(now));
    })
    .await;
}
