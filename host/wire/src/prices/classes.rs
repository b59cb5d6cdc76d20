//! What a model of Fireworks AI or Together AI costs that the map does not have: the price of its size, which its name tells.

use super::lookup::family;

/// The bounds of the classes of size. The default is LiteLLM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeClasses {
    fireworks: [u64; FIREWORKS.len()],
    mixtures: [u64; MIXTURES.len()],
    together: [u64; TOGETHER.len()],
    embeddings: [u64; EMBEDDINGS.len()],
}

/// A class: the variable of its bound, the bound unless told otherwise, the map's key. A model belongs to the first whose bound
/// is not below its size.
type Class = (&'static str, u64, &'static str);

/// Billions of parameters.
const FIREWORKS: [Class; 2] = [
    ("FIREWORKS_AI_4_B", 4, "fireworks-ai-up-to-4b"),
    ("FIREWORKS_AI_16_B", 16, "fireworks-ai-4.1b-to-16b"),
];

/// What is larger than those.
const FIREWORKS_ABOVE: &str = "fireworks-ai-above-16b";

/// Billions of parameters of a mixture of experts, all of them together.
const MIXTURES: [Class; 2] = [
    ("FIREWORKS_AI_56_B_MOE", 56, "fireworks-ai-moe-up-to-56b"),
    ("FIREWORKS_AI_176_B_MOE", 176, "fireworks-ai-56b-to-176b"),
];

/// Billions of parameters.
const TOGETHER: [Class; 6] = [
    ("TOGETHER_AI_4_B", 4, "together-ai-up-to-4b"),
    ("TOGETHER_AI_8_B", 8, "together-ai-4.1b-8b"),
    ("TOGETHER_AI_21_B", 21, "together-ai-8.1b-21b"),
    ("TOGETHER_AI_41_B", 41, "together-ai-21.1b-41b"),
    ("TOGETHER_AI_80_B", 80, "together-ai-41.1b-80b"),
    ("TOGETHER_AI_110_B", 110, "together-ai-81.1b-110b"),
];

/// Millions of parameters.
const EMBEDDINGS: [Class; 2] = [
    (
        "TOGETHER_AI_EMBEDDING_150_M",
        150,
        "together-ai-embedding-up-to-150m",
    ),
    (
        "TOGETHER_AI_EMBEDDING_350_M",
        350,
        "together-ai-embedding-151m-to-350m",
    ),
];

/// What the keys of classes begin with: they are no models.
const BEGINNINGS: [&str; 2] = ["fireworks-ai-", "together-ai-"];

/// Sizes are compared in thousandths, so that `1.5b` is what it says.
const THOUSAND: u64 = 1000;

impl Default for SizeClasses {
    fn default() -> SizeClasses {
        SizeClasses::read(|_| None)
    }
}

impl SizeClasses {
    /// The bounds that the operator's variables state, the others as they are.
    pub fn read(stated: impl Fn(&str) -> Option<u64>) -> SizeClasses {
        fn bounds<const N: usize>(
            classes: &[Class; N],
            stated: impl Fn(&str) -> Option<u64>,
        ) -> [u64; N] {
            classes.map(|(variable, bound, _)| stated(variable).unwrap_or(bound))
        }
        SizeClasses {
            fireworks: bounds(&FIREWORKS, &stated),
            mixtures: bounds(&MIXTURES, &stated),
            together: bounds(&TOGETHER, &stated),
            embeddings: bounds(&EMBEDDINGS, &stated),
        }
    }

    /// The map's key of a model's class; `None` for other providers, and where the name tells no size. One pass over the name.
    pub(super) fn of(
        &self,
        provider: &str,
        model: &str,
        is_embedding: bool,
    ) -> Option<&'static str> {
        match (family(provider), is_embedding) {
            ("together_ai", true) => {
                first(&EMBEDDINGS, &self.embeddings, sizes(model, b'm').next()?.1)
            }
            ("together_ai", false) => {
                first(&TOGETHER, &self.together, sizes(model, b'b').next()?.1)
            }
            ("fireworks_ai", _) => {
                let mixed = sizes(model, b'b').find_map(|(at, size)| mixture(model, at, size));
                let mixed = mixed.and_then(|size| first(&MIXTURES, &self.mixtures, size));
                mixed.or_else(|| {
                    let (_, size) = sizes(model, b'b').next()?;
                    Some(first(&FIREWORKS, &self.fireworks, size).unwrap_or(FIREWORKS_ABOVE))
                })
            }
            _ => None,
        }
    }
}

/// Whether a key of the map is a class and no model.
pub(super) fn is_class(key: &str) -> bool {
    BEGINNINGS.iter().any(|start| key.starts_with(start))
}

