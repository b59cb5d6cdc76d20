//! Proxies on the way out (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`): which one a request takes, and what it is told.
//!
//! A request over TLS goes through a tunnel (`CONNECT`), one in the clear is handed to the proxy, as such proxies expect it. Under
//! an egress policy every request goes through a tunnel, and to an address that was checked here: a proxy that looked the name up
//! for itself could be led where the policy forbids.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::egress::{Destination, Host, Scheme};

/// The proxies of the process and the hosts that need none.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Arc<Proxy>>,
    https: Option<Arc<Proxy>>,
    direct: Vec<Exempt>,
}

/// Proxies as variables name them; empty is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProxyVariables<'a> {
    /// `HTTP_PROXY`: of `http` URLs.
    pub http: Option<&'a str>,
    /// `HTTPS_PROXY`: of `https` URLs.
    pub https: Option<&'a str>,
    /// `ALL_PROXY`: of those that have no other.
    pub all: Option<&'a str>,
    /// `NO_PROXY`: hosts, domains, addresses and networks, separated by commas; `*` is every host.
    pub no: Option<&'a str>,
}

/// A proxy and what it wants to know.
pub(crate) struct Proxy {
    pub(crate) at: Destination,
    /// `Proxy-Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
}

/// Whose requests go without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exempt {
    All,
    Network(IpNet),
    /// The host and, of a name, those below it; at every port or at one.
    Host(Host, Option<u16>),
}

/// Why a proxy did not let a connection through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the proxy {proxy} broke off: {source}")]
    Io {
        proxy: String,
        source: std::io::Error,
    },
    #[error("the proxy {proxy} answers CONNECT {target} with {status}; NO_PROXY exempts hosts")]
    Refused {
        proxy: String,
        target: String,
        status: String,
    },
    #[error("what is named as proxy at {proxy} does not answer as one")]
    Nonsense { proxy: String },
}

/// The proxies of the process: they are about the network that the machine is in.
static PROXIES: RwLock<Option<Arc<Proxies>>> = RwLock::new(None);

/// From now on new connections go through these.
pub fn use_proxies(proxies: Proxies) {
    let proxies = match proxies.http.is_some() || proxies.https.is_some() {
        true => Some(Arc::new(proxies)),
        false => None,
    };
    *PROXIES.write().unwrap_or_else(PoisonError::into_inner) = proxies;
}

/// The proxy on the way to a destination.
pub(crate) fn on_the_way(to: &Destination) -> Option<Arc<Proxy>> {
    let proxies = PROXIES.read().unwrap_or_else(PoisonError::into_inner);
    proxies.as_ref()?.to(to).cloned()
}

impl Proxies {
    /// Reads the variables.
    ///
    /// # Errors
    /// What cannot be a proxy, by the name of its variable; never with its password.
    pub fn read(variables: &ProxyVariables<'_>) -> Result<Self, String> {
        let proxy = |name: &str, text: Option<&str>| {
            match text.map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => Proxy::read(text)
                .map(|proxy| Some(Arc::new(proxy)))
                .map_err(|why| format!("{name}: {why}; a proxy is http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT")),
        }
        };
        let all = proxy("ALL_PROXY", variables.all)?;
        let entries = variables.no.unwrap_or_default().split(',').map(str::trim);
        let direct = entries.filter(|entry| !entry.is_empty()).map(|entry| {
            Exempt::read(entry).ok_or_else(|| {
                format!(
                    "NO_PROXY: {entry:?} is no host, domain, address or network such as 10.0.0.0/8"
                )
            })
        });
        Ok(Self {
            http: proxy("HTTP_PROXY", variables.http)?.or_else(|| all.clone()),
            https: proxy("HTTPS_PROXY", variables.https)?.or(all),
            direct: direct.collect::<Result<_, _>>()?,
        })
    }

    fn to(&self, to: &Destination) -> Option<&Arc<Proxy>> {
        let proxy = match to.scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
            Scheme::Smtp => None,
        };
        proxy.filter(|_| !self.direct.iter().any(|exempt| exempt.covers(to)))
    }
}

impl Proxy {
    fn read(text: &str) -> Result<Self, String> {
        let url = match text.contains("://") {
            true => Url::parse(text),
            false => Url::parse(&format!("http://{text}")),
        };
        // The error may hold the text, and with it the password.
        let url = url.map_err(|_| "it is not a URL".to_owned())?;
        if url.scheme() != "http" {
            return Err(format!("{}:// proxies are not supported", url.scheme()));
        }
        let host = url.host_str().and_then(Host::parse);
        let at = Destination {
            scheme: Scheme::Http,
            host: host.ok_or("it names no host")?,
            port: url.port_or_known_default().unwrap_or(80),
        };
        let authorization = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let mut pair = percent_decode(user);
                pair.push(b':');
                pair.extend(percent_decode(password.unwrap_or_default()));
                let value = format!("Basic {}", STANDARD.encode(pair));
                let mut value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { at, authorization })
    }

    /// Has the proxy connect to `target`, `HOST:PORT`; afterwards the stream is one to there.
    pub(crate) async fn tunnel(
        &self,
        mut stream: TcpStream,
        target: &str,
    ) -> Result<TcpStream, ProxyError> {
        let broken = |source| ProxyError::Io {
            proxy: self.at.to_string(),
            source,
        };
        let mut ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            ask.extend(b"Proxy-Authorization: ");
            ask.extend(authorization.as_bytes());
            ask.extend(b"\r\n");
        }
        ask.extend(b"\r\n");
        stream.write_all(&ask).await.map_err(broken)?;
        let mut head = Vec::with_capacity(256);
        while !head.ends_with(b"\r\n\r\n") {
            // What follows the head is not ours to read. It comes once per connection and is short.
            let byte = stream.read_u8().await.map_err(broken)?;
            head.push(byte);
            if head.len() > HEAD_MAX {
                return Err(self.nonsense());
            }
        }
        let head = String::from_utf8_lossy(&head);
        let line = head.lines().next().unwrap_or_default();
        let (version, status) = line.split_once(' ').ok_or_else(|| self.nonsense())?;
        if !version.starts_with("HTTP/1.") {
            return Err(self.nonsense());
        }
        match status.starts_with('2') {
            true => Ok(stream),
            false => Err(ProxyError::Refused {
                proxy: self.at.to_string(),
                target: target.to_owned(),
                status: status.to_owned(),
            }),
        }
    }

    fn nonsense(&self) -> ProxyError {
        ProxyError::Nonsense {
            proxy: self.at.to_string(),
        }
    }
}

