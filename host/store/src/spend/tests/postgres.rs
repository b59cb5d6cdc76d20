//! Groups in PostgreSQL: several gateways at once, and tables that LiteLLM is changing.

use std::time::Duration;

use serde_json::Value;
use witgate_testkit::PostgresServer;

use super::*;
use crate::rows::Select;

const KEYS: &str = "LiteLLM_VerificationToken";
const DAYS: &str = "LiteLLM_DailyTeamSpend";

async fn open(server: &PostgresServer) -> Store {
    Store::open(&server.url(), &StoreOptions::default())
        .await
        .unwrap()
}

/// A call of a key and a team.
fn call(id: &str, key: &str) -> SpendRow<'static> {
    SpendRow {
        request_id: id.to_owned().into(),
        api_key: key.to_owned().into(),
        team_id: Some("red".into()),
        spend: "0.5".parse().unwrap(),
        model: "gpt".into(),
        status: Some("success".into()),
        ..row_at(0)
    }
}

async fn settle(store: Store, rows: Vec<SpendRow<'static>>) -> Result<Inserted, sqlx::Error> {
    let rows: Vec<Packed> = rows.iter().map(Packed::of).collect();
    insert(store.database(), &rows, at(100)).await
}

/// Waits until so many statements wait for a lock.
async fn waiting(server: &PostgresServer, many: &str) {
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'witgate'";
    let waits = async {
        while server.sql("litellm", asked).await != many {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), waits).await;
    in_time.unwrap_or_else(|_| panic!("{many} statements do not wait"));
}

/// One gateway has the keys `b`, `m` and `a`, in the order in which they lie on the disk; before it comes to `m`, which somebody holds,
/// `a` is moved before `b`, and another gateway comes. Each would have a row that the other one waits for.
#[tokio::test]
async fn two_gateways_take_rows_in_one_order_wherever_they_lie() {
    let server = PostgresServer::start().await;
    let (one, other) = (open(&server).await, open(&server).await);
    let there = r#"INSERT INTO "LiteLLM_VerificationToken" ("token", "models")
        SELECT token, '{}' FROM unnest('{u,v,w,x,b,m,a}'::text[]) AS t(token);
        INSERT INTO "LiteLLM_VerificationToken" ("token", "models") SELECT 'z' || n, '{}' FROM generate_series(1, 3000) n;
        DELETE FROM "LiteLLM_VerificationToken" WHERE "token" IN ('u', 'v', 'w', 'x');"#;
    server.sql("litellm", there).await;
    server
        .sql("litellm", r#"VACUUM ANALYZE "LiteLLM_VerificationToken""#)
        .await;
    let hold = r#"SELECT 1 FROM "LiteLLM_VerificationToken" WHERE "token" = 'm' FOR UPDATE"#;
    let held = server.hold("litellm", hold).await;
    let first = ["b", "m", "a"].map(|key| call(&format!("1{key}"), key));
    let first = tokio::spawn(settle(one.clone(), first.to_vec()));
    waiting(&server, "1").await;
    // Not when the gateway has it already.
    let moved = r#"UPDATE "LiteLLM_VerificationToken" SET "spend" = 0 WHERE "token" IN
        (SELECT "token" FROM "LiteLLM_VerificationToken" WHERE "token" = 'a' FOR UPDATE SKIP LOCKED)"#;
    server.sql("litellm", moved).await;
    let second = ["a", "b"].map(|key| call(&format!("2{key}"), key));
    let second = tokio::spawn(settle(other, second.to_vec()));
    waiting(&server, "2").await;
    drop(held);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first.expect("no deadlock").written, 3);
    assert_eq!(second.expect("no deadlock").written, 2);
    for (key, spent) in [("a", 1.0), ("b", 1.0), ("m", 0.5)] {
        let row = one.row(KEYS, "token", key).await.unwrap().unwrap();
        assert_eq!(
            (&row["spend"], &row["total_spend"]),
            (&spent.into(), &spent.into())
        );
    }
}

