//! Rows reach the disk by themselves, in groups, once, whatever the disk does and however we end.

mod elsewhere;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::spool::Frame;
use super::*;
use crate::spend::SpendFilter;
use crate::store::StoreOptions;

/// Ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names the database to the process that is going to be killed.
const CRASH_DB: &str = "WITGATE_STORE_CRASH_TEST_DB";

/// The first row it records.
const CRASH_FIRST: &str = "WITGATE_STORE_CRASH_TEST_FIRST";

/// Whether its rows are `kept` or only `counted`.
const CRASH_HOW: &str = "WITGATE_STORE_CRASH_TEST_HOW";

struct Fixture {
    store: Store,
    writer: SpendWriter,
    token: CancellationToken,
    tracker: TaskTracker,
    registry: Registry,
}

impl Fixture {
    async fn new(url: &str, options: SpendOptions) -> Self {
        Self::with(url, options, Elsewhere::default()).await
    }

    async fn with(url: &str, options: SpendOptions, elsewhere: Elsewhere) -> Self {
        let store_options = StoreOptions {
            busy_timeout: Duration::from_millis(20),
            ..Default::default()
        };
        let store = Store::open(url, &store_options).await.unwrap();
        let mut registry = Registry::default();
        let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
        let writer = SpendWriter::start(
            &store,
            options,
            WriterParts {
                tracker: tracker.clone(),
                token: token.clone(),
                metrics: StoreMetrics::register(&mut registry),
                observe: None,
                elsewhere,
                now: Arc::new(|| Timestamp::UNIX_EPOCH),
            },
        );
        Self {
            store,
            writer,
            token,
            tracker,
            registry,
        }
    }

    fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let start = format!("witgate_spend_{name} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&start))
            .unwrap_or_else(|| panic!("no {start} in {text}"))
            .parse()
            .unwrap()
    }

    async fn count(&self) -> u64 {
        self.store.spend_log_count().await.unwrap()
    }

    /// Waits for something that other tasks bring about.
    async fn until(&self, what: &str, done: impl AsyncFn(&Self) -> bool) {
        let wait = async {
            while !done(self).await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("never happened: {what}"));
    }
}

/// Never commits by itself within a test.
fn by_hand() -> SpendOptions {
    SpendOptions {
        commit_interval: Duration::from_secs(3600),
        retry_first: Duration::from_millis(5),
        retry_longest: Duration::from_millis(20),
        ..Default::default()
    }
}

