//! `model_list`: deployments for routing, and how each is reached.

mod merged;
mod wildcard;

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use witgate_config::{Config, Loaded, ModelEntry, ModelParams};
use witgate_outbound::{ClientCertificate, Pem, Roots, TlsOptions};
use witgate_pipeline::{Target, endpoint_url, plain_headers, shown_base};
use witgate_plugins::{Kind, Provider, Registry};
use witgate_routing::{ErrorClass, Snapshot};
use witgate_wire::Endpoint;
use witgate_wire::prices::{ModelPrice, Prices, parse_decimal};

use super::auto_routers;
use super::client_headers;
use super::client_side;
use super::dialects::{self, Speakers};
use super::provider_port::Speaker;
use super::providers;
use super::routing;
use super::settings::set;
use super::upstream::{Reach, Upstreams};
use merged::merged;
use wildcard::wildcard;

pub(super) use merged::{Merged, id_params, place};

/// Builds routing and targets; adds to `problems` whatever cannot be served.
pub(super) fn models(
    loaded: &Loaded,
    upstreams: &mut Upstreams,
    plugins: &Registry,
    problems: &mut Vec<String>,
) -> (Snapshot, Vec<Target>) {
    let passed = passed_through(loaded);
    let mut entries = entries(loaded, &passed, problems);
    let prices = Prices::new();
    loop {
        let mut found = Vec::new();
        let routing = build(loaded, &prices, &entries, &mut found);
        let made = targets(loaded, upstreams, plugins, (&routing, &entries), &prices);
        let invalid = made.iter().any(Result::is_err);
        if invalid && loaded.config.router.ignore_invalid_deployments != Some(false) {
            let mut made = made.iter();
            entries.retain(|entry| match made.next() {
                // Whoever joined the database's with the file's leaves it out.
                Some(Err(why)) if entry.entry.is_stored() => {
                    problems.push(format!("{}: {why}", entry.place()));
                    false
                }
                Some(Err(why)) => {
                    tracing::error!("{}: {why}; the deployment is left out", entry.place());
                    false
                }
                _ => true,
            });
            continue;
        }
        problems.append(&mut found);
        let named = made.into_iter().zip(&entries);
        let targets = named.filter_map(|(made, entry)| {
            made.map_err(|why| problems.push(format!("{}: {why}", entry.place())))
                .ok()
        });
        return (routing, targets.collect());
    }
}

/// How each deployment is reached, or why it cannot be.
fn targets(
    loaded: &Loaded,
    upstreams: &mut Upstreams,
    plugins: &Registry,
    (routing, entries): (&Snapshot, &[Merged<'_>]),
    prices: &Prices,
) -> Vec<Result<Target, String>> {
    let mut speakers = Speakers::default();
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let deployment = routing.deployment(index);
            let plugin = plugins.provider(&deployment.provider);
            let speaker = plugin.map(|plugin| (speakers.of(&plugin), plugin));
            let made = target(
                loaded,
                upstreams,
                entry,
                (&deployment.provider, speaker),
                &deployment.id,
                prices,
            );
            made.map(|mut target| {
                target.wildcard = wildcard(loaded, entry.entry, deployment, &target);
                if !plugins.is_enabled(Kind::Provider, &deployment.provider) {
                    let why = "its provider plugin was disabled by an administrator";
                    target.unavailable = Some((ErrorClass::ServiceUnavailable, why.to_owned()));
                }
                target
            })
        })
        .collect()
}

/// Routing alone; adds to `problems` what it cannot use.
pub(super) fn routing(loaded: &Loaded, problems: &mut Vec<String>) -> Snapshot {
    let passed = passed_through(loaded);
    let entries = entries(loaded, &passed, problems);
    build(loaded, &Prices::new(), &entries, problems)
}

