//! Every outgoing connection: one place for TLS, DNS, timeouts, pools and egress policy.
//!
//! A [`Client`] is a connection pool with one [`Egress`] policy and one TLS identity. Whoever
//! needs other rules needs another client: a connection opened under a lax policy is then never
//! reused under a strict one. Nothing in this crate knows what the bytes mean.
//!
//! Read in this order: [`client`](Client) (what callers use), `egress` (who may be reached),
//! `connect` (name → checked address → TCP → TLS, by way of a `proxy` if there is one), `pool` (idle connections), `exchange` (one
//! HTTP/1.1 request on one connection), `incoming` (the response body), `limits` (bounds on bodies),
//! `mail` (one message over SMTP, under the same policy).

mod body;
mod client;
mod connect;
mod egress;
mod error;
mod exchange;
mod incoming;
mod limits;
mod mail;
mod pool;
mod proxy;
mod redirect;
mod resolve;
mod tls;

pub use body::{Body, BoxError};
pub use client::{Client, ClientOptions, DeniedHook};
pub use connect::use_ipv4_only;
pub use egress::{
    AddressClass, Denied, Egress, HostOrCidr, HostRule, Policy, RuleError, WhyDenied,
};
pub use error::{BodyError, ClientError, SendError};
pub use incoming::Incoming;
pub use limits::{CollectError, IdleTimeout, StalledError, collect_limited};
pub use mail::{Mail, MailEncryption, MailError, MailLogin, MailServer, Mailer};
pub use pool::keep_own_connections;
pub use proxy::{Proxies, ProxyVariables, use_proxies};
pub use resolve::{Resolve, Resolving, SystemResolver};
pub use tls::{ClientCertificate, Pem, Roots, TlsOptions};
