//! `type: redis-semantic` and `valkey-semantic`: vectors in Redis, by the commands of RediSearch and
//! valkey-search (`FT.CREATE`, `FT.SEARCH`).
//!
//! Only what both of them have is used: hashes, tags, vectors compared one by one, the nearest one asked for.

use std::sync::OnceLock;

use async_trait::async_trait;
use bytes::Bytes;
use witgate_caching::{Found, Point, Trouble, VectorIndex, tag};
use witgate_state::{Reply, StateError, Store};

/// Entries forgotten at a time.
const AT_ONCE: usize = 500;
/// Where a vector stands in an entry.
const VECTOR: &str = "prompt_vector";
/// LiteLLM's name of what tells whose entries are compared.
const KEY: &str = "litellm_cache_key";
/// The namespaces of a key.
const NAMESPACE: &str = "namespace";

/// An index in Redis.
pub(super) struct RediSearch {
    store: Store,
    kind: &'static str,
    name: String,
    /// The name in use: another one where somebody else's index has the name.
    used: OnceLock<String>,
}

impl RediSearch {
    /// `kind` is the cache's type.
    pub(super) fn new(store: Store, kind: &'static str, name: String) -> Self {
        Self {
            store,
            kind,
            name,
            used: OnceLock::new(),
        }
    }

    fn used(&self) -> String {
        self.store.key(self.used.get().unwrap_or(&self.name))
    }

    async fn ask(&self, words: &[&[u8]]) -> Result<Reply, StateError> {
        let words: Vec<Bytes> = words
            .iter()
            .map(|word| Bytes::copy_from_slice(word))
            .collect();
        self.store.command(&words).await
    }

    /// Makes an index of this name, unless one of its kind is there; false where there is another one.
    async fn make(&self, name: &str, length: usize) -> Result<bool, Trouble> {
        let (index, length) = (self.store.key(name), length.to_string());
        let prefix = format!("{index}:");
        let words = [
            "FT.CREATE",
            &index,
            "ON",
            "HASH",
            "PREFIX",
            "1",
            &prefix,
            "SCHEMA",
            KEY,
            "TAG",
            NAMESPACE,
            "TAG",
            VECTOR,
            "VECTOR",
            "FLAT",
            "6",
            "TYPE",
            "FLOAT32",
            "DIM",
            &length,
            "DISTANCE_METRIC",
            "COSINE",
        ];
        match self.ask(&words.map(str::as_bytes)).await {
            Ok(_) => Ok(true),
            Err(StateError::Refused(why)) if why.to_lowercase().contains("already exists") => {
                let info = self.ask(&[b"FT.INFO", index.as_bytes()]).await;
                Ok(is_ours(info.map_err(|error| self.trouble(error))?, &length))
            }
            Err(error) => Err(self.trouble(error)),
        }
    }

    fn trouble(&self, error: StateError) -> Trouble {
        match error {
            StateError::Refused(why) if why.to_lowercase().contains("unknown command") => {
                Trouble(format!(
                    "type {} needs a Redis with RediSearch (Redis 8, Redis Stack) or a Valkey with valkey-search: {why}",
                    self.kind
                ))
            }
            error => Trouble(error.to_string()),
        }
    }

    /// Entries of which a tag is one of these.
    async fn forget(&self, field: &str, tags: &[String]) -> Result<(), Trouble> {
        if tags.is_empty() {
            return Ok(());
        }
        let (index, query) = (self.used(), format!("@{field}:{{{}}}", tags.join("|")));
        let most = AT_ONCE.to_string();
        loop {
            let words = [
                "FT.SEARCH",
                &index,
                &query,
                "NOCONTENT",
                "LIMIT",
                "0",
                &most,
                "DIALECT",
                "2",
            ];
            let found = match self.ask(&words.map(str::as_bytes)).await {
                Ok(found) => found.list(),
                Err(StateError::Refused(why)) if is_missing(&why) => return Ok(()),
                Err(error) => return Err(self.trouble(error)),
            };
            // How many there are stands before them.
            let keys: Vec<String> = found.iter().skip(1).filter_map(Reply::text).collect();
            let mut words: Vec<&[u8]> = vec![b"DEL"];
            words.extend(keys.iter().map(|key| key.as_bytes()));
            if words.len() > 1 {
                let gone = self.ask(&words).await;
                gone.map_err(|error| self.trouble(error))?;
            }
            if keys.len() < AT_ONCE {
                return Ok(());
            }
        }
    }
}

