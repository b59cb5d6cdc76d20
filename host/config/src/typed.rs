//! From checked values to the typed configuration.
//!
//! The values have been coerced to what the definitions say, so turning them into types cannot
//! fail on an operator's mistake; if it does, definitions and types disagree, and the problem says
//! which place so that it is found.

use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config::{
    Config, Credential, GuardrailEntry, GuardrailMode, GuardrailModes, ModelEntry, ModelParams,
    PromptEntry,
};
use crate::definition::kind::Kind;
use crate::definition::{Upstream, find};
use crate::env::Env;
use crate::idle;
use crate::node::Node;
use crate::problem::{Problem, ProblemKind};

/// Builds the configuration. `raw` is the same tree as the file gives it, before variables filled
/// what it leaves out.
pub(crate) fn config(root: &Node, raw: Value, env: &Env, problems: &mut Vec<Problem>) -> Config {
    let idle = idle::find(root, env);
    let mut config = Config {
        model_list: items(root, "model_list", problems, model_entry),
        credentials: items(root, "credential_list", problems, |node, _, _| {
            Some(credential(node))
        }),
        litellm: section(root, "litellm_settings", problems),
        general: section(root, "general_settings", problems),
        router: section(root, "router_settings", problems),
        guardrails: items(root, "guardrails", problems, guardrail),
        prompts: items(root, "prompts", problems, |node, _, _| Some(prompt(node))),
        plugins: named(root, "plugins", problems),
        plugin_trust: section(root, "plugin_trust", problems),
        plugin_registries: named(root, "plugin_registries", problems),
        callback_settings: root
            .get("callback_settings")
            .map(values)
            .unwrap_or_default(),
        environment: env.overlay().clone(),
        raw,
        planned: idle.planned.into_iter().collect(),
        accepted: idle
            .accepted
            .into_iter()
            .map(|(path, (reason, at))| (path, reason, at))
            .collect(),
    };
    let balanced = balanced(root, &config.guardrails, problems);
    config.guardrails.extend(balanced);
    database(&mut config, root, problems);
    config
}

/// The items of a list section, each made by `make` from the node and its path.
fn items<T>(
    root: &Node,
    name: &str,
    problems: &mut Vec<Problem>,
    make: fn(&Node, &str, &mut Vec<Problem>) -> Option<T>,
) -> Vec<T> {
    let list = root.get(name).and_then(Node::as_list).unwrap_or_default();
    list.iter()
        .enumerate()
        .filter_map(|(index, node)| make(node, &format!("{name}[{index}]"), problems))
        .collect()
}

fn section<T: DeserializeOwned + Default>(
    root: &Node,
    name: &str,
    problems: &mut Vec<Problem>,
) -> T {
    root.get(name)
        .and_then(|node| typed(node, node.to_json_without_nulls(), name, problems))
        .unwrap_or_default()
}

fn typed<T: DeserializeOwned>(
    node: &Node,
    value: Value,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match serde_json::from_value(value) {
        Ok(typed) => Some(typed),
        Err(_) => {
            // The error's text may quote a value, so only the place is told.
            problems.push(Problem::error(
                ProblemKind::WrongType,
                &node.at,
                path,
                "has a value of the wrong type",
            ));
            None
        }
    }
}