/// The entries of the model list that are for this environment, then those that are passed through.
fn entries<'a>(
    loaded: &'a Loaded,
    passed: &'a [ModelEntry],
    problems: &mut Vec<String>,
) -> Vec<Merged<'a>> {
    const ENVIRONMENTS: [&str; 3] = ["development", "staging", "production"];
    let (config, env) = (&loaded.config, &loaded.environment);
    let here = env.non_empty("LITELLM_ENVIRONMENT").unwrap_or_default();
    let is_known = ENVIRONMENTS.contains(&here);
    let mut kept = Vec::with_capacity(config.model_list.len() + passed.len());
    let deployments = config
        .model_list
        .iter()
        .filter(|entry| !auto_routers::is_one(entry));
    for entry in deployments.chain(passed) {
        let merged = merged(config, entry);
        let wanted = entry.model_info.get("supported_environments");
        let wanted = wanted
            .and_then(Value::as_array)
            .filter(|list| !list.is_empty());
        let Some(wanted) = wanted else {
            kept.push(merged);
            continue;
        };
        if is_known && wanted.iter().any(|name| name == here) {
            kept.push(merged);
        } else if is_known {
            tracing::info!(
                "{}: not for {here}; the deployment is left out",
                merged.place()
            );
        } else {
            let why = format!(
                "{}: supported_environments: LITELLM_ENVIRONMENT is {here:?}; set it to one of {}",
                merged.place(),
                ENVIRONMENTS.join(", ")
            );
            match config.router.ignore_invalid_deployments {
                Some(false) => problems.push(why),
                _ => tracing::error!("{why}; the deployment is left out"),
            }
        }
    }
    kept
}

/// `router_general_settings.pass_through_all_models`: models that nobody lists go to the provider that
/// their name tells, where the environment has its key.
fn passed_through(loaded: &Loaded) -> Vec<ModelEntry> {
    let settings = &loaded.config.router.router_general_settings;
    let wanted = settings.get("pass_through_all_models");
    if wanted.and_then(Value::as_bool) != Some(true) {
        return Vec::new();
    }
    let env = &loaded.environment;
    let has_key = |provider: &&providers::Provider| {
        let mut variables = provider.key_env.iter();
        variables.any(|name| env.non_empty(name).is_some()) && provider.base(env).is_some()
    };
    let listed = |name: &str| {
        let list = &loaded.config.model_list;
        list.iter().any(|entry| entry.model_name == name)
    };
    let all = providers::all().filter(has_key);
    all.map(|provider| format!("{}/*", provider.name))
        .filter(|name| !listed(name))
        .map(|name| ModelEntry {
            model_name: name.clone(),
            params: ModelParams {
                model: name,
                ..ModelParams::default()
            },
            ..ModelEntry::default()
        })
        .collect()
}

