use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use super::*;
use crate::MemoryLimits;

/// A place that can fail and be slow.
#[derive(Default)]
struct Shelf {
    entries: Mutex<HashMap<String, Write>>,
    batches: Mutex<Vec<usize>>,
    fails: AtomicBool,
    hangs: AtomicBool,
    reads: AtomicUsize,
}

#[async_trait]
impl Place for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }

    async fn read(&self, key: &str, _: i64) -> Result<Option<Entry>, Trouble> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(self.entries.lock().get(key).map(|w| w.entry.clone()))
    }

    async fn write(&self, writes: &[Write]) -> Result<(), Trouble> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(Trouble("full".to_owned()));
        }
        self.batches.lock().push(writes.len());
        for write in writes {
            self.entries.lock().insert(write.key.clone(), write.clone());
        }
        Ok(())
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        self.entries.lock().retain(|key, _| !keys.contains(key));
        Ok(())
    }

    async fn clear(&self, _: Option<&str>) -> Result<(), Trouble> {
        self.entries.lock().clear();
        Ok(())
    }

    async fn ping(&self, _: i64) -> Result<(), Trouble> {
        Ok(())
    }
}

fn write(key: &str) -> Write {
    Write {
        key: key.to_owned(),
        entry: Entry {
            stored_ms: 0,
            response: bytes::Bytes::from_static(b"{}"),
        },
        ttl: None,
        meaning: None,
    }
}

struct Set {
    shelf: Arc<Shelf>,
    outside: Outside,
    metrics: CacheMetrics,
    stop: CancellationToken,
    work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

fn set(manners: Manners) -> Set {
    let shelf = Arc::new(Shelf::default());
    let (metrics, stop) = (CacheMetrics::default(), CancellationToken::new());
    let (outside, work) = Outside::new(
        shelf.clone(),
        manners,
        metrics.clone(),
        Arc::new(|| 0),
        stop.clone(),
    );
    Set {
        shelf,
        outside,
        metrics,
        stop,
        work: Box::pin(work),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_is_written_in_batches_also_at_the_end() {
    let set = set(Manners {
        batch: 2,
        ..Manners::default()
    });
    for key in ["a", "b", "c"] {
        set.outside.put(write(key));
    }
    set.stop.cancel();
    set.work.await;
    assert_eq!(*set.shelf.batches.lock(), [2, 1]);
    assert_eq!(set.shelf.entries.lock().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_work_ends_with_the_backend() {
    let set = set(Manners::default());
    set.outside.put(write("a"));
    drop(set.outside);
    set.work.await;
    assert_eq!(set.shelf.entries.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_and_a_failing_place_drop_and_count() {
    let set = set(Manners::default());
    for number in 0..QUEUE + 3 {
        set.outside.put(write(&number.to_string()));
    }
    assert_eq!(set.metrics.counted("shelf", "dropped"), 3);
    set.shelf.fails.store(true, Ordering::Relaxed);
    set.stop.cancel();
    set.work.await;
    assert_eq!(set.metrics.counted("shelf", "error"), QUEUE as u64);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_hangs_is_a_miss_when_patience_ends() {
    let set = set(Manners::default());
    set.shelf.hangs.store(true, Ordering::Relaxed);
    let trouble = set.outside.get("a", 0).await.unwrap_err();
    assert!(trouble.0.contains("5000 ms"), "{trouble}");
}

#[tokio::test]
async fn the_memory_in_front_answers_and_forgets_in_time() {
    let near = Arc::new(Memory::new(MemoryLimits::default()));
    let set = set(Manners {
        near: Some((near.clone(), Duration::from_secs(5))),
        ..Manners::default()
    });
    set.shelf.entries.lock().insert("a".to_owned(), write("a"));
    for now_ms in [1_000, 2_000, 5_999] {
        assert!(set.outside.get("a", now_ms).await.unwrap().is_some());
    }
    assert_eq!(set.shelf.reads.load(Ordering::Relaxed), 1);
    assert!(set.outside.get("a", 6_000).await.unwrap().is_some());
    assert_eq!(set.shelf.reads.load(Ordering::Relaxed), 2);
    // What is put is there at once, and not longer than it says itself.
    set.outside.put(Write {
        ttl: Some(Duration::from_secs(2)),
        ..write("b")
    });
    assert!(near.find("b", 1_999).is_some() && near.find("b", 2_000).is_none());
    set.outside.remove(&["a".to_owned()]).await.unwrap();
    assert!(set.outside.get("a", 6_001).await.unwrap().is_none());
    set.outside.clear(None).await.unwrap();
    assert!(near.find("b", 0).is_none());
}

/// Of entries that are looked up together, and of one alone.
#[tokio::test(start_paused = true)]
async fn what_was_not_found_is_not_looked_up_again_at_once() {
    let shelf = Arc::new(Shelf::default());
    let manners = Manners {
        absent: Some((Duration::from_secs(10), 100)),
        ..Manners::default()
    };
    let stop = CancellationToken::new();
    let metrics = CacheMetrics::default();
    let (outside, _work) = Outside::new(shelf.clone(), manners, metrics, Arc::new(|| 0), stop);
    let reads = || shelf.reads.load(Ordering::Relaxed);
    for (now_ms, expected) in [(0, 1), (9_999, 1), (10_000, 2)] {
        let found = outside.get_one_of_many("k", now_ms).await.unwrap();
        assert_eq!((found, reads()), (None, expected), "at {now_ms} ms");
    }
    outside.get("k", 10_001).await.unwrap();
    assert_eq!(reads(), 3, "alone it is looked up");
    outside.put(write("k"));
    outside.get_one_of_many("k", 10_002).await.unwrap();
    assert_eq!(reads(), 4, "it may be there now");
}
