//! One suite over both databases.

use serde_json::json;
use witgate_testkit::PostgresServer;

use super::*;
use crate::{
    OpenError, SpendOptions, SpendRow, SpendWindow, SpendWriter, StoreMetrics, StoreOptions,
    WriterParts,
};

mod litellms;

const TEAMS: &str = "LiteLLM_TeamTable";

async fn sqlite() -> Store {
    Store::open("sqlite::memory:", &StoreOptions::default())
        .await
        .unwrap()
}

async fn postgres(server: &PostgresServer) -> Store {
    Store::open(&server.url(), &StoreOptions::default())
        .await
        .unwrap()
}

fn row(value: Value) -> Row {
    value.as_object().unwrap().clone()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

async fn team(store: &Store, id: &str) -> Option<Row> {
    store.row(TEAMS, "team_id", id).await.unwrap()
}

/// Everything the control plane does with rows.
async fn suite(store: &Store) {
    let hostile = r#"a'; DROP TABLE "LiteLLM_TeamTable"; -- "\ {row} ? $1 %_ é"#;
    let red = row(json!({
        "team_id": "red", "team_alias": hostile, "max_budget": 12.5, "tpm_limit": 9_007_199_254_740_993_i64,
        "models": ["a", "b'\"\\,{}"], "metadata": {"deep": {"list": [1, null, hostile]}},
        "members_with_roles": [{"user_id": "ann", "role": "admin"}], "budget_reset_at": "2026-01-02T03:04:05.678Z",
    }));
    let blue = row(json!({"team_id": "blue", "models": [], "blocked": true}));
    let steps = vec![Write::Insert(TEAMS, red), Write::Insert(TEAMS, blue)];
    assert_eq!(store.write(steps, at(0)).await.unwrap(), [1, 1]);

    let red = team(store, "red").await.unwrap();
    assert_eq!(red["team_alias"], hostile);
    assert_eq!(red["tpm_limit"], 9_007_199_254_740_993_i64);
    assert_eq!(red["max_budget"], 12.5);
    assert_eq!(red["models"], json!(["a", "b'\"\\,{}"]));
    assert_eq!(red["metadata"]["deep"]["list"][2], hostile);
    assert_eq!(red["budget_reset_at"], "2026-01-02T03:04:05.678Z");
    assert_eq!(red["created_at"], "2023-11-14T22:13:20.000Z");
    assert_eq!(red["blocked"], false);
    assert_eq!(red["spend"], 0.0);
    assert_eq!(red["soft_budget"], Value::Null);
    assert_eq!(red["members"], json!([]));

    // A transaction is made whole or not at all.
    let again = vec![
        Write::Update {
            table: TEAMS,
            filter: Filter::all(),
            set: row(json!({"team_alias": "lost"})),
            add: vec![],
        },
        Write::Insert(TEAMS, row(json!({"team_id": "red"}))),
    ];
    let taken = store.write(again, at(1)).await.unwrap_err();
    assert!(
        matches!(&taken, WriteError::Taken(what) if what.contains("team_id") || what.contains("pkey")),
        "{taken:?}"
    );
    assert_eq!(team(store, "red").await.unwrap()["team_alias"], hostile);

    let wrong = [
        json!({"team_id": "x", "no_such_column": 1}),
        json!({"team_id": "x", "tpm_limit": 1.5}),
        json!({"team_id": "x", "models": "a"}),
        json!({"team_id": "x", "budget_reset_at": "soon"}),
    ];
    for wrong in wrong {
        let refused = store
            .write(vec![Write::Insert(TEAMS, row(wrong))], at(1))
            .await;
        assert!(
            matches!(refused, Err(WriteError::Invalid(_))),
            "{refused:?}"
        );
    }

    // Ensure leaves, upsert changes what is said.
    let steps = vec![
        Write::Ensure(TEAMS, row(json!({"team_id": "red", "team_alias": "no"}))),
        Write::Upsert(
            TEAMS,
            row(json!({"team_id": "blue", "team_alias": "Blue", "metadata": {"a": 1}})),
        ),
        Write::Upsert(
            TEAMS,
            row(json!({"team_id": "green", "team_alias": "Green"})),
        ),
        Write::Update {
            table: TEAMS,
            filter: Filter::by("team_id", "blue"),
            set: row(json!({"max_budget": null, "models": ["x"]})),
            add: vec![("spend", 0.25)],
        },
    ];
    assert_eq!(store.write(steps, at(2)).await.unwrap(), [0, 1, 1, 1]);
    let blue = team(store, "blue").await.unwrap();
    assert_eq!(
        (&blue["team_alias"], &blue["blocked"]),
        (&json!("Blue"), &json!(true))
    );
    assert_eq!(
        (&blue["spend"], &blue["models"]),
        (&json!(0.25), &json!(["x"]))
    );
    assert_eq!(team(store, "red").await.unwrap()["team_alias"], hostile);

    // Filters.
    let ids = async |select: Select| -> Vec<String> {
        let rows = store.rows(TEAMS, &select).await.unwrap();
        rows.iter()
            .map(|row| row["team_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(Filter::all().into()).await, ["blue", "green", "red"]);
    assert_eq!(
        ids(Filter::of("models", Is::Holds("b'\"\\,{}".into())).into()).await,
        ["red"]
    );
    assert_eq!(
        ids(Filter::of("team_alias", Is::Contains("DROP table".into())).into()).await,
        ["red"]
    );
    assert_eq!(
        ids(Filter::of("team_alias", Is::Contains("%".into())).into()).await,
        ["red"]
    );
    assert_eq!(ids(Filter::by("blocked", true).into()).await, ["blue"]);
    assert_eq!(
        ids(Filter::of("max_budget", Is::AtLeast(12.into())).into()).await,
        ["red"]
    );
    assert_eq!(
        ids(Filter::of(
            "budget_reset_at",
            Is::Below("2026-01-02T03:04:05.679Z".into())
        )
        .into())
        .await,
        ["red"]
    );
    assert!(
        ids(Filter::of(
            "budget_reset_at",
            Is::Below("2026-01-02T03:04:05.678Z".into())
        )
        .into())
        .await
        .is_empty()
    );
    assert_eq!(
        ids(Filter::of("budget_reset_at", Is::Null).into()).await,
        ["blue", "green"]
    );
    assert_eq!(
        ids(Filter::of("team_id", Is::In(vec!["red".into(), "x".into()])).into()).await,
        ["red"]
    );
    assert!(
        ids(Filter::of("team_id", Is::In(vec![])).into())
            .await
            .is_empty()
    );
    assert_eq!(
        ids(Filter::of("team_alias", Is::Not("Blue".into())).into()).await,
        ["green", "red"]
    );
    let named = |id: &str| Filter::by("team_id", id);
    let either = || vec![named("red"), named("blue").and_if("blocked", Some(true))];
    assert_eq!(
        ids(Filter::all().and_any(either()).into()).await,
        ["blue", "red"]
    );
    let and_red = Filter::of("team_id", Is::Not("blue".into())).and_any(either());
    assert_eq!(ids(and_red.into()).await, ["red"]);
    let twice = Filter::all()
        .and_any(either())
        .and_any(vec![named("blue"), named("green")]);
    assert_eq!(ids(twice.into()).await, ["blue"]);
    let everything = Filter::all().and_any(vec![named("red"), Filter::all()]);
    assert_eq!(store.count(TEAMS, &everything).await.unwrap(), 3);
    let nothing = Filter::all().and_any(Vec::new());
    assert_eq!(store.count(TEAMS, &nothing).await.unwrap(), 0);
    let page = Select {
        order: vec![("max_budget", true), ("team_id", true)],
        offset: 1,
        limit: Some(1),
        ..Select::default()
    };
    assert_eq!(ids(page).await, ["green"]);
    assert_eq!(store.count(TEAMS, &Filter::all()).await.unwrap(), 3);
    let unknown = store.rows(TEAMS, &Filter::by("1=1 --", "x").into()).await;
    assert!(matches!(unknown, Err(StoreError::Unknown(_))));

    // Guards.
    let absent = |id: &str| vec![Write::Absent(TEAMS, Filter::by("team_id", id), "team_id")];
    assert!(matches!(
        store.write(absent("red"), at(3)).await,
        Err(WriteError::Taken(_))
    ));
    store.write(absent("grey"), at(3)).await.unwrap();
    let present = vec![Write::Present(TEAMS, Filter::by("team_id", "grey"), "team")];
    assert!(matches!(
        store.write(present, at(3)).await,
        Err(WriteError::Gone("team"))
    ));
    let delete = vec![Write::Delete(TEAMS, Filter::by("team_id", "green"))];
    assert_eq!(store.write(delete, at(3)).await.unwrap(), [1]);

    // Reports.
    let sums = store
        .report(
            r#"SELECT {day "created_at"} AS day, SUM("spend") AS spend, COUNT(*) AS teams FROM "LiteLLM_TeamTable" WHERE "spend" < ? GROUP BY 1"#,
            vec![1.5.into()],
        )
        .await
        .unwrap();
    assert_eq!(
        sums,
        [row(json!({"day": "2023-11-14", "spend": 0.25, "teams": 2}))]
    );
}

/// Rows of calls, with their totals; a repetition counts once.
async fn spend_suite(store: &Store) {
    let steps = vec![
        Write::Insert("LiteLLM_VerificationToken", row(json!({"token": "hash"}))),
        Write::Insert("LiteLLM_UserTable", row(json!({"user_id": "ann"}))),
        Write::Insert(TEAMS, row(json!({"team_id": "t"}))),
        Write::Insert(
            "LiteLLM_TeamMembership",
            row(json!({"team_id": "t", "user_id": "ann"})),
        ),
    ];
    store.write(steps, at(0)).await.unwrap();
    let tracker = tokio_util::task::TaskTracker::new();
    let writer = SpendWriter::start(
        store,
        SpendOptions::default(),
        WriterParts {
            tracker: tracker.clone(),
            token: tokio_util::sync::CancellationToken::new(),
            metrics: StoreMetrics::register(&mut prometheus_client::registry::Registry::default()),
            observe: None,
            elsewhere: crate::Elsewhere::default(),
            now: std::sync::Arc::new(|| at(0)),
        },
    );
    let call = |id: &str| SpendRow {
        request_id: id.to_owned().into(),
        call_type: "acompletion".into(),
        api_key: "hash".into(),
        user: "ann".into(),
        team_id: Some("t".into()),
        end_user: Some("o'hara \u{0}".into()),
        spend: "0.1".parse().unwrap(),
        prompt_tokens: 7,
        request_tags: r#"["prod"]"#.into(),
        model: "gpt".into(),
        start_time: at(0),
        end_time: at(1),
        status: Some("success".into()),
        ..SpendRow::default()
    };
    for id in ["1", "2", "1", "3"] {
        writer.record(&call(id));
        writer.flush().await.unwrap();
    }
    writer.record_as(&call("4"), false, true);
    writer.record_as(&call("5"), true, false);
    writer.record(&call("6"));
    writer.record(&call("6"));
    writer.flush().await.unwrap();
    assert_eq!(store.spend_log_count().await.unwrap(), 5);
    let spend = async |table, column, id: &str| {
        let row = store.row(table, column, id).await.unwrap().unwrap();
        (row["spend"].as_f64().unwrap() * 1e6).round() / 1e6
    };
    assert_eq!(
        spend("LiteLLM_VerificationToken", "token", "hash").await,
        0.5
    );
    assert_eq!(spend("LiteLLM_UserTable", "user_id", "ann").await, 0.5);
    assert_eq!(spend(TEAMS, "team_id", "t").await, 0.5);
    assert_eq!(spend("LiteLLM_TeamMembership", "team_id", "t").await, 0.5);
    let customers = store
        .rows("LiteLLM_EndUserTable", &Select::default())
        .await
        .unwrap();
    assert_eq!(customers.len(), 1);
    assert_eq!(customers[0]["blocked"], false);
    let days = store
        .rows("LiteLLM_DailyUserSpend", &Select::default())
        .await
        .unwrap();
    assert_eq!(days.len(), 1);
    assert_eq!(
        (&days[0]["api_requests"], &days[0]["prompt_tokens"]),
        (&json!(5), &json!(35))
    );
    let tags = store
        .rows("LiteLLM_DailyTagSpend", &Select::default())
        .await
        .unwrap();
    assert_eq!(tags[0]["tag"], "prod");
    let logs = store
        .spend_logs(&crate::SpendFilter::default(), 10)
        .await
        .unwrap();
    assert!(
        logs.iter().all(|log| log.spend == "0.1".parse().unwrap()),
        "{logs:?}"
    );
    // A call of nobody's key counts for the gateway, too.
    writer.record(&SpendRow {
        user: "".into(),
        metadata: r#"{"error_information":{"error_code":"429"}}"#.into(),
        status: Some("failure".into()),
        ..call("7")
    });
    writer.flush().await.unwrap();
    sums_suite(store).await;
    windows_suite(store, &writer).await;
    total_suite(store, &writer, call("of the next period")).await;
    writer.drain(std::time::Duration::from_secs(5)).await;
}

/// What was ever spent stays when a period of a budget begins anew, and goes on.
async fn total_suite(store: &Store, writer: &SpendWriter, call: SpendRow<'static>) {
    let (keys, places) = ("LiteLLM_VerificationToken", "LiteLLM_TeamMembership");
    let spent = async |table, column, id: &str| {
        let row = store.row(table, column, id).await.unwrap().unwrap();
        let of = |column: &str| (row[column].as_f64().unwrap() * 1e6).round() / 1e6;
        (of("spend"), of("total_spend"))
    };
    let both = async || {
        let key = spent(keys, "token", "hash").await;
        (key, spent(places, "team_id", "t").await)
    };
    assert_eq!(both().await, ((0.6, 0.6), (0.5, 0.5)));
    let reset = |table| Write::Update {
        table,
        filter: Filter::all(),
        set: row(json!({"spend": 0.0})),
        add: vec![],
    };
    let steps = vec![reset(keys), reset(places)];
    store.write(steps, at(5)).await.unwrap();
    assert_eq!(both().await, ((0.0, 0.6), (0.0, 0.5)));
    writer.record(&call);
    writer.flush().await.unwrap();
    assert_eq!(both().await, ((0.1, 0.7), (0.1, 0.6)));
    let key = store.row(keys, "token", "hash").await.unwrap().unwrap();
    assert_eq!(key["last_active"], time_text(at(0)));
}

/// Windows of `budget_limits`: one runs, is followed by the next, and what comes late is left out; in one group and in several.
async fn windows_suite(store: &Store, writer: &SpendWriter) {
    let hostile = "o'hara \"{}\"";
    let mut next = 0;
    let mut spend = |starts: &[i64]| {
        for start in starts {
            next += 1;
            let window = |kind: &str, length_s| SpendWindow {
                entity_type: kind.into(),
                entity_id: hostile.into(),
                duration: format!("{length_s}s"),
                length_s,
                start: at(*start),
            };
            let windows = [window("key", 100), window("key", 1000), window("team", 100)];
            writer.record(&SpendRow {
                request_id: format!("window {next}").into(),
                call_type: "acompletion".into(),
                spend: "0.25".parse().unwrap(),
                budget_windows: serde_json::to_string(&windows).unwrap().into(),
                start_time: at(*start),
                ..SpendRow::default()
            });
        }
    };
    let known = async || {
        let rows = store
            .rows(crate::WINDOWS, &Select::default())
            .await
            .unwrap();
        let text = |row: &Row, column: &str| row[column].as_str().unwrap().to_owned();
        let mut known: Vec<_> = rows
            .iter()
            .map(|row| {
                assert_eq!(row["entity_id"], hostile);
                let start: Timestamp = text(row, "window_start").parse().unwrap();
                let spent = row["spend"].as_f64().unwrap();
                let second = start.as_second() - at(0).as_second();
                (
                    text(row, "entity_type"),
                    text(row, "window_duration"),
                    second,
                    spent,
                )
            })
            .collect();
        known.sort_by(|one, other| one.partial_cmp(other).unwrap());
        let of = |at: usize| (known[at].2, known[at].3);
        (of(0), of(1), of(2))
    };
    spend(&[0, 0, 100]);
    writer.flush().await.unwrap();
    assert_eq!(known().await, ((0, 0.75), (0, 0.75), (0, 0.75)));
    spend(&[101]);
    writer.flush().await.unwrap();
    assert_eq!(known().await, ((0, 1.0), (101, 0.25), (101, 0.25)));
    // Late, of a window that is over; and of the one that runs, by another gateway's count.
    spend(&[0, 150]);
    writer.flush().await.unwrap();
    assert_eq!(known().await, ((0, 1.5), (101, 0.5), (101, 0.5)));
    spend(&[150, 300, 299, 100]);
    writer.flush().await.unwrap();
    assert_eq!(known().await, ((0, 2.5), (299, 0.5), (299, 0.5)));
}

/// Sums of the calls of [`spend_suite`].
async fn sums_suite(store: &Store) {
    let logs = "LiteLLM_SpendLogs";
    let by_status = Sums {
        by: vec!["status", "model"],
        day: Some("startTime"),
        sums: vec!["spend", "prompt_tokens"],
        order: Some(("n", true)),
        limit: 10,
        ..Sums::default()
    };
    let rows = store.sums(logs, by_status.clone()).await.unwrap();
    let round = |row: &Row| (row["spend"].as_f64().unwrap() * 1e9).round() / 1e9;
    assert_eq!(rows.len(), 2);
    assert_eq!((round(&rows[0]), round(&rows[1])), (0.5, 0.1));
    assert_eq!(
        (&rows[0]["n"], &rows[0]["prompt_tokens"], &rows[0]["day"]),
        (&json!(5), &json!(35), &json!("2023-11-14"))
    );
    let one = Sums {
        limit: 1,
        ..by_status.clone()
    };
    assert_eq!(store.sums(logs, one).await.unwrap().len(), 1);
    let limited = Filter::of(
        "metadata",
        Is::Member("error_information.error_code", "429".to_owned()),
    );
    assert_eq!(store.count(logs, &limited).await.unwrap(), 1);
    let cheap = |most: f64| Filter::of("spend", Is::AtMost(most.into()));
    assert_eq!(store.count(logs, &cheap(0.1)).await.unwrap(), 6);
    assert_eq!(store.count(logs, &cheap(0.05)).await.unwrap(), 0);
    let filled = Filter::of("user", Is::Filled).and_if("user", Some("ann"));
    assert_eq!(store.count(logs, &filled).await.unwrap(), 5);
    let all = Sums {
        sums: vec!["spend", "api_requests", "failed_requests"],
        limit: 1,
        ..Sums::default()
    };
    let rows = store.sums("LiteLLM_DailyUserSpend", all.clone()).await;
    let whole = &rows.unwrap()[0];
    assert_eq!(
        (&whole["api_requests"], &whole["failed_requests"]),
        (&json!(6), &json!(1))
    );
    let none = Sums {
        filter: Filter::by("model", "o'; DROP TABLE x --"),
        ..all
    };
    let none = store.sums("LiteLLM_DailyTeamSpend", none).await.unwrap();
    assert_eq!(
        (&none[0]["n"], &none[0]["spend"]),
        (&json!(0), &Value::Null)
    );
    let before = |most: u64| {
        let old = Filter::of("startTime", Is::AtMost(time_text(at(0)).into()));
        vec![Write::DeleteFirst(logs, old, "startTime", most)]
    };
    assert_eq!(store.write(before(2), at(9)).await.unwrap(), [2]);
    assert_eq!(store.write(before(9), at(9)).await.unwrap(), [4]);
    let unknown = Sums {
        by: vec!["1=1 --"],
        ..Sums::default()
    };
    assert!(store.sums(logs, unknown).await.is_err());
}

#[tokio::test]
async fn rows_in_sqlite() {
    let store = sqlite().await;
    suite(&store).await;
    spend_suite(&store).await;
}

#[tokio::test]
async fn rows_in_postgres() {
    let server = PostgresServer::start().await;
    let store = postgres(&server).await;
    suite(&store).await;
    // Another gateway finds what it needs.
    let other = postgres(&server).await;
    other.ping().await.unwrap();
    spend_suite(&other).await;
}

#[tokio::test]
async fn every_column_of_the_schema_is_in_both_databases() {
    let store = sqlite().await;
    let server = PostgresServer::start().await;
    let pg = postgres(&server).await;
    for table in crate::schema::tables() {
        store.rows(table.name, &Select::default()).await.unwrap();
        let Database::Postgres(db) = pg.database() else {
            unreachable!();
        };
        for column in &table.columns {
            assert!(
                db.has_column(table.name, column.name),
                "{} {}",
                table.name,
                column.name
            );
        }
    }
}

#[tokio::test]
async fn a_database_of_an_older_litellm_is_used_as_it_is() {
    let server = PostgresServer::start().await;
    let old = r#"CREATE TABLE "LiteLLM_VerificationToken" ("token" TEXT PRIMARY KEY, "key_name" TEXT, "spend" DOUBLE PRECISION NOT NULL DEFAULT 0,
        "models" TEXT[], "metadata" JSONB NOT NULL DEFAULT '{}', "expires" TIMESTAMP(3));
        INSERT INTO "LiteLLM_VerificationToken" VALUES ('hash', 'sk-...abcd', 1.5, '{gpt-4o}', '"{\"a\": 1}"', '2030-01-01 00:00:00');"#;
    server.sql("litellm", old).await;
    let store = postgres(&server).await;
    let key = store
        .row("LiteLLM_VerificationToken", "token", "hash")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(key["models"], json!(["gpt-4o"]));
    assert_eq!(key["metadata"], json!({"a": 1}));
    assert_eq!(key["expires"], "2030-01-01T00:00:00.000Z");
    assert!(!key.contains_key("tpm_limit"));
    let new = row(json!({"token": "other", "tpm_limit": 5, "models": ["x"]}));
    store
        .write(vec![Write::Insert("LiteLLM_VerificationToken", new)], at(0))
        .await
        .unwrap();
    let none = store.rows(TEAMS, &Select::default()).await.unwrap();
    assert!(none.is_empty());
    let refused = store
        .write(vec![Write::Insert(TEAMS, Row::new())], at(0))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("older release of LiteLLM"),
        "{refused}"
    );
    let tables = server
        .sql(
            "litellm",
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'",
        )
        .await;
    assert_eq!(tables, "1");
}

#[tokio::test]
async fn addresses_of_postgres_that_cannot_be_are_told_without_their_password() {
    for url in [
        "postgresql://u:hunter2@",
        "postgresql://u:hunter2@127.0.0.1:1/x?schema=a;b",
    ] {
        let options = StoreOptions {
            connect_timeout: std::time::Duration::from_secs(1),
            ..StoreOptions::default()
        };
        let refused = Store::open(url, &options).await.unwrap_err().to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    let server = PostgresServer::start().await;
    let options = StoreOptions {
        migrate: false,
        ..StoreOptions::default()
    };
    let refused = Store::open(&server.url(), &options).await.unwrap_err();
    assert!(matches!(refused, OpenError::NoTables { .. }), "{refused}");
}