fn build(
    loaded: &Loaded,
    prices: &Prices,
    entries: &[Merged<'_>],
    problems: &mut Vec<String>,
) -> Snapshot {
    let specs = entries
        .iter()
        .map(|entry| routing::spec(loaded, prices, entry, problems))
        .collect();
    let snapshot = Snapshot::build(specs, routing::settings(loaded, problems));
    for (index, deployment) in snapshot.deployments().iter().enumerate() {
        if !deployment.spec.quotas.is_empty() && !snapshot.keeps_quotas(index) {
            tracing::warn!(
                model_group = deployment.model_group,
                deployment = deployment.id,
                "rpd, tpd, itpm and otpm are not kept to; set router_settings.optional_pre_call_checks: [enforce_model_rate_limits]"
            );
        }
    }
    snapshot
}

fn target(
    loaded: &Loaded,
    upstreams: &mut Upstreams,
    merged: &Merged<'_>,
    (provider_name, speaker): (&str, Option<(Arc<Speaker>, Arc<Provider>)>),
    id: &str,
    prices: &Prices,
) -> Result<Target, String> {
    let entry = merged.entry;
    let params = &entry.params;
    let plugin = speaker.as_ref().map(|(_, plugin)| plugin.as_ref());
    let is_bounded = entry.is_bounded();
    if is_bounded {
        bounded(merged, provider_name, plugin)?;
    }
    let ((base, is_own), unavailable) = match base_url(loaded, merged, provider_name, plugin) {
        Ok(base) => (base, None),
        // Whose provider nobody can tell is no deployment. With a `*` the request may tell it.
        Err(why)
            if loaded.config.router.ignore_invalid_deployments == Some(false)
                || provider_name.is_empty() && !params.model.contains('*') =>
        {
            return Err(why);
        }
        // The rest of the configuration is served; calls to this deployment are told why not.
        Err(why) => {
            tracing::warn!("{}: {why}", merged.place());
            (
                (NOWHERE.to_owned(), false),
                Some((ErrorClass::BadRequest, why)),
            )
        }
    };
    let own_headers = own_headers(merged)?;
    let mut headers = headers(loaded, merged, provider_name, plugin.is_some())?;
    let dialect = match speaker {
        Some((speaker, plugin)) => {
            let base = (base.clone(), is_own);
            Some(dialects::dialect(
                loaded,
                merged,
                &plugin,
                speaker,
                base,
                own_headers,
            ))
        }
        None => {
            headers.extend(own_headers);
            None
        }
    };
    let reach = if is_bounded {
        Reach::Public
    } else {
        Reach::All
    };
    let upstream = upstreams
        .client(&tls(&loaded.config, params.ssl_verify.as_ref()), reach)
        .map_err(|error| error.to_string())?;
    let defaults = defaults(&loaded.config, &params.extra);
    let backend = prices.lookup(provider_name, &params.model);
    let stated = stated_prices(entry);
    for (name, json) in &stated {
        let number = parse_decimal(json);
        if number.is_some_and(|number| number.is_sign_negative() && !number.is_zero()) {
            let place = merged.place();
            tracing::warn!(
                "{place}: {name} is below 0, which is no price: it is as if it were not there"
            );
        }
    }
    let stated = stated
        .iter()
        .map(|(name, json)| (name.as_str(), json.as_str()));
    Ok(Target {
        upstream,
        unavailable,
        dialect,
        urls: urls(&base)?,
        api_base: shown(&base),
        headers,
        client_headers: client_headers::of(&loaded.config, &entry.model_name, provider_name),
        client_side: client_side::of(merged, &defaults)?,
        defaults,
        timeout_by_tier: params
            .timeout_by_service_tier
            .iter()
            .filter_map(|(tier, seconds)| Some((tier.clone(), set(Some(*seconds))?)))
            .collect(),
        timeout: timeout(params),
        stream_timeout: set(params.stream_timeout),
        guardrails: guardrails(&loaded.config, &params.guardrails)?,
        keepalive: set(params.keepalive_seconds),
        merges_reasoning: params.merge_reasoning_content_in_choices,
        mock: params
            .mock_response
            .as_ref()
            .filter(|v| !v.is_null())
            .map(Value::to_string),
        mock_timeout: params.mock_timeout,
        mock_tool_calls: params
            .mock_tool_calls
            .as_ref()
            .filter(|v| !v.is_null())
            .map(Value::to_string),
        provider: provider_name.to_owned(),
        region: routing::region(entry).unwrap_or_default(),
        configured_model: params.model.clone(),
        base_model: entry
            .model_info
            .get("base_model")
            .or_else(|| params.extra.get("base_model"))
            .and_then(Value::as_str)
            .map(str::to_owned),
        key_limits: super::metering::key_limits(params),
        custom_price: ModelPrice::custom(id, stated, backend.as_deref()).map(Into::into),
        wildcard: None,
        info: info(merged, provider_name),
    })
}

/// The guardrails of a deployment, which the configuration must have: without them it is not to be called.
fn guardrails(config: &Config, names: &[String]) -> Result<Vec<String>, String> {
    let is_known = |name: &str| {
        let mut all = config.guardrails.iter();
        all.any(|entry| entry.guardrail_name == name)
    };
    match names.iter().find(|name| !is_known(name)) {
        Some(name) => Err(format!("guardrails: there is no guardrail {name:?}")),
        None => Ok(names.to_vec()),
    }
}

/// Whether a deployment by an admin of a team is one: with a key of its own, of a provider that needs nothing else.
fn bounded(
    merged: &Merged<'_>,
    provider_name: &str,
    plugin: Option<&Provider>,
) -> Result<(), String> {
    let params = &merged.entry.params;
    let says = |what: &str| Err(format!("an admin of a team wrote it, {what}"));
    if params.litellm_credential_name.is_some() || !params.provider.is_empty() {
        return says("and it uses a credential or cloud settings that only administrators use");
    }
    if params.api_key.as_ref().is_none_or(|key| key.is_empty()) {
        return says("and it has no api_key of its own");
    }
    let is_keyed = match plugin {
        Some(plugin) => !plugin.facts().key_env.is_empty(),
        None => true,
    };
    match is_keyed && witgate_routing::PROVIDERS.contains(&provider_name) {
        true => Ok(()),
        false => says("and its provider needs more than an api_key"),
    }
}

/// The deployment's own `timeout`, else its `request_timeout`; zero is unset.
fn timeout(params: &witgate_config::ModelParams) -> Option<Duration> {
    set(params.timeout).or_else(|| set(params.request_timeout))
}

/// A mocked deployment needs no upstream; its URL is never called.
const NOWHERE: &str = "http://mock.invalid";

/// The base URL, and whether the operator wrote it.
fn base_url(
    loaded: &Loaded,
    merged: &Merged<'_>,
    provider_name: &str,
    plugin: Option<&Provider>,
) -> Result<(String, bool), String> {
    let params = &merged.entry.params;
    let env = merged.env(loaded);
    let is_given = |mock: &Option<Value>| mock.as_ref().is_some_and(|v| !v.is_null());
    if params.mock_timeout || is_given(&params.mock_response) || is_given(&params.mock_tool_calls) {
        let base = merged.api_base.clone();
        return Ok((base.unwrap_or_else(|| NOWHERE.to_owned()), true));
    }
    if let Some(plugin) = plugin {
        return dialects::base(loaded, merged, plugin);
    }
    let model = &merged.entry.params.model;
    if provider_name.is_empty() {
        return Err(format!(
            "LLM Provider NOT provided. You passed model={model}; write `openai/{model}` for an OpenAI-compatible server, or set custom_llm_provider"
        ));
    }
    let Some(provider) = providers::find(provider_name) else {
        return Err(format!(
            "provider '{provider_name}' speaks a dialect of its own, and no provider plugin of this name was found; build one (`witgate plugin build`) or use an OpenAI-compatible provider (`openai/…` with api_base)"
        ));
    };
    let base = merged
        .api_base
        .clone()
        .filter(|b| !b.is_empty())
        .or_else(|| merged.general(loaded, "api_base").map(str::to_owned))
        .or_else(|| provider.base(env));
    base.map(|base| (base, true))
        .ok_or_else(|| match provider.base_env() {
            names if names.is_empty() => "litellm_params.api_base is missing; set it".to_owned(),
            names => format!("litellm_params.api_base is missing; set it, or {names}"),
        })
}

/// The URL of each operation, in the order of [`Endpoint`].
fn urls(base: &str) -> Result<[Uri; Endpoint::ALL.len()], String> {
    let [chat, text, embeddings, moderations, images] = Endpoint::ALL;
    Ok([
        endpoint_url(base, chat)?,
        endpoint_url(base, text)?,
        endpoint_url(base, embeddings)?,
        endpoint_url(base, moderations)?,
        endpoint_url(base, images)?,
    ])
}

/// A base URL as it may be shown.
fn shown(base: &str) -> String {
    match base {
        NOWHERE => String::new(),
        base => shown_base(base),
    }
}

/// Headers of every request but the deployment's own. A plugin authenticates by itself.
fn headers(
    loaded: &Loaded,
    merged: &Merged<'_>,
    provider_name: &str,
    is_plugin: bool,
) -> Result<HeaderMap, String> {
    let (params, env) = (&merged.entry.params, merged.env(loaded));
    let mut headers = plain_headers();
    if is_plugin {
        return Ok(headers);
    }
    let provider = providers::find(provider_name);
    let key = merged.key(loaded, provider_name);
    let key = key.or_else(|| provider?.key(env));
    if let Some(key) = key.filter(|k| !k.is_empty()) {
        headers.insert(AUTHORIZATION, secret(&format!("Bearer {key}"), "api_key")?);
    }
    let organization = params
        .organization
        .as_deref()
        .or_else(|| (provider_name == "openai").then(|| env.non_empty("OPENAI_ORGANIZATION"))?);
    if let Some(organization) = organization {
        headers.insert("openai-organization", secret(organization, "organization")?);
    }
    Ok(headers)
}

/// `extra_headers` of the deployment.
fn own_headers(merged: &Merged<'_>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &merged.entry.params.extra_headers {
        let header: HeaderName = name
            .parse()
            .map_err(|_| format!("extra_headers.{name} is not a header name"))?;
        headers.insert(
            header,
            secret(value.reveal(), &format!("extra_headers.{name}"))?,
        );
    }
    Ok(headers)
}

