//! Fallback lists: how they are written, and which chain a group has.

use serde_json::{Map, Value};

use crate::provider::split_provider;

/// One rule of a fallback list: where the requests of a group go when it fails.
#[derive(Debug, Clone, PartialEq)]
pub struct FallbackRule {
    /// The group, or `*` for all that have no rule.
    pub group: String,
    /// Tried in this order.
    pub targets: Vec<FallbackTarget>,
}

/// Where a request goes next.
#[derive(Debug, Clone, PartialEq)]
pub struct FallbackTarget {
    /// A group, alias or deployment id.
    pub model: String,
    /// Body fields that this hop sets besides (`messages`, `temperature` …); usually none.
    pub params: Map<String, Value>,
    /// Only the group's deployments of this `order`; a rule never says so.
    pub order: Option<i64>,
}

/// The `fallbacks` of a request's body.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientFallbacks {
    /// The config's form: rules by group.
    Rules(Vec<FallbackRule>),
    /// A plain list of targets, for whichever group was asked for.
    Targets(Vec<FallbackTarget>),
}

/// A fallback list that has none of the known forms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fallbacks[{index}]: {reason}")]
pub struct InvalidFallbacks {
    /// Position in the list, from 0.
    pub index: usize,
    /// What is wrong with the item.
    pub reason: &'static str,
}

impl FallbackRule {
    /// Reads the config's form: `[{"a": ["b", {"model": "c"}]}, {"*": ["z"]}]`, each item a map
    /// with one key. `null` is an empty list.
    pub fn parse_list(value: &Value) -> Result<Vec<FallbackRule>, InvalidFallbacks> {
        let refuse = |index, reason| Err(InvalidFallbacks { index, reason });
        let items = match value {
            Value::Null => return Ok(Vec::new()),
            Value::Array(items) => items,
            _ => return refuse(0, "expected a list of maps from a group to its fallbacks"),
        };
        let mut rules = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let entries = item.as_object().map(|map| map.iter().collect::<Vec<_>>());
            let Some([(group, targets)]) = entries.as_deref() else {
                return refuse(index, "expected a map with exactly one key, the group");
            };
            let Some(targets) = targets.as_array() else {
                return refuse(index, "expected a list of fallbacks for the group");
            };
            let Some(targets) = targets.iter().map(FallbackTarget::parse).collect() else {
                return refuse(index, "a fallback is a model's name or a map with `model`");
            };
            rules.push(FallbackRule {
                group: (*group).clone(),
                targets,
            });
        }
        Ok(rules)
    }
}

impl FallbackTarget {
    /// A target without parameters of its own.
    pub fn to(model: impl Into<String>) -> FallbackTarget {
        FallbackTarget {
            model: model.into(),
            params: Map::new(),
            order: None,
        }
    }

    fn parse(value: &Value) -> Option<FallbackTarget> {
        match value {
            Value::String(model) => Some(FallbackTarget::to(model)),
            Value::Object(map) => {
                let model = map.get("model")?.as_str()?.to_owned();
                let mut params = map.clone();
                params.remove("model");
                Some(FallbackTarget {
                    model,
                    params,
                    order: None,
                })
            }
            _ => None,
        }
    }
}

impl FallbackRule {
    /// The chain of a group: its own rule, else the rule of its name without a provider's prefix, else
    /// the rule for `*`.
    #[must_use]
    pub fn chain<'a>(rules: &'a [Self], group: &str) -> Option<&'a [FallbackTarget]> {
        let bare = split_provider(group).map(|(_, bare)| bare);
        let rule = |name: &str| rules.iter().find(|rule| rule.group == name);
        let found = rule(group)
            .or_else(|| bare.and_then(rule))
            .or_else(|| rule("*"))?;
        Some(&found.targets)
    }
}

impl ClientFallbacks {
    /// Reads the `fallbacks` of a body, given as JSON text: names, maps of parameters, or the
    /// config's form.
    pub fn parse(json: &str) -> Result<ClientFallbacks, InvalidFallbacks> {
        let value: Value = serde_json::from_str(json).unwrap_or(Value::Bool(false));
        let plain = value
            .as_array()
            .is_some_and(|items| items.iter().any(is_plain_target));
        if !plain {
            return FallbackRule::parse_list(&value).map(ClientFallbacks::Rules);
        }
        let items = value.as_array().into_iter().flatten().enumerate();
        let targets: Result<_, _> = items
            .map(|(index, item)| {
                let reason = "expected a model's name or a map with `model`";
                FallbackTarget::parse(item).ok_or(InvalidFallbacks { index, reason })
            })
            .collect();
        targets.map(ClientFallbacks::Targets)
    }
}

/// A name, or a map of parameters: one whose `model` is a name and not a list of fallbacks.
fn is_plain_target(item: &Value) -> bool {
    item.is_string() || item.get("model").is_some_and(Value::is_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn config_lists() {
        let rules =
            FallbackRule::parse_list(&json!([{"a": ["b", {"model": "c", "n": 1}]}, {"*": ["z"]}]));
        let rules = rules.unwrap();
        assert_eq!(rules[0].group, "a");
        assert_eq!(rules[0].targets[0], FallbackTarget::to("b"));
        assert_eq!(rules[0].targets[1].params["n"], 1);
        assert_eq!(FallbackRule::parse_list(&Value::Null), Ok(Vec::new()));
        for (bad, index) in [
            (json!({"a": ["b"]}), 0),
            (json!([{"a": ["b"]}, {"a": [], "b": []}]), 1),
            (json!([{}]), 0),
            (json!([{"a": "b"}]), 0),
            (json!([{"a": [1]}]), 0),
            (json!([{"a": [{"temperature": 1}]}]), 0),
        ] {
            assert_eq!(
                FallbackRule::parse_list(&bad).unwrap_err().index,
                index,
                "{bad}"
            );
        }
    }

    #[test]
    fn client_lists_in_three_forms() {
        let targets = |json: &str| match ClientFallbacks::parse(json) {
            Ok(ClientFallbacks::Targets(t)) => t.into_iter().map(|t| t.model).collect::<Vec<_>>(),
            other => panic!("{json}: {other:?}"),
        };
        assert_eq!(targets(r#"["b","c"]"#), ["b", "c"]);
        assert_eq!(targets(r#"[{"model":"b","messages":[1]},"c"]"#), ["b", "c"]);
        let rules = ClientFallbacks::parse(r#"[{"a":["b"]}]"#).unwrap();
        assert!(matches!(rules, ClientFallbacks::Rules(rules) if rules[0].group == "a"));
        assert!(ClientFallbacks::parse(r#"[3]"#).is_err());
        assert!(ClientFallbacks::parse(r#"["a",3]"#).is_err());
        assert!(ClientFallbacks::parse("nonsense").is_err());
    }

    #[test]
    fn the_exact_rule_then_the_stripped_then_the_star() {
        let rules = FallbackRule::parse_list(&json!([
            {"*": ["z"]}, {"a": ["b"]}, {"openai/a": ["c"]}
        ]));
        let rules = rules.unwrap();
        let first = |group: &str| {
            FallbackRule::chain(&rules, group).unwrap()[0]
                .model
                .as_str()
        };
        assert_eq!(first("openai/a"), "c");
        assert_eq!(first("azure/a"), "b");
        assert_eq!(first("a"), "b");
        assert_eq!(first("acme/a"), "z");
        assert_eq!(FallbackRule::chain(&rules[1..], "x"), None);
    }
}
