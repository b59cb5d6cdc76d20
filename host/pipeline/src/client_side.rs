//! What a request brings of its own for its upstream: a key, an address (`allow_client_side_credentials`,
//! `configurable_clientside_auth_params`).
//!
//! `parse` takes it out of the body, so that no plugin, cache, log or event sees it. `authorize` and `route` leave only the
//! deployments that allow it. The try uses it in place of what the deployment has. Nothing of the deployment's own goes to an
//! address that a client names, and nothing of such a call counts for or against the deployment.

mod routed;
mod sent;

use http::{HeaderValue, Uri};
use witgate_wire::{Edits, RequestView};
use zeroize::Zeroizing;

use crate::address::{endpoint_url, shown_base};
use crate::dialect::origin;
use crate::failure::{Case, Failure};

pub(crate) use routed::{begin, narrowed, onward, refused};
pub use sent::plain_headers;
pub(crate) use sent::{unanswered, way};

/// Names of a body whose values are the client's own credentials and address.
pub(crate) const NAMES: [&str; 4] = ["api_base", "base_url", "api_key", "api_version"];

/// Longest address: it stands in headers and labels.
const BASE_MAX_BYTES: usize = 2048;
/// Longest key, tokens of identity providers included.
const KEY_MAX_BYTES: usize = 16 * 1024;

/// A part of what clients may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientParam {
    /// `api_key`
    Key,
    /// `api_base`, or `base_url`
    Base,
    /// `api_version`
    Version,
}

impl ClientParam {
    /// The parameter of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "api_key" => Some(Self::Key),
            "api_base" | "base_url" => Some(Self::Base),
            "api_version" => Some(Self::Version),
            _ => None,
        }
    }
}

/// A parameter that clients may bring to a deployment.
#[derive(Debug, Clone)]
pub struct ClientRule {
    /// Which.
    pub param: ClientParam,
    /// What its value must look like as a whole; `None`: anything.
    pub pattern: Option<regex::Regex>,
}

/// What clients may bring to a deployment, where not everything is allowed everywhere.
#[derive(Debug, Clone, Default)]
pub struct ClientSide {
    /// `configurable_clientside_auth_params`
    pub rules: Vec<ClientRule>,
    /// The same as it is written, for whoever asks for the model's facts; null when it is absent.
    pub written: serde_json::Value,
    /// The deployment's body parameters that hold secrets: they do not go to a client's address.
    pub secrets: Vec<String>,
}

impl ClientSide {
    fn lets(&self, param: ClientParam, value: &str) -> bool {
        let fits = |rule: &ClientRule| {
            let pattern = rule.pattern.as_ref();
            rule.param == param && pattern.is_none_or(|pattern| pattern.is_match(value))
        };
        self.rules.iter().any(fits)
    }

    /// Whether a client may name an address.
    #[must_use]
    pub fn lets_addresses(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.param == ClientParam::Base)
    }
}

/// What a request brings of its own. It is shown nowhere.
#[derive(Default)]
pub struct Brought {
    key: Option<Zeroizing<String>>,
    base: Option<String>,
    /// By which of its two names the base came.
    is_base_url: bool,
    version: Option<String>,
    organization: Option<String>,
    /// Where the base leads, once it is known to be one.
    place: Option<Place>,
    authorization: Option<HeaderValue>,
    /// Why it cannot be used.
    fault: Option<Failure>,
}

/// An address that a client names.
struct Place {
    url: Uri,
    origin: String,
    shown: String,
}

