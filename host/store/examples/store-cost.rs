//! Measures the database: looking a key up among many, spend rows a second, and what a full spool costs the next start.
//!
//! `cargo run --release -p witgate-store --example store-cost`, on SQLite and on a PostgreSQL server of its own. `make bench` has
//! the same table.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring tool: it stops where it fails, and prints"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witgate_store::{
    SpendOptions, SpendRow, SpendWriter, SpoolOptions, Store, StoreMetrics, StoreOptions, Write,
    WriterParts,
};
use witgate_testkit::PostgresServer;

const KEYS: [usize; 3] = [1_000, 100_000, 1_000_000];
/// Keys of one transaction.
const KEYS_AT_ONCE: usize = 2_000;
const LOOKUPS: usize = 2_000;
const ROWS: usize = 200_000;
/// Rows that a process left behind.
const SPOOLED: usize = 100_000;

#[tokio::main]
async fn main() {
    println!(
        "| | look-up among 1000 keys, µs | 100 000 | 1 000 000 | spend rows/s | rows/s of a spool |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.db").display().to_string();
    measure("SQLite", &file, folder.path()).await;
    let postgres = PostgresServer::start().await;
    measure("PostgreSQL", &postgres.url(), folder.path()).await;
}

async fn measure(name: &str, url: &str, folder: &Path) {
    let store = Store::open(url, &StoreOptions::default()).await.unwrap();
    let mut cells = Vec::new();
    let mut made = 0;
    for keys in KEYS {
        make_keys(&store, made..keys).await;
        made = keys;
        cells.push(format!("{:.0}", lookup_us(&store, keys).await));
    }
    cells.push(format!("{:.0}", rows_a_second(&store).await));
    cells.push(format!(
        "{:.0}",
        spooled_a_second(&store, &folder.join(name)).await
    ));
    println!("| {name} | {} |", cells.join(" | "));
    store.close().await;
}

fn token(number: usize) -> String {
    // Like a hash: neighbours are far from each other.
    let spread = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{spread:016x}{number:048x}")
}

async fn make_keys(store: &Store, numbers: std::ops::Range<usize>) {
    let numbers: Vec<usize> = numbers.collect();
    for group in numbers.chunks(KEYS_AT_ONCE) {
        let steps = group.iter().map(|number| {
            let row = json!({"token": token(*number), "key_alias": format!("key {number}"), "spend": 0.0, "models": [], "max_budget": 10.0});
            Write::Insert("LiteLLM_VerificationToken", row.as_object().unwrap().clone())
        });
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        store.write(steps.collect(), now).await.unwrap();
    }
}

/// The median.
async fn lookup_us(store: &Store, keys: usize) -> f64 {
    let mut taken = Vec::with_capacity(LOOKUPS);
    for number in 0..LOOKUPS {
        let wanted = token(number * 7919 % keys);
        let begun = Instant::now();
        let row = store
            .row("LiteLLM_VerificationToken", "token", &wanted)
            .await;
        taken.push(begun.elapsed());
        assert!(row.unwrap().is_some());
    }
    taken.sort_unstable();
    taken[LOOKUPS / 2].as_secs_f64() * 1e6
}

/// A writer, and its task.
fn writer(store: &Store, spool: &Path, options: SpendOptions) -> (SpendWriter, TaskTracker) {
    let tracker = TaskTracker::new();
    let parts = WriterParts {
        tracker: tracker.clone(),
        token: CancellationToken::new(),
        metrics: StoreMetrics::register(&mut Registry::default()),
        observe: None,
        elsewhere: witgate_store::Elsewhere::default(),
        now: Arc::new(jiff::Timestamp::now),
    };
    let spool = Some(SpoolOptions {
        folder: spool.to_owned(),
        most_bytes: 4 << 30,
    });
    let writer = SpendWriter::start(store, SpendOptions { spool, ..options }, parts);
    (writer, tracker)
}

fn row(number: usize, of: &'static str) -> SpendRow<'static> {
    SpendRow {
        request_id: format!("{of}-{number}").into(),
        call_type: "acompletion".into(),
        api_key: token(number % 1000).into(),
        spend: "0.000125".parse().unwrap(),
        model: "gpt-4o".into(),
        model_group: "gpt-4o".into(),
        custom_llm_provider: "openai".into(),
        user: "ann".into(),
        team_id: Some("red".into()),
        metadata: r#"{"user_api_key_alias": "ci", "user_api_key_team_id": "red", "usage_object": {"prompt_tokens": 100}}"#.into(),
        prompt_tokens: 100,
        completion_tokens: 20,
        total_tokens: 120,
        start_time: "2026-01-01T00:00:00Z".parse().unwrap(),
        end_time: "2026-01-01T00:00:01Z".parse().unwrap(),
        status: Some("success".into()),
        ..SpendRow::default()
    }
}

/// Rows that are recorded as fast as the queue takes them, until the last one is committed.
async fn rows_a_second(store: &Store) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let (writer, _) = writer(store, folder.path(), SpendOptions::default());
    let begun = Instant::now();
    for number in 0..ROWS {
        assert!(writer.record(&row(number, "row")));
        if writer.pending() > 20_000 {
            writer.flush().await.unwrap();
        }
    }
    writer.flush().await.unwrap();
    ROWS as f64 / begun.elapsed().as_secs_f64()
}

/// Rows of a process that ended without committing any.
async fn spooled_a_second(store: &Store, folder: &Path) -> f64 {
    let never = SpendOptions {
        commit_interval: Duration::from_secs(3600),
        commit_rows: usize::MAX,
        queue_rows: 0,
        ..SpendOptions::default()
    };
    // Its database does not take anything.
    let away = Store::open("sqlite::memory:", &StoreOptions::default())
        .await
        .unwrap();
    away.close().await;
    let (dead, task) = writer(&away, folder, never);
    for number in 0..SPOOLED {
        assert!(dead.record(&row(number, "spooled")));
    }
    dead.drain(Duration::ZERO).await;
    // Its folder is locked until nothing of it is left, and nobody else's until then.
    drop(dead);
    task.close();
    task.wait().await;
    let begun = Instant::now();
    let (next, _) = writer(store, folder, SpendOptions::default());
    next.flush().await.unwrap();
    let last = format!("spooled-{}", SPOOLED - 1);
    let last = store.row("LiteLLM_SpendLogs", "request_id", &last).await;
    assert!(last.unwrap().is_some(), "the spool was not read");
    SPOOLED as f64 / begun.elapsed().as_secs_f64()
}