fn first<const N: usize>(
    classes: &[Class; N],
    bounds: &[u64; N],
    size: u64,
) -> Option<&'static str> {
    let fits = |bound: &u64| size <= bound.saturating_mul(THOUSAND);
    let at = bounds.iter().position(fits)?;
    Some(classes.get(at)?.2)
}

/// The numbers before a unit, in thousandths of it, each with where it begins: of `x-1.5b-8k` and `b` that is 1500.
fn sizes(model: &str, unit: u8) -> impl Iterator<Item = (usize, u64)> {
    let bytes = model.as_bytes();
    let is_unit = move |at: usize| {
        let is_letter = bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic);
        bytes[at].to_ascii_lowercase() == unit && !is_letter
    };
    let ends = (1..bytes.len()).filter(move |at| is_unit(*at));
    ends.filter_map(move |end| {
        let digits = |end: usize| {
            let before = bytes[..end].iter().rev();
            end - before.take_while(|c| c.is_ascii_digit()).count()
        };
        let start = digits(end);
        let number = model.get(start..end)?;
        let whole = start.checked_sub(1).filter(|at| bytes[*at] == b'.');
        if let Some(point) = whole
            && digits(point) < point
        {
            let whole: u64 = model.get(digits(point)..point)?.parse().ok()?;
            let part: u64 = format!("{number:0<3}").get(..3)?.parse().ok()?;
            return Some((digits(point), whole.checked_mul(THOUSAND)? + part));
        }
        let whole: u64 = number.parse().ok()?;
        Some((start, whole.checked_mul(THOUSAND)?))
    })
}

/// The size of all experts of `8x7b`, of which the `7` begins here.
fn mixture(model: &str, at: usize, size: u64) -> Option<u64> {
    let before = model.get(..at)?.strip_suffix(['x', 'X'])?;
    let digits = before.bytes().rev().take_while(u8::is_ascii_digit).count();
    let experts: u64 = before.get(before.len() - digits..)?.parse().ok()?;
    experts.checked_mul(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_class_of_a_model() {
        let classes = SizeClasses::default();
        for (provider, model, class) in [
            ("together_ai", "org/x-3b", "together-ai-up-to-4b"),
            ("together_ai", "org/x-8B-chat", "together-ai-4.1b-8b"),
            ("together_ai", "org/x-1.5b", "together-ai-up-to-4b"),
            ("together_ai", "org/v3.1-13b", "together-ai-8.1b-21b"),
            ("together_ai", "org/x-34b", "together-ai-21.1b-41b"),
            ("together_ai", "org/x-70b-4bit", "together-ai-41.1b-80b"),
            ("together_ai", "org/x-110b", "together-ai-81.1b-110b"),
            ("fireworks_ai", "accounts/f/x-3b", "fireworks-ai-up-to-4b"),
            ("fireworks_ai", "x-v3p1-8b-it", "fireworks-ai-4.1b-to-16b"),
            ("fireworks_ai", "x-70b", "fireworks-ai-above-16b"),
            ("fireworks_ai", "x-8x7b", "fireworks-ai-moe-up-to-56b"),
            ("fireworks_ai", "x-8x22b", "fireworks-ai-56b-to-176b"),
            ("fireworks_ai", "x-16x22b", "fireworks-ai-above-16b"),
        ] {
            assert_eq!(classes.of(provider, model, false), Some(class), "{model}");
        }
        for (model, class) in [
            ("bert-110m", Some("together-ai-embedding-up-to-150m")),
            ("bert-330M-8k", Some("together-ai-embedding-151m-to-350m")),
            ("bert-700m", None),
            ("e5-7b", None),
        ] {
            assert_eq!(classes.of("together_ai", model, true), class, "{model}");
        }
        for (provider, model) in [
            ("together_ai", "org/x-120b"),
            ("together_ai", "org/x"),
            ("together_ai", "org/x-4bit"),
            ("together_ai", "b"),
            ("together_ai", "99999999999999999999999999b"),
            ("fireworks_ai", "x-large"),
            ("openai", "x-8b"),
        ] {
            assert_eq!(classes.of(provider, model, false), None, "{model}");
        }
    }

    #[test]
    fn bounds_are_the_operators() {
        let classes = SizeClasses::read(|name| (name == "TOGETHER_AI_8_B").then_some(13));
        let of = |model| classes.of("together_ai", model, false);
        assert_eq!(of("x-13b"), Some("together-ai-4.1b-8b"));
        assert_eq!(of("x-3b"), Some("together-ai-up-to-4b"));
    }

    #[test]
    fn every_class_is_in_the_map() {
        let all = FIREWORKS.iter().chain(&MIXTURES).chain(&TOGETHER);
        let keys = all.chain(&EMBEDDINGS).map(|(_, _, key)| *key);
        for key in keys.chain([FIREWORKS_ABOVE]) {
            assert!(super::super::map::entry(key).is_some(), "{key}");
            assert!(is_class(key), "{key}");
        }
    }
}
