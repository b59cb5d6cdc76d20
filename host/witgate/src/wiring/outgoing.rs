//! What the variables say of outgoing connections of every kind: proxies on the way, and how long identity services may take.

use std::time::Duration;

use witgate_config::Env;
use witgate_outbound::{Proxies, ProxyVariables};

/// Seconds an identity service may take when nobody says.
const IDENTITY_S: u64 = 15;
/// The variable that says it.
const IDENTITY: &str = "NON_LLM_CONNECTION_TIMEOUT";

/// The proxies of the variables. As in Python and curl, the small letters count before the capitals.
pub fn proxies(env: &Env) -> Result<Proxies, String> {
    if env.flag("DISABLE_AIOHTTP_TRUST_ENV") == Some(true) {
        return Ok(Proxies::default());
    }
    let either = |small: &str, capital: &str| {
        env.non_empty(small)
            .or(env.non_empty(capital))
            .map(str::to_owned)
    };
    let [http, https, all, no] = [
        either("http_proxy", "HTTP_PROXY"),
        either("https_proxy", "HTTPS_PROXY"),
        either("all_proxy", "ALL_PROXY"),
        either("no_proxy", "NO_PROXY"),
    ];
    Proxies::read(&ProxyVariables {
        http: http.as_deref(),
        https: https.as_deref(),
        all: all.as_deref(),
        no: no.as_deref(),
    })
    .map_err(|error| {
        format!("{error}; DISABLE_AIOHTTP_TRUST_ENV=True has the gateway ignore such variables")
    })
}

/// How long identity services may take.
pub fn identity_timeout(env: &Env) -> Result<Duration, String> {
    Ok(stated_identity_timeout(env)?.unwrap_or(Duration::from_secs(IDENTITY_S)))
}

/// The same when it is said.
pub fn stated_identity_timeout(env: &Env) -> Result<Option<Duration>, String> {
    let Some(text) = env.non_empty(IDENTITY) else {
        return Ok(None);
    };
    match text.trim().parse::<u64>() {
        Ok(seconds @ 1..=3600) => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(format!(
            "{IDENTITY}: expected whole seconds from 1 to 3600, not {text:?}"
        )),
    }
}
