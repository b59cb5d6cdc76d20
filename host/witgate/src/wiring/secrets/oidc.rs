//! Identity tokens: `oidc/PROVIDER/AUDIENCE`, as LiteLLM has them.
//!
//! | Provider | Token |
//! |---|---|
//! | `google` | of the machine's service account, from the metadata server (`GCE_METADATA_HOST`) |
//! | `github` | of the workflow, from `ACTIONS_ID_TOKEN_REQUEST_URL` |
//! | `circleci`, `circleci_v2` | in `CIRCLE_OIDC_TOKEN`, `CIRCLE_OIDC_TOKEN_V2` |
//! | `azure` | in the file that `AZURE_FEDERATED_TOKEN_FILE` names |
//! | `file` | in the file, which lies in one of `LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS` |
//! | `env`, `env_path` | in the variable, or in the file that it names |

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Request};
use witgate_outbound::{Body, Client, ClientOptions, Egress, collect_limited};
use witgate_plugins::EnvLookup;
use zeroize::Zeroizing;

use super::Trouble;

/// What a reference to a token begins with.
pub(super) const PREFIX: &str = "oidc/";

/// A token.
pub(super) struct Token {
    pub(super) value: Zeroizing<String>,
    /// How long it may be kept.
    pub(super) keep: Option<Duration>,
}

/// Bytes of a token, and of an answer with one.
const BYTES_MAX: usize = 64 << 10;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Tokens of GitHub live five minutes.
const KEEP_GITHUB: Duration = Duration::from_secs(295);
/// Tokens of Google live an hour at most; the last minute is for the requests that are made with them.
const KEEP_GOOGLE_MAX: u64 = 3540;
/// Files with tokens are rewritten by who gives them out.
const KEEP_FILE: Duration = Duration::from_secs(60);
/// Where files with tokens may lie when nobody says.
const FOLDERS: &str = "/var/run/secrets,/run/secrets";

/// Tokens come from where the operator's machine says, which is often a private address.
static CLIENT: LazyLock<Result<Client, String>> = LazyLock::new(|| {
    Client::new(ClientOptions::new(Egress::Unrestricted)).map_err(|error| error.to_string())
});

/// The token of a reference.
pub(super) async fn token(name: &str, env: &EnvLookup) -> Result<Token, Trouble> {
    let reference = name.strip_prefix(PREFIX).unwrap_or(name);
    let (provider, audience) = reference.split_once('/').unwrap_or((reference, ""));
    let found = match provider {
        "google" => google(audience, env).await,
        "github" => github(audience, env).await,
        "circleci" => variable("CIRCLE_OIDC_TOKEN", env),
        "circleci_v2" => variable("CIRCLE_OIDC_TOKEN_V2", env),
        "azure" => file_in("AZURE_FEDERATED_TOKEN_FILE", env),
        "file" => allowed_file(audience, env),
        "env" => variable(audience, env),
        "env_path" => file_in(audience, env),
        other => Err(format!("{other:?} is no provider of identity tokens")),
    };
    found.map_err(|text| Trouble {
        text,
        for_all: false,
    })
}

async fn google(audience: &str, env: &EnvLookup) -> Result<Token, String> {
    let host = set("GCE_METADATA_HOST", env).unwrap_or("metadata.google.internal".to_owned());
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("audience", audience)
        .finish();
    let url = format!(
        "http://{host}/computeMetadata/v1/instance/service-accounts/default/identity?{query}"
    );
    let value = ask(&url, &[("metadata-flavor", "Google".to_owned())]).await?;
    let keep = expiry(&value).map_or(KEEP_GOOGLE_MAX, |exp| {
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        exp.saturating_sub(now + 60).min(KEEP_GOOGLE_MAX)
    });
    Ok(Token {
        value,
        keep: Some(Duration::from_secs(keep)),
    })
}

