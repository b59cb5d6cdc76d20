//! Automatic routers: models without deployments, for which a request's own words choose a group.
//!
//! `litellm_params.model: auto_router/…` makes an entry of the model list one. What is asked of models on
//! the way (embeddings, a classifier) is asked elsewhere; here is what follows from their answers.

mod complexity;
mod keywords;
mod semantic;
mod words;

use serde::Serialize;

use crate::resolve::{NoSuchModel, Resolution};
use crate::snapshot::Snapshot;

pub use complexity::{
    Classifier, ClassifierFallback, Complexity, ComplexityRouter, KeywordRule, Scored,
    SemanticKeywords, Tier,
};
pub use keywords::Keywords;
pub use semantic::{SemanticRoute, SemanticRouter};

/// The prefix of `litellm_params.model` that makes an entry an automatic router.
pub const AUTO_ROUTER_PREFIX: &str = "auto_router/";
/// What follows it where the router goes by how hard a request is.
pub const COMPLEXITY_ROUTER: &str = "complexity_router";

/// A text that is an utterance is like it by a little less than 1, for rounding.
const ROUNDING: f64 = 1e-6;

/// An automatic router.
#[derive(Debug, Clone)]
pub struct AutoRouter {
    /// `model_name`, by which it is asked for.
    pub name: String,
    /// Whom it leads to where it cannot decide.
    pub default_model: String,
    /// What it goes by.
    pub goes_by: GoesBy,
}

/// What an automatic router goes by.
#[derive(Debug, Clone)]
pub enum GoesBy {
    /// What the request means.
    Meaning(SemanticRouter),
    /// How hard it is.
    Complexity(Box<ComplexityRouter>),
}

/// Where an automatic router led a call, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Led {
    /// The router.
    pub router: String,
    /// The model it chose.
    pub model: String,
    /// What decided: a word of [`Cause`].
    pub cause: Cause,
    /// The tier of a router that goes by complexity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// The likeness or the score that decided, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// What decided. The words are a contract (docs/routing.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The route whose utterances are most like the text.
    Route,
    /// The score of the text.
    Score,
    /// A keyword in the text.
    Keyword,
    /// A keyword that means what the text means.
    SemanticKeyword,
    /// The model that classifies.
    Classifier,
    /// The session's earlier choice.
    Session,
    /// The default: no route is like the text.
    NoRoute,
    /// The default: the request has no text of a user.
    NoText,
    /// The default: the model that embeds or classifies gave no answer.
    Failed,
    /// The default: what was chosen is no model.
    NoModel,
}

impl Cause {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Route => "route",
            Cause::Score => "score",
            Cause::Keyword => "keyword",
            Cause::SemanticKeyword => "semantic_keyword",
            Cause::Classifier => "classifier",
            Cause::Session => "session",
            Cause::NoRoute => "no_route",
            Cause::NoText => "no_text",
            Cause::Failed => "failed",
            Cause::NoModel => "no_model",
        }
    }
}

impl Snapshot {
    /// The automatic router that a name stands for, by itself or as an alias.
    pub fn auto_router(&self, name: &str) -> Option<&AutoRouter> {
        let routers = &self.settings.auto_routers;
        if routers.is_empty() {
            return None;
        }
        let alias = self.settings.aliases.get(name);
        let target = alias.map_or(name, |alias| &alias.model);
        routers.iter().find(|router| router.name == target)
    }

    /// Resolves the model that a router chose for a name, which stays what logs and fallbacks go by.
    ///
    /// # Errors
    /// When the model is none, or a router itself: one does not lead to another.
    pub fn resolve_led(
        &self,
        requested: &str,
        model: &str,
        team: Option<&str>,
    ) -> Result<Resolution, NoSuchModel> {
        let none = || NoSuchModel {
            requested: model.to_owned(),
            nearest: Vec::new(),
        };
        if self.auto_router(model).is_some() {
            return Err(none());
        }
        let mut found = self.resolve_exactly(model, team).ok_or_else(none)?;
        requested.clone_into(&mut found.requested);
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
