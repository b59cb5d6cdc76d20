//! Checks that need more than one value: keys that must be there, names that refer to something.

mod routing_groups;

use std::collections::{HashMap, HashSet};

use crate::config::Config;
use crate::definition::find;
use crate::node::{Node, Position};
use crate::problem::{Problem, ProblemKind};
use crate::suggest;

/// Keys without which an entry means nothing: the list, and the path inside an item.
const REQUIRED: [(&str, &str); 11] = [
    ("model_list", "model_name"),
    ("model_list", "litellm_params"),
    ("model_list", "litellm_params.model"),
    ("guardrails", "guardrail_name"),
    ("guardrails", "litellm_params.guardrail"),
    ("credential_list", "credential_name"),
    ("prompts", "prompt_id"),
    ("prompts", "litellm_params"),
    ("prompts", "litellm_params.prompt_integration"),
    ("router_settings.routing_groups", "group_name"),
    ("router_settings.routing_groups", "routing_strategy"),
];

/// Sections and keys that hold fallbacks.
const FALLBACKS: [&str; 6] = [
    "litellm_settings.fallbacks",
    "litellm_settings.content_policy_fallbacks",
    "litellm_settings.context_window_fallbacks",
    "router_settings.fallbacks",
    "router_settings.content_policy_fallbacks",
    "router_settings.context_window_fallbacks",
];

/// Reports entries that lack a key they need.
pub(crate) fn required(root: &Node, problems: &mut Vec<Problem>) {
    for (list, key) in REQUIRED {
        let items = root
            .at_path(list)
            .and_then(Node::as_list)
            .unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            // Without `litellm_params` the keys inside it are not missed a second time.
            let outer_missing = key.split_once('.').is_some_and(|(outer, _)| {
                matches!(list, "model_list" | "prompts") && item.get(outer).is_none()
            });
            if item.as_map().is_none() || outer_missing || present(item, key) {
                continue;
            }
            let doc = find(&format!("{list}[].{key}"))
                .map(|definition| definition.doc.clone())
                .unwrap_or_default();
            let path = format!("{list}[{index}].{key}");
            problems.push(Problem::error(
                ProblemKind::MissingKey,
                &item.at,
                path,
                format!("is missing: {}", doc.trim_end_matches('.')),
            ));
        }
    }
}

/// Reports names that refer to nothing and names given twice.
pub(crate) fn references(config: &Config, root: &Node, problems: &mut Vec<Problem>) {
    duplicate_ids(config, problems);
    duplicate_guardrails(config, problems);
    duplicate_prompts(config, problems);
    credentials(config, problems);
    let groups = Groups::of(config);
    routing_groups::check(config, root, &groups, problems);
    for path in FALLBACKS {
        fallbacks(root, path, &groups, problems);
    }
    for path in [
        "litellm_settings.default_fallbacks",
        "router_settings.default_fallbacks",
    ] {
        for (index, target) in root
            .at_path(path)
            .and_then(Node::as_list)
            .unwrap_or_default()
            .iter()
            .enumerate()
        {
            groups.check(
                target.as_text(),
                &target.at,
                &format!("{path}[{index}]"),
                problems,
            );
        }
    }
    for path in [
        "litellm_settings.model_alias_map",
        "router_settings.model_group_alias",
    ] {
        for (alias, entry) in root
            .at_path(path)
            .and_then(Node::as_map)
            .into_iter()
            .flatten()
        {
            let target = entry
                .node
                .as_text()
                .or_else(|| entry.node.get("model").and_then(Node::as_text));
            groups.check(target, &entry.node.at, &format!("{path}.{alias}"), problems);
        }
    }
}

/// The model groups that exist, for names that refer to one.
struct Groups<'a> {
    names: HashSet<&'a str>,
    aliases: HashSet<&'a str>,
}

impl<'a> Groups<'a> {
    fn of(config: &'a Config) -> Self {
        let names = config
            .model_list
            .iter()
            .flat_map(|entry| {
                [entry.model_name.as_str(), entry.params.model.as_str()]
                    .into_iter()
                    .chain(entry.id())
            })
            .chain(
                config
                    .router
                    .routing_groups
                    .iter()
                    .map(|group| group.group_name.as_str()),
            )
            .collect();
        let aliases = config
            .router
            .model_group_alias
            .keys()
            .chain(config.litellm.model_alias_map.keys());
        Self {
            names,
            aliases: aliases.map(String::as_str).collect(),
        }
    }

