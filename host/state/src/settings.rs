//! Where Redis is and how it is spoken to.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

/// The port of Redis.
const PORT: u16 = 6379;
/// How long an operation may take (`REDIS_SOCKET_TIMEOUT`).
const SOCKET_TIMEOUT: Duration = Duration::from_millis(100);

/// Where Redis is and how it is spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct RedisSettings {
    /// Where it is.
    pub place: Place,
    /// The user; Redis' default one without.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Who knows the password when it changes; asked before each connection is made, in place of `password`.
    pub passwords: Option<Passwords>,
    /// The number of the database; a cluster has only 0.
    pub db: u32,
    /// TLS; plain without.
    pub tls: Option<Tls>,
    /// Every key begins with this and a colon.
    pub namespace: Option<String>,
    /// No operation takes longer.
    pub socket_timeout: Duration,
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One server.
    Single {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
    /// One server behind a socket of the machine.
    Socket(String),
    /// A cluster, by some of its nodes.
    Cluster(Vec<(String, u16)>),
    /// Whoever the sentinels say is the master.
    Sentinel {
        /// The sentinels.
        nodes: Vec<(String, u16)>,
        /// The name that the sentinels know the master by.
        service: String,
        /// The user that the sentinels ask for.
        username: Option<String>,
        /// The password that the sentinels ask for.
        password: Option<Secret>,
    },
}

/// How TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// PEM of those who are trusted; the machine's certificates without.
    pub roots: Option<Vec<u8>>,
    /// PEM of our certificate and its key, for servers that ask.
    pub identity: Option<(Vec<u8>, Secret)>,
    /// Anybody is trusted.
    pub unverified: bool,
}

/// Asks for a password, such as a token that is good for an hour.
pub type AskPassword =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Secret, String>> + Send>> + Send + Sync>;

/// Who knows a password that changes. Two are the same when they are called the same.
#[derive(Clone)]
pub struct Passwords {
    /// Tells it from others; no secret.
    pub identity: String,
    /// Asks for the password of now; an error says why there is none, without a secret.
    pub ask: AskPassword,
}

impl PartialEq for Passwords {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Passwords").field(&self.identity).finish()
    }
}

/// Text that is in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl RedisSettings {
    /// A Redis without password, TLS and namespace.
    pub fn at(place: Place) -> RedisSettings {
        RedisSettings {
            place,
            username: None,
            password: None,
            passwords: None,
            db: 0,
            tls: None,
            namespace: None,
            socket_timeout: SOCKET_TIMEOUT,
        }
    }

    /// Whether a connection could be made of these settings, as far as it can be told without one: certificates are
    /// certificates, sentinels are named.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        crate::redis::check(self)
    }

    /// What a URL says: `redis[s]://[user[:password]@]host[:port][/db]`, `unix:///path[?db=n]`. The error
    /// does not repeat the URL: there may be a password in it.
    pub fn from_url(text: &str) -> Result<RedisSettings, String> {
        let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
        let of_query = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
        };
        let is_tls = matches!(url.scheme(), "rediss" | "valkeys");
        let (place, db) = match url.scheme() {
            "unix" | "redis+unix" => (Place::Socket(url.path().to_owned()), of_query("db")),
            "redis" | "rediss" | "valkey" | "valkeys" => {
                let host = url.host_str().filter(|host| !host.is_empty());
                let host = host.ok_or("names no host")?;
                // An IPv6 address stands in brackets in a URL only.
                let host = host.trim_matches(['[', ']']).to_owned();
                let port = url.port().unwrap_or(PORT);
                let in_path = url.path().trim_matches('/');
                let db = (!in_path.is_empty()).then(|| in_path.to_owned());
                (Place::Single { host, port }, db.or_else(|| of_query("db")))
            }
            other => {
                return Err(format!(
                    "begins with {other}://, where redis://, rediss:// or unix:// is expected"
                ));
            }
        };
        let mut settings = RedisSettings::at(place);
        if let Some(db) = db {
            let number = db.parse();
            settings.db = number.map_err(|_| format!("names the database {db:?}, no number"))?;
        }
        let decoded = |text: &str| {
            let bytes = percent_decoded(text);
            String::from_utf8(bytes).map_err(|_| "has a user or password that is no UTF-8")
        };
        if !url.username().is_empty() {
            settings.username = Some(decoded(url.username())?);
        }
        if let Some(password) = url.password() {
            settings.password = Some(Secret::new(decoded(password)?));
        }
        if is_tls {
            settings.tls = Some(Tls::default());
        }
        Ok(settings)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nodes: &[(String, u16)]| {
            let each = nodes.iter().map(|(host, port)| format!("{host}:{port}"));
            each.collect::<Vec<_>>().join(", ")
        };
        match self {
            Place::Single { host, port } => write!(f, "{host}:{port}"),
            Place::Socket(path) => f.write_str(path),
            Place::Cluster(nodes) => write!(f, "the cluster of {}", list(nodes)),
            Place::Sentinel { nodes, service, .. } => {
                write!(f, "{service} of the sentinels {}", list(nodes))
            }
        }
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let pair = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_it_all() {
        let settings = RedisSettings::from_url("rediss://me:p%40ss@cache.example:7000/3").unwrap();
        let place = Place::Single {
            host: "cache.example".into(),
            port: 7000,
        };
        let expected = RedisSettings {
            username: Some("me".into()),
            password: Some(Secret::new("p@ss")),
            db: 3,
            tls: Some(Tls::default()),
            ..RedisSettings::at(place)
        };
        assert_eq!(settings, expected);
        let short = RedisSettings::from_url("redis://:pw@[::1]?db=2").unwrap();
        let place = Place::Single {
            host: "::1".into(),
            port: PORT,
        };
        assert_eq!((short.place, short.db, short.username), (place, 2, None));
        let socket = RedisSettings::from_url("unix:///run/redis.sock?db=1").unwrap();
        assert_eq!(socket.place, Place::Socket("/run/redis.sock".into()));
        assert_eq!(socket.db, 1);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (url, told) in [
            ("http://:hunter2@h", "redis://"),
            ("redis://:hunter2@h/x", "no number"),
            ("redis://", "names no host"),
            ("hunter2", "is no URL"),
        ] {
            let error = RedisSettings::from_url(url).unwrap_err();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let settings = RedisSettings::from_url("redis://:hunter2@h").unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
