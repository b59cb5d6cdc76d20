//! The steps from files to a configuration, in order.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::coerce;
use crate::config::Config;
use crate::crosscheck;
use crate::definition::{Status, definitions, variable};
use crate::draft::{Asked, Draft};
use crate::env::Env;
use crate::include::Merged;
use crate::node::{Data, Entry, Node, Position};
use crate::problem::{Problem, ProblemKind, Severity};
use crate::resolve;
use crate::source::Source;
use crate::typed;
use crate::validate;

/// A configuration that may be served.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is odd about it: warnings only, in file order.
    pub problems: Vec<Problem>,
    /// Every file it was read from, the first one first: what a watcher watches.
    pub files: Vec<PathBuf>,
    /// The environment with what `environment_variables` sets on top: the one read path for the
    /// gateway and for what plugins are granted.
    pub environment: Env,
}

/// Reads, merges, resolves, checks and types a configuration, without asking a secret manager.
///
/// # Errors
/// When it must not be served: all errors and warnings found, in file order.
pub fn load(source: &Source, env: &Env) -> Result<Loaded, Vec<Problem>> {
    let draft = Draft::read(source, env);
    draft
        .early()
        .map_err(|_| Draft::read(source, env).check().1)?;
    draft.load(BTreeMap::new())
}

/// Everything wrong or odd about a configuration, in file order. It may be served when none of
/// the problems is an error. Unlike [`load`] it also tells, as [`ProblemKind::Compatibility`], what
/// is accepted without effect. Nobody is asked: what a secret manager would be asked for counts as given.
pub fn check(source: &Source, env: &Env) -> Vec<Problem> {
    checked(source, env).1
}

/// The same with the configuration, as far as it can be read, for those who judge more of it.
pub fn checked(source: &Source, env: &Env) -> (Option<Loaded>, Vec<Problem>) {
    let (loaded, mut problems) = Draft::read(source, env).check();
    for (path, reason, at) in loaded.iter().flat_map(|loaded| &loaded.config.accepted) {
        let message = format!("has no effect: {reason}");
        problems.push(Problem::warning(
            ProblemKind::Compatibility,
            at,
            path.clone(),
            message,
        ));
    }
    (loaded, in_file_order(problems))
}

/// All steps after reading. Later steps run only on values the earlier ones vouch for. `asked`: whom the references were
/// asked of, besides the environment.
pub(crate) fn resolved(
    mut merged: Merged,
    env: &Env,
    asked: Option<&Asked>,
) -> (Option<Loaded>, Vec<Problem>) {
    let mut problems = Vec::new();
    let overlay = resolve::overlay(&merged.root, env, asked, &mut problems);
    let environment = env.with_overlay(overlay);
    resolve::references(&mut merged.root, &environment, asked, &mut problems);
    variables(&environment, &mut problems);
    validate::validate(&mut merged.root, &mut problems);
    crosscheck::required(&merged.root, &mut problems);
    // What is asked for later is not missing.
    let later: Vec<String> = problems
        .iter()
        .filter(|problem| problem.kind == ProblemKind::Compatibility)
        .map(|problem| problem.path.clone())
        .collect();
    problems.retain(|p| p.kind != ProblemKind::MissingKey || !later.contains(&p.path));
    let mut loaded = None;
    if !problems.iter().any(Problem::is_error) {
        let raw = merged.root.to_json();
        fill_from_variables(&mut merged.root, &environment);
        let config = typed::config(&merged.root, raw, &environment, &mut problems);
        crosscheck::references(&config, &merged.root, &mut problems);
        loaded = Some(Loaded {
            config,
            problems: Vec::new(),
            files: merged.files,
            environment,
        });
    }
    (loaded, problems)
}

/// The problems as one meets them when reading.
pub(crate) fn in_file_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| (&a.file, a.line, a.col).cmp(&(&b.file, b.line, b.col)));
    problems
}

/// Checks every variable that is set and defined. What a wrong one means is settled by type: a
/// boolean nobody can read is an error, any other value gives way to the default.
fn variables(env: &Env, problems: &mut Vec<Problem>) {
    for name in env.names() {
        let Some(definition) = variable(name) else {
            continue;
        };
        let Some(text) = env.non_empty(name) else {
            continue;
        };
        let (_, mut found) = fitted(text, name, &definition.kind);
        if let Some(mut problem) = found.pop() {
            problem.message = format!("expected {}", definition.kind.expectation());
            problem.fix = format!("correct {name}, or unset it");
            problem.kind = ProblemKind::Variable;
            let is_flag =
                definition.kind == crate::Kind::Bool && definition.status == Status::Supported;
            if !is_flag {
                problem.severity = Severity::Warning;
                problem.message += "; the default is used";
            }
            problems.push(problem);
        }
    }
}

/// Gives the keys that the file leaves out the value of their variable.
fn fill_from_variables(root: &mut Node, env: &Env) {
    let with_variable = definitions()
        .iter()
        .filter(|definition| definition.status == Status::Supported);
    for definition in with_variable {
        let Some(name) = definition.env.as_deref() else {
            continue;
        };
        let Some((section, key)) = definition.path.split_once('.') else {
            continue;
        };
        let Some(text) = env.non_empty(name) else {
            continue;
        };
        if root.at_path(&definition.path).is_some() {
            continue;
        }
        let (node, problems) = fitted(text, name, &definition.kind);
        let Some(root) = root.as_map_mut().filter(|_| problems.is_empty()) else {
            continue;
        };
        let at = Position::default();
        let section = root.entry(section.to_owned()).or_insert_with(|| Entry {
            key_at: at.clone(),
            node: Node::new(Data::Map(indexmap::IndexMap::new()), at.clone()),
        });
        if section.node.is_null() {
            section.node.data = Data::Map(indexmap::IndexMap::new());
        }
        if let Some(entries) = section.node.as_map_mut() {
            entries.insert(key.to_owned(), Entry { key_at: at, node });
        }
    }
}

/// A variable's text as its kind wants it, and what keeps it from being that. The case of a word
/// does not matter: `LITELLM_LOG=debug` is common.
fn fitted(text: &str, name: &str, kind: &crate::Kind) -> (Node, Vec<Problem>) {
    let text = text.trim();
    let text = match kind {
        crate::Kind::Enum(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text))
            .map_or(text, String::as_str),
        _ => text,
    };
    let mut node = Node::new(Data::Text(text.to_owned()), Position::default());
    node.variable = Some(name.into());
    let mut problems = Vec::new();
    coerce::fit(&mut node, kind, name, true, &mut problems);
    (node, problems)
}

#[cfg(test)]
mod tests;