    /// Warns when a name is no group, no alias and matches no pattern. A warning, not an error:
    /// models may also come from the database.
    fn check(&self, name: Option<&str>, at: &Position, path: &str, problems: &mut Vec<Problem>) {
        let Some(name) = name.filter(|name| *name != "*") else {
            return;
        };
        let known = self.names.contains(name) || self.aliases.contains(name);
        if known
            || self
                .names
                .iter()
                .any(|pattern| pattern.contains('*') && matches_pattern(pattern, name))
        {
            return;
        }
        let problem = Problem::warning(
            ProblemKind::Reference,
            at,
            path,
            format!("no model group is called `{name}`"),
        );
        problems.push(match suggest::nearest(name, self.names.iter().copied()) {
            Some(near) => problem.fix(format!("did you mean `{near}`?")),
            None => problem.fix("add it to model_list"),
        });
    }
}

fn fallbacks(root: &Node, path: &str, groups: &Groups<'_>, problems: &mut Vec<Problem>) {
    for (index, item) in root
        .at_path(path)
        .and_then(Node::as_list)
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        for (group, entry) in item.as_map().into_iter().flatten() {
            let path = format!("{path}[{index}].{group}");
            groups.check(Some(group), &entry.key_at, &path, problems);
            for (index, target) in entry.node.as_list().unwrap_or_default().iter().enumerate() {
                let name = target
                    .as_text()
                    .or_else(|| target.get("model").and_then(Node::as_text));
                groups.check(name, &target.at, &format!("{path}[{index}]"), problems);
            }
        }
    }
}

fn duplicate_ids(config: &Config, problems: &mut Vec<Problem>) {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for (index, entry) in config.model_list.iter().enumerate() {
        let Some(id) = entry.id() else { continue };
        if let Some(line) = seen.insert(id, entry.position.line) {
            let message = format!(
                "the id `{id}` is already that of the deployment in line {line}, which this one replaces"
            );
            let path = format!("model_list[{index}].model_info.id");
            problems.push(
                Problem::warning(ProblemKind::Reference, &entry.position, path, message)
                    .fix("give each deployment its own id"),
            );
        }
    }
}

fn duplicate_guardrails(config: &Config, problems: &mut Vec<Problem>) {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    // Those of `router_settings.guardrail_list` share their names on purpose.
    let entries = config.guardrails.iter().filter(|entry| entry.member == 0);
    for (index, entry) in entries.enumerate() {
        if let Some(line) = seen.insert(&entry.guardrail_name, entry.position.line) {
            let message = format!(
                "`{}` is already the name of the guardrail in line {line}",
                entry.guardrail_name
            );
            let path = format!("guardrails[{index}].guardrail_name");
            problems.push(
                Problem::warning(ProblemKind::Reference, &entry.position, path, message)
                    .fix("give each guardrail its own name"),
            );
        }
    }
}

/// What requests call one version of a prompt.
fn one_version(entry: &crate::PromptEntry) -> Option<String> {
    let version = entry.version?;
    Some(format!("{}.v{version}", entry.prompt_id))
}

/// A prompt has one entry, or one for each of its versions.
fn duplicate_prompts(config: &Config, problems: &mut Vec<Problem>) {
    for (index, entry) in config.prompts.iter().enumerate() {
        let mut before = config.prompts.iter().take(index);
        let other = before.find(|other| {
            let same = other.version == entry.version;
            let mixed = other.version.is_none() || entry.version.is_none();
            other.prompt_id == entry.prompt_id && (same || mixed)
                || one_version(other).is_some_and(|name| name == entry.prompt_id)
                || one_version(entry).is_some_and(|name| name == other.prompt_id)
        });
        let Some(other) = other.filter(|_| !entry.prompt_id.is_empty()) else {
            continue;
        };
        let message = format!(
            "the prompt_id `{}` is already that of the prompt in line {}",
            entry.prompt_id, other.position.line
        );
        let path = format!("prompts[{index}].prompt_id");
        problems.push(
            Problem::error(ProblemKind::Reference, &entry.position, path, message)
                .fix("give each prompt its own id, or each entry of one its own `version`"),
        );
    }
}

fn credentials(config: &Config, problems: &mut Vec<Problem>) {
    for (index, entry) in config.model_list.iter().enumerate() {
        let Some(name) = entry.params.litellm_credential_name.as_deref() else {
            continue;
        };
        if config.credential(name).is_some() {
            continue;
        }
        let path = format!("model_list[{index}].litellm_params.litellm_credential_name");
        let problem = Problem::warning(
            ProblemKind::Reference,
            &entry.position,
            path,
            format!("no credential is called `{name}`"),
        );
        let names = config
            .credentials
            .iter()
            .map(|credential| credential.name.as_str());
        problems.push(match suggest::nearest(name, names) {
            Some(near) => problem.fix(format!("did you mean `{near}`?")),
            None => problem.fix("add it to credential_list"),
        });
    }
}

fn present(item: &Node, key: &str) -> bool {
    item.at_path(key)
        .is_some_and(|node| node.as_text() != Some(""))
}

/// True when a name fits a pattern as requests are matched: from the start, each `*` any text.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests;
