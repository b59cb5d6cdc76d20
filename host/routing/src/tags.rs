//! Tag routing: which deployments a request's tags lead to.
//!
//! A tag of the request may begin with `!` (deployments that have it are out) or `&` (deployments
//! must have it); the others are matched as the setting says, any of them or all. A deployment's
//! `tag_regex` is matched against the caller's `User-Agent`, where not all tags have to match.

use crate::labels::Label;
use crate::select::Facts;
use crate::snapshot::Snapshot;

/// The tag of deployments for requests whose tags lead nowhere.
const DEFAULT: &str = "default";

/// Those of `list` that the tags allow; empty when none may serve the request.
pub(crate) fn matching(snapshot: &Snapshot, list: &[usize], facts: &Facts<'_>) -> Vec<usize> {
    let (tags, match_any) = (facts.tags, snapshot.settings.tag_match_any);
    let labels = &snapshot.labels;
    let has = |i: &usize, tag: &Label| {
        let own = labels.of(snapshot.essentials[*i].tags);
        own.contains(tag)
    };
    let (mut plain, mut wanted, mut banned) = (Vec::new(), Vec::new(), Vec::new());
    for tag in tags {
        match (tag.strip_prefix('&'), tag.strip_prefix('!')) {
            (Some(tag), _) => wanted.push(labels.number(tag)),
            (_, Some(tag)) => banned.push(labels.number(tag)),
            _ => plain.push(labels.number(tag)),
        }
    }
    let allowed =
        |i: &&usize| wanted.iter().all(|tag| has(i, tag)) && !banned.iter().any(|tag| has(i, tag));
    let allowed: Vec<usize> = list.iter().filter(allowed).copied().collect();
    let defaults = || -> Vec<usize> {
        let own = allowed.iter().copied();
        let default = labels.number(DEFAULT);
        own.filter(|i| has(i, &default)).collect()
    };
    let agent = facts.user_agent.map(|agent| format!("User-Agent: {agent}"));
    let by_pattern = |i: &usize| {
        let patterns = &snapshot.deployments[*i].spec.tag_regex;
        let agent = agent.as_deref();
        agent.is_some_and(|agent| patterns.iter().any(|pattern| pattern.is_match(agent)))
    };
    if plain.is_empty() {
        let matched: Vec<usize> = allowed.iter().copied().filter(by_pattern).collect();
        if !matched.is_empty() {
            return matched;
        }
        // Who says what a deployment must have, has chosen already.
        let own = if wanted.is_empty() {
            defaults()
        } else {
            Vec::new()
        };
        return if own.is_empty() { allowed } else { own };
    }
    let matches = |i: &&usize| match match_any {
        true => plain.iter().any(|tag| has(i, tag)) || by_pattern(i),
        false => plain.iter().all(|tag| has(i, tag)),
    };
    let matched: Vec<usize> = allowed.iter().filter(matches).copied().collect();
    if matched.is_empty() {
        defaults()
    } else {
        matched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeploymentSpec, RoutingSettings};

    /// Tags of the deployments, tags of the request, what any and all lead to.
    #[test]
    fn tag_table() {
        let three: &[&[&str]] = &[&["free"], &["paid", "eu"], &["default"]];
        let two: &[&[&str]] = &[&["free"], &["paid"]];
        type Row = (
            &'static [&'static [&'static str]],
            &'static [&'static str],
            &'static [usize],
            &'static [usize],
        );
        let rows: &[Row] = &[
            (three, &["free"], &[0], &[0]),
            (three, &["paid", "us"], &[1], &[2]),
            (three, &["paid", "eu"], &[1], &[1]),
            (three, &["zzz"], &[2], &[2]),
            (three, &[], &[2], &[2]),
            (two, &["zzz"], &[], &[]),
            (two, &[], &[0, 1], &[0, 1]),
            (three, &["&paid"], &[1], &[1]),
            (three, &["!free", "!default"], &[1], &[1]),
            (three, &["!default"], &[0, 1], &[0, 1]),
            (three, &["free", "paid", "!eu"], &[0], &[2]),
            (two, &["!free", "!paid"], &[], &[]),
        ];
        for (deployments, tags, any, all) in rows {
            let specs = deployments.iter().map(|tags| DeploymentSpec {
                model_group: "g".into(),
                model: "openai/m".into(),
                tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
                ..DeploymentSpec::default()
            });
            let specs: Vec<DeploymentSpec> = specs.collect();
            let list: Vec<usize> = (0..deployments.len()).collect();
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            for (tag_match_any, expected) in [(true, any), (false, all)] {
                let settings = RoutingSettings {
                    tag_match_any,
                    ..RoutingSettings::default()
                };
                let snapshot = Snapshot::build(specs.clone(), settings);
                let facts = Facts {
                    tags: &tags,
                    ..Facts::default()
                };
                assert_eq!(
                    matching(&snapshot, &list, &facts),
                    *expected,
                    "any: {tag_match_any} {deployments:?} {tags:?}"
                );
            }
        }
    }

    /// `User-Agent`, tags of the request, what any and all lead to.
    #[test]
    fn patterns_match_the_user_agent() {
        let spec = |tags: &[&str], pattern: Option<&str>| DeploymentSpec {
            model_group: "g".into(),
            model: "openai/m".into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            tag_regex: pattern
                .map(|pattern| regex::Regex::new(pattern).unwrap())
                .into_iter()
                .collect(),
            ..DeploymentSpec::default()
        };
        let specs = vec![
            spec(&[], Some("^User-Agent: claude-code/")),
            spec(&["default"], None),
            spec(&["paid"], None),
        ];
        type Row = (
            Option<&'static str>,
            &'static [&'static str],
            &'static [usize],
            &'static [usize],
        );
        let rows: &[Row] = &[
            (Some("claude-code/1.2"), &[], &[0], &[0]),
            (Some("curl/8"), &[], &[1], &[1]),
            (None, &[], &[1], &[1]),
            (Some("claude-code/1.2"), &["paid"], &[0, 2], &[2]),
            (Some("claude-code/1.2"), &["zzz"], &[0], &[1]),
        ];
        for (user_agent, tags, any, all) in rows {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            for (tag_match_any, expected) in [(true, any), (false, all)] {
                let settings = RoutingSettings {
                    tag_match_any,
                    ..RoutingSettings::default()
                };
                let snapshot = Snapshot::build(specs.clone(), settings);
                let facts = Facts {
                    tags: &tags,
                    user_agent: *user_agent,
                    ..Facts::default()
                };
                let found = matching(&snapshot, &[0, 1, 2], &facts);
                assert_eq!(
                    found, *expected,
                    "{user_agent:?} {tags:?} any: {tag_match_any}"
                );
            }
        }
    }
}
