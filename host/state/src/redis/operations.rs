//! What a store can do, in Redis' commands.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, FromRedisValue, Value, cmd};

use super::Redis;
use super::scripts::{self, Atomic};
use crate::error::StateError;
use crate::reply::Reply;
use crate::store::{Info, Level, Take, Taken};

/// Keys looked at in one step of a scan.
const SCAN_COUNT: u32 = 1000;

impl Redis {
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        let value = self.query(cmd("GET").arg(key)).await?;
        Ok(bytes(value))
    }

    pub(crate) async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>, StateError> {
        let value = self.query(cmd("MGET").arg(keys)).await?;
        let Value::Array(values) = value else {
            return Err(unexpected());
        };
        Ok(values.into_iter().map(bytes).collect())
    }

    pub(crate) async fn set(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<(), StateError> {
        let mut command = cmd("SET");
        command.arg(key).arg(value);
        if let Some(ttl) = ttl {
            command.arg("PX").arg(millis(ttl));
        }
        self.query(&command).await.map(drop)
    }

    pub(crate) async fn set_if_absent(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool, StateError> {
        let mut command = cmd("SET");
        command.arg(key).arg(value).arg("NX");
        if let Some(ttl) = ttl {
            command.arg("PX").arg(millis(ttl));
        }
        Ok(self.query(&command).await? != Value::Nil)
    }

    pub(crate) async fn delete(&self, keys: &[String]) -> Result<u64, StateError> {
        read(self.query(cmd("UNLINK").arg(keys)).await?)
    }

    pub(crate) async fn delete_if(&self, key: &str, value: &[u8]) -> Result<bool, StateError> {
        let is = |c: &mut Cmd| {
            c.arg(value);
        };
        let deleted: u64 = read(self.script(&scripts::DELETE_IF, &[key], is).await?)?;
        Ok(deleted > 0)
    }

    pub(crate) async fn increase(
        &self,
        key: &str,
        by: i64,
        ttl: Option<Duration>,
    ) -> Result<i64, StateError> {
        let ttl = ttl.map_or(0, millis);
        let add = |c: &mut Cmd| {
            c.arg(by).arg(ttl);
        };
        read(self.script(&scripts::INCREASE, &[key], add).await?)
    }

    pub(crate) async fn add(
        &self,
        key: &str,
        by: f64,
        ttl: Option<Duration>,
    ) -> Result<f64, StateError> {
        let ttl = ttl.map_or(0, millis);
        // As decimals: Redis does not read every way in which a float can be written.
        let add = |c: &mut Cmd| {
            c.arg(format!("{by}")).arg(ttl);
        };
        read(self.script(&scripts::ADD, &[key], add).await?)
    }

    pub(crate) async fn take(&self, takes: &[Take<'_>]) -> Result<Taken, StateError> {
        if takes.is_empty() {
            return Ok(Taken::All(Vec::new()));
        }
        let keys: Vec<&str> = takes.iter().map(|take| take.key).collect();
        let numbers = |c: &mut Cmd| {
            for take in takes {
                c.arg(take.amount).arg(take.limit).arg(millis(take.ttl));
            }
        };
        let told: Vec<i64> = read(self.script(&scripts::TAKE, &keys, numbers).await?)?;
        let level = |pair: &[i64]| match pair {
            [count, left] => Ok(Level {
                count: *count,
                left: Duration::from_millis(u64::try_from(*left).unwrap_or(0)),
            }),
            _ => Err(unexpected()),
        };
        match told.split_first() {
            Some((0, levels)) => {
                let levels = levels.chunks(2).map(level);
                Ok(Taken::All(levels.collect::<Result<_, _>>()?))
            }
            Some((which, rest)) => Ok(Taken::Refused {
                at: usize::try_from(which - 1).map_err(|_| unexpected())?,
                level: level(rest)?,
            }),
            None => Err(unexpected()),
        }
    }

    pub(crate) async fn give_back(&self, key: &str, amount: u64) -> Result<(), StateError> {
        let by = |c: &mut Cmd| {
            c.arg(amount);
        };
        self.script(&scripts::GIVE_BACK, &[key], by).await.map(drop)
    }

    pub(crate) async fn exchange(
        &self,
        key: &str,
        member: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<Vec<Bytes>, StateError> {
        let own = |c: &mut Cmd| {
            c.arg(member).arg(value).arg(millis(ttl));
        };
        match self.script(&scripts::EXCHANGE, &[key], own).await? {
            Value::Array(values) => Ok(values.into_iter().filter_map(bytes).collect()),
            _ => Err(unexpected()),
        }
    }

    pub(crate) async fn enqueue(
        &self,
        key: &str,
        member: &str,
        score: f64,
        ttl: Duration,
    ) -> Result<(), StateError> {
        let own = |c: &mut Cmd| {
            c.arg(member).arg(score).arg(millis(ttl));
        };
        self.script(&scripts::ENQUEUE, &[key], own).await.map(drop)
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Option<String>, StateError> {
        let first = self.query(cmd("ZRANGE").arg(key).arg(0).arg(0)).await?;
        let members: Vec<String> = read(first)?;
        Ok(members.into_iter().next())
    }

    pub(crate) async fn dequeue(&self, key: &str, member: &str) -> Result<bool, StateError> {
        let removed: u64 = read(self.query(cmd("ZREM").arg(key).arg(member)).await?)?;
        Ok(removed > 0)
    }

    pub(crate) async fn ping(&self) -> Result<(), StateError> {
        self.query(&cmd("PING")).await.map(drop)
    }

    pub(crate) async fn command(&self, words: &[Bytes]) -> Result<Reply, StateError> {
        let mut command = Cmd::new();
        for word in words {
            command.arg(word.as_ref());
        }
        match words.is_empty() {
            true => Err(StateError::Invalid("a command has at least one word")),
            false => self.query(&command).await.map(Reply::from),
        }
    }

    pub(crate) async fn info(&self) -> Result<Info, StateError> {
        let texts = texts(self.query(&cmd("INFO")).await?);
        let lines = texts.iter().flat_map(|text| text.lines());
        let info = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim_end().to_owned()))
        });
        let list = self.query(cmd("CLIENT").arg("LIST")).await;
        let clients = match list {
            Ok(value) => Some(texts_of_clients(value)),
            Err(StateError::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(Info {
            info: info.collect(),
            clients,
        })
    }

    /// Looks at all keys, some at a time, and deletes those that begin so.
    pub(crate) async fn delete_by_prefix(&self, prefix: &str) -> Result<u64, StateError> {
        let pattern = format!("{}*", escaped(prefix));
        let (connection, _) = self.connection().await?;
        if !connection.is_cluster() {
            return self.delete_scanned(&pattern, None).await;
        }
        let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        // Who answers is a master.
        let Value::Map(nodes) = self.route(&cmd("PING"), masters).await? else {
            return Err(unexpected());
        };
        let mut deleted = 0;
        for (node, _) in nodes {
            let name: String = read(node)?;
            let (host, port) = name.rsplit_once(':').ok_or_else(unexpected)?;
            let node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress {
                host: host.to_owned(),
                port: port.parse().map_err(|_| unexpected())?,
            });
            deleted += self.delete_scanned(&pattern, Some(node)).await?;
        }
        Ok(deleted)
    }

    async fn delete_scanned(
        &self,
        pattern: &str,
        node: Option<RoutingInfo>,
    ) -> Result<u64, StateError> {
        let (mut cursor, mut deleted) = (0_u64, 0);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern);
            scan.arg("COUNT").arg(SCAN_COUNT);
            let page = match node.clone() {
                None => self.query(&scan).await?,
                Some(node) => self.route(&scan, node).await?,
            };
            let (next, keys): (u64, Vec<Vec<u8>>) = read(page)?;
            if !keys.is_empty() {
                let gone: u64 = read(self.query(cmd("UNLINK").arg(keys)).await?)?;
                deleted += gone;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(deleted);
            }
        }
    }

    /// By its digest, and with its text when Redis does not know it yet.
    pub(super) async fn script(
        &self,
        script: &Atomic,
        keys: &[&str],
        args: impl Fn(&mut Cmd),
    ) -> Result<Value, StateError> {
        let command = |name: &str, script: &str| {
            let mut command = cmd(name);
            command.arg(script).arg(keys.len()).arg(keys);
            args(&mut command);
            command
        };
        match self.query(&command("EVALSHA", script.digest())).await {
            Err(StateError::Refused(why))
                if why.contains("NOSCRIPT") || why.contains("NoScript") =>
            {
                self.query(&command("EVAL", script.code)).await
            }
            result => result,
        }
    }
}

pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T, StateError> {
    redis::from_redis_value(value).map_err(|_| unexpected())
}

pub(super) fn unexpected() -> StateError {
    StateError::Refused("an answer of another shape than expected".to_owned())
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) => Some(text.into()),
        _ => None,
    }
}

pub(super) fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

/// A text that matches itself only.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The texts that one server or each node of a cluster answers.
fn texts(value: Value) -> Vec<String> {
    match Reply::from(value) {
        Reply::List(list) => {
            let mut turn = false;
            let values = list.iter().filter(|_| {
                turn = !turn;
                !turn
            });
            values.filter_map(Reply::text).collect()
        }
        one => one.text().into_iter().collect(),
    }
}

fn texts_of_clients(value: Value) -> Vec<BTreeMap<String, String>> {
    let texts = texts(value);
    let lines = texts.iter().flat_map(|text| text.lines());
    let clients = lines.filter(|line| !line.trim().is_empty()).map(|line| {
        let pairs = line.split(' ').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    });
    clients.collect()
}
