//! The Redis that gateways share: where the configuration and `REDIS_*` say it is.
//!
//! The router's (`router_settings.redis_…`) goes before that of the cache of answers (`cache_params` with
//! `type: redis`). What neither says, a variable `REDIS_NAME` may say.

mod google;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use witgate_config::{Env, Loaded};
use witgate_state::{Place, Redis, RedisParts, RedisSettings, Secret, Store, Tls};

const PORT: u16 = 6379;
/// How long somebody waits who tries whether a Redis is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// The store that gateways share, when there is a Redis. It survives a reload that leaves its settings as
/// they are.
pub(super) fn store(
    loaded: &Loaded,
    kept: &mut Option<Arc<Redis>>,
    parts: &RedisParts,
    problems: &mut Vec<String>,
) -> Option<Store> {
    let settings = match settings(loaded) {
        Ok(settings) => settings,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let Some(settings) = settings else {
        *kept = None;
        return None;
    };
    let same = kept.take().filter(|redis| *redis.settings() == settings);
    let redis = same.map_or_else(|| Redis::start(settings, parts.clone()), Ok);
    match redis {
        Ok(redis) => {
            *kept = Some(redis.clone());
            Some(Store::redis(redis))
        }
        Err(why) => {
            problems.push(format!("Redis: {why}"));
            None
        }
    }
}

/// Reaches the Redis of these parameters of a cache, once.
///
/// # Errors
/// What of them is wrong, or why nobody answers.
pub async fn reach(
    loaded: &Loaded,
    own: &Map<String, Value>,
    parts: &RedisParts,
) -> Result<(), String> {
    let env = &loaded.environment;
    let litellm = loaded.config.raw.get("litellm_settings");
    let ssl_verify = litellm.and_then(|litellm| litellm.get("ssl_verify"));
    let mut settings = Options { own, env }.settings(ssl_verify)?;
    // Whoever tries it waits for a connection, which calls do not.
    settings.socket_timeout = settings.socket_timeout.max(PATIENCE);
    // What it counts is nobody's business.
    let mut uncounted = prometheus_client::registry::Registry::default();
    let parts = RedisParts {
        metrics: witgate_state::StateMetrics::register(&mut uncounted),
        observe: None,
        ..parts.clone()
    };
    let redis = Redis::start(settings, parts)?;
    let answered = Store::redis(redis).ping().await;
    answered.map_err(|why| why.to_string())
}

/// What is wrong with the settings of the Redis that is shared, and the section that they are in.
pub(super) fn problem(loaded: &Loaded) -> Option<(&'static str, String)> {
    const PLACES: [&str; 2] = ["router_settings", "litellm_settings.cache_params"];
    let problem = match settings(loaded) {
        Ok(None) => return None,
        Ok(Some(settings)) => settings.check().err()?,
        Err(problem) => problem,
    };
    let place = PLACES.into_iter().find(|place| problem.starts_with(place));
    let place = place.unwrap_or("REDIS_*");
    let told = problem.strip_prefix(place).unwrap_or(&problem);
    let told = told.trim_start_matches(|c: char| !c.is_alphanumeric());
    Some((place, told.to_owned()))
}

/// Where Redis is, if there is one.
fn settings(loaded: &Loaded) -> Result<Option<RedisSettings>, String> {
    let env = &loaded.environment;
    let section = |name: &str| loaded.config.raw.get(name).and_then(Value::as_object);
    let litellm = section("litellm_settings");
    let cache = litellm.filter(|s| s.get("cache").and_then(Value::as_bool) == Some(true));
    let params = cache.and_then(|s| s.get("cache_params")?.as_object());
    let namespace = params.and_then(|p| p.get("namespace")?.as_str());
    let ssl_verify = litellm.and_then(|s| s.get("ssl_verify"));
    let trust = |options: &Options<'_>, at: &str| -> Result<Option<RedisSettings>, String> {
        let mut settings = options
            .settings(ssl_verify)
            .map_err(|e| format!("{at}: {e}"))?;
        settings.namespace = namespace.map(str::to_owned);
        Ok(Some(settings))
    };
    if let Some(router) = section("router_settings").and_then(of_router) {
        let options = Options { own: &router, env };
        return trust(&options, "router_settings.redis_…");
    }
    let Some(cache) = cache else {
        return Ok(None);
    };
    let own = params.cloned().unwrap_or_default();
    let options = Options { own: &own, env };
    let is_given = cache.get("cache_params").is_some_and(|p| !p.is_null());
    let kind = own.get("type").and_then(Value::as_str);
    match (kind, is_given) {
        (Some("redis" | "redis-semantic" | "valkey-semantic"), _) => {
            trust(&options, "litellm_settings.cache_params")
        }
        // LiteLLM's choice, where a variable says which.
        (None, false) if options.names_a_place() => trust(&options, "REDIS_*"),
        _ => Ok(None),
    }
}

