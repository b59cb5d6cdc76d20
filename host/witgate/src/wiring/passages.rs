//! `general_settings.pass_through_endpoints`: from the configuration to routes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use rust_decimal::Decimal;
use serde_json::Value;
use witgate_config::{Env, Loaded, PassThroughEndpoint};
use witgate_pipeline::passage::{Field, Judge, METHODS, Passage, Passages};

use super::models::tls;
use super::settings::set;
use super::upstream::{Reach, Upstreams};

/// LiteLLM's default, seconds.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Names among the headers that are no headers.
const KEY_HEADER: &str = "litellm_user_api_key";
const LANGFUSE: [&str; 2] = ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"];

/// The routes; adds to `problems` what cannot be one.
pub(super) fn passages(
    loaded: &Loaded,
    upstreams: &mut Upstreams,
    problems: &mut Vec<String>,
) -> Passages {
    let listed = loaded.config.general.pass_through_endpoints.iter();
    let mut all = Vec::new();
    for (at, endpoint) in listed.enumerate() {
        match passage(loaded, upstreams, endpoint) {
            Ok(passage) => {
                if endpoint.auth.is_none() && loaded.config.general.master_key.is_some() {
                    tracing::warn!(
                        path = passage.path,
                        "anybody may call this pass-through route, without a key; set auth: true, or auth: false if that is meant"
                    );
                }
                if let Some(own) = witgate_server::routes::covered(
                    &passage.path,
                    passage.has_subpaths,
                    passage.methods(),
                ) {
                    tracing::warn!(
                        path = passage.path,
                        "{own} is the gateway's own and is answered by it, not by this pass-through route: give the route another path, or methods without that one"
                    );
                }
                all.push(passage);
            }
            Err(why) => {
                let id = endpoint.id.as_deref();
                let named = id.map(|id| format!(" (id {id})")).unwrap_or_default();
                problems.push(format!(
                    "general_settings.pass_through_endpoints[{at}]{named}: {why}"
                ));
            }
        }
    }
    Passages::new(all)
}

/// Why the API stores none of these routes: one that would never be reached.
pub(crate) fn unreachable(routes: &Value) -> Option<String> {
    let routes: Vec<PassThroughEndpoint> = serde_json::from_value(routes.clone()).ok()?;
    routes.iter().find_map(|route| {
        let path = format!("/{}", route.path.trim().trim_matches('/'));
        let named: Vec<Method> = route
            .methods
            .iter()
            .filter_map(|name| name.trim().to_ascii_uppercase().parse().ok())
            .collect();
        let methods = match named.is_empty() {
            true => &METHODS[..],
            false => &named,
        };
        let own = witgate_server::routes::covered(&path, route.include_subpath, methods)?;
        Some(format!(
            "path: {own} is the gateway's own, so that this route would never be reached by {path}; take another path, or name methods without that one"
        ))
    })
}

fn passage(
    loaded: &Loaded,
    upstreams: &mut Upstreams,
    endpoint: &PassThroughEndpoint,
) -> Result<Passage, String> {
    let path = endpoint.path.trim().trim_matches('/');
    if path.is_empty() || path.contains(['?', '#', '{', '}', '*']) {
        return Err(format!(
            "path: {:?} is no path; write one such as /v1/rerank",
            endpoint.path
        ));
    }
    let (target, query) = target(endpoint.target.trim())?;
    let mut query = query;
    for (name, value) in &endpoint.default_query_params {
        add_default(&mut query, name, value);
    }
    let methods = endpoint.methods.iter().map(|name| {
        let method = name.trim().to_ascii_uppercase().parse::<Method>();
        let method = method.ok().filter(|method| *method != Method::CONNECT);
        method.ok_or_else(|| format!("methods: {name:?} is no method"))
    });
    let cost = Decimal::try_from(endpoint.cost_per_request.unwrap_or(0.0));
    let cost = cost.ok().filter(|cost| *cost >= Decimal::ZERO);
    let upstream = upstreams
        .client(&tls(&loaded.config, None), Reach::All)
        .map_err(|error| error.to_string())?;
    let (headers, key_header) = headers(endpoint, &loaded.environment)?;
    Ok(Passage {
        path: format!("/{path}"),
        has_subpaths: endpoint.include_subpath,
        methods: methods.collect::<Result<_, _>>()?,
        target,
        query,
        client_query_wins: endpoint.merge_query_params,
        headers,
        forwards_headers: endpoint.forward_headers,
        needs_key: endpoint.auth == Some(true),
        key_header,
        key_is_user: endpoint.custom_auth_parser.as_deref() == Some("langfuse"),
        cost: cost.ok_or("cost_per_request: it is a price in US dollars")?,
        timeout: set(endpoint.timeout).unwrap_or(TIMEOUT),
        guardrails: guardrails(loaded, endpoint.guardrails.as_ref())?,
        upstream,
    })
}

/// The URL without its query, and the query's pairs.
fn target(text: &str) -> Result<(Uri, Vec<String>), String> {
    let (url, query) = text.split_once('?').unwrap_or((text, ""));
    let uri: Option<Uri> = url.parse().ok();
    let is_url = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some()
            && !uri
                .authority()
                .is_some_and(|host| host.as_str().contains('@'))
    };
    let uri = uri.filter(is_url).ok_or_else(|| {
        // It may hold a secret, so it is not shown.
        "target: it is a URL that begins with http:// or https:// and has no credentials in it; plugins as targets do not exist".to_owned()
    })?;
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    Ok((uri, pairs.map(str::to_owned).collect()))
}