fn row(id: usize) -> SpendRow<'static> {
    SpendRow {
        request_id: format!("req-{id:06}").into(),
        user: "ann".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn rows_are_committed_after_the_interval() {
    let options = SpendOptions {
        commit_interval: Duration::from_millis(20),
        ..by_hand()
    };
    let fixture = Fixture::new("sqlite::memory:", options).await;
    for id in 0..3 {
        assert!(fixture.writer.record(&row(id)));
    }
    fixture
        .until("three rows", async |f| f.count().await == 3)
        .await;
    fixture
        .until("an empty queue", async |f| f.writer.pending() == 0)
        .await;
    assert_eq!(fixture.metric("rows_written_total"), 3.0);
    assert_eq!(fixture.metric("rows_queued"), 0.0);
    assert_eq!(fixture.metric("rows_queued_bytes"), 0.0);
    assert_eq!(fixture.metric("commit_seconds_count"), 1.0);
}

#[tokio::test]
async fn a_complete_group_does_not_wait() {
    let options = SpendOptions {
        hurry_rows: 5,
        commit_rows: 5,
        ..by_hand()
    };
    let fixture = Fixture::new("sqlite::memory:", options).await;
    for id in 0..12 {
        fixture.writer.record(&row(id));
    }
    fixture
        .until("two groups", async |f| f.writer.pending() == 2)
        .await;
    assert_eq!(fixture.count().await, 10);
    assert_eq!(fixture.metric("commit_seconds_count"), 2.0);
}

#[tokio::test]
async fn a_flush_returns_when_everything_before_it_is_there() {
    let fixture = Fixture::new("sqlite::memory:", by_hand()).await;
    fixture.writer.flush().await.unwrap();
    for id in 0..1000 {
        fixture.writer.record(&row(id));
    }
    fixture.writer.flush().await.unwrap();
    assert_eq!(fixture.count().await, 1000);
}

#[tokio::test]
async fn the_same_request_is_written_once() {
    let fixture = Fixture::new("sqlite::memory:", by_hand()).await;
    for id in [1, 2, 1] {
        fixture.writer.record(&row(id));
    }
    fixture.writer.flush().await.unwrap();
    fixture.writer.record(&row(2));
    fixture.writer.flush().await.unwrap();
    assert_eq!(fixture.count().await, 2);
    assert_eq!(fixture.metric("rows_duplicate_total"), 2.0);
}

/// Ollama's ids are one of a thousand numbers, and a server that is started anew may count from one again.
#[tokio::test]
async fn calls_are_written_and_counted_though_their_upstream_repeats_its_ids() {
    let postgres = witgate_testkit::PostgresServer::start().await;
    for url in ["sqlite::memory:".to_owned(), postgres.url()] {
        let fixture = Fixture::new(&url, by_hand()).await;
        let second = Timestamp::from_second(1).unwrap();
        // The last one has the id of the call before it: a client may choose it.
        let calls = [
            ("a", Timestamp::UNIX_EPOCH),
            ("b", Timestamp::UNIX_EPOCH),
            ("b", second),
        ];
        let calls = calls.map(|(call, start_time)| SpendRow {
            litellm_call_id: Some(call.into()),
            spend: "0.5".parse().unwrap(),
            start_time,
            ..row(1)
        });
        // In a group, in groups of their own, and again as a process that was killed leaves them.
        for group in [&calls[..2], &calls[2..], &calls[..]] {
            for call in group {
                fixture.writer.record(call);
            }
            fixture.writer.flush().await.unwrap();
        }
        let all = SpendFilter::default();
        let rows = fixture.store.spend_logs(&all, 10).await.unwrap();
        let mut ids: Vec<String> = rows
            .into_iter()
            .map(|row| row.request_id.into_owned())
            .collect();
        ids.sort();
        let others = ["b_1970-01-01T00:00:00.000Z", "b_1970-01-01T00:00:01.000Z"];
        let others = others.map(|end| format!("req-000001_{end}"));
        assert_eq!(
            ids,
            [&["req-000001".to_owned()][..], &others].concat(),
            "{url}"
        );
        assert_eq!(fixture.metric("rows_duplicate_total"), 3.0, "{url}");
        let days = fixture
            .store
            .rows("LiteLLM_DailyUserSpend", &crate::rows::Select::default())
            .await
            .unwrap();
        let spent = days
            .iter()
            .filter_map(|day| day["spend"].as_f64())
            .sum::<f64>();
        assert_eq!(spent, 1.5, "{url}");
        // An id that a database does not take as it is is no other call's either.
        let odd = SpendRow {
            request_id: "o\0dd".into(),
            ..row(1)
        };
        fixture.writer.record(&odd);
        fixture.writer.flush().await.unwrap();
        assert_eq!(fixture.metric("rows_duplicate_total"), 3.0, "{url}");
        assert_eq!(requests(&fixture.store).await, 4, "{url}");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_counts() {
    let by_rows = SpendOptions {
        queue_rows: 3,
        ..by_hand()
    };
    let by_bytes = SpendOptions {
        queue_bytes: 3 * Packed::of(&row(0)).weight(),
        ..by_hand()
    };
    for options in [by_rows, by_bytes] {
        let fixture = Fixture::new("sqlite::memory:", options).await;
        let taken = (0..5).map(|id| fixture.writer.record(&row(id)));
        assert_eq!(taken.collect::<Vec<_>>(), [true, true, true, false, false]);
        assert_eq!(fixture.metric("rows_refused_total"), 2.0);
        fixture.writer.flush().await.unwrap();
        assert!(fixture.writer.record(&row(5)), "room again");
        assert_eq!(fixture.count().await, 3);
    }
}

/// A full disk: nothing is lost, order is kept, and it goes on when there is room.
#[tokio::test]
async fn a_disk_that_fails_is_tried_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    let fixture = Fixture::new(path.to_str().unwrap(), by_hand()).await;
    limit_pages(&fixture.store, 1).await;
    for id in 0..200 {
        let metadata = format!("\"{}\"", "x".repeat(2000));
        fixture.writer.record(&SpendRow {
            metadata: metadata.into(),
            ..row(id)
        });
    }
    let writer = fixture.writer.clone();
    let flush = fixture.tracker.spawn(async move { writer.flush().await });
    fixture
        .until("repetitions", async |f| {
            f.metric("commit_failures_total") >= 3.0
        })
        .await;
    assert_eq!(fixture.count().await, 0);
    assert_eq!(fixture.writer.pending(), 200);
    assert!(!flush.is_finished());

    limit_pages(&fixture.store, 1_000_000).await;
    flush.await.unwrap().unwrap();
    assert_eq!(fixture.count().await, 200);
    assert_eq!(fixture.metric("rows_dropped_total"), 0.0);
}

#[tokio::test]
async fn another_process_that_holds_the_file_only_delays() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    let fixture = Fixture::new(path.to_str().unwrap(), by_hand()).await;
    let other = Store::open(path.to_str().unwrap(), &StoreOptions::default())
        .await
        .unwrap();
    let lock = other
        .sqlite()
        .writer
        .begin_with("BEGIN EXCLUSIVE")
        .await
        .unwrap();
    fixture.writer.record(&row(0));
    let writer = fixture.writer.clone();
    let flush = fixture.tracker.spawn(async move { writer.flush().await });
    fixture
        .until("a collision", async |f| {
            f.metric("commit_failures_total") >= 1.0
        })
        .await;
    drop(lock);
    // A dropped transaction is rolled back when its connection is next used, or closed.
    other.close().await;
    flush.await.unwrap().unwrap();
    assert_eq!(fixture.count().await, 1);
}

#[tokio::test]
async fn a_drain_writes_everything_and_closes() {
    let fixture = Fixture::new("sqlite::memory:", by_hand()).await;
    for id in 0..1500 {
        fixture.writer.record(&row(id));
    }
    assert_eq!(fixture.writer.drain(PATIENCE).await, 0);
    assert_eq!(fixture.count().await, 1500);
    assert!(!fixture.writer.record(&row(1500)));
    fixture.writer.flush().await.unwrap();
    fixture.tracker.close();
    fixture.tracker.wait().await;
}

#[tokio::test]
async fn a_drain_of_a_dead_disk_ends_and_tells_what_is_lost() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    let fixture = Fixture::new(path.to_str().unwrap(), by_hand()).await;
    limit_pages(&fixture.store, 1).await;
    for id in 0..700 {
        let metadata = format!("\"{}\"", "x".repeat(2000));
        fixture.writer.record(&SpendRow {
            metadata: metadata.into(),
            ..row(id)
        });
    }
    let writer = fixture.writer.clone();
    let flush = fixture.tracker.spawn(async move { writer.flush().await });
    fixture
        .until("a failure", async |f| {
            f.metric("commit_failures_total") >= 1.0
        })
        .await;
    assert_eq!(fixture.writer.drain(Duration::from_millis(50)).await, 700);
    assert_eq!(flush.await.unwrap(), Err(WriterEnded));
    assert_eq!(fixture.metric("rows_dropped_total"), 700.0);
    assert_eq!(fixture.metric("rows_queued"), 0.0);
}