fn model_entry(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<ModelEntry> {
    let written = node.get("litellm_params")?;
    let mut entries = values(written);
    let nested_info = entries.shift_remove("model_info");
    let mut headers = take_map(&mut entries, "headers");
    headers.extend(take_map(&mut entries, "extra_headers"));
    let (mut pricing, mut provider, mut extra) =
        (IndexMap::new(), IndexMap::new(), IndexMap::new());
    let mut known = Map::from_iter([("extra_headers".to_owned(), Value::Object(headers))]);
    for (name, value) in entries {
        match find(&format!("model_list[].litellm_params.{name}"))
            .map(|definition| definition.upstream)
        {
            Some(Upstream::No) => drop(known.insert(name, value)),
            Some(Upstream::Price) => drop(pricing.insert(name, value)),
            Some(Upstream::Adapter) => drop(provider.insert(name, value)),
            None => drop(extra.insert(name, value)),
        }
    }
    let mut params: ModelParams = typed(
        written,
        Value::Object(known),
        &format!("{path}.litellm_params"),
        problems,
    )?;
    if params.use_litellm_proxy == Some(true) {
        params.custom_llm_provider = Some("litellm_proxy".to_owned());
    }
    let mut model_info = nested_info.and_then(into_map).unwrap_or_default();
    model_info.extend(
        node.get("model_info")
            .map(Node::to_json)
            .and_then(into_map)
            .unwrap_or_default(),
    );
    Some(ModelEntry {
        model_name: text(node, "model_name"),
        params: ModelParams {
            pricing,
            provider,
            extra,
            ..params
        },
        model_info,
        position: node.at.clone(),
    })
}

fn credential(node: &Node) -> Credential {
    Credential {
        name: text(node, "credential_name"),
        values: node
            .get("credential_values")
            .map(values)
            .unwrap_or_default(),
        info: node
            .get("credential_info")
            .map(Node::to_json)
            .and_then(into_map)
            .unwrap_or_default(),
    }
}

fn guardrail(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<GuardrailEntry> {
    let written = node.get("litellm_params")?;
    let mut params = values(written);
    let mut take_text = |name: &str| match params.shift_remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let guardrail = take_text("guardrail").unwrap_or_default();
    let api_key = take_text("api_key").map(crate::Secret::new);
    let api_base = take_text("api_base");
    let default_on = params
        .shift_remove("default_on")
        .and_then(|value| value.as_bool())
        .unwrap_or_default();
    params.shift_remove("mode");
    let mode = match written.get("mode") {
        None => GuardrailModes::default(),
        Some(mode) => modes(mode, &format!("{path}.litellm_params.mode"), problems)?,
    };
    Some(GuardrailEntry {
        guardrail_name: text(node, "guardrail_name"),
        guardrail,
        mode,
        default_on,
        api_key,
        api_base,
        params,
        info: node
            .get("guardrail_info")
            .map_or(Value::Null, Node::to_json),
        member: 0,
        weight: 1.0,
        position: node.at.clone(),
    })
}

/// `router_settings.guardrail_list`: guardrails of which several may have one name, and then share its calls.
fn balanced(
    root: &Node,
    known: &[GuardrailEntry],
    problems: &mut Vec<Problem>,
) -> Vec<GuardrailEntry> {
    let Some(router) = root.get("router_settings") else {
        return Vec::new();
    };
    let list = router.get("guardrail_list").and_then(Node::as_list);
    let mut entries: Vec<GuardrailEntry> = Vec::new();
    for (index, node) in list.unwrap_or_default().iter().enumerate() {
        let path = format!("router_settings.guardrail_list[{index}]");
        let mut wrong = |message: String| {
            let kind = ProblemKind::WrongType;
            problems.push(Problem::error(kind, &node.at, path.as_str(), message));
        };
        let is_complete = !text(node, "guardrail_name").is_empty()
            && node
                .get("litellm_params")
                .is_some_and(|params| !text(params, "guardrail").is_empty());
        if !is_complete {
            wrong("needs guardrail_name and litellm_params.guardrail".to_owned());
            continue;
        }
        let Some(mut entry) = guardrail(node, &path, problems) else {
            continue;
        };
        let mut wrong = |message: String| {
            let kind = ProblemKind::Reference;
            problems.push(Problem::error(kind, &node.at, path.as_str(), message));
        };
        let name = entry.guardrail_name.clone();
        if known.iter().any(|one| one.guardrail_name == name) {
            wrong(format!(
                "`{name}` is already the name of one of `guardrails`"
            ));
            continue;
        }
        if let Some(weight) = entry.params.shift_remove("weight") {
            match weight
                .as_f64()
                .filter(|weight| weight.is_finite() && *weight >= 0.0)
            {
                Some(weight) => entry.weight = weight,
                None => wrong("litellm_params.weight: expected a number from 0".to_owned()),
            }
        }
        let mut others = entries.iter().filter(|one| one.guardrail_name == name);
        if let Some(first) = others.next() {
            if first.mode != entry.mode || first.default_on != entry.default_on {
                wrong(format!(
                    "`{name}` has another mode or default_on than the one in line {}, with which it shares calls",
                    first.position.line
                ));
            }
            entry.member = 1 + others.count();
        }
        entries.push(entry);
    }
    entries
}

fn prompt(node: &Node) -> PromptEntry {
    let params = node.get("litellm_params").map(Node::to_json);
    let params = params.and_then(|params| params.as_object().cloned());
    let params = params.unwrap_or_default();
    let version = node.get("version").map(Node::to_json);
    PromptEntry {
        prompt_id: text(node, "prompt_id"),
        version: version.as_ref().and_then(Value::as_u64),
        integration: node
            .at_path("litellm_params.prompt_integration")
            .and_then(Node::as_text)
            .unwrap_or_default()
            .to_owned(),
        params,
        position: node.at.clone(),
    }
}

/// One mode, a list of modes, or `{tags: {tag: mode}, default: mode}`.
fn modes(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<GuardrailModes> {
    if node.as_map().is_none() {
        return mode_list(node, path, problems).map(GuardrailModes::Always);
    }
    let mut tags = IndexMap::new();
    for (tag, entry) in node
        .get("tags")
        .and_then(Node::as_map)
        .into_iter()
        .flatten()
    {
        tags.insert(
            tag.clone(),
            mode_list(&entry.node, &format!("{path}.tags.{tag}"), problems)?,
        );
    }
    let default = match node.get("default") {
        None => Vec::new(),
        Some(default) => mode_list(default, &format!("{path}.default"), problems)?,
    };
    Some(GuardrailModes::ByTag { tags, default })
}

fn mode_list(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<Vec<GuardrailMode>> {
    let one = std::slice::from_ref(node);
    let mode = |item: &Node| serde_json::from_value(item.to_json()).ok();
    let modes: Option<Vec<GuardrailMode>> =
        node.as_list().unwrap_or(one).iter().map(mode).collect();
    if modes.is_none() {
        let expected =
            find("guardrails[].litellm_params.mode").map(|definition| match &definition.kind {
                Kind::Either(kinds) => kinds.first().map(Kind::expectation).unwrap_or_default(),
                kind => kind.expectation(),
            });
        let message = format!("expected {}", expected.unwrap_or_default());
        problems.push(Problem::error(
            ProblemKind::WrongType,
            &node.at,
            path,
            message,
        ));
    }
    modes
}

/// A mapping from names to sections.
fn named<T: DeserializeOwned>(
    root: &Node,
    section: &str,
    problems: &mut Vec<Problem>,
) -> IndexMap<String, T> {
    let mut all = IndexMap::new();
    for (name, entry) in root
        .get(section)
        .and_then(Node::as_map)
        .into_iter()
        .flatten()
    {
        let node = &entry.node;
        let path = format!("{section}.{name}");
        // A bare `name:` declares it with every default.
        let value = if node.is_null() {
            Value::Object(Map::new())
        } else {
            node.to_json_without_nulls()
        };
        if let Some(one) = typed(node, value, &path, problems) {
            all.insert(name.clone(), one);
        }
    }
    all
}

/// A database that is not known stops the start, as it does in LiteLLM.
fn database(config: &mut Config, root: &Node, problems: &mut Vec<Problem>) {
    let path = "general_settings.database_url";
    let Some(url) = config
        .general
        .database_url
        .take()
        .filter(|url| !url.is_empty())
    else {
        return;
    };
    let at = root
        .at_path(path)
        .map(|node| node.at.clone())
        .unwrap_or_default();
    match url.reveal().split(':').next().unwrap_or_default() {
        "sqlite" | "file" | "postgres" | "postgresql" => config.general.database_url = Some(url),
        _ => problems.push(
            Problem::error(
                ProblemKind::WrongType,
                &at,
                path,
                "is not the URL of a database known here",
            )
            .fix("write `postgresql://…` or `sqlite:PATH`, or leave it out for the SQLite file in the data directory"),
        ),
    }
}

/// The entries of a mapping as JSON, without those that are null.
fn values(node: &Node) -> IndexMap<String, Value> {
    let entries = node.as_map().into_iter().flatten();
    entries
        .filter(|(_, entry)| !entry.node.is_null())
        .map(|(name, entry)| (name.clone(), entry.node.to_json()))
        .collect()
}

fn take_map(entries: &mut IndexMap<String, Value>, name: &str) -> Map<String, Value> {
    entries
        .shift_remove(name)
        .and_then(into_map)
        .unwrap_or_default()
}

fn into_map(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

fn text(node: &Node, name: &str) -> String {
    node.get(name)
        .and_then(Node::as_text)
        .unwrap_or_default()
        .to_owned()
}