/// Adds a parameter with one value or several, unless the target's URL has it.
fn add_default(query: &mut Vec<String>, name: &str, value: &Value) {
    let name = encoded(name);
    let is_there = query
        .iter()
        .any(|pair| pair.split_once('=').map_or(pair.as_str(), |(name, _)| name) == name);
    if is_there {
        return;
    }
    let values = match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    };
    for value in values {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        query.push(format!("{name}={}", encoded(&text)));
    }
}

/// Percent-encoded for a query.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// The headers that are sent, and the name of the one that carries the caller's key.
fn headers(
    endpoint: &PassThroughEndpoint,
    env: &Env,
) -> Result<(HeaderMap, Option<HeaderName>), String> {
    let mut headers = HeaderMap::new();
    let mut key_header = None;
    for (name, value) in &endpoint.headers {
        let value = resolved(value.reveal(), env);
        if LANGFUSE.contains(&name.as_str()) {
            continue;
        }
        let header = |text: &str| {
            text.parse::<HeaderName>()
                .map_err(|_| format!("headers.{name}: {text:?} is not the name of a header"))
        };
        if name == KEY_HEADER {
            key_header = Some(header(&value)?);
        } else {
            headers.append(header(name)?, secret(&value, name)?);
        }
    }
    let [public, private] = LANGFUSE.map(|name| {
        let value = endpoint.headers.get(name);
        value.map(|value| resolved(value.reveal(), env))
    });
    if let (Some(public), Some(private)) = (public, private) {
        let credentials = STANDARD.encode(format!("{public}:{private}"));
        let value = secret(&format!("Basic {credentials}"), LANGFUSE[0])?;
        headers.insert(AUTHORIZATION, value);
    }
    Ok((headers, key_header))
}

/// A header value that debug output must not show.
fn secret(text: &str, name: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(text.trim());
    let mut value =
        value.map_err(|_| format!("headers.{name} has characters that cannot be in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A value with a variable at its end filled in. One that is not set leaves the text as it is, as in LiteLLM.
fn resolved(text: &str, env: &Env) -> String {
    const MARK: &str = "os.environ/";
    let found = text
        .find(MARK)
        .and_then(|at| Some((at, env.get(text[at + MARK.len()..].trim())?)));
    match found {
        Some((at, value)) => format!("{}{value}", &text[..at]),
        None => text.to_owned(),
    }
}

/// The guardrails of a route, which the configuration must have.
fn guardrails(loaded: &Loaded, wanted: Option<&Value>) -> Result<Vec<Judge>, String> {
    let known = |name: &str| {
        let mut all = loaded.config.guardrails.iter();
        match all.any(|entry| entry.guardrail_name == name) {
            true => Ok(name.to_owned()),
            false => Err(format!("guardrails: there is no guardrail {name:?}")),
        }
    };
    let wrong = || {
        "guardrails: it is a list of names, or a mapping from names to {request_fields, response_fields}".to_owned()
    };
    match wanted {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(name)) => Ok(vec![Judge {
            name: known(name)?,
            ..Judge::default()
        }]),
        Some(Value::Array(names)) => {
            let judge = |name: &Value| {
                Ok(Judge {
                    name: known(name.as_str().ok_or_else(wrong)?)?,
                    ..Judge::default()
                })
            };
            names.iter().map(judge).collect()
        }
        Some(Value::Object(named)) => {
            let judge = |(name, of): (&String, &Value)| {
                Ok(Judge {
                    name: known(name)?,
                    request: fields(of.get("request_fields"))?,
                    response: fields(of.get("response_fields"))?,
                })
            };
            named.iter().map(judge).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// The paths of a list, or of one text.
fn fields(list: Option<&Value>) -> Result<Vec<Field>, String> {
    let paths: Vec<&str> = match list {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(path)) => vec![path.as_str()],
        Some(list) => {
            let items = list.as_array().into_iter().flatten();
            items.filter_map(Value::as_str).collect()
        }
    };
    let read = |path: &&str| {
        Field::parse(path).ok_or_else(|| {
            format!("guardrails: {path:?} is no path such as query or documents[*].text")
        })
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_may_end_a_value() {
        let env = Env::new([("KEY", "k-1")]);
        assert_eq!(resolved("Bearer os.environ/KEY", &env), "Bearer k-1");
        assert_eq!(resolved("os.environ/KEY", &env), "k-1");
        assert_eq!(resolved("a os.environ/NONE", &env), "a os.environ/NONE");
    }

    #[test]
    fn targets_are_urls_and_keep_their_query() {
        let (uri, query) = target("https://h.example/v1/rerank?a=1&b=%20").unwrap();
        assert_eq!(uri, "https://h.example/v1/rerank");
        assert_eq!(query, ["a=1", "b=%20"]);
        for bad in ["my.adapter", "ftp://h/x", "https://u:p@h/x", ""] {
            assert!(target(bad).is_err(), "{bad}");
        }
        let mut query = query;
        add_default(&mut query, "a", &Value::from("2"));
        add_default(&mut query, "c d", &serde_json::json!([1, "x&y"]));
        assert_eq!(query, ["a=1", "b=%20", "c%20d=1", "c%20d=x%26y"]);
    }
}