/// Whether an index is one that was made here, for vectors of this length.
fn is_ours(info: Reply, length: &str) -> bool {
    let mut words = Vec::new();
    flatten(info, &mut words);
    let says = |name: &str| words.iter().any(|word| word == name);
    let mut lengths = words
        .iter()
        .skip_while(|word| *word != "dim" && *word != "dimensions");
    // Where a server does not tell it, it is told when a vector is refused.
    let fits = lengths.nth(1).is_none_or(|known| known == length);
    says(KEY) && says(NAMESPACE) && says(VECTOR) && fits
}

fn flatten(reply: Reply, words: &mut Vec<String>) {
    match reply {
        Reply::List(list) => list.into_iter().for_each(|one| flatten(one, words)),
        Reply::Int(number) => words.push(number.to_string()),
        Reply::Double(number) => words.push(number.to_string()),
        Reply::Bytes(_) => words.extend(reply.text()),
        Reply::Nil => {}
    }
}

/// Whether a refusal says that there is no such index.
fn is_missing(why: &str) -> bool {
    let why = why.to_lowercase();
    ["no such index", "unknown index", "not found"]
        .iter()
        .any(|told| why.contains(told))
}

/// The tags of a key's namespaces: of `a:b:DIGEST` those of `a` and `a:b`.
fn namespaces(key: &str) -> String {
    let ends = key.match_indices(':');
    let tags = ends.filter_map(|(end, _)| key.get(..end).map(tag));
    tags.collect::<Vec<_>>().join(",")
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// The first entry of a search: how many there are, its key, and its fields in pairs.
fn found(reply: Reply) -> Option<Found> {
    let fields = reply.list().into_iter().nth(2)?.list();
    let value = |name: &str| {
        let mut pairs = fields.chunks_exact(2);
        pairs.find_map(|pair| (pair[0].text()? == name).then(|| pair[1].clone()))
    };
    let distance = value("vector_distance")?.number()?;
    let Reply::Bytes(response) = value("response")? else {
        return None;
    };
    Some(Found {
        similarity: 1.0 - distance,
        response: response.to_vec(),
    })
}

#[async_trait]
impl VectorIndex for RediSearch {
    fn name(&self) -> &'static str {
        self.kind
    }

    fn forgets(&self) -> bool {
        true
    }

    async fn prepare(&self, length: usize) -> Result<(), Trouble> {
        // LiteLLM's way out where the name is taken by an index of another kind.
        let other = format!("{}_isolated", self.name);
        for name in [&self.name, &other] {
            if self.make(name, length).await? {
                let _ = self.used.set(name.clone());
                return Ok(());
            }
        }
        Err(Trouble(format!(
            "the indexes {} and {other} are for other vectors; name another one with redis_semantic_cache_index_name",
            self.name
        )))
    }

    async fn nearest(&self, key: &str, vector: &[f32]) -> Result<Option<Found>, Trouble> {
        let index = self.used();
        let query = format!(
            "(@{KEY}:{{{}}})=>[KNN 1 @{VECTOR} $vec AS vector_distance]",
            tag(key)
        );
        let vector_bytes = bytes(vector);
        let words: [&[u8]; 16] = [
            b"FT.SEARCH",
            index.as_bytes(),
            query.as_bytes(),
            b"PARAMS",
            b"2",
            b"vec",
            &vector_bytes,
            b"RETURN",
            b"2",
            b"response",
            b"vector_distance",
            b"LIMIT",
            b"0",
            b"1",
            b"DIALECT",
            b"2",
        ];
        match self.ask(&words).await {
            Ok(reply) => Ok(found(reply)),
            // Somebody has emptied the database.
            Err(StateError::Refused(why)) if is_missing(&why) => {
                self.prepare(vector.len()).await?;
                Ok(None)
            }
            Err(error) => Err(self.trouble(error)),
        }
    }

    async fn keep(&self, points: &[Point<'_>]) -> Result<(), Trouble> {
        let index = self.used();
        for point in points {
            let key = format!("{index}:{}", point.id);
            let (tag, namespaces, vector) =
                (tag(point.key), namespaces(point.key), bytes(point.vector));
            let words: [&[u8]; 12] = [
                b"HSET",
                key.as_bytes(),
                b"prompt",
                point.text.as_bytes(),
                b"response",
                point.response.as_bytes(),
                KEY.as_bytes(),
                tag.as_bytes(),
                NAMESPACE.as_bytes(),
                namespaces.as_bytes(),
                VECTOR.as_bytes(),
                &vector,
            ];
            self.ask(&words)
                .await
                .map_err(|error| self.trouble(error))?;
            let age = point.ttl.map(|ttl| ttl.as_millis().max(1).to_string());
            let words: Vec<&[u8]> = match &age {
                Some(ms) => vec![b"PEXPIRE", key.as_bytes(), ms.as_bytes()],
                // What was kept before may have had an end.
                None => vec![b"PERSIST", key.as_bytes()],
            };
            self.ask(&words)
                .await
                .map_err(|error| self.trouble(error))?;
        }
        Ok(())
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        let tags: Vec<String> = keys.iter().map(|key| tag(key)).collect();
        self.forget(KEY, &tags).await
    }

    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble> {
        match namespace {
            Some(namespace) => self.forget(NAMESPACE, &[tag(namespace)]).await,
            None => {
                let prefix = format!("{}:", self.used.get().unwrap_or(&self.name));
                let gone = self.store.delete_by_prefix(&prefix).await;
                gone.map(|_| ()).map_err(|error| self.trouble(error))
            }
        }
    }

    async fn ping(&self) -> Result<(), Trouble> {
        self.store
            .ping()
            .await
            .map_err(|error| self.trouble(error))?;
        let indexes = self.ask(&[b"FT._LIST"]).await;
        indexes.map(|_| ()).map_err(|error| self.trouble(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn list(words: &[&str]) -> Reply {
        Reply::List(words.iter().map(|word| text(word)).collect())
    }

    #[test]
    fn an_entry_is_of_every_namespace_that_its_key_begins_with() {
        assert_eq!(namespaces("0a"), "");
        assert_eq!(namespaces("n:0a"), "n");
        assert_eq!(namespaces("n:m:0a"), format!("n,{}", tag("n:m")));
    }

    #[test]
    fn what_a_search_finds_is_read_whatever_the_order_of_its_fields() {
        let hit =
            |fields: &[&str]| Reply::List(vec![Reply::Int(1), text("index:id"), list(fields)]);
        let expected = Some(Found {
            similarity: 0.75,
            response: b"{}".to_vec(),
        });
        assert_eq!(
            found(hit(&["response", "{}", "vector_distance", "0.25"])),
            expected
        );
        assert_eq!(
            found(hit(&["vector_distance", "0.25", "response", "{}"])),
            expected
        );
        assert_eq!(found(hit(&["vector_distance", "0.25"])), None);
        assert_eq!(found(Reply::List(vec![Reply::Int(0)])), None);
        assert_eq!(found(Reply::Nil), None);
    }

    #[test]
    fn an_index_of_another_kind_is_not_ours() {
        let info = |names: [&str; 3], dim: &str| {
            let fields = names
                .iter()
                .map(|name| list(&["identifier", name, "type", "TAG"]));
            let mut fields: Vec<Reply> = fields.collect();
            fields.push(list(&[
                "type",
                "VECTOR",
                "dim",
                dim,
                "distance_metric",
                "COSINE",
            ]));
            Reply::List(vec![text("attributes"), Reply::List(fields)])
        };
        assert!(is_ours(info([KEY, NAMESPACE, VECTOR], "2"), "2"));
        assert!(!is_ours(info([KEY, NAMESPACE, VECTOR], "3"), "2"));
        assert!(!is_ours(info(["prompt", NAMESPACE, VECTOR], "2"), "2"));
    }
}
