//! What Vault's answers mean.

use serde::Deserialize;
use serde_json::Value;
use witgate_plugin::Error;
use witgate_plugin::http::Response;

/// What was tried: the capability that the policy must grant for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Reading.
    Read,
    /// Writing a new version.
    Write,
    /// Deleting the latest version.
    Delete,
    /// Logging in.
    LogIn,
}

/// A token, and how long it is good for.
#[derive(Deserialize)]
pub struct Lease {
    /// The token.
    pub client_token: String,
    /// Seconds; 0 when it does not end.
    #[serde(default)]
    pub lease_duration: u64,
}

/// Characters of Vault's own words in an error.
const WORDS_MAX: usize = 300;

/// The value in the answer to a read; `None` when there is no such secret, or its latest version is deleted.
pub fn value_in(response: &Response, path: &str, field: &str) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Read {
        data: Option<Version>,
    }
    #[derive(Deserialize)]
    struct Version {
        data: Option<serde_json::Map<String, Value>>,
    }
    match response.status() {
        404 if !is_no_engine(response) => return Ok(None),
        _ => done(response, Doing::Read, path)?,
    }
    // The parser's own text may quote the value.
    let read: Read = serde_json::from_slice(response.body())
        .map_err(|_| Error::failed(format!("the answer to a read of {path} is not Vault's")))?;
    let Some(fields) = read.data.and_then(|version| version.data) else {
        return Ok(None);
    };
    match fields.get(field) {
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Null) => Ok(None),
        Some(other) => Ok(Some(other.to_string())),
        None => {
            let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
            names.truncate(10);
            Err(Error::failed(format!(
                "the secret {path} has no field {field:?}, it has {names:?}; store the value as `{field}`, as in `vault kv put … {field}=…`"
            )))
        }
    }
}

/// The token in the answer to a login.
pub fn lease_in(response: &Response, path: &str) -> Result<Lease, Error> {
    #[derive(Deserialize)]
    struct LoggedIn {
        auth: Option<Lease>,
    }
    done(response, Doing::LogIn, path)?;
    // The parser's own text may quote the token.
    let logged_in: Option<LoggedIn> = serde_json::from_slice(response.body()).ok();
    logged_in
        .and_then(|logged_in| logged_in.auth)
        .filter(|lease| !lease.client_token.is_empty())
        .ok_or_else(|| Error::failed(format!("the answer to the login at {path} has no token")))
}

/// Whether it was done, else what to change.
pub fn done(response: &Response, doing: Doing, path: &str) -> Result<(), Error> {
    let status = response.status();
    let said = words(response);
    let what = match doing {
        Doing::Read => "read",
        Doing::Write => "write",
        Doing::Delete => "delete",
        Doing::LogIn => "log in at",
    };
    let told = format!("Vault answered {status} to {what} {path}{said}");
    match (status, doing) {
        (200..=299, _) => Ok(()),
        (400..=404, Doing::LogIn) => Err(Error::settings(format!(
            "{told}; check the role, its secret or certificate, where the method is mounted, and HCP_VAULT_NAMESPACE"
        ))),
        (403, _) => {
            let capability = match doing {
                Doing::Write => "create` and `update",
                Doing::Delete => "delete",
                Doing::Read | Doing::LogIn => "read",
            };
            Err(Error::failed(format!(
                "{told}; the token is not valid (any more), or its policy lacks `{capability}` on {path}"
            )))
        }
        (404, _) => Err(Error::failed(format!(
            "{told}; check HCP_VAULT_MOUNT_NAME and HCP_VAULT_NAMESPACE, and that the engine there is KV version 2"
        ))),
        (300..=399, _) => Err(Error::failed(format!(
            "{told}: it is a standby; let HCP_VAULT_ADDR name the active node or the load balancer"
        ))),
        (503, _) => Err(Error::unavailable(format!(
            "{told}; it is sealed or a standby"
        ))),
        _ if response.is_worth_a_retry() => Err(Error::unavailable(told)),
        _ => Err(Error::failed(told)),
    }
}

/// A 404 because nothing is mounted there, and not because there is no such secret.
fn is_no_engine(response: &Response) -> bool {
    let said = words(response);
    said.contains("no handler for route") || said.contains("unsupported path")
}

/// Vault's own words, `: …`, or nothing.
fn words(response: &Response) -> String {
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        errors: Vec<String>,
    }
    let said = serde_json::from_slice::<Said>(response.body()).map(|said| said.errors.join("; "));
    let Some(said) = said.ok().filter(|said| !said.is_empty()) else {
        return String::new();
    };
    let line: String = said
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WORDS_MAX)
        .collect();
    format!(" ({})", line.trim())
}
