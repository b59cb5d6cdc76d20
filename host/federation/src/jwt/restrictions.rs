//! What a token closes: lists of models beside those of its caller.

use std::sync::Arc;

use witgate_identity::{ModelList, Principal, allows};

use super::mapped;
use crate::{Asked, Refusal};

/// A model that there is not: a list that opens nothing.
const NOTHING: &str = "no-default-models";

/// What restricts a caller, whoever they are.
#[derive(Default)]
pub(super) struct Restrictions {
    lists: Vec<ModelList>,
    routes: Vec<String>,
}

impl Restrictions {
    /// Only these models, as `owner` says; an empty list is none at all.
    pub(super) fn add(&mut self, owner: &'static str, mut models: Vec<String>) {
        if models.is_empty() {
            models.push(NOTHING.to_owned());
        }
        self.lists.push(ModelList { owner, models });
    }

    /// Only these routes, which the request has been held to; an empty list says nothing.
    pub(super) fn add_routes(&mut self, routes: &[String]) {
        self.routes = mapped::both(&self.routes, routes);
    }

    /// The principal under these restrictions; refuses a model that they close.
    pub(super) fn restrict(
        self,
        asked: &Asked<'_>,
        mut principal: Principal,
    ) -> Result<Arc<Principal>, Refusal> {
        for list in &self.lists {
            let alone = Principal {
                team_id: principal.team_id.clone(),
                model_lists: vec![list.clone()],
                ..Principal::default()
            };
            if !asked.model.is_empty() && !(asked.may_use)(&alone) {
                let message = format!(
                    "{} not allowed to access model. This {} can only access models={:?}. Tried to access {}",
                    list.owner, list.owner, list.models, asked.model
                );
                return Err(Refusal::forbidden(message).param("model"));
            }
        }
        // A key that the caller makes with the token gets no further than the token.
        for list in &self.lists {
            principal.models = match principal.models.is_empty() {
                true => list.models.clone(),
                false => both(&principal.models, &list.models),
            };
        }
        principal.allowed_routes = self.routes;
        principal.model_lists.extend(self.lists);
        Ok(Arc::new(principal))
    }
}

/// What two lists of models both open; a list that opens nothing when there is nothing.
fn both(one: &[String], other: &[String]) -> Vec<String> {
    let narrower = one.iter().filter(|model| allows(other, model));
    let others = other
        .iter()
        .filter(|model| allows(one, model) && !one.contains(model));
    let models: Vec<String> = narrower.chain(others).cloned().collect();
    match models.is_empty() {
        true => vec![NOTHING.to_owned()],
        false => models,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_open_what_both_open() {
        let both = |one: &[&str], other: &[&str]| {
            let of = |list: &[&str]| list.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>();
            super::both(&of(one), &of(other))
        };
        assert_eq!(both(&["a", "b"], &["b", "c"]), ["b"]);
        assert_eq!(both(&["x/*"], &["x/1", "y/1"]), ["x/1"]);
        assert_eq!(both(&["x/1"], &["*"]), ["x/1"]);
        assert_eq!(both(&["a"], &["b"]), [NOTHING]);
    }
}