/// Takes out of a request what it brings of its own.
///
/// # Errors
/// When the body cannot be edited, which a body that was read can.
pub(crate) fn take(request: RequestView) -> Result<(RequestView, Option<Box<Brought>>), Failure> {
    if !NAMES.iter().any(|name| request.object().contains(name)) {
        return Ok((request, None));
    }
    let mut edits = Edits::new();
    for name in NAMES {
        edits.remove(name);
    }
    let mut fault = None;
    let mut text = |name: &str| match request.field(name)?.as_str() {
        Some(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        _ => {
            fault.get_or_insert_with(|| bad(name, "expected a text that is not empty"));
            Some(String::new())
        }
    };
    let (base, other, key) = (text("api_base"), text("base_url"), text("api_key"));
    let version = text("api_version");
    // Without a key it is a parameter like any other.
    let organization = match key {
        Some(_) => text("organization"),
        None => None,
    };
    if key.is_some() {
        edits.remove("organization");
    }
    if let (Some(base), Some(other)) = (&base, &other)
        && base != other
    {
        fault.get_or_insert_with(|| bad("base_url", "it is another word for api_base; give one"));
    }
    let mut brought = Brought {
        key: key.map(Zeroizing::new),
        is_base_url: base.is_none(),
        base: base.or(other),
        version,
        organization,
        fault,
        ..Brought::default()
    };
    let is_empty = brought.params().next().is_none();
    if let Err(why) = brought.make(&request) {
        brought.fault.get_or_insert(why);
    }
    let request = request.with_edits(&edits).map_err(|error| {
        Failure::internal(format!("credentials could not be taken out: {error}"))
    })?;
    Ok((request, (!is_empty).then(|| Box::new(brought))))
}

fn bad(name: &str, why: &str) -> Failure {
    let text = format!("litellm.BadRequestError: {name}: {why}");
    Failure::new(Case::UnsupportedParam, text).param(name)
}

impl Brought {
    /// Works out what is sent.
    fn make(&mut self, request: &RequestView) -> Result<(), Failure> {
        if let Some(base) = &self.base {
            let is_whole = base.len() <= BASE_MAX_BYTES && !base.contains(['#', '@']);
            if !is_whole {
                return Err(bad(
                    "api_base",
                    "it must be a URL without credentials and fragment, of 2048 bytes at most",
                ));
            }
            let url = endpoint_url(base, request.endpoint());
            let url = url.map_err(|why| bad("api_base", &why))?;
            if self.key.is_none() {
                return Err(bad(
                    "api_base",
                    "it needs an api_key beside it: the model's own key goes to no other address",
                ));
            }
            self.place = origin(&url).map(|origin| Place {
                url,
                origin,
                shown: shown_base(base),
            });
        }
        if let Some(key) = &self.key {
            if key.len() > KEY_MAX_BYTES {
                return Err(bad("api_key", "it is longer than 16384 bytes"));
            }
            let value = Zeroizing::new(format!("Bearer {}", key.as_str()));
            self.authorization = Some(secret(&value, "api_key")?);
        }
        if let Some(organization) = &self.organization {
            secret(organization, "organization")?;
        }
        Ok(())
    }

    /// Why it cannot be used.
    pub(crate) fn fault(&self) -> Option<&Failure> {
        self.fault.as_ref()
    }

    /// The address that it leads to, in place of the deployment's.
    pub(crate) fn url(&self) -> Option<&Uri> {
        self.place.as_ref().map(|place| &place.url)
    }

    /// The same as a base URL without a final slash.
    pub(crate) fn base(&self) -> Option<&str> {
        let base = self.base.as_deref().filter(|_| self.place.is_some());
        base.map(|base| base.trim_end_matches('/'))
    }

    /// Whether a URL is at that address.
    pub(crate) fn leads_to(&self, url: &Uri) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|place| origin(url).as_deref() == Some(&place.origin))
    }

    /// The key, in place of all secrets of the deployment.
    pub(crate) fn key(&self) -> Option<&Zeroizing<String>> {
        self.key.as_ref()
    }

    /// Takes the key out of a failure's words: an upstream may quote it.
    pub(crate) fn scrub(&self, failure: &mut Failure) {
        let Some(key) = self.key.as_ref().map(|key| key.as_str()) else {
            return;
        };
        let without = |text: &str| text.replace(key, "*****");
        if failure.message.contains(key) {
            failure.message = without(&failure.message).into();
        }
        for text in [
            &mut failure.operator_note,
            &mut failure.code,
            &mut failure.param,
            &mut failure.kind,
            &mut failure.detail,
        ] {
            if let Some(text) = text.as_mut().filter(|text| text.contains(key)) {
                *text = without(text);
            }
        }
    }
}

impl std::fmt::Debug for Brought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brought").finish_non_exhaustive()
    }
}

fn secret(text: &str, name: &str) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_str(text);
    let why = "it has characters that cannot be in a header";
    let mut value = value.map_err(|_| bad(name, why))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