/// A header value that debug output must not show.
fn secret(text: &str, name: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text.trim())
        .map_err(|_| format!("litellm_params.{name} has characters that cannot be in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Body parameters of the deployment, then those of `default_litellm_params`.
fn defaults(config: &Config, extra: &IndexMap<String, Value>) -> Vec<(String, String)> {
    let general = &config.router.default_litellm_params;
    let of_router = general
        .iter()
        .filter(|(name, _)| !extra.contains_key(*name));
    extra
        .iter()
        .chain(of_router)
        .filter(|(name, value)| !value.is_null() && !witgate_wire::request::is_control_field(name))
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect()
}

fn stated_prices(entry: &ModelEntry) -> Vec<(String, String)> {
    let of_params = entry.params.pricing.iter();
    let of_info = entry
        .model_info
        .iter()
        .filter(|(name, _)| name.contains("cost"));
    of_params
        .chain(of_info)
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            // A price written as text ("1e-6") is a price too.
            (
                name.clone(),
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            )
        })
        .collect()
}

/// Whom to trust: the deployment's `ssl_verify`, else the configuration's.
pub(super) fn tls(config: &Config, own: Option<&Value>) -> TlsOptions {
    let roots = match own.or(config.litellm.ssl_verify.as_ref()) {
        Some(Value::Bool(false)) => Roots::Unverified,
        Some(Value::String(path)) if path.eq_ignore_ascii_case("false") => Roots::Unverified,
        Some(Value::String(path)) if !path.eq_ignore_ascii_case("true") => {
            Roots::Bundle(path.into())
        }
        _ => Roots::System,
    };
    let certificate = config
        .litellm
        .ssl_certificate
        .as_ref()
        .map(|path| ClientCertificate {
            certificate: Pem::File(path.into()),
            key: Pem::File(path.into()),
        });
    TlsOptions { roots, certificate }
}

