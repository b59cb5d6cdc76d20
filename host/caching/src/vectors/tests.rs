use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::Meaning;

/// An index that takes down what it is asked for.
#[derive(Default)]
struct Fake {
    forgets: bool,
    length: Option<usize>,
    asked: Mutex<Vec<String>>,
    stored_ms: i64,
}

#[async_trait]
impl VectorIndex for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn length(&self) -> Option<usize> {
        self.length
    }

    fn forgets(&self) -> bool {
        self.forgets
    }

    async fn prepare(&self, length: usize) -> Result<(), Trouble> {
        self.asked.lock().push(format!("prepare {length}"));
        Ok(())
    }

    async fn nearest(&self, key: &str, _: &[f32]) -> Result<Option<Found>, Trouble> {
        self.asked.lock().push(format!("nearest {key}"));
        let entry = Entry {
            stored_ms: self.stored_ms,
            response: "{}".into(),
        };
        Ok(Some(Found {
            similarity: 0.5,
            response: entry.encode(),
        }))
    }

    async fn keep(&self, points: &[Point<'_>]) -> Result<(), Trouble> {
        let ids: Vec<&str> = points.iter().map(|point| point.id.as_str()).collect();
        self.asked.lock().push(format!("keep {}", ids.join(" ")));
        Ok(())
    }

    async fn remove(&self, _: &[String]) -> Result<(), Trouble> {
        Ok(())
    }

    async fn clear(&self, _: Option<&str>) -> Result<(), Trouble> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), Trouble> {
        Ok(())
    }
}

fn write(text: &str, meaning: bool) -> Write {
    Write {
        key: "k".to_owned(),
        entry: Entry {
            stored_ms: 0,
            response: "{}".into(),
        },
        ttl: None,
        meaning: meaning.then(|| {
            Arc::new(Meaning {
                text: text.to_owned(),
                vector: vec![1.0, 2.0],
            })
        }),
    }
}

#[tokio::test]
async fn the_index_is_made_once_and_keeps_what_has_a_meaning() {
    let place = Vectors::new(Fake::default(), None);
    place.tend(0).await.unwrap();
    let writes = [write("a", true), write("b", false), write("a", true)];
    place.write(&writes).await.unwrap();
    place.write(&[write("b", false)]).await.unwrap();
    assert!(place.nearest("k", &[1.0, 0.0], 0).await.unwrap().is_some());
    let asked = place.index.asked.lock().clone();
    let (id, parts) = (id("k", "a"), [8, 4, 4, 4, 12]);
    assert_eq!(
        asked,
        [
            "prepare 2".to_owned(),
            format!("keep {id} {id}"),
            "nearest k".to_owned()
        ]
    );
    assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), parts);
    assert_ne!(id, super::id("l", "a"));
}

#[tokio::test]
async fn vectors_of_another_length_are_of_another_model() {
    let place = Vectors::new(Fake::default(), None);
    place.write(&[write("a", true)]).await.unwrap();
    let trouble = place.nearest("k", &[1.0], 0).await.unwrap_err();
    assert!(
        trouble.0.contains("vectors of 2 numbers") && trouble.0.contains("gives 1"),
        "{trouble}"
    );
    let fixed = Fake {
        length: Some(3),
        ..Fake::default()
    };
    let place = Vectors::new(fixed, None);
    place.tend(0).await.unwrap();
    assert!(place.write(&[write("a", true)]).await.is_err());
    assert_eq!(*place.index.asked.lock(), ["prepare 3"]);
}

#[tokio::test]
async fn where_nothing_is_forgotten_what_is_too_old_is_not_there() {
    for (forgets, found) in [(false, false), (true, true)] {
        let fake = Fake {
            forgets,
            ..Fake::default()
        };
        let place = Vectors::new(fake, Some(Duration::from_secs(10)));
        let near = |now_ms| place.nearest("k", &[1.0], now_ms);
        assert!(near(10_000).await.unwrap().is_some());
        assert_eq!(near(10_001).await.unwrap().is_some(), found);
    }
}

#[test]
fn keys_are_tags_that_no_query_can_misread() {
    assert_eq!(tag("0123abc"), "0123abc");
    for text in ["a:b", "A", "x|y", "x,y", "x}=>[KNN", "a b", "é"] {
        let tag = tag(text);
        assert!(
            tag.len() == 64 && tag.bytes().all(|b| b.is_ascii_hexdigit()),
            "{text}: {tag}"
        );
    }
}
