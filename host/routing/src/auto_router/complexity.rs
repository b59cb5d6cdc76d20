//! `auto_router/complexity_router`: a model for each of four tiers of how hard a request is.
//!
//! The score and its defaults are LiteLLM's as it documents them; the words that are looked for are ours.

use std::time::Duration;

use serde::Serialize;

use witgate_wire::vector::product;

use super::{Keywords, ROUNDING, words};

/// How hard a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Tier {
    /// Greetings, definitions, look-ups.
    Simple,
    /// Everyday work.
    Medium,
    /// Work with many parts.
    Complex,
    /// Work that has to be thought through.
    Reasoning,
}

impl Tier {
    /// All of them, the easiest first.
    pub const ALL: [Tier; 4] = [Tier::Simple, Tier::Medium, Tier::Complex, Tier::Reasoning];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Simple => "SIMPLE",
            Tier::Medium => "MEDIUM",
            Tier::Complex => "COMPLEX",
            Tier::Reasoning => "REASONING",
        }
    }

    /// The tier of a name, in either case.
    pub fn of_name(name: &str) -> Option<Tier> {
        let name = name.trim();
        let mut all = Tier::ALL.into_iter();
        all.find(|tier| tier.name().eq_ignore_ascii_case(name))
    }
}

/// What `complexity_router_config` says.
#[derive(Debug, Clone)]
pub struct ComplexityRouter {
    /// `tiers`: the models of each; one of several is drawn. A tier without any leads to the default.
    pub tiers: [Vec<String>; 4],
    /// How a text is scored.
    pub complexity: Complexity,
    /// `keyword_tier_rules`, which go before everything else.
    pub rules: Vec<KeywordRule>,
    /// `semantic_keyword_matching`
    pub semantic: Option<SemanticKeywords>,
    /// `classifier_type`
    pub classifier: Classifier,
    /// `session_affinity`: how long a session stays with the model that its first request led to.
    pub session_ttl: Option<Duration>,
    /// `reminder_markers`: what stands between these is not the user's.
    pub reminders: (String, String),
}

impl ComplexityRouter {
    /// The models of a tier.
    pub fn models(&self, tier: Tier) -> &[String] {
        &self.tiers[tier as usize]
    }

    /// The hardest tier of which a keyword is in the text.
    pub fn by_keyword(&self, ask: &str) -> Option<Tier> {
        if self.rules.is_empty() {
            return None;
        }
        let ask = scanned(ask);
        let found = self
            .rules
            .iter()
            .filter(|rule| rule.keywords.count(&ask) > 0);
        found.map(|rule| rule.tier).max()
    }
}

impl ComplexityRouter {
    /// The keywords of all rules, in order, and the tiers they mean.
    pub fn words(&self) -> impl Iterator<Item = (&str, Tier)> {
        let rules = self.rules.iter();
        rules.flat_map(|rule| rule.keywords.iter().map(|word| (word, rule.tier)))
    }

    /// The tier of the keyword that means most nearly what a text means, if it does nearly enough, and how
    /// nearly. Vectors are of length one; those of the keywords are in the order of
    /// [`ComplexityRouter::words`].
    pub fn by_meant_keyword(
        &self,
        words: &[Box<[f32]>],
        text: &[f32],
        threshold: f64,
    ) -> Option<(Tier, f64)> {
        let alike = words.iter().zip(self.words());
        let alike = alike.filter(|(word, _)| word.len() == text.len());
        let scored = alike.map(|(word, (_, tier))| (tier, f64::from(product(word, text))));
        let near = scored.filter(|(_, score)| *score + ROUNDING >= threshold);
        near.max_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

/// One of `keyword_tier_rules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeywordRule {
    /// The words.
    pub keywords: Keywords,
    /// The tier of a text that has one of them.
    pub tier: Tier,
}

/// `semantic_keyword_matching`: keywords are compared by what they mean, too.
#[derive(Debug, Clone, PartialEq)]
pub struct SemanticKeywords {
    /// `embedding_model`
    pub embedding_model: String,
    /// `match_threshold`
    pub threshold: f64,
}

/// `classifier_type`
#[derive(Debug, Clone, PartialEq)]
pub enum Classifier {
    /// The score of the text.
    Heuristic,
    /// A model that is asked.
    Llm {
        /// The group that is asked.
        model: String,
        /// How long it may take.
        timeout: Duration,
        /// `system_prompt`, in place of ours.
        system_prompt: Option<String>,
        /// What holds without an answer.
        fallback: ClassifierFallback,
    },
}

/// `classifier_fallback`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassifierFallback {
    /// The score of the text.
    Heuristic,
    /// The default model.
    DefaultModel,
}

