//! `router_settings.routing_groups`: whose names are taken already, whose members nobody knows.

use std::collections::HashMap;

use super::Groups;
use crate::config::Config;
use crate::node::Node;
use crate::problem::{Problem, ProblemKind};

const PATH: &str = "router_settings.routing_groups";
/// What models outside all groups are in, as LiteLLM has it.
const RESERVED: &str = "default";

pub(super) fn check(
    config: &Config,
    root: &Node,
    groups: &Groups<'_>,
    problems: &mut Vec<Problem>,
) {
    let list = root.at_path(PATH).and_then(Node::as_list);
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut members: HashMap<&str, usize> = HashMap::new();
    for (index, entry) in list.unwrap_or_default().iter().enumerate() {
        let node = entry.get("group_name");
        if let Some(node) = node
            && let Some(name) = node.as_text()
        {
            let taken = taken(config, groups, name);
            let taken = taken.or_else(|| {
                let before = names.insert(name, index)?;
                Some(format!("`{name}` is the name of {PATH}[{before}], too"))
            });
            if let Some(why) = taken {
                let fix = "choose another name: a routing group is a model of its own";
                problems.push(wrong(node, index, "group_name", why, fix));
            }
        }
        let models = entry.get("models");
        let listed = models.and_then(Node::as_list).unwrap_or_default();
        if listed.is_empty() {
            let (at, why) = (
                models.unwrap_or(entry),
                "the group has no models".to_owned(),
            );
            problems.push(wrong(at, index, "models", why, "list their model_names"));
        }
        for (at, model) in listed.iter().enumerate() {
            let Some(name) = model.as_text() else {
                continue;
            };
            let key = format!("models[{at}]");
            match members.insert(name, index) {
                Some(before) if before != index => {
                    let why = format!("`{name}` is in {PATH}[{before}], too");
                    let fix = "leave a model in one group at most";
                    problems.push(wrong(model, index, &key, why, fix));
                }
                Some(_) => {}
                None => {
                    let path = format!("{PATH}[{index}].{key}");
                    groups.check(Some(name), &model.at, &path, problems);
                }
            }
        }
    }
}

/// Why a name cannot be a group's.
fn taken(config: &Config, groups: &Groups<'_>, name: &str) -> Option<String> {
    if name == RESERVED {
        return Some("`default` is what models outside all groups are in".to_owned());
    }
    if config
        .model_list
        .iter()
        .any(|model| model.model_name == name)
    {
        return Some(format!("`{name}` is a model_name already"));
    }
    let is_alias = groups.aliases.contains(name);
    is_alias.then(|| format!("`{name}` is an alias already"))
}

fn wrong(at: &Node, index: usize, key: &str, why: String, fix: &str) -> Problem {
    let path = format!("{PATH}[{index}].{key}");
    Problem::error(ProblemKind::Reference, &at.at, path, why).fix(fix)
}
