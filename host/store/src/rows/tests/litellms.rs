//! Databases that LiteLLM made, and JSON as some of its releases wrote it.

use super::*;

/// A database of ours that is taken for LiteLLM's: it has no history of our migrations.
async fn of_litellm(server: &PostgresServer) -> Store {
    postgres(server).await.close().await;
    let forget = "DROP TABLE witgate_migrations";
    server.sql("litellm", forget).await;
    postgres(server).await
}

/// Texts that hold JSON, and such that almost do: a cast of one of those would fail the whole statement.
#[tokio::test]
async fn json_that_was_written_as_text_is_looked_into() {
    let server = PostgresServer::start().await;
    let store = of_litellm(&server).await;
    let deep = format!("{}{}", "[".repeat(9_000), "]".repeat(9_000));
    let nested = format!("{{\"a\": {}{}}}", "[".repeat(50), "]".repeat(50));
    let texts = [
        (
            "plain",
            r#" {"budget": "b?", "in": {"it": "x\"\\\/\u00e9\ud83d\ude00 {["}, "n": [-1.5e3, true, null, {}]}"#,
            true,
        ),
        ("python", "{'budget': 'b?'}", false),
        ("cut", r#"{"budget": "b?"#, false),
        ("comma", r#"{"budget": "b?",}"#, false),
        ("twice", r#"{"budget": "b?"} {}"#, false),
        ("nul", r#"{"budget": "b?", "x": "\u0000"}"#, false),
        ("half", r#"{"budget": "b?", "x": "\ud83d"}"#, false),
        ("number", r#"{"budget": "b?", "x": 1e999999}"#, false),
        ("signs", "[\u{1}]", false),
        ("word", "budget", false),
        ("deep", deep.as_str(), false),
        ("nested", nested.as_str(), false),
    ];
    let steps = texts
        .iter()
        .map(|(id, text, _)| Write::Insert(TEAMS, row(json!({"team_id": id, "metadata": text}))));
    store.write(steps.collect(), at(0)).await.unwrap();
    let object = row(json!({"team_id": "object", "metadata": {"budget": "b?", "in": {"it": "y"}}}));
    let none = row(json!({"team_id": "none", "metadata": {"budget": ["b?"]}}));
    let steps = vec![Write::Insert(TEAMS, object), Write::Insert(TEAMS, none)];
    store.write(steps, at(0)).await.unwrap();

    let member = |path, text: &str| Filter::of("metadata", Is::Member(path, text.to_owned()));
    let found = async |filter: Filter| -> Vec<String> {
        let sums = Sums {
            filter,
            by: vec!["team_id"],
            limit: 100,
            ..Sums::default()
        };
        let rows = store.sums(TEAMS, sums).await.unwrap();
        let id = |row: &Row| row["team_id"].as_str().unwrap().to_owned();
        rows.iter().map(id).collect()
    };
    assert_eq!(found(member("budget", "b?")).await, ["object", "plain"]);
    assert_eq!(found(member("in.it", "x\"\\/é😀 {[")).await, ["plain"]);
    let same = json!({"in": {"it": "y"}, "budget": "b?"});
    assert_eq!(found(Filter::by("metadata", same)).await, ["object"]);
    let update = Write::Update {
        table: TEAMS,
        filter: member("budget", "b?"),
        set: row(json!({"team_alias": "found"})),
        add: vec![],
    };
    assert_eq!(store.write(vec![update], at(1)).await.unwrap(), [2]);
    let groups = Sums {
        member: Some(("metadata", "budget")),
        order: Some(("n", true)),
        limit: 100,
        ..Sums::default()
    };
    let groups = store.sums(TEAMS, groups).await.unwrap();
    let found = groups.iter().find(|group| group["member"] == "b?");
    assert_eq!(found.unwrap()["n"], 2);
    // Read as they are found.
    for (id, text, is_json) in &texts[..5] {
        let read = team(&store, id).await.unwrap();
        assert_eq!(read["metadata"].is_object(), *is_json, "{id}");
        assert!(*is_json || read["metadata"] == *text, "{id}");
    }
}

#[tokio::test]
async fn what_the_first_migration_missed_comes_to_databases_that_are_there() {
    let index = r#"SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%(jwt_issuer, jwt_claim_name, jwt_claim_value, is_active)'"#;
    let server = PostgresServer::start().await;
    postgres(&server).await.close().await;
    assert_eq!(server.sql("litellm", index).await, "1");
    // As a database of the first version is.
    let first = r#"DELETE FROM witgate_migrations WHERE version > 1;
        DROP INDEX "LiteLLM_JWTKeyMapping_jwt_issuer_jwt_claim_name_jwt_claim_v_idx";
        DROP INDEX "LiteLLM_SpendLogs_user_startTime_idx";
        INSERT INTO "LiteLLM_VerificationToken" ("token", "models", "spend") VALUES ('k', '{}', 1.5);
        INSERT INTO "LiteLLM_TeamMembership" ("user_id", "team_id", "spend", "total_spend") VALUES ('u', 't', 2, 7);"#;
    server.sql("litellm", first).await;
    let store = postgres(&server).await;
    assert_eq!(server.sql("litellm", index).await, "1");
    let key = store
        .row("LiteLLM_VerificationToken", "token", "k")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(key["total_spend"], 1.5);
    let place = store
        .row("LiteLLM_TeamMembership", "user_id", "u")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(place["total_spend"], 7.0);
    let plan = |of: &str| {
        format!(
            r#"SET enable_seqscan = off; EXPLAIN SELECT 1 FROM "LiteLLM_SpendLogs" WHERE {of} ORDER BY "startTime" DESC LIMIT 9"#
        )
    };
    for (of, index) in [
        (r#""user" = 'u' AND "user" <> ''"#, "user_startTime_idx"),
        (r#""api_key" = 'k'"#, "api_key_startTime_idx"),
        ("true", "startTime_request_id_idx"),
        (r#""session_id" = 's'"#, "session_id_idx"),
        (r#""end_user" = 'e'"#, "end_user_idx"),
    ] {
        let told = server.sql("litellm", &plan(of)).await;
        assert!(told.contains(index), "{of}: {told}");
    }

    let file = sqlite().await;
    let Database::Sqlite(db) = file.database() else {
        unreachable!();
    };
    let found: Vec<String> = sqlx::query_scalar(
        r#"SELECT i.name FROM pragma_index_list('LiteLLM_JWTKeyMapping') i
           WHERE (SELECT group_concat(name) FROM pragma_index_info(i.name)) = 'jwt_issuer,jwt_claim_name,jwt_claim_value,is_active'"#,
    )
    .fetch_all(&db.reader)
    .await
    .unwrap();
    assert_eq!(found.len(), 1);
}
