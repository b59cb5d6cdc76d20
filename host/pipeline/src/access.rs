//! Which models a caller may use, access groups of the model list included.

use witgate_identity::Principal;
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

/// How a caller may use a model: by its name, else through the access groups among what it may use.
#[must_use]
pub fn may_use(routing: &Snapshot, caller: &Principal, model: &str) -> MayUse {
    if caller.may_use(model) {
        return MayUse::Whole;
    }
    let groups = routing.granted_by(model, caller.team_id.as_deref(), &caller.models);
    match groups.is_empty() {
        true => MayUse::No,
        false => MayUse::Groups(groups),
    }
}