/// The same rows, written at once by two in opposite orders, are written once by one of them.
#[tokio::test]
async fn two_gateways_with_the_same_rows_do_not_wait_for_each_other() {
    let server = PostgresServer::start().await;
    let (one, other) = (open(&server).await, open(&server).await);
    let held = server
        .hold(
            "litellm",
            r#"INSERT INTO "LiteLLM_SpendLogs" ("request_id", "call_type", "startTime", "endTime", "updated_at") VALUES ('m', '', now(), now(), now())"#,
        )
        .await;
    let first = ["z", "m", "a"].map(|id| call(id, "k"));
    let first = tokio::spawn(settle(one.clone(), first.to_vec()));
    waiting(&server, "1").await;
    let second = ["a", "z"].map(|id| call(id, "k"));
    let second = tokio::spawn(settle(other, second.to_vec()));
    waiting(&server, "2").await;
    drop(held);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let (first, second) = (first.expect("no deadlock"), second.expect("no deadlock"));
    assert_eq!(first.written + second.written, 3);
    assert_eq!(one.spend_log_count().await.unwrap(), 3);
}

/// A call of a tool: the daily tables know it by the tool's name where they have a column for it.
fn tool(id: &str, name: &str) -> SpendRow<'static> {
    SpendRow {
        mcp_namespaced_tool_name: Some(name.to_owned().into()),
        prompt_tokens: 3,
        ..call(id, "k")
    }
}

async fn days(store: &Store) -> Vec<(Value, Value, Value)> {
    let rows = store.rows(DAYS, &Select::default()).await.unwrap();
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let of = |column: &str| row.get(column).cloned().unwrap_or_default();
            (of("spend"), of("api_requests"), of("prompt_tokens"))
        })
        .collect();
    rows.sort_by_key(|(spend, ..)| spend.to_string());
    rows
}

fn day(spend: f64, calls: i64) -> (Value, Value, Value) {
    (spend.into(), calls.into(), (3 * calls).into())
}

/// Between the steps of LiteLLM's migrations the unique index of a table is not the one that its columns would have.
#[tokio::test]
async fn rows_are_written_whatever_unique_index_there_is() {
    const OLD: &str = r#"CREATE UNIQUE INDEX old_key ON "LiteLLM_DailyTeamSpend" ("team_id", "date", "api_key", "model", "custom_llm_provider");"#;
    let drop = r#"DROP INDEX "LiteLLM_DailyTeamSpend_team_id_date_api_key_model_custom_llm_pr";"#;
    let cases = [
        // The columns are there, the index is still the old one.
        ("old", format!("{drop}{OLD}"), vec![day(2.0, 4)]),
        // Both are there: what the shorter one forbids is not tried.
        ("both", OLD.to_owned(), vec![day(2.0, 4)]),
        // Neither; nor is one that only holds for some rows.
        (
            "none",
            format!(
                r#"{drop} CREATE UNIQUE INDEX some_days ON "LiteLLM_DailyTeamSpend" ("team_id", "date") WHERE "team_id" = 'blue';"#
            ),
            vec![day(0.5, 1), day(1.5, 3)],
        ),
        // A column that is not there yet.
        (
            "column",
            format!(
                r#"{drop}{OLD} ALTER TABLE "LiteLLM_DailyTeamSpend" DROP COLUMN "mcp_namespaced_tool_name";"#
            ),
            vec![day(2.0, 4)],
        ),
        ("whole", String::new(), vec![day(0.5, 1), day(1.5, 3)]),
    ];
    let server = PostgresServer::start().await;
    for (name, change, expected) in cases {
        for (database, is_open) in [
            (format!("{name}_new"), false),
            (format!("{name}_open"), true),
        ] {
            let made = format!("CREATE DATABASE {database}");
            server.sql("postgres", &made).await;
            let open = async || {
                let url = server.url_of(&database);
                Store::open(&url, &StoreOptions::default()).await.unwrap()
            };
            let before = open().await;
            let groups = |n: u32| {
                let id = |call: u32| format!("{n}-{call}");
                vec![tool(&id(1), "t"), tool(&id(2), "u")]
            };
            server.sql(&database, &change).await;
            // One that was open before the change looks again.
            let store = if is_open { before } else { open().await };
            let mut first = groups(1);
            first.truncate(1);
            settle(store.clone(), first).await.expect(name);
            settle(store.clone(), groups(2)).await.expect(name);
            let last = vec![tool("3-1", "t")];
            settle(store.clone(), last).await.expect(name);
            assert_eq!(days(&store).await, expected, "{database}");
        }
    }
}