#[tokio::test]
async fn a_cancelled_token_ends_at_once() {
    let fixture = Fixture::new("sqlite::memory:", by_hand()).await;
    fixture.writer.record(&row(0));
    fixture.token.cancel();
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert_eq!(fixture.metric("rows_dropped_total"), 1.0);
    assert!(!fixture.writer.record(&row(1)));
    assert_eq!(fixture.writer.drain(PATIENCE).await, 1);
}

/// Rows that memory has no room for wait on the disk, up to its bound, and are written when the database works again.
#[tokio::test]
async fn what_memory_has_no_room_for_waits_on_disk() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    let a_row = Frame::of(&Packed::of(&row(0))).len() as u64;
    let options = SpendOptions {
        queue_rows: 10,
        spool: Some(SpoolOptions {
            folder: folder.path().join("spool"),
            most_bytes: 300 * a_row,
        }),
        ..by_hand()
    };
    let fixture = Fixture::new(path.to_str().unwrap(), options).await;
    limit_pages(&fixture.store, 1).await;
    let taken = (0..310)
        .filter(|id| fixture.writer.record(&row(*id)))
        .count();
    assert_eq!(
        taken, 300,
        "10 in memory and on disk, the others on disk only"
    );
    assert_eq!(fixture.metric("rows_refused_total"), 10.0);
    limit_pages(&fixture.store, 1_000_000).await;
    fixture.writer.flush().await.unwrap();
    assert_eq!(fixture.count().await, 300);
    assert!(fixture.writer.record(&row(310)), "room again");
    assert_eq!(fixture.writer.drain(PATIENCE).await, 0);
    assert_eq!(fixture.count().await, 301);
    assert_eq!(fixture.metric("spool_bytes"), 0.0);
    let mut left = std::fs::read_dir(folder.path().join("spool")).unwrap();
    assert!(left.next().is_none(), "an orderly end leaves nothing");
}

