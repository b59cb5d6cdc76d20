//! Rows that others write, or that are kept elsewhere: they are counted once.

use super::*;

/// A group that is handed over may be written by others, by this process, or by both: it is counted once, also when the rows are not kept.
#[tokio::test]
async fn whoever_writes_a_group_second_finds_it_written() {
    let postgres = witgate_testkit::PostgresServer::start().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("w.db").display().to_string();
    for url in [file, postgres.url()] {
        // Handed over and said to be written; not so; written, and not said to be.
        let groups: Arc<parking_lot::Mutex<Vec<Vec<u8>>>> = Arc::default();
        let is_written = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let (told, says) = (groups.clone(), is_written.clone());
        let elsewhere = handing(move |group| {
            told.lock().push(group);
            let says = says.load(std::sync::atomic::Ordering::Relaxed);
            Box::pin(std::future::ready(says))
        });
        let options = SpendOptions {
            spool: spool_in(folder.path()),
            ..by_hand()
        };
        let fixture = Fixture::with(&url, options, elsewhere).await;
        for id in 0..10 {
            fixture.writer.record_as(&row(id), id % 2 == 0, true);
        }
        fixture.writer.flush().await.unwrap();
        assert_eq!(
            (fixture.count().await, fixture.metric("rows_handed_total")),
            (0, 10.0)
        );
        is_written.store(false, std::sync::atomic::Ordering::Relaxed);
        for id in 10..20 {
            fixture.writer.record_as(&row(id), id % 2 == 0, true);
        }
        fixture.writer.flush().await.unwrap();
        assert_eq!(fixture.count().await, 5);
        let groups = groups.lock().clone();
        assert_eq!(groups.len(), 2);
        // The first one was passed over by the second: only its rows with an id can still be told from those that were written.
        for _ in 0..3 {
            let written = fixture.writer.write_handed(&groups[1..]).await;
            assert_eq!(written.unwrap(), 0);
        }
        assert_eq!(requests(&fixture.store).await, 10);
        assert_eq!(fixture.writer.write_handed(&[b"x"]).await.unwrap(), 1);
    }
}

/// In the order in which they were handed over, as one gateway does that hears of each before it goes on.
#[tokio::test]
async fn a_group_is_counted_once_however_often_it_comes() {
    let folder = TempDir::new().unwrap();
    let groups: Arc<parking_lot::Mutex<Vec<Vec<u8>>>> = Arc::default();
    let told = groups.clone();
    let elsewhere = handing(move |group| {
        told.lock().push(group);
        Box::pin(std::future::ready(true))
    });
    let options = SpendOptions {
        spool: spool_in(folder.path()),
        ..by_hand()
    };
    let path = folder.path().join("w.db");
    let fixture = Fixture::with(path.to_str().unwrap(), options, elsewhere).await;
    for group in 0..5 {
        for id in 0..3 {
            fixture.writer.record_as(&row(3 * group + id), false, true);
        }
        fixture.writer.flush().await.unwrap();
    }
    let groups = groups.lock().clone();
    for at in 0..groups.len() {
        fixture.writer.write_handed(&groups[..=at]).await.unwrap();
    }
    assert_eq!(requests(&fixture.store).await, 15);
    assert_eq!(fixture.count().await, 0);
    let days = |days: i64| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * days);
    assert_eq!(fixture.store.remove_old_marks(days(89)).await.unwrap(), 0);
    assert_eq!(fixture.store.remove_old_marks(days(91)).await.unwrap(), 1);
}

/// Rows that are kept elsewhere go there, again and again until it takes them, and are counted once here.
#[tokio::test]
async fn rows_that_are_kept_elsewhere_are_only_counted_here() {
    let folder = TempDir::new().unwrap();
    let sent: Arc<parking_lot::Mutex<Vec<Value>>> = Arc::default();
    let told = sent.clone();
    let elsewhere = Elsewhere {
        hand_over: None,
        send_rows: Some(Arc::new(move |rows| {
            let mut sent = told.lock();
            sent.push(rows.into());
            let outcome = match sent.len() {
                1 => Err("not now".to_owned()),
                _ => Ok(()),
            };
            Box::pin(std::future::ready(outcome))
        })),
    };
    let path = folder.path().join("w.db");
    let fixture = Fixture::with(path.to_str().unwrap(), by_hand(), elsewhere).await;
    fixture.writer.record(&row(0));
    fixture.writer.record_as(&row(1), false, true);
    fixture.writer.flush().await.unwrap();
    let sent = sent.lock().clone();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1]);
    assert_eq!(sent[0][0]["request_id"], "req-000000");
    assert_eq!(sent[0].as_array().unwrap().len(), 1);
    assert_eq!(fixture.count().await, 0);
    assert_eq!(requests(&fixture.store).await, 2);
    assert_eq!(fixture.metric("rows_written_total"), 1.0);
}

/// What a process that was killed had handed over may be written before the next one reads its spool, after that, or in the middle.
#[tokio::test]
async fn what_a_killed_process_had_handed_over_is_counted_once() {
    for after_the_spool in [false, true] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("w.db");
        let url = path.to_str().unwrap();
        let options = || SpendOptions {
            spool: spool_in(folder.path()),
            commit_rows: 4,
            ..by_hand()
        };
        let groups: Arc<parking_lot::Mutex<Vec<Vec<u8>>>> = Arc::default();
        let told = groups.clone();
        // Nobody ever says that it is written.
        let elsewhere = handing(move |group| {
            told.lock().push(group);
            Box::pin(std::future::pending())
        });
        let fixture = Fixture::with(url, options(), elsewhere).await;
        for id in 0..10 {
            fixture.writer.record_as(&row(id), id % 3 == 0, true);
        }
        let writer = fixture.writer.clone();
        fixture.tracker.spawn(async move { writer.flush().await });
        fixture
            .until("a group is handed over", async |_| groups.lock().len() == 1)
            .await;
        fixture.token.cancel();
        fixture.tracker.close();
        fixture.tracker.wait().await;
        drop(fixture);
        let groups = groups.lock().clone();
        let next = Fixture::new(
            url,
            SpendOptions {
                spool: None,
                ..options()
            },
        )
        .await;
        if !after_the_spool {
            next.writer.write_handed(&groups).await.unwrap();
            assert_eq!(requests(&next.store).await, 4);
        }
        let reader = Fixture::new(url, options()).await;
        reader.writer.flush().await.unwrap();
        assert_eq!(requests(&reader.store).await, 10, "{after_the_spool}");
        next.writer.write_handed(&groups).await.unwrap();
        assert_eq!(requests(&reader.store).await, 10, "{after_the_spool}");
        assert_eq!(reader.count().await, 4);
    }
}

/// Groups go this way.
fn handing(give: impl Fn(Vec<u8>) -> Asked<bool> + Send + Sync + 'static) -> Elsewhere {
    Elsewhere {
        hand_over: Some(HandOver {
            is_on: Arc::new(|| true),
            give: Arc::new(give),
        }),
        send_rows: None,
    }
}
