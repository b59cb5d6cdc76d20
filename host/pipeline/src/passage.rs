//! Pass-through: routes of the operator's whose requests go to a target as they are, and whose answers come back as they are
//! (`general_settings.pass_through_endpoints`).
//!
//! A call of such a route is a call like any other to who may make it, to limits, budgets, log sinks and the ledger. It names
//! no model, so the stages between `admit` and `respond` have nothing to do for it; what stands in their place is [`run`].
//! Bytes are passed on as they arrive, in both directions, and no faster than the other side takes them.

mod ask;
mod guard;
mod relay;
mod run;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderName, Method, Uri};
use rust_decimal::Decimal;

use crate::exchange::BodyFault;
use crate::ports::Upstream;

pub use guard::{Field, Judge};
pub use run::Incoming;

/// LiteLLM's `call_type` of such a call, and the name under which all these routes are known.
pub const PASS_THROUGH: &str = witgate_identity::PASS_THROUGH;

/// Methods of a route that names none (LiteLLM's).
pub const METHODS: [Method; 5] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
];

/// A request's body on its way: pieces as they arrive.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BodyFault>> + Send>>;

/// One route, and where it leads.
pub struct Passage {
    /// Its path, with a slash at its beginning and none at its end.
    pub path: String,
    /// Longer paths are its, too (`include_subpath`).
    pub has_subpaths: bool,
    /// Its methods; [`METHODS`] when empty.
    pub methods: Vec<Method>,
    /// Where it leads, without a query.
    pub target: Uri,
    /// The query that is always sent, as `name=value` pairs the way they stand in a URL: the target's own, then
    /// `default_query_params`.
    pub query: Vec<String>,
    /// Of a name that both give, the client's value is sent (`merge_query_params`).
    pub client_query_wins: bool,
    /// Headers that are always sent. They may hold secrets.
    pub headers: HeaderMap,
    /// The client's headers are sent, too.
    pub forwards_headers: bool,
    /// The route needs a key (`auth`).
    pub needs_key: bool,
    /// The header that carries the key, where it is another one (`headers.litellm_user_api_key`).
    pub key_header: Option<HeaderName>,
    /// The key is the user of `Authorization: Basic …` (`custom_auth_parser: langfuse`).
    pub key_is_user: bool,
    /// What a call costs, US dollars.
    pub cost: Decimal,
    /// How long the target may take to answer, and be silent in the middle of an answer.
    pub timeout: Duration,
    /// Guardrails that judge requests and answers.
    pub guardrails: Vec<Judge>,
    /// The way there.
    pub upstream: Arc<dyn Upstream>,
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passage")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Passage {
    /// The methods it takes.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        match self.methods.is_empty() {
            true => &METHODS,
            false => &self.methods,
        }
    }

    /// Its paths, as they are listed: its own and, where it has longer ones, `…/{subpath}`.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let longer = self
            .has_subpaths
            .then(|| format!("{}/{{subpath}}", self.path));
        std::iter::once(self.path.clone()).chain(longer).collect()
    }

    /// Where it leads, as it may be shown: without query and credentials.
    #[must_use]
    pub fn shown(&self) -> String {
        let target = &self.target;
        let scheme = target.scheme_str().unwrap_or_default();
        let authority = target
            .authority()
            .map(http::uri::Authority::as_str)
            .unwrap_or_default();
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        format!("{scheme}://{host}{}", target.path())
    }

    /// What of a path lies below this route's; `None` when the path is not its own.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.path.as_str())?;
        let is_own = rest.is_empty() || self.has_subpaths && rest.starts_with('/');
        is_own.then_some(rest)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Passages(Vec<Arc<Passage>>);

/// What a path and method mean.
#[derive(Debug)]
pub enum Crossing {
    /// This route; what of the path lies below it.
    Open(Arc<Passage>, String),
    /// The path is a route's, but not with this method.
    WrongMethod,
}

impl Passages {
    /// These routes. Of two with the same path and a method in common the first counts.
    #[must_use]
    pub fn new(mut all: Vec<Passage>) -> Self {
        // The longest path that fits is the one that is meant.
        all.sort_by_key(|passage| std::cmp::Reverse(passage.path.len()));
        Self(all.into_iter().map(Arc::new).collect())
    }

    /// The route of a path without the query; `None` when it is no route of these.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Option<Crossing> {
        let mut known = None;
        for passage in &self.0 {
            let Some(rest) = passage.rest(path) else {
                continue;
            };
            if passage.methods().contains(method) {
                return Some(Crossing::Open(passage.clone(), rest.to_owned()));
            }
            known = Some(Crossing::WrongMethod);
        }
        known
    }

    /// Every route.
    pub fn iter(&self) -> impl Iterator<Item = &Passage> {
        self.0.iter().map(|passage| &**passage)
    }
}

/// A call of such a route, in its exchange.
#[derive(Debug)]
pub struct Passed {
    /// The route.
    pub passage: Arc<Passage>,
    /// The path that was asked for.
    pub path: String,
    /// What of it lies below the route's.
    pub rest: String,
    /// The request's body as far as it is kept for events: whole, or nothing.
    pub request: Bytes,
}

#[cfg(test)]
mod tests;
