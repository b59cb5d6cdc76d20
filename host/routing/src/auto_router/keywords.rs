//! Words and phrases that are looked for in a text.

/// Words and phrases, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keywords(Vec<String>);

impl Keywords {
    /// Those of a list; what is empty or there already is left out.
    pub fn new(list: impl IntoIterator<Item = impl AsRef<str>>) -> Keywords {
        let mut words: Vec<String> = Vec::new();
        for word in list {
            let word = word.as_ref().trim().to_lowercase();
            if !word.is_empty() && !words.contains(&word) {
                words.push(word);
            }
        }
        Keywords(words)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many of them are in a text that is in lower case.
    pub(super) fn count(&self, text: &str) -> usize {
        self.0.iter().filter(|word| is_in(word, text)).count()
    }
}

/// A word counts where it stands by itself, a phrase anywhere. Scripts that do not put spaces between
/// words are taken as phrases.
fn is_in(word: &str, text: &str) -> bool {
    let is_word = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_word {
        return text.contains(word);
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text
            .get(at + word.len()..)
            .and_then(|tail| tail.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_by_themselves_and_phrases_anywhere() {
        let words = Keywords::new(["API", "step by step", "設計", "c++", " ", "api"]);
        assert_eq!(words.iter().count(), 4);
        let rows = [
            ("an api.", 1),
            ("apis and rapid", 0),
            ("api_key", 0),
            ("go step by steps", 1),
            ("システム設計を", 1),
            ("c++ api", 2),
            ("api api", 1),
            ("éapi api", 1),
            ("", 0),
        ];
        for (text, expected) in rows {
            assert_eq!(words.count(text), expected, "{text}");
        }
    }
}