/// How a text is scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Complexity {
    /// `dimension_weights`, in the order of [`Complexity::DIMENSIONS`].
    pub weights: [f64; 7],
    /// `tier_boundaries`: the least scores of medium, complex and reasoning.
    pub boundaries: [f64; 3],
    /// `token_thresholds.simple`: a text with fewer tokens is short.
    pub short_below: u64,
    /// `token_thresholds.complex`: one with more is long.
    pub long_above: u64,
    /// `reasoning_override_min_score`: from this score on two reasoning markers make it reasoning.
    pub override_min: Option<f64>,
    /// `code_keywords`
    pub code: Keywords,
    /// `reasoning_keywords`
    pub reasoning: Keywords,
    /// `technical_keywords`, and `custom_technical_keywords`.
    pub technical: Keywords,
    /// `simple_keywords`
    pub simple: Keywords,
}

/// What a text was found to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Its tier.
    pub tier: Tier,
    /// Its score, from -1 to 1 with the default weights.
    pub score: f64,
}

impl Complexity {
    /// The dimensions, and what each counts for by default.
    pub const DIMENSIONS: [(&str, f64); 7] = [
        ("tokenCount", 0.10),
        ("codePresence", 0.30),
        ("reasoningMarkers", 0.25),
        ("technicalTerms", 0.25),
        ("simpleIndicators", 0.05),
        ("multiStepPatterns", 0.03),
        ("questionComplexity", 0.02),
    ];

    /// Scores what the user asks; what the system prompt says counts for some dimensions.
    pub fn score(&self, ask: &str, system: &str) -> Scored {
        // LiteLLM's estimate: a token is four characters.
        let tokens = ask.chars().count() as u64 / 4;
        let length = match tokens {
            n if n < self.short_below => -1.0,
            n if n > self.long_above => 1.0,
            _ => 0.0,
        };
        let (ask, system) = (scanned(ask), scanned(system));
        let both = |words: &Keywords| {
            let found = |word: &&str| {
                let one = Keywords::new([word]);
                one.count(&ask) + one.count(&system) > 0
            };
            words.iter().filter(found).count()
        };
        let markers = self.reasoning.count(&ask);
        let is_simple = both(&self.simple) > 0;
        let values = [
            length,
            share(both(&self.code)),
            share(markers),
            share(both(&self.technical)),
            if is_simple { -1.0 } else { 0.0 },
            if has_steps(&ask) { 1.0 } else { 0.0 },
            if ask.matches(['?', '？']).count() > 1 {
                1.0
            } else {
                0.0
            },
        ];
        let weighted = values.iter().zip(self.weights);
        let score: f64 = weighted.map(|(value, weight)| value * weight).sum();
        let [medium, complex, reasoning] = self.boundaries;
        let is_thought = markers >= 2 && score >= self.override_min.unwrap_or(medium);
        let tier = match score {
            _ if is_thought => Tier::Reasoning,
            s if s >= reasoning => Tier::Reasoning,
            s if s >= complex => Tier::Complex,
            s if s >= medium => Tier::Medium,
            _ => Tier::Simple,
        };
        Scored { tier, score }
    }
}

impl Default for Complexity {
    fn default() -> Self {
        Complexity {
            weights: Complexity::DIMENSIONS.map(|(_, weight)| weight),
            boundaries: [0.15, 0.35, 0.60],
            short_below: 15,
            long_above: 400,
            override_min: None,
            code: Keywords::new(words::CODE.split(", ")),
            reasoning: Keywords::new(words::REASONING.split(", ")),
            technical: Keywords::new(words::TECHNICAL.split(", ")),
            simple: Keywords::new(words::SIMPLE.split(", ")),
        }
    }
}

/// One word of a kind is a hint, two are a finding.
fn share(found: usize) -> f64 {
    match found {
        0 => 0.0,
        1 => 0.5,
        _ => 1.0,
    }
}

/// Bytes of a text in which words are looked for: a request must not cost more for being long, and a long
/// one counts as such already.
const SCANNED_MAX_BYTES: usize = 32 * 1024;

/// The beginning of a text, in lower case.
fn scanned(text: &str) -> String {
    let end = text.floor_char_boundary(SCANNED_MAX_BYTES);
    text.get(..end).unwrap_or_default().to_lowercase()
}

