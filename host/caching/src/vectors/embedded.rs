//! Vectors in the memory of this process, bounded by their bytes: the semantic index where no server is configured.
//!
//! Vectors are compared one by one. As many as fit into the default bound take a few milliseconds.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use witgate_wire::vector::{product, unit};

use crate::key::is_in;
use crate::{Backend, Entry, MemoryLimits, Near, Trouble, Write};

/// What an entry takes besides its texts, vector and answer.
const OVERHEAD: usize = 160;

/// The index. The oldest entries go first.
pub struct Embedded {
    limits: MemoryLimits,
    shelf: RwLock<Shelf>,
}

#[derive(Default)]
struct Shelf {
    items: VecDeque<Item>,
    bytes: u64,
}

struct Item {
    key: String,
    text: String,
    /// Of length one: the likeness of two is their product.
    vector: Box<[f32]>,
    entry: Entry,
    until_ms: i64,
}

impl Item {
    fn bytes(&self) -> u64 {
        let texts = self.key.len() + self.text.len() + self.entry.response.len();
        (texts + self.vector.len() * size_of::<f32>() + OVERHEAD) as u64
    }
}

impl Embedded {
    /// Empty, within these limits.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        Self {
            limits,
            shelf: RwLock::default(),
        }
    }

    /// The limits it was made with.
    #[must_use]
    pub fn limits(&self) -> MemoryLimits {
        self.limits
    }

    fn keep(&self, write: Write) {
        let Some(meaning) = &write.meaning else {
            return;
        };
        if write.entry.response.len() > self.limits.item_bytes {
            return;
        }
        let ttl = write.ttl.unwrap_or(self.limits.ttl);
        let Some(vector) = unit(&meaning.vector) else {
            return;
        };
        let item = Item {
            text: meaning.text.clone(),
            vector,
            until_ms: until(write.entry.stored_ms, ttl),
            key: write.key,
            entry: write.entry,
        };
        let now_ms = item.entry.stored_ms;
        let mut shelf = self.shelf.write();
        shelf
            .retain(|old| old.until_ms > now_ms && !(old.key == item.key && old.text == item.text));
        shelf.bytes += item.bytes();
        shelf.items.push_back(item);
        while shelf.bytes > self.limits.bytes {
            let Some(oldest) = shelf.items.pop_front() else {
                break;
            };
            shelf.bytes -= oldest.bytes();
        }
    }
}

impl Shelf {
    fn retain(&mut self, stays: impl Fn(&Item) -> bool) {
        let mut gone = 0;
        self.items.retain(|item| {
            let stays = stays(item);
            if !stays {
                gone += item.bytes();
            }
            stays
        });
        self.bytes -= gone;
    }
}

fn until(stored_ms: i64, ttl: Duration) -> i64 {
    stored_ms.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
}

#[async_trait]
impl Backend for Embedded {
    fn name(&self) -> &'static str {
        "semantic"
    }

    async fn get(&self, _: &str, _: i64) -> Result<Option<Entry>, Trouble> {
        Ok(None)
    }

    async fn nearest(
        &self,
        key: &str,
        vector: &[f32],
        now_ms: i64,
    ) -> Result<Option<Near>, Trouble> {
        let Some(vector) = unit(vector) else {
            return Ok(None);
        };
        let shelf = self.shelf.read();
        let comparable = shelf.items.iter().filter(|item| {
            item.key == key && item.until_ms > now_ms && item.vector.len() == vector.len()
        });
        let nearest = comparable
            .map(|item| (product(&item.vector, &vector), item))
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        Ok(nearest.map(|(similarity, item)| Near {
            similarity: f64::from(similarity),
            entry: item.entry.clone(),
        }))
    }

    fn put(&self, write: Write) {
        self.keep(write);
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        self.shelf.write().retain(|item| !keys.contains(&item.key));
        Ok(())
    }

    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble> {
        let mut shelf = self.shelf.write();
        shelf.retain(|item| namespace.is_some_and(|namespace| !is_in(&item.key, namespace)));
        Ok(())
    }

    async fn ping(&self, _: i64) -> Result<(), Trouble> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Meaning;

    fn write(key: &str, text: &str, vector: &[f32], stored_ms: i64) -> Write {
        Write {
            key: key.to_owned(),
            entry: Entry {
                stored_ms,
                response: text.to_owned().into(),
            },
            ttl: None,
            meaning: Some(Arc::new(Meaning {
                text: text.to_owned(),
                vector: vector.to_vec(),
            })),
        }
    }

    async fn nearest(index: &Embedded, key: &str, vector: &[f32]) -> Option<(f64, String)> {
        let near = index.nearest(key, vector, 1).await.unwrap()?;
        let text = String::from_utf8(near.entry.response.to_vec()).unwrap();
        Some((near.similarity, text))
    }

    #[tokio::test]
    async fn the_nearest_under_the_key_is_found_whatever_its_length() {
        let index = Embedded::new(MemoryLimits::default());
        index.put(write("k", "east", &[10.0, 0.0], 0));
        index.put(write("k", "north", &[0.0, 0.1], 0));
        index.put(write("other", "exact", &[1.0, 1.0], 0));
        let (similarity, text) = nearest(&index, "k", &[3.0, 1.0]).await.unwrap();
        assert_eq!(text, "east");
        assert!(
            (similarity - 3.0 / 10f64.sqrt()).abs() < 1e-6,
            "{similarity}"
        );
        assert_eq!(nearest(&index, "none", &[1.0, 1.0]).await, None);
        // Of another model's length, and of none.
        assert_eq!(nearest(&index, "k", &[1.0]).await, None);
        assert_eq!(nearest(&index, "k", &[0.0, 0.0]).await, None);
    }

    #[tokio::test]
    async fn the_same_text_is_kept_once_and_not_beyond_its_time() {
        let index = Embedded::new(MemoryLimits::default());
        index.put(write("k", "a", &[1.0], 0));
        index.put(write("k", "a", &[1.0], 0));
        assert_eq!(index.shelf.read().items.len(), 1);
        let over = index.nearest("k", &[1.0], 600_000).await.unwrap();
        assert_eq!(over, None);
        index.put(write("k", "b", &[1.0], 600_000));
        assert_eq!(index.shelf.read().items.len(), 1);
    }

    #[tokio::test]
    async fn the_oldest_go_and_keys_and_namespaces_are_forgotten() {
        let limits = MemoryLimits {
            bytes: 2_000,
            ..MemoryLimits::default()
        };
        let index = Embedded::new(limits);
        for number in 0..100 {
            index.put(write("n:k", &number.to_string(), &[1.0, number as f32], 0));
        }
        {
            let shelf = index.shelf.read();
            let bytes: u64 = shelf.items.iter().map(Item::bytes).sum();
            assert_eq!(bytes, shelf.bytes);
            assert!(bytes <= 2_000 && shelf.items.len() > 5);
            assert_eq!(shelf.items.back().unwrap().text, "99");
        }
        index.clear(Some("m")).await.unwrap();
        assert!(nearest(&index, "n:k", &[1.0, 1.0]).await.is_some());
        index.clear(Some("n")).await.unwrap();
        assert_eq!(nearest(&index, "n:k", &[1.0, 1.0]).await, None);
        assert_eq!(index.shelf.read().bytes, 0);
    }
}