/// The router's own options under the names of the client's, when it names a Redis.
fn of_router(router: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut options = router
        .get("cache_kwargs")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for name in ["url", "host", "port", "password", "db"] {
        let value = router.get(&format!("redis_{name}"));
        if let Some(value) = value.filter(|value| !value.is_null()) {
            options.insert(name.to_owned(), value.clone());
        }
    }
    let has = |name: &str| options.get(name).is_some_and(|value| !value.is_null());
    let is_named = has("url") || has("host") && has("port");
    (is_named || has("startup_nodes") || has("redis_startup_nodes") || has("sentinel_nodes"))
        .then_some(options)
}

/// Options of the Redis client, by redis-py's names.
struct Options<'a> {
    own: &'a Map<String, Value>,
    env: &'a Env,
}

impl Options<'_> {
    /// What the configuration says, and what the variable.
    fn own(&self, name: &str) -> Option<Value> {
        self.own.get(name).filter(|v| !v.is_null()).cloned()
    }

    fn variable(&self, name: &str) -> Option<Value> {
        let variable = format!("REDIS_{}", name.to_uppercase());
        let text = self.env.non_empty(&variable)?;
        Some(Value::String(text.to_owned()))
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.own(name).or_else(|| self.variable(name))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| text(&value))
    }

    fn names_a_place(&self) -> bool {
        let names = ["url", "host", "cluster_nodes", "sentinel_nodes"];
        names.iter().any(|name| self.variable(name).is_some())
    }

    fn settings(&self, ssl_verify: Option<&Value>) -> Result<RedisSettings, String> {
        let own = |name: &str| self.own(name);
        let variable = |name: &str| self.variable(name);
        // A place in the configuration goes before every variable.
        let mut settings = match self.place(&own)? {
            Some(settings) => settings,
            None => self.place(&variable)?.ok_or(
                "names no Redis; say host and port, a URL, redis_startup_nodes or sentinel_nodes, or set REDIS_HOST or REDIS_URL",
            )?,
        };
        if let Some(username) = self.text("username") {
            settings.username = Some(username);
        }
        if let Some(password) = self.text("password") {
            settings.password = Some(Secret::new(password));
        }
        if let Some(db) = self.get("db") {
            let number = text(&db).trim().parse();
            settings.db = number.map_err(|_| format!("db: expected a number, not {db}"))?;
        }
        if let Some(timeout) = self.get("socket_timeout") {
            let seconds: Option<f64> = text(&timeout).trim().parse().ok();
            let valid = seconds.filter(|s| *s > 0.0 && *s < 1e6);
            settings.socket_timeout = valid
                .map(Duration::from_secs_f64)
                .ok_or_else(|| format!("socket_timeout: expected seconds, not {timeout}"))?;
        }
        if let Some(account) = self.text("gcp_service_account") {
            let endpoint = self.text("gcp_iam_endpoint_url");
            let passwords = google::passwords(&account, endpoint.as_deref(), self.env);
            let passwords = passwords.map_err(|why| format!("gcp_service_account: {why}"))?;
            settings.passwords = Some(passwords);
        }
        let asks_tls = self.text("ssl").is_some_and(|text| is_true(&text));
        if asks_tls || settings.tls.is_some() {
            settings.tls = Some(self.tls(ssl_verify)?);
        }
        Ok(settings)
    }

    /// Where Redis is, by one source.
    fn place(&self, get: &dyn Fn(&str) -> Option<Value>) -> Result<Option<RedisSettings>, String> {
        let nodes = ["redis_startup_nodes", "startup_nodes", "cluster_nodes"];
        if let Some((name, value)) = nodes.iter().find_map(|name| Some((name, get(name)?))) {
            let nodes = addresses(&value)
                .ok_or_else(|| format!("{name}: expected a list of {{host, port}}, not {value}"))?;
            return Ok(Some(RedisSettings::at(Place::Cluster(nodes))));
        }
        if let Some(value) = get("sentinel_nodes") {
            let nodes = addresses(&value).ok_or_else(|| {
                format!("sentinel_nodes: expected a list of [host, port], not {value}")
            })?;
            let service = self.text("service_name");
            return Ok(Some(RedisSettings::at(Place::Sentinel {
                nodes,
                service: service.ok_or("sentinel_nodes: service_name must be said, too")?,
                username: self.text("sentinel_username"),
                password: self.text("sentinel_password").map(Secret::new),
            })));
        }
        if let Some(url) = get("url") {
            let settings = RedisSettings::from_url(&text(&url));
            return settings.map(Some).map_err(|why| format!("url: {why}"));
        }
        let Some(host) = get("host") else {
            return Ok(None);
        };
        let port = match self.get("port") {
            None => PORT,
            Some(port) => text(&port)
                .trim()
                .parse()
                .map_err(|_| format!("port: expected a number from 1 to 65535, not {port}"))?,
        };
        Ok(Some(RedisSettings::at(Place::Single {
            host: text(&host),
            port,
        })))
    }

    /// Trust as the client's options say, else as the gateway's do.
    fn tls(&self, ssl_verify: Option<&Value>) -> Result<Tls, String> {
        let read = |name: &str, path: &str| {
            std::fs::read(Path::new(path)).map_err(|error| format!("{name}: {path}: {error}"))
        };
        let verify = self.text("ssl_cert_reqs");
        let told = ssl_verify.map(text);
        let is_off = |text: &str| matches!(text.to_lowercase().as_str(), "none" | "false" | "0");
        let bundle = told.as_deref().filter(|t| !is_off(t) && !is_true(t));
        let own = self
            .text("ssl_ca_certs")
            .or_else(|| self.text("gcp_ssl_ca_certs"));
        let roots = own.as_deref().or(bundle);
        let unverified = match &verify {
            Some(verify) => is_off(verify),
            None => own.is_none() && told.as_deref().is_some_and(is_off),
        };
        let identity = match (self.text("ssl_certfile"), self.text("ssl_keyfile")) {
            (None, _) => None,
            (Some(cert), key) => {
                let key = read("ssl_keyfile", key.as_deref().unwrap_or(&cert))?;
                let key = String::from_utf8(key).map_err(|_| "ssl_keyfile: is no PEM")?;
                Some((read("ssl_certfile", &cert)?, Secret::new(key)))
            }
        };
        Ok(Tls {
            roots: roots.map(|path| read("ssl_ca_certs", path)).transpose()?,
            identity,
            unverified,
        })
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_true(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "true" | "1" | "yes" | "on")
}

/// `[{host, port}]` or `[[host, port]]`, or such a list as JSON text.
fn addresses(value: &Value) -> Option<Vec<(String, u16)>> {
    let parsed: Value;
    let list = match value {
        Value::String(json) => {
            parsed = serde_json::from_str(json).ok()?;
            parsed.as_array()?
        }
        other => other.as_array()?,
    };
    let one = |node: &Value| {
        let (host, port) = match node {
            Value::Object(node) => (node.get("host")?, node.get("port")?),
            Value::Array(pair) => (pair.first()?, pair.get(1)?),
            _ => return None,
        };
        Some((host.as_str()?.to_owned(), text(port).trim().parse().ok()?))
    };
    let nodes: Option<Vec<_>> = list.iter().map(one).collect();
    nodes.filter(|nodes| !nodes.is_empty())
}

#[cfg(test)]
mod tests;