/// Whether a text counts steps: `first … then`, or two lines that begin with a number.
fn has_steps(text: &str) -> bool {
    let numbered = |line: &&str| {
        let rest = line
            .trim_start()
            .trim_start_matches(|c: char| c.is_ascii_digit());
        rest.len() < line.trim_start().len() && rest.starts_with(['.', ')', ':'])
    };
    let words = || text.split(|c: char| !c.is_alphanumeric());
    text.lines().filter(numbered).count() >= 2
        || words()
            .skip_while(|word| *word != "first")
            .any(|word| word == "then")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(ask: &str) -> Tier {
        Complexity::default().score(ask, "").tier
    }

    #[test]
    fn texts_have_the_tier_that_their_words_make() {
        let rows = [
            ("Hello!", Tier::Simple),
            ("What is 2+2?", Tier::Simple),
            (
                "Tell me a story about a whale that lives in a lighthouse and likes to read",
                Tier::Simple,
            ),
            (
                "Please write a python function that reverses a linked list and is easy to read",
                Tier::Medium,
            ),
            (
                "Debug this async function: our distributed database has a race condition somewhere",
                Tier::Complex,
            ),
            (
                "Analyze the trade-offs of this distributed architecture and its replication protocol",
                Tier::Reasoning,
            ),
        ];
        for (ask, expected) in rows {
            let scored = Complexity::default().score(ask, "");
            assert_eq!(scored.tier, expected, "{ask}: {}", scored.score);
        }
    }

    #[test]
    fn each_dimension_counts_by_its_weight() {
        let long = "lorem ipsum dolor sit amet ".repeat(80);
        let middle = "lorem ipsum dolor sit amet ".repeat(4);
        let rows = [
            ("lorem", -0.10),
            (middle.as_str(), 0.0),
            (long.as_str(), 0.10),
            (&format!("{middle} function"), 0.15),
            (&format!("{middle} function class query"), 0.30),
            (&format!("{middle} prove"), 0.125),
            (&format!("{middle} encryption latency"), 0.25),
            (&format!("{middle} define"), -0.05),
            (&format!("{middle} first this and then that"), 0.03),
            (&format!("{middle}\n1. this\n2. that"), 0.03),
            (&format!("{middle} then first"), 0.0),
            (&format!("{middle}??"), 0.02),
            (&format!("{middle}?"), 0.0),
        ];
        for (ask, expected) in rows {
            let score = Complexity::default().score(ask, "").score;
            assert!(
                (score - expected).abs() < 1e-9,
                "{ask}: {score}, not {expected}"
            );
        }
    }

    #[test]
    fn a_boundary_belongs_to_the_tier_above_it() {
        let with = |boundaries| Complexity {
            boundaries,
            ..Complexity::default()
        };
        // The score of this is 0.15 to the last bit: half of 0.3.
        let ask = "lorem ipsum dolor sit amet lorem ipsum dolor sit amet lorem ipsum function";
        let at = |boundaries| with(boundaries).score(ask, "").tier;
        assert_eq!(at([0.15, 0.35, 0.6]), Tier::Medium);
        assert_eq!(at([0.1500001, 0.35, 0.6]), Tier::Simple);
        assert_eq!(at([0.1, 0.15, 0.6]), Tier::Complex);
        assert_eq!(at([0.1, 0.12, 0.15]), Tier::Reasoning);
    }

    #[test]
    fn two_reasoning_markers_make_it_reasoning_from_a_score_on() {
        let ask = "Prove it step by step, please, and mind that the reader is new to all of this";
        assert_eq!(tier(ask), Tier::Reasoning);
        let strict = Complexity {
            override_min: Some(0.9),
            ..Complexity::default()
        };
        assert_eq!(strict.score(ask, "").tier, Tier::Medium);
        // A system prompt makes nobody think.
        let scored = Complexity::default().score("lorem ipsum", "analyze this step by step");
        assert_eq!(scored.tier, Tier::Simple);
        let code = Complexity::default().score("lorem ipsum", "you write python code");
        assert!(
            (code.score - 0.2).abs() < 1e-9,
            "what it says of code counts: {}",
            code.score
        );
    }

    #[test]
    fn a_text_of_any_length_and_script_is_scored() {
        for text in [
            "",
            "é",
            "設計？？",
            &"ü".repeat(100_000),
            &"?".repeat(70_000),
        ] {
            let scored = Complexity::default().score(text, text);
            assert!(scored.score.is_finite());
        }
        assert_eq!(Tier::of_name(" reasoning "), Some(Tier::Reasoning));
        assert_eq!(Tier::of_name("hard"), None);
    }
}
