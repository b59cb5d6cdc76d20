//! What values a key takes: the types of the tables and the grammar they are written in.

use std::fmt;

use serde::{Serialize, Serializer};

/// What values a key takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A boolean; quoted `true`, `yes`, `1` … are read too.
    Bool,
    /// A whole number; numeric text is read too.
    Int,
    /// A whole number that is not negative.
    Count,
    /// A number; numeric text is read too.
    Number,
    /// Seconds: a number that is not negative.
    Seconds,
    /// A duration such as `30d`.
    Duration,
    /// A whole number of days such as `7d`, at least `1d`.
    Days,
    /// A text; a number must be quoted.
    String,
    /// A text, or a number or boolean taken as text.
    Text,
    /// A URL.
    Url,
    /// The path of a file or folder.
    Path,
    /// The name of a component: a plugin's name, `module.attribute`, or a `.wasm` file.
    Code,
    /// One of these words.
    Enum(Vec<std::string::String>),
    /// A text, usually one of these words; another one is taken with a warning.
    Known(Vec<std::string::String>),
    /// A list of texts, or one text for a list of one.
    Names,
    /// Fallbacks: a list of one-key mappings from a model group to a list of targets.
    Fallbacks,
    /// A list of values of one kind.
    List(Box<Kind>),
    /// A mapping whose values have one kind.
    MapOf(Box<Kind>),
    /// A mapping with any keys; those that are defined are checked.
    Map,
    /// A mapping with exactly the defined keys.
    Section,
    /// The first of these kinds that fits.
    Either(Vec<Kind>),
    /// Anything.
    Any,
}

/// The kinds that are one word.
const WORDS: [(&str, Kind); 17] = [
    ("bool", Kind::Bool),
    ("int", Kind::Int),
    ("count", Kind::Count),
    ("number", Kind::Number),
    ("seconds", Kind::Seconds),
    ("duration", Kind::Duration),
    ("days", Kind::Days),
    ("string", Kind::String),
    ("text", Kind::Text),
    ("url", Kind::Url),
    ("path", Kind::Path),
    ("code", Kind::Code),
    ("names", Kind::Names),
    ("fallbacks", Kind::Fallbacks),
    ("map", Kind::Map),
    ("section", Kind::Section),
    ("any", Kind::Any),
];

impl Kind {
    /// Reads the grammar of the tables: a word, `enum(a|b)`, `known(a|b)`, `list<kind>`, `map<kind>`, or several
    /// of them joined by ` or `.
    ///
    /// # Errors
    /// Names the part that is no type.
    pub(crate) fn parse(text: &str) -> Result<Self, std::string::String> {
        let alternatives = alternatives(text)
            .into_iter()
            .map(Self::parse_one)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(match <[Self; 1]>::try_from(alternatives) {
            Ok([only]) => only,
            Err(several) => Self::Either(several),
        })
    }

    fn parse_one(text: &str) -> Result<Self, std::string::String> {
        let text = text.trim();
        let inside = |open: &str, close: char| {
            text.strip_prefix(open)
                .and_then(|rest| rest.strip_suffix(close))
        };
        if let Some(words) = inside("enum(", ')') {
            return Ok(Self::Enum(words.split('|').map(str::to_owned).collect()));
        }
        if let Some(words) = inside("known(", ')') {
            return Ok(Self::Known(words.split('|').map(str::to_owned).collect()));
        }
        if let Some(item) = inside("list<", '>') {
            return Ok(Self::List(Box::new(Self::parse(item)?)));
        }
        if let Some(value) = inside("map<", '>') {
            return Ok(Self::MapOf(Box::new(Self::parse(value)?)));
        }
        WORDS
            .into_iter()
            .find_map(|(word, kind)| (word == text).then_some(kind))
            .ok_or_else(|| format!("`{text}` is no type"))
    }

    /// True when a value may be a text, and so a secret.
    pub(crate) fn can_be_text(&self) -> bool {
        match self {
            Self::String
            | Self::Text
            | Self::Url
            | Self::Path
            | Self::Code
            | Self::Any
            | Self::Names => true,
            Self::List(kind) | Self::MapOf(kind) => kind.can_be_text(),
            Self::Either(kinds) => kinds.iter().any(Self::can_be_text),
            Self::Map => true,
            _ => false,
        }
    }

    /// What is expected, in the words of a message.
    pub(crate) fn expectation(&self) -> std::string::String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Int => "a whole number".to_owned(),
            Self::Count => "a whole number from 0".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Seconds => "a number of seconds".to_owned(),
            Self::Duration => "a duration such as `30s`, `12h`, `7d` or `1mo`".to_owned(),
            Self::Days => "a number of days such as `7d`".to_owned(),
            Self::String | Self::Text | Self::Any => "a text".to_owned(),
            Self::Url => "a URL".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Code => "the name of a plugin".to_owned(),
            Self::Enum(words) | Self::Known(words) => crate::suggest::one_of(words),
            Self::Names => "a list of names".to_owned(),
            Self::Fallbacks => {
                "a list of mappings, each from one model group to a list of groups".to_owned()
            }
            Self::List(kind) if **kind == Self::Any => "a list".to_owned(),
            Self::List(kind) => match kind.as_ref() {
                Self::String | Self::Text => "a list of texts".to_owned(),
                Self::Map | Self::Section => "a list of mappings".to_owned(),
                other => format!("a list, each item {}", other.expectation()),
            },
            Self::Map | Self::Section | Self::MapOf(_) => "a mapping".to_owned(),
            Self::Either(kinds) => kinds
                .iter()
                .map(Self::expectation)
                .collect::<Vec<_>>()
                .join(", or "),
        }
    }
}

impl fmt::Display for Kind {
    /// The grammar of the tables again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enum(words) => write!(f, "enum({})", words.join("|")),
            Self::Known(words) => write!(f, "known({})", words.join("|")),
            Self::List(kind) => write!(f, "list<{kind}>"),
            Self::MapOf(kind) => write!(f, "map<{kind}>"),
            Self::Either(kinds) => {
                let parts: Vec<std::string::String> =
                    kinds.iter().map(ToString::to_string).collect();
                f.write_str(&parts.join(" or "))
            }
            other => {
                let word = WORDS
                    .iter()
                    .find_map(|(word, kind)| (kind == other).then_some(*word));
                f.write_str(word.unwrap_or("any"))
            }
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Splits at ` or `, but not inside `<…>`.
fn alternatives(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(found) = rest.get(from..).and_then(|tail| tail.find(" or ")) {
        let at = from + found;
        let (head, tail) = (
            rest.get(..at).unwrap_or(rest),
            rest.get(at + 4..).unwrap_or(""),
        );
        if head.matches('<').count() == head.matches('>').count() {
            parts.push(head);
            rest = tail;
            from = 0;
        } else {
            from = at + 4;
        }
    }
    parts.push(rest);
    parts
}