/// What `GET /model/info` shows: parameters without secrets, and `model_info` over the price map's entry.
fn info(merged: &Merged<'_>, provider_name: &str) -> (Value, Value) {
    let params = &merged.entry.params;
    let mut shown_params = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            shown_params.insert(name.to_owned(), value);
        }
    };
    put("model", Some(params.model.as_str().into()));
    put(
        "custom_llm_provider",
        params.custom_llm_provider.as_deref().map(Into::into),
    );
    put(
        "api_base",
        merged.api_base.as_deref().map(|base| shown(base).into()),
    );
    put("timeout", params.timeout.map(Into::into));
    put("stream_timeout", params.stream_timeout.map(Into::into));
    put("rpm", params.rpm.map(Into::into));
    put("tpm", params.tpm.map(Into::into));
    put("rpd", params.rpd.map(Into::into));
    put("tpd", params.tpd.map(Into::into));
    put("itpm", params.itpm.map(Into::into));
    put("otpm", params.otpm.map(Into::into));
    let brought = &params.configurable_clientside_auth_params;
    put(
        client_side::KEY,
        (!brought.is_empty()).then(|| brought.clone().into()),
    );
    put(
        "daily_reset_time",
        params.daily_reset_time.as_deref().map(Into::into),
    );
    put("weight", params.weight.map(Into::into));
    put(
        "tags",
        (!params.tags.is_empty()).then(|| params.tags.clone().into()),
    );
    for (name, value) in params.pricing.iter().chain(&params.extra) {
        if !witgate_config::is_secret_name(name) {
            put(name, Some(value.clone()));
        }
    }
    let model_info = known_of_model(merged.entry, provider_name);
    (Value::Object(shown_params), Value::Object(model_info))
}

/// The same of an automatic router, which is no deployment: its id is its own, or its name.
pub(super) fn router_info(loaded: &Loaded, entry: &ModelEntry) -> (Value, Value) {
    let (mut params, mut model_info) = info(&merged(&loaded.config, entry), "");
    let own = &entry.params;
    let named = [
        ("auto_router_default_model", &own.auto_router_default_model),
        (
            "auto_router_embedding_model",
            &own.auto_router_embedding_model,
        ),
        (
            "complexity_router_default_model",
            &own.complexity_router_default_model,
        ),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            params[name] = value.as_str().into();
        }
    }
    if model_info.get("id").is_none() {
        model_info["id"] = entry.model_name.as_str().into();
    }
    (params, model_info)
}

/// What the price map knows of the model, under what the operator says of it.
pub(super) fn known_of_model(entry: &ModelEntry, provider_name: &str) -> Map<String, Value> {
    let (params, own) = (&entry.params, &entry.model_info);
    let base_model = own
        .get("base_model")
        .or_else(|| params.extra.get("base_model"))
        .and_then(Value::as_str);
    let known = Prices::entry(provider_name, base_model.unwrap_or(&params.model));
    let mut model_info: Map<String, Value> = known
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    let pricing = params.pricing.iter();
    model_info.extend(pricing.map(|(name, value)| (name.clone(), value.clone())));
    model_info.extend(own.clone());
    model_info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_the_bases_query_and_lose_its_trailing_slash() {
        let [chat, _, embeddings, _, images] = urls("https://h.example/v1/?api-version=1").unwrap();
        assert_eq!(chat, "https://h.example/v1/chat/completions?api-version=1");
        assert_eq!(embeddings, "https://h.example/v1/embeddings?api-version=1");
        assert_eq!(
            images,
            "https://h.example/v1/images/generations?api-version=1"
        );
        for bad in ["h.example/v1", "ftp://h/v1", "http://"] {
            assert!(urls(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_shown_base_has_no_credentials_and_no_query() {
        assert_eq!(
            shown("https://u:p@h.example/v1?key=k"),
            "https://h.example/v1"
        );
        assert_eq!(shown(NOWHERE), "");
    }
}