/// What could not be written before the end is written by the next process, and counted once.
#[tokio::test]
async fn the_next_process_writes_what_the_last_one_could_not() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    let options = || SpendOptions {
        queue_rows: 50,
        spool: spool_in(folder.path()),
        ..by_hand()
    };
    let fixture = Fixture::new(path.to_str().unwrap(), options()).await;
    limit_pages(&fixture.store, 1).await;
    for id in 0..100 {
        assert!(fixture.writer.record(&row(id)));
    }
    assert_eq!(
        fixture.writer.drain(Duration::from_millis(50)).await,
        0,
        "nothing is lost"
    );
    assert_eq!(fixture.metric("rows_dropped_total"), 0.0);
    drop(fixture);
    let next = Fixture::new(path.to_str().unwrap(), options()).await;
    next.writer.flush().await.unwrap();
    assert_eq!(next.count().await, 100);
    assert_eq!(next.metric("spool_rows_read_total"), 100.0);
}

/// Two processes share the folder: what belongs to one that lives is left alone.
#[tokio::test]
async fn a_process_that_lives_keeps_its_rows() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    let options = || SpendOptions {
        spool: spool_in(folder.path()),
        ..by_hand()
    };
    let one = Fixture::new(path.to_str().unwrap(), options()).await;
    one.writer.record(&row(0));
    let other = Fixture::new(path.to_str().unwrap(), options()).await;
    other.writer.flush().await.unwrap();
    assert_eq!(other.metric("spool_rows_read_total"), 0.0);
    assert_eq!(other.count().await, 0);
}

fn spool_in(folder: &Path) -> Option<SpoolOptions> {
    Some(SpoolOptions {
        folder: folder.join("spool"),
        most_bytes: 1 << 30,
    })
}

/// A segment that is no file is told of once and stays; what is beside it is written, and nobody waits for it.
#[tokio::test]
async fn what_cannot_be_read_is_set_aside_with_its_folder() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("w.db");
    let left = folder.path().join("spool/left-behind");
    std::fs::create_dir_all(left.join("000000000001.rows")).unwrap();
    std::fs::write(left.join("lock"), "").unwrap();
    let whole = Frame::of(&Packed::of(&row(0)));
    std::fs::write(left.join("000000000002.rows"), whole.bytes()).unwrap();
    let mut damaged = whole.bytes().to_vec();
    damaged.extend(Frame::of(&Packed::of(&row(1))).bytes());
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    damaged.extend(Frame::of(&Packed::of(&row(2))).bytes());
    std::fs::write(left.join("000000000003.rows"), damaged).unwrap();
    let options = || SpendOptions {
        spool: spool_in(folder.path()),
        ..by_hand()
    };
    for _ in 0..2 {
        let fixture = Fixture::new(path.to_str().unwrap(), options()).await;
        let flushed = tokio::time::timeout(PATIENCE, fixture.writer.flush()).await;
        flushed.expect("nobody waits for it").unwrap();
        assert_eq!(fixture.count().await, 1);
        assert_eq!(fixture.metric("spool_unreadable_total"), 2.0);
        assert_eq!(fixture.writer.drain(PATIENCE).await, 0);
        assert!(left.join("000000000001.rows").exists());
        assert!(!left.join("000000000002.rows").exists());
        assert!(left.join("000000000003.rows").exists());
        let folders = std::fs::read_dir(folder.path().join("spool")).unwrap();
        assert_eq!(folders.count(), 1, "its own is gone");
    }
}

/// How many requests the totals tell of.
async fn requests(store: &Store) -> i64 {
    let days = store
        .rows("LiteLLM_DailyUserSpend", &crate::rows::Select::default())
        .await
        .unwrap();
    let counts = days.iter().map(|day| day["api_requests"].as_i64().unwrap());
    counts.sum()
}

/// A process that records without end is killed at random moments, a thousand times: every row that it had recorded is there,
/// once, and counted once.
#[tokio::test]
async fn kill_9_a_thousand_times_loses_no_row() {
    const KILLS: usize = 1000;
    let folder = TempDir::new().unwrap();
    let (fixture, ends) = killed(&folder, KILLS, "kept").await;
    let recorded = ends[KILLS - 1];
    let rows = fixture
        .store
        .spend_logs(&SpendFilter::default(), 1_000_000)
        .await
        .unwrap();
    let mut ids: Vec<&str> = rows.iter().map(|row| &*row.request_id).collect();
    ids.sort_unstable();
    let missing = (0..recorded).find(|id| ids.binary_search(&&*row(*id).request_id).is_err());
    assert_eq!(missing, None, "of {recorded} rows");
    // The one that was being recorded may be there, too.
    assert!(ids.len() <= recorded + KILLS, "{} of {recorded}", ids.len());
    assert_eq!(requests(&fixture.store).await, ids.len() as i64);
}

