//! Which models a caller may use, access groups of the model list included.

use witgate_identity::{Principal, allows};
use witgate_routing::Snapshot;

/// How a caller may use a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MayUse {
    /// Not at all.
    No,
    /// Every deployment of it.
    Whole,
    /// Those of these access groups.
    Groups(Vec<String>),
}

/// How a caller may use a model: by its name, else through the access groups among what it may use. Every list that bears
/// on the caller must allow it; what several grant by groups is what all of them grant.
#[must_use]
pub fn may_use(routing: &Snapshot, caller: &Principal, model: &str) -> MayUse {
    let mut use_of = match caller.models.is_empty() {
        true => MayUse::Whole,
        false => by_list(routing, caller, &caller.models, model),
    };
    for list in &caller.model_lists {
        use_of = match (use_of, by_list(routing, caller, &list.models, model)) {
            (MayUse::No, _) | (_, MayUse::No) => return MayUse::No,
            (MayUse::Whole, other) | (other, MayUse::Whole) => other,
            (MayUse::Groups(mut groups), MayUse::Groups(others)) => {
                groups.retain(|group| others.contains(group));
                match groups.is_empty() {
                    true => return MayUse::No,
                    false => MayUse::Groups(groups),
                }
            }
        };
    }
    use_of
}

/// Whose list does not allow a model: `key`, or the owner of one of the lists beside it.
pub(crate) fn refused_by<'a>(
    routing: &Snapshot,
    caller: &'a Principal,
    model: &str,
) -> (&'static str, &'a [String]) {
    let own =
        caller.models.is_empty() || by_list(routing, caller, &caller.models, model) != MayUse::No;
    let lists = caller.model_lists.iter();
    let other = lists
        .filter(|_| own)
        .find(|list| by_list(routing, caller, &list.models, model) == MayUse::No);
    other.map_or(("key", &caller.models), |list| (list.owner, &list.models))
}

/// Names as Python prints those of a list.
pub(crate) fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    names.join(", ")
}

fn by_list(routing: &Snapshot, caller: &Principal, models: &[String], model: &str) -> MayUse {
    // LiteLLM's: by its name, by what the name is an alias for, or by the name with its provider's before it.
    let aliases = &routing.settings().aliases;
    let target_too = || {
        aliases
            .get(model)
            .is_some_and(|to| allows(models, &to.model))
    };
    if allows(models, model) || target_too() {
        return MayUse::Whole;
    }
    let has_pattern = models.iter().any(|entry| entry.contains('*'));
    if has_pattern
        && !model.contains('/')
        && let Some(provider) = routing.provider_of(model)
    {
        let full = format!("{provider}/{model}");
        if allows(models, &full) {
            return MayUse::Whole;
        }
    }
    let groups = routing.granted_by(model, caller.team_id.as_deref(), models);
    match groups.is_empty() {
        true => MayUse::No,
        false => MayUse::Groups(groups),
    }
}
