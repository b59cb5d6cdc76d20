//! Rows as they are written, read and found.

mod postgres;

use jiff::Timestamp;

use sqlx::Row as _;

use super::*;
use crate::store::StoreOptions;

#[tokio::test]
async fn a_row_comes_back_as_it_was_written() {
    let store = memory().await;
    let full = full_row();
    let bare = SpendRow {
        request_id: "bare".into(),
        ..Default::default()
    };
    write(&store, &[full.clone(), bare.clone()]).await;
    assert_eq!(one(&store, "req-1").await, full);
    assert_eq!(one(&store, "bare").await, bare);
}

#[tokio::test]
async fn columns_are_litellms() {
    let store = memory().await;
    write(&store, &[full_row()]).await;
    let row = sqlx::query(r#"SELECT *, typeof("spend") AS "kind" FROM "LiteLLM_SpendLogs""#)
        .fetch_one(&store.sqlite().reader)
        .await
        .unwrap();
    let text = |column: &str| row.get::<String, _>(column);
    assert_eq!(text("startTime"), "2023-11-14T22:13:20.000Z");
    assert_eq!(text("endTime"), "2023-11-14T22:13:21.250Z");
    assert_eq!(text("completionStartTime"), "2023-11-14T22:13:20.500Z");
    assert_eq!(text("created_at"), "2023-11-14T22:15:00.007Z");
    assert_eq!(row.get::<i64, _>("request_duration_ms"), 1250);
    assert_eq!(row.get::<f64, _>("spend"), 0.1);
    assert_eq!(text("kind"), "real");
    assert_eq!(text("witgate_spend_usd"), "0.1000000000000000000000000001");
    assert_eq!(text("user"), "u1");
}

#[tokio::test]
async fn money_adds_up_exactly() {
    let store = memory().await;
    let rows: Vec<SpendRow> = (0..10)
        .map(|index| SpendRow {
            spend: "0.1".parse().unwrap(),
            ..row_at(index)
        })
        .collect();
    write(&store, &rows).await;
    let rows = store
        .spend_logs(&SpendFilter::default(), 100)
        .await
        .unwrap();
    let sum: Decimal = rows.iter().map(|row| row.spend).sum();
    assert_eq!(sum, Decimal::ONE);
}

#[tokio::test]
async fn a_row_of_another_program_has_its_double() {
    let store = memory().await;
    sqlx::query(
        r#"INSERT INTO "LiteLLM_SpendLogs" ("request_id", "call_type", "spend", "startTime", "endTime", "created_at", "updated_at", "model_id")
           VALUES ('x', 'acompletion', 0.25, '2023-11-14T22:13:20.5Z', '2023-11-14T22:13:20Z', '', '', NULL)"#,
    )
    .execute(&store.sqlite().writer)
    .await
    .unwrap();
    let row = one(&store, "x").await;
    assert_eq!(row.spend, "0.25".parse().unwrap());
    assert_eq!(row.model_id, "");
    assert_eq!(row.metadata, "{}");
}

#[tokio::test]
async fn filters_find_what_they_name_newest_first() {
    let store = memory().await;
    let rows: Vec<SpendRow> = (0..8)
        .map(|index| SpendRow {
            api_key: format!("key{}", index % 2).into(),
            user: format!("user{}", index % 4).into(),
            team_id: (index < 2).then(|| "team".into()),
            end_user: (index == 5).then(|| "customer".into()),
            ..row_at(index)
        })
        .collect();
    write(&store, &rows).await;
    let some = |text: &str| Some(text.into());
    let cases: [(SpendFilter, &[i64]); 8] = [
        (SpendFilter::default(), &[7, 6, 5, 4, 3]),
        (
            SpendFilter {
                request_id: some("req-3"),
                ..Default::default()
            },
            &[3],
        ),
        (
            SpendFilter {
                api_key: some("key1"),
                ..Default::default()
            },
            &[7, 5, 3, 1],
        ),
        (
            SpendFilter {
                user: some("user2"),
                api_key: some("key0"),
                ..Default::default()
            },
            &[6, 2],
        ),
        (
            SpendFilter {
                user: some("user2"),
                api_key: some("key1"),
                ..Default::default()
            },
            &[],
        ),
        (
            SpendFilter {
                team_id: some("team"),
                ..Default::default()
            },
            &[1, 0],
        ),
        (
            SpendFilter {
                end_user: some("customer"),
                ..Default::default()
            },
            &[5],
        ),
        (
            SpendFilter {
                from: Some(at(2)),
                before: Some(at(4)),
                ..Default::default()
            },
            &[3, 2],
        ),
    ];
    for (filter, expected) in cases {
        let found = store.spend_logs(&filter, 5).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|row| row.request_id).collect();
        let expected: Vec<String> = expected
            .iter()
            .map(|index| format!("req-{index}"))
            .collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn values_are_bound_never_spliced() {
    let store = memory().await;
    let nasty = r#"'; DROP TABLE "LiteLLM_SpendLogs"; --"#;
    write(
        &store,
        &[SpendRow {
            request_id: nasty.into(),
            ..row_at(0)
        }],
    )
    .await;
    assert_eq!(one(&store, nasty).await.request_id, nasty);
    let filter = SpendFilter {
        user: Some(nasty.into()),
        ..Default::default()
    };
    assert!(store.spend_logs(&filter, 9).await.unwrap().is_empty());
    assert_eq!(store.spend_log_count().await.unwrap(), 1);
}

/// Around the size of one statement, with duplicates in and across statements.
#[tokio::test]
async fn any_number_of_rows_is_written_once() {
    for count in [0, 1, 63, 64, 65, 200] {
        let store = memory().await;
        let mut rows: Vec<SpendRow> = (0..count).map(row_at).collect();
        let first = write(&store, &rows).await;
        assert_eq!((first.written, first.duplicates), (count as u64, 0));
        rows.push(row_at(1000));
        rows.push(SpendRow {
            model: "second".into(),
            ..row_at(1000)
        });
        let again = write(&store, &rows).await;
        assert_eq!((again.written, again.duplicates), (1, count as u64 + 1));
        assert_eq!(store.spend_log_count().await.unwrap(), count as u64 + 1);
        assert_eq!(
            one(&store, "req-1000").await.model,
            "",
            "the first one stays"
        );
    }
}

#[tokio::test]
async fn an_impossible_row_costs_no_other_row() {
    let store = memory().await;
    sqlx::raw_sql(
        r#"CREATE TRIGGER picky BEFORE INSERT ON "LiteLLM_SpendLogs" WHEN NEW."model" = 'bad'
           BEGIN SELECT RAISE(ABORT, 'no bad rows'); END"#,
    )
    .execute(&store.sqlite().writer)
    .await
    .unwrap();
    let mut rows: Vec<SpendRow> = (0..130).map(row_at).collect();
    rows[70].model = "bad".into();
    rows[129].model = "bad".into();
    let inserted = write(&store, &rows).await;
    assert_eq!(inserted.written, 128);
    let indexes: Vec<usize> = inserted
        .impossible
        .iter()
        .map(|(index, _)| *index)
        .collect();
    assert_eq!(indexes, [70, 129]);
    assert!(inserted.impossible[0].1.contains("no bad rows"));
}

async fn memory() -> Store {
    Store::open("sqlite::memory:", &StoreOptions::default())
        .await
        .unwrap()
}

async fn write(store: &Store, rows: &[SpendRow<'_>]) -> Inserted {
    let rows: Vec<Packed> = rows.iter().map(Packed::of).collect();
    let now = Timestamp::from_millisecond(1_700_000_100_007).unwrap();
    insert(store.database(), &rows, now).await.unwrap()
}

async fn one(store: &Store, request_id: &str) -> SpendRow<'static> {
    let filter = SpendFilter {
        request_id: Some(request_id.into()),
        ..Default::default()
    };
    store.spend_logs(&filter, 2).await.unwrap().remove(0)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn row_at(second: i64) -> SpendRow<'static> {
    SpendRow {
        request_id: format!("req-{second}").into(),
        call_type: "acompletion".into(),
        start_time: at(second),
        end_time: at(second),
        ..Default::default()
    }
}

fn full_row() -> SpendRow<'static> {
    let text = |value: &'static str| value.into();
    let some = |value: &'static str| Some(value.into());
    SpendRow {
        request_id: text("req-1"),
        call_type: text("acompletion"),
        api_key: text("hash"),
        spend: "0.1000000000000000000000000001".parse().unwrap(),
        total_tokens: 15,
        prompt_tokens: 12,
        completion_tokens: 3,
        start_time: at(0),
        end_time: Timestamp::from_millisecond(1_700_000_001_250).unwrap(),
        completion_start_time: Some(Timestamp::from_millisecond(1_700_000_000_500).unwrap()),
        model: text("gpt-4o-2024-08-06"),
        model_id: text("dep-1"),
        model_group: text("gpt-4o"),
        custom_llm_provider: text("openai"),
        api_base: text("https://api.openai.com/v1"),
        user: text("u1"),
        metadata: text(r#"{"user_api_key_alias":"prod"}"#),
        cache_hit: text("False"),
        cache_key: text("Cache OFF"),
        request_tags: text(r#"["a"]"#),
        team_id: some("t1"),
        organization_id: some("o1"),
        end_user: some("c1"),
        requester_ip_address: some("10.0.0.7"),
        messages: text(r#"[{"role":"user"}]"#),
        response: text(r#"{"id":"x"}"#),
        session_id: some("trace-1"),
        status: some("success"),
        mcp_namespaced_tool_name: some("tool"),
        billing_agent_id: some("ba"),
        agent_id: some("a"),
        proxy_server_request: text(r#"{"model":"x"}"#),
        litellm_call_id: some("call-1"),
        ..SpendRow::default()
    }
}
