//! `environment_variables` and `os.environ/NAME`: values that come from the environment.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::draft::Asked;
use crate::env::Env;
use crate::node::{Data, Node, Position};
use crate::problem::{Problem, ProblemKind};

/// What a value begins with to be read from a variable.
pub(crate) const PREFIX: &str = "os.environ/";

/// As deep as references are looked for unless `DEFAULT_MAX_RECURSE_DEPTH` says another depth; a file has an end of its own.
const DEPTH_MAX: usize = 100;

/// Variables a configuration may not set: they decide which programs and libraries run, and who
/// the process is.
pub(crate) const REFUSED: [&str; 14] = [
    "PATH",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_INSERT_LIBRARIES",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "HOME",
    "USER",
    "SHELL",
    "LOGNAME",
    "NO_PROXY",
    "no_proxy",
];

/// What `environment_variables` sets. Its references look at the process and the secret manager only,
/// so that the order of the entries does not matter.
pub(crate) fn overlay(
    root: &Node,
    env: &Env,
    asked: Option<&Asked>,
    problems: &mut Vec<Problem>,
) -> IndexMap<String, String> {
    let mut overlay = IndexMap::new();
    let Some(section) = root.get("environment_variables") else {
        return overlay;
    };
    let Some(entries) = section.as_map() else {
        // The type is refused when the whole file is checked.
        return overlay;
    };
    for (name, entry) in entries {
        let path = format!("environment_variables.{name}");
        let warn = |message: &str| {
            Problem::warning(ProblemKind::Variable, &entry.key_at, path.clone(), message)
        };
        if REFUSED.contains(&name.as_str()) {
            problems.push(warn(
                "may not be set by a configuration and is left as it is",
            ));
            continue;
        }
        let Some(value) = scalar_text(&entry.node) else {
            continue;
        };
        let value = match value.strip_prefix(PREFIX) {
            None => value,
            Some(other) => match env.below_overlay(other) {
                Some(value) => value.to_owned(),
                None => {
                    let consequence = "the variable is left as it is";
                    let at = &entry.node.at;
                    problems.push(missing(at, &path, other, asked, consequence));
                    continue;
                }
            },
        };
        if env.process(name).is_some_and(|present| present != value) {
            problems.push(warn(
                "replaces a different value of the process environment",
            ));
        }
        overlay.insert(name.clone(), value);
    }
    overlay
}

/// Replaces every `os.environ/NAME` by the variable's text, or by null when it is not set.
///
/// The section `environment_variables` is left alone: it has been read by [`overlay`].
pub(crate) fn references(
    root: &mut Node,
    env: &Env,
    asked: Option<&Asked>,
    problems: &mut Vec<Problem>,
) {
    let mut walk = Walk {
        env,
        asked,
        problems,
        depth_max: env.parse("DEFAULT_MAX_RECURSE_DEPTH").unwrap_or(DEPTH_MAX),
        too_deep: false,
    };
    if let Some(entries) = root.as_map_mut() {
        for (name, entry) in entries
            .iter_mut()
            .filter(|(name, _)| *name != "environment_variables")
        {
            walk.value(&mut entry.node, name, 1);
        }
    }
}

struct Walk<'a> {
    env: &'a Env,
    asked: Option<&'a Asked>,
    problems: &'a mut Vec<Problem>,
    depth_max: usize,
    too_deep: bool,
}

impl Walk<'_> {
    fn value(&mut self, node: &mut Node, path: &str, depth: usize) {
        if depth > self.depth_max {
            if !self.too_deep {
                self.too_deep = true;
                let message = format!(
                    "is nested more than {} deep: references below are not resolved",
                    self.depth_max
                );
                self.problems.push(Problem::warning(
                    ProblemKind::MissingVariable,
                    &node.at,
                    path,
                    message,
                ));
            }
            return;
        }
        match &mut node.data {
            Data::Text(text) => {
                if let Some(name) = text.strip_prefix(PREFIX) {
                    let name: Arc<str> = name.into();
                    self.reference(node, path, &name);
                }
            }
            // Tags are free text that may well begin like a reference.
            Data::List(_) if path.ends_with(".tags") => {}
            Data::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, &format!("{path}[{index}]"), depth + 1);
                }
            }
            Data::Map(entries) => {
                for (name, entry) in entries {
                    self.value(&mut entry.node, &format!("{path}.{name}"), depth + 1);
                }
            }
            _ => {}
        }
    }

    fn reference(&mut self, node: &mut Node, path: &str, name: &Arc<str>) {
        match self.env.get(name) {
            Some(text) => node.data = Data::Text(text.to_owned()),
            None => {
                let consequence = "the key counts as not given";
                self.problems
                    .push(missing(&node.at, path, name, self.asked, consequence));
                node.data = Data::Null;
            }
        }
        node.variable = Some(Arc::clone(name));
    }
}

/// Turns the texts `true` and `false` that came from variables into booleans, as LiteLLM does,
/// where no definition says what the value should be.
pub(crate) fn loosen(node: &mut Node) {
    match &mut node.data {
        Data::Text(text) if node.variable.is_some() => {
            match text.trim().to_ascii_lowercase().as_str() {
                "true" => node.data = Data::Bool(true),
                "false" => node.data = Data::Bool(false),
                _ => {}
            }
        }
        Data::List(items) => items.iter_mut().for_each(loosen),
        Data::Map(entries) => entries
            .values_mut()
            .for_each(|entry| loosen(&mut entry.node)),
        _ => {}
    }
}

fn missing(
    at: &Position,
    path: &str,
    name: &str,
    asked: Option<&Asked>,
    consequence: &str,
) -> Problem {
    let token = name.starts_with("oidc/");
    let manager = asked.filter(|asked| asked.names.contains(name) && !token);
    if let Some(Asked {
        manager,
        answered: false,
        ..
    }) = manager
    {
        let message =
            format!("{name} is asked of the secret manager {manager} when the gateway starts");
        return Problem::warning(ProblemKind::Compatibility, at, path, message);
    }
    let (message, fix) = match manager {
        Some(Asked { manager, .. }) => (
            format!("neither the secret manager {manager} nor the environment has {name}"),
            format!("store {name} there, set the variable, or remove the reference"),
        ),
        None if token => (
            format!("there is no identity token for {name}"),
            "see the log for the reason".to_owned(),
        ),
        None => (
            format!("the variable {name} is not set"),
            format!("set {name}, or remove the reference"),
        ),
    };
    Problem::warning(
        ProblemKind::MissingVariable,
        at,
        path,
        format!("{message}; {consequence}"),
    )
    .fix(fix)
}

/// A scalar as text; none for null, lists and mappings.
fn scalar_text(node: &Node) -> Option<String> {
    match &node.data {
        Data::Bool(value) => Some(value.to_string()),
        Data::Int(value) => Some(value.to_string()),
        Data::Float(value) => Some(value.to_string()),
        Data::Text(text) => Some(text.clone()),
        Data::Null | Data::List(_) | Data::Map(_) => None,
    }
}
