//! `auto_router/NAME`: the route whose utterances are most like the text.

use witgate_wire::vector::product;

use super::ROUNDING;

/// What `auto_router_config` says.
#[derive(Debug, Clone, PartialEq)]
pub struct SemanticRouter {
    /// `auto_router_embedding_model`: the group that embeds.
    pub embedding_model: String,
    /// `auto_router_max_input_chars`: characters of the text that are embedded, from its beginning.
    pub input_chars_max: usize,
    /// `routes`
    pub routes: Vec<SemanticRoute>,
}

/// One of its `routes`.
#[derive(Debug, Clone, PartialEq)]
pub struct SemanticRoute {
    /// `name`: the model that it leads to.
    pub model: String,
    /// What is asked of that model, for example.
    pub utterances: Vec<String>,
    /// `score_threshold`: how like the text must be, from 0 to 1.
    pub threshold: f64,
}

impl SemanticRouter {
    /// The utterances of all routes, in order.
    pub fn utterances(&self) -> impl Iterator<Item = &str> {
        let all = self.routes.iter().flat_map(|route| &route.utterances);
        all.map(String::as_str)
    }

    /// Of the routes that are like enough the one most like the text, and how like it is. Vectors are of
    /// length one; those of the utterances are in their order.
    pub fn nearest(
        &self,
        utterances: &[Box<[f32]>],
        text: &[f32],
    ) -> Option<(&SemanticRoute, f64)> {
        let mut vectors = utterances.iter();
        let scored = self.routes.iter().map(|route| {
            let own = vectors.by_ref().take(route.utterances.len());
            let likeness = own.filter(|own| own.len() == text.len());
            let best = likeness
                .map(|own| product(own, text))
                .fold(f32::MIN, f32::max);
            (route, f64::from(best))
        });
        let near = scored.filter(|(route, score)| *score + ROUNDING >= route.threshold);
        near.reduce(|best, one| if one.1 > best.1 { one } else { best })
    }
}
