//! `use_redis_transaction_buffer`: of the gateways that share a Redis one writes the spend of all, so that they do not wait for each
//! other in the database.
//!
//! Each gateway appends its groups to a list, and whoever holds LiteLLM's lock reads them, commits them in few transactions and only
//! then takes them off. What LiteLLM has in its lists are sums, of which nobody can say whether they are counted already; here it is the
//! calls themselves, which the database knows again ([`SpendWriter::write_handed`]). A gateway keeps its group until it hears that it
//! is committed, and commits it itself when it does not hear in time: so neither a gateway that is killed anywhere on the way nor a Redis that
//! forgets everything loses a call or counts one twice.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use witgate_config::Loaded;
use witgate_state::{Reply, StateError, Store};
use witgate_store::{HandOver, SpendWriter};

use super::peers::SharedPeers;
use super::recorder::Ledger;

/// LiteLLM's lock of whoever writes.
const LOCK: &str = "cronjob_lock:db_spend_update_job";
/// The list. Not LiteLLM's (`litellm_spend_update_buffer`): what is in it is not what LiteLLM would read. The braces keep it in one
/// place of a cluster with the signs that groups are written.
const LIST: &str = "{witgate:spend}:groups";
const WRITTEN: &str = "{witgate:spend}:written:";
/// The bytes of a group's id, which an entry begins with.
const ID: usize = 36;
/// Groups that are larger are written by their own gateway: Redis answers nobody else while it moves bytes.
const GROUP_BYTES: usize = 1 << 20;
/// Bytes of groups that are read at a time, unless a single one has more.
const READ_BYTES: usize = 4 << 20;
/// How often a gateway looks whether there is something to write, and whether its group is written.
const LOOK: Duration = Duration::from_millis(50);
/// How long a gateway waits for its group to be written.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the list and the signs live without news. Longer than anybody waits; marks in the database live longer still.
const LIST_TTL: Duration = Duration::from_secs(86_400);
const WRITTEN_TTL: Duration = Duration::from_secs(60);

/// `most, bytes`: the first entries, within these bytes.
const READ: &str = r"
local out, size = {}, 0
for i = 0, tonumber(ARGV[1]) - 1 do
  local entry = redis.call('LINDEX', KEYS[1], i)
  if not entry then break end
  size = size + #entry
  if i > 0 and size > tonumber(ARGV[2]) then break end
  out[#out + 1] = entry
end
return out";

/// `ttl_ms`, then ids; keys are the list and a sign for each id. Takes these off the head and tells of them. What somebody else took off meanwhile
/// was written by them, too.
const TAKE_OFF: &str = r"
for i = 2, #KEYS do
  local head = redis.call('LINDEX', KEYS[1], 0)
  if head and string.sub(head, 1, 36) == ARGV[i] then redis.call('LPOP', KEYS[1]) end
  redis.call('SET', KEYS[i], '1', 'PX', ARGV[1])
end
return 0";

/// How spend goes through Redis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Groups that are taken at a time (`MAX_REDIS_BUFFER_DEQUEUE_COUNT`).
    groups: u64,
    /// How long whoever writes is left alone (`DEFAULT_CRON_JOB_LOCK_TTL_SECONDS`).
    lock: Duration,
}

impl Rules {
    /// What the configuration says; `None` when each gateway writes for itself.
    pub(super) fn of(loaded: &Loaded) -> Option<Self> {
        let general = loaded.config.raw.get("general_settings");
        let is_on =
            general.and_then(|general| general.get("use_redis_transaction_buffer")?.as_bool());
        let groups: Option<u64> = loaded.environment.parse("MAX_REDIS_BUFFER_DEQUEUE_COUNT");
        (is_on == Some(true)).then(|| Self {
            groups: groups.filter(|groups| *groups > 0).unwrap_or(100),
            lock: job_lock(loaded),
        })
    }
}

/// `DEFAULT_CRON_JOB_LOCK_TTL_SECONDS`: how long one gateway has a job for itself.
pub(super) fn job_lock(loaded: &Loaded) -> Duration {
    let seconds: Option<u64> = loaded
        .environment
        .parse("DEFAULT_CRON_JOB_LOCK_TTL_SECONDS");
    Duration::from_secs(seconds.filter(|seconds| *seconds > 0).unwrap_or(60))
}

/// This gateway's end of the list.
pub struct SpendBuffer {
    peers: SharedPeers,
    ledger: Arc<ArcSwap<Ledger>>,
    /// What the lock holds while it is ours.
    id: String,
    /// Nobody wrote a group in time: until then this gateway writes for itself.
    rests_until: Mutex<Option<Instant>>,
}

impl SpendBuffer {
    /// Goes by the configuration and the Redis that serve.
    pub fn new(peers: SharedPeers, ledger: Arc<ArcSwap<Ledger>>) -> Arc<Self> {
        Arc::new(Self {
            peers,
            ledger,
            id: uuid::Uuid::new_v4().to_string(),
            rests_until: Mutex::default(),
        })
    }

    /// For the writer.
    pub fn hand_over(self: &Arc<Self>) -> HandOver {
        let (asked, given) = (self.clone(), self.clone());
        HandOver {
            is_on: Arc::new(move || asked.is_on()),
            give: Arc::new(move |group| {
                let buffer = given.clone();
                Box::pin(async move { buffer.is_written(group).await })
            }),
        }
    }