/// Most bytes of an answer to `CONNECT`.
const HEAD_MAX: usize = 8 << 10;

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.at.to_string()).finish()
    }
}

impl Exempt {
    fn read(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Ok(network) = entry.parse::<IpNet>() {
            return Some(Self::Network(network));
        }
        // `::1` has colons and no port.
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().ok()?))
            }
            Some(_) if !entry.starts_with('[') => {
                let address: std::net::IpAddr = entry.parse().ok()?;
                return Some(Self::Host(Host::Address(address), None));
            }
            _ => (entry, None),
        };
        let host = host.strip_prefix('*').unwrap_or(host);
        let host = host.strip_prefix('.').unwrap_or(host);
        Some(Self::Host(Host::parse(host)?, port))
    }

    fn covers(&self, to: &Destination) -> bool {
        match (self, &to.host) {
            (Self::All, _) => true,
            (Self::Network(network), Host::Address(address)) => network.contains(address),
            (Self::Network(_), Host::Name(_)) => false,
            (Self::Host(host, port), _) => {
                port.is_none_or(|port| port == to.port)
                    && match (host, &to.host) {
                        (Host::Name(domain), Host::Name(name)) => name
                            .strip_suffix(domain.as_str())
                            .is_some_and(|before| before.is_empty() || before.ends_with('.')),
                        (host, other) => host == other,
                    }
            }
        }
    }
}

/// The bytes of the user and the password of a URL.
fn percent_decode(text: &str) -> Vec<u8> {
    // A form is decoded the same way but for its plus, which is none here.
    let text = text.replace('+', "%2B");
    url::form_urlencoded::parse(text.as_bytes())
        .next()
        .map(|(name, _)| name.into_owned().into_bytes())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(url: &str) -> Destination {
        Destination::of(&url.parse().unwrap()).unwrap()
    }

    #[test]
    fn each_request_takes_its_proxy() {
        let proxies = Proxies::read(&ProxyVariables {
            http: Some("plain:3128"),
            https: None,
            all: Some("http://us%40er:p%2Bss@all.example.com"),
            no: Some(" .inside.example.com, 10.0.0.0/8,127.0.0.1, one.example.com:8443, [::1]:99, *.dot.org ,fd00::1,"),
        })
        .unwrap();
        for (url, proxy) in [
            ("http://x.org", Some("plain:3128")),
            ("https://x.org", Some("all.example.com")),
            ("https://inside.example.com", None),
            ("https://a.INSIDE.example.com", None),
            ("https://notinside.example.com", Some("all.example.com")),
            ("https://10.1.2.3", None),
            ("https://11.1.2.3", Some("all.example.com")),
            ("http://127.0.0.1:4000", None),
            ("http://0x7f.1:4000", None),
            ("https://one.example.com", Some("all.example.com")),
            ("https://one.example.com:8443", None),
            ("http://[::1]:99", None),
            ("http://[::1]:98", Some("plain:3128")),
            ("http://[fd00::1]", None),
            ("http://a.dot.org", None),
        ] {
            let found = proxies.to(&to(url)).map(|proxy| proxy.at.to_string());
            assert_eq!(found.as_deref(), proxy, "{url}");
        }
        let sent = proxies.https.unwrap().authorization.clone().unwrap();
        assert_eq!(sent, "Basic dXNAZXI6cCtzcw==");
        let all = ProxyVariables {
            all: Some("http://p:1"),
            no: Some("*"),
            ..ProxyVariables::default()
        };
        assert!(Proxies::read(&all).unwrap().to(&to("http://x")).is_none());
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for (proxy, words) in [
            (
                "socks5://u:hunter2@p:1080",
                "HTTPS_PROXY: socks5:// proxies are not supported",
            ),
            ("https://u:hunter2@p", "https:// proxies"),
            ("http://u:hunter2@", "not a URL"),
        ] {
            let https = ProxyVariables {
                https: Some(proxy),
                ..ProxyVariables::default()
            };
            let refused = Proxies::read(&https).unwrap_err();
            assert!(refused.contains(words), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        for no in ["10.0.0.0/99", "a b", "h:port", "http://x"] {
            let no = ProxyVariables {
                no: Some(no),
                ..ProxyVariables::default()
            };
            assert!(Proxies::read(&no).unwrap_err().contains("NO_PROXY"));
        }
    }
}