async fn github(audience: &str, env: &EnvLookup) -> Result<Token, String> {
    let needs = |name: &str| {
        set(name, env).ok_or_else(|| {
            format!(
                "{name} is not set; the workflow needs `permissions: id-token: write` to have it"
            )
        })
    };
    let url = needs("ACTIONS_ID_TOKEN_REQUEST_URL")?;
    let bearer = needs("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?;
    let mut url =
        url::Url::parse(&url).map_err(|_| "ACTIONS_ID_TOKEN_REQUEST_URL is no URL".to_owned())?;
    url.query_pairs_mut().append_pair("audience", audience);
    let headers = [
        ("authorization", format!("Bearer {bearer}")),
        ("accept", "application/json; api-version=2.0".to_owned()),
    ];
    let answer = ask(url.as_str(), &headers).await?;
    // The parser's own text may quote the token.
    let answer: Option<serde_json::Value> = serde_json::from_str(&answer).ok();
    let value = answer.as_ref().and_then(|answer| answer.get("value"));
    let value = value.and_then(serde_json::Value::as_str);
    let value = value.ok_or("GitHub's answer has no `value` with a token")?;
    Ok(Token {
        value: Zeroizing::new(value.to_owned()),
        keep: Some(KEEP_GITHUB),
    })
}

/// The whole text of an answer.
async fn ask(url: &str, headers: &[(&str, String)]) -> Result<Zeroizing<String>, String> {
    let client = CLIENT.as_ref().map_err(Clone::clone)?;
    let mut request = Request::get(url)
        .body(Body::from(Vec::new()))
        .map_err(|_| "the URL of the token is malformed".to_owned())?;
    for (name, value) in headers {
        let mut value = HeaderValue::try_from(value.as_str())
            .map_err(|_| format!("the value of the header {name} is malformed"))?;
        value.set_sensitive(true);
        if let Ok(name) = http::HeaderName::try_from(*name) {
            request.headers_mut().insert(name, value);
        }
    }
    let exchange = async {
        let response = client
            .send(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        let body = collect_limited(response.into_body(), BYTES_MAX)
            .await
            .map_err(|error| error.to_string())?;
        match status.is_success() {
            true => text(body.to_vec()),
            false => Err(format!("the provider of the token answered {status}")),
        }
    };
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err("the provider of the token does not answer in time".to_owned()))
}

fn set(name: &str, env: &EnvLookup) -> Option<String> {
    env(name).filter(|value| !value.trim().is_empty())
}

fn variable(name: &str, env: &EnvLookup) -> Result<Token, String> {
    let value = set(name, env).ok_or_else(|| format!("{name} is not set"))?;
    Ok(Token {
        value: Zeroizing::new(value),
        // It is the process's: it does not change.
        keep: Some(Duration::from_secs(super::KEEP_S)),
    })
}

fn file_in(name: &str, env: &EnvLookup) -> Result<Token, String> {
    let path = set(name, env)
        .ok_or_else(|| format!("{name} is not set; it names the file with the token"))?;
    file(Path::new(&path))
}

/// A file in one of the folders that are meant for credentials. Links are followed first: they may lead elsewhere.
fn allowed_file(path: &str, env: &EnvLookup) -> Result<Token, String> {
    let path = Path::new("/").join(path);
    let folders =
        set("LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS", env).unwrap_or_else(|| FOLDERS.to_owned());
    let real = |path: &Path| std::fs::canonicalize(path);
    let target = real(&path).map_err(|error| unreadable(&path, &error))?;
    let folders = folders.split(',').map(str::trim).filter(|f| !f.is_empty());
    let mut folders = folders.filter_map(|folder| real(&PathBuf::from(folder)).ok());
    match folders.any(|folder| target.starts_with(folder)) {
        true => file(&target),
        false => Err(format!(
            "{} lies in none of the folders for credentials ({}); LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS names others",
            path.display(),
            set("LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS", env).unwrap_or_else(|| FOLDERS.to_owned())
        )),
    }
}

fn file(path: &Path) -> Result<Token, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() > BYTES_MAX {
        return Err(format!(
            "{} has more than {BYTES_MAX} bytes: it is no token",
            path.display()
        ));
    }
    Ok(Token {
        value: text(bytes)?,
        keep: Some(KEEP_FILE),
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("the token in {} cannot be read: {error}", path.display())
}

fn text(bytes: Vec<u8>) -> Result<Zeroizing<String>, String> {
    let text = String::from_utf8(bytes).map_err(|_| "the token is no text".to_owned())?;
    let text = Zeroizing::new(text);
    match text.trim() {
        "" => Err("the token is empty".to_owned()),
        token => Ok(Zeroizing::new(token.to_owned())),
    }
}

/// When a token ends, in seconds since 1970, as it says itself.
fn expiry(token: &str) -> Option<u64> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_u64()
}