    fn is_on(&self) -> bool {
        let resting = |until: Instant| Instant::now() < until;
        self.ledger.load().buffer.is_some()
            && self.peers.load().is_some()
            && !self.rests_until.lock().is_some_and(resting)
    }

    /// The Redis and how it is used; `None` when it is not.
    fn place(&self) -> Option<(Rules, Store)> {
        let rules = self.ledger.load().buffer?;
        let store = self.peers.load().as_ref()?.store().clone();
        Some((rules, store))
    }

    async fn is_written(&self, group: Vec<u8>) -> bool {
        let Some((rules, store)) = self.place() else {
            return false;
        };
        if group.len() > GROUP_BYTES {
            return false;
        }
        match handed_over(&store, group).await {
            Ok(true) => return true,
            Ok(false) => {
                tracing::warn!(
                    "no gateway writes the spend in Redis; this one writes its own for a while"
                );
                *self.rests_until.lock() = Some(Instant::now() + rules.lock);
            }
            Err(error) => tracing::debug!(%error, "spend does not go through Redis"),
        }
        false
    }

    /// Writes for all whenever nobody else does, until the end.
    pub async fn write_for_all(self: Arc<Self>, writer: SpendWriter, stop: CancellationToken) {
        let mut is_told = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let Some((rules, store)) = self.place() else {
                continue;
            };
            match self.turn(rules, &store, &writer).await {
                Ok(()) => is_told = false,
                Err(why) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(
                            why,
                            "spend of other gateways is not written; tried again, and they write it themselves"
                        );
                    }
                }
            }
        }
    }

    async fn turn(&self, rules: Rules, store: &Store, writer: &SpendWriter) -> Result<(), String> {
        let why = |error: StateError| error.to_string();
        let list = word(&store.key(LIST));
        let length = store.command(&[word("LLEN"), list]).await.map_err(why)?;
        if length.number().unwrap_or_default() < 1.0 {
            return Ok(());
        }
        let lock = Some(rules.lock);
        let is_ours = store
            .set_if_absent(LOCK, self.id.clone(), lock)
            .await
            .map_err(why)?
            || store.get(LOCK).await.map_err(why)?.as_deref() == Some(self.id.as_bytes());
        if !is_ours {
            return Ok(());
        }
        let written = write_all(rules, store, writer).await;
        // Also when it failed: another gateway may reach the database.
        let freed = store.delete_if(LOCK, self.id.as_bytes()).await;
        written.and(freed.map(drop).map_err(why))
    }
}

/// Appends a group to the list, and waits until it is written; false when nobody does in time.
async fn handed_over(store: &Store, group: Vec<u8>) -> Result<bool, StateError> {
    let id = uuid::Uuid::new_v4().to_string();
    let list = word(&store.key(LIST));
    let entry = Bytes::from([id.as_bytes(), &group].concat());
    store.command(&[word("RPUSH"), list.clone(), entry]).await?;
    let seconds = LIST_TTL.as_secs().to_string();
    store
        .command(&[word("EXPIRE"), list, word(&seconds)])
        .await?;
    let sign = format!("{WRITTEN}{id}");
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        if store.get(&sign).await?.is_some() {
            // It ends by itself, too.
            let _ = store.delete(&[sign]).await;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes what is in the list until it is empty.
async fn write_all(rules: Rules, store: &Store, writer: &SpendWriter) -> Result<(), String> {
    let why = |error: StateError| error.to_string();
    let list = store.key(LIST);
    loop {
        let read = [
            word("EVAL"),
            word(READ),
            word("1"),
            word(&list),
            word(&rules.groups.to_string()),
            word(&READ_BYTES.to_string()),
        ];
        let entries = store.command(&read).await.map_err(why)?.list();
        let entries: Vec<Bytes> = entries
            .into_iter()
            .filter_map(|entry| match entry {
                Reply::Bytes(bytes) => Some(bytes),
                _ => None,
            })
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let groups: Vec<&[u8]> = entries
            .iter()
            .map(|entry| entry.get(ID..).unwrap_or_default())
            .collect();
        let unreadable = writer
            .write_handed(&groups)
            .await
            .map_err(|error| error.to_string())?;
        if unreadable > 0 {
            tracing::error!(
                unreadable,
                "groups of spend in Redis that cannot be read are taken off; whoever put them there writes them"
            );
        }
        let ids: Vec<Bytes> = entries
            .iter()
            .map(|entry| entry.slice(..ID.min(entry.len())))
            .collect();
        let signs = ids.iter().map(|id| {
            let sign = format!("{WRITTEN}{}", String::from_utf8_lossy(id));
            word(&store.key(&sign))
        });
        let mut take_off = vec![
            word("EVAL"),
            word(TAKE_OFF),
            word(&(ids.len() + 1).to_string()),
            word(&list),
        ];
        take_off.extend(signs);
        take_off.push(word(&WRITTEN_TTL.as_millis().to_string()));
        take_off.extend(ids.iter().cloned());
        store.command(&take_off).await.map_err(why)?;
    }
}

fn word(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