/// The same of rows that the database does not keep, which have no id there: each is in the totals, once.
#[tokio::test]
async fn kill_9_hundreds_of_times_counts_every_row_once() {
    const KILLS: usize = 300;
    let folder = TempDir::new().unwrap();
    let (fixture, ends) = killed(&folder, KILLS, "counted").await;
    let recorded = ends[KILLS - 1];
    assert_eq!(fixture.count().await, 0);
    let days = fixture
        .store
        .rows("LiteLLM_DailyUserSpend", &crate::rows::Select::default())
        .await
        .unwrap();
    let counts: std::collections::HashMap<&str, i64> = days
        .iter()
        .map(|day| {
            let user = day["user_id"].as_str().unwrap();
            (user, day["api_requests"].as_i64().unwrap())
        })
        .collect();
    let counted = |id: usize| counts.get(&*row(id).request_id).copied();
    let wrong = (0..recorded).find(|id| match counted(*id) {
        Some(1) => false,
        // One that was recorded and not told of is recorded again by the next process, as another row.
        Some(2) => !ends.contains(id),
        _ => true,
    });
    assert_eq!(
        wrong.map(|id| (id, counted(id))),
        None,
        "of {recorded} rows"
    );
    // Some were counted by their own process, which did not live to take them off its disk.
    assert!(fixture.metric("rows_duplicate_total") > 0.0);
}

/// Kills the process so often; the next one, when it has read what was left, and the rows that were not told of first.
async fn killed(folder: &TempDir, kills: usize, how: &str) -> (Fixture, Vec<usize>) {
    let path = folder.path().join("w.db");
    let (mut recorded, mut ends) = (0, Vec::with_capacity(kills));
    for kill in 0..kills {
        // From before the first row to after many commits; the same in every run.
        let rows = (kill * 7919) % 97;
        recorded = kill_after(&path, recorded, rows, how);
        ends.push(recorded);
    }
    let options = SpendOptions {
        spool: spool_in(folder.path()),
        ..Default::default()
    };
    let fixture = Fixture::new(path.to_str().unwrap(), options).await;
    fixture.writer.flush().await.unwrap();
    (fixture, ends)
}

/// Starts this test binary as the process to be killed, which records from `first` on; kills it when it has told of `rows` more, and
/// returns the first that it did not tell of.
fn kill_after(path: &Path, first: usize, rows: usize, how: &str) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "writer::tests::the_process_to_be_killed",
            "--nocapture",
        ])
        .env(CRASH_DB, path)
        .env(CRASH_FIRST, first.to_string())
        .env(CRASH_HOW, how)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = first;
    let mut told = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| {
        let line = lines.next()?.unwrap();
        if let Some(id) = line.strip_prefix("recorded ") {
            next = id.parse::<usize>().unwrap() + 1;
        }
        Some(next)
    };
    while let Some(next) = told(&mut lines) {
        if next >= first + rows {
            break;
        }
    }
    // SIGKILL, in the middle of whatever it does.
    child.kill().unwrap();
    child.wait().unwrap();
    // What it told while it was being killed counts.
    while told(&mut lines).is_some() {}
    next
}

/// Records rows until it is killed, and tells of each. Does nothing when the tests run: it is the other half of
/// `kill_9_a_thousand_times_loses_no_row` and its like.
#[tokio::test]
async fn the_process_to_be_killed() {
    let Ok(path) = std::env::var(CRASH_DB) else {
        return;
    };
    let first: usize = std::env::var(CRASH_FIRST).unwrap().parse().unwrap();
    let is_kept = std::env::var(CRASH_HOW).unwrap() == "kept";
    let options = SpendOptions {
        commit_interval: Duration::from_millis(1),
        spool: spool_in(Path::new(&path).parent().unwrap()),
        ..Default::default()
    };
    let fixture = Fixture::new(&path, options).await;
    for id in first.. {
        let mut row = row(id);
        if !is_kept {
            row.user = row.request_id.clone();
        }
        assert!(fixture.writer.record_as(&row, is_kept, true));
        let mut out = std::io::stdout().lock();
        writeln!(out, "recorded {id}").unwrap();
        out.flush().unwrap();
        drop(out);
        tokio::task::yield_now().await;
    }
}

async fn limit_pages(store: &Store, pages: u32) {
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "PRAGMA max_page_count = {pages}"
    )))
    .execute(&store.sqlite().writer)
    .await
    .unwrap();
}
