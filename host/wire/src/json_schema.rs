//! Whether a JSON value fits a JSON Schema: what models are asked for with `response_format`.
//!
//! The keywords of the drafts from 4 to 2020-12 that say something about a value; `format` and the like only describe. References
//! within the schema are followed, no others. A schema that cannot be judged is told apart from a value that breaks one.
//!
//! Our own, because schemas come from clients: the work of one check is bounded. With `jsonschema` 0.61 a kilobyte of alternatives that
//! refer to alternatives takes seconds, and each level more doubles it.

mod effort;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Number, Value};

use effort::{COMPARED_BYTES, Effort, LOOK, MATCHED_BYTE, PATTERN, too_complex, weight};

/// Memory of a pattern that is ready, bytes: five classes of all of Unicode.
const PATTERN_BYTES_MAX: usize = 256 << 10;
/// Deepest nesting of looks.
const DEPTH_MAX: u32 = 128;
/// Longest name of a member that a message repeats, characters.
const NAME_MAX: usize = 64;

/// Why a value was not found to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// The value breaks the schema: where, as a JSON pointer, and how. Says nothing of what the value holds.
    Broken {
        /// Such as `/items/0/name`; empty at the top.
        at: String,
        /// Such as `is not of type string`.
        how: String,
    },
    /// The schema cannot be judged: what of it.
    Unjudged(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { at, how } if at.is_empty() => write!(f, "the answer {how}"),
            Self::Broken { at, how } => write!(f, "the answer's {at} {how}"),
            Self::Unjudged(what) => write!(f, "the schema cannot be checked: {what}"),
        }
    }
}

/// Checks a value against a schema. Hostile ones take long enough that others should not wait for it.
///
/// # Errors
/// The first thing that does not fit.
pub fn check(schema: &Value, value: &Value) -> Result<(), Misfit> {
    let mut check = Check {
        root: schema,
        effort: Effort::default(),
        patterns: HashMap::new(),
        depth: 0,
        at: String::new(),
    };
    check.look(schema, value)
}

/// Keywords that this does not know and that would change the verdict.
const UNKNOWN: [&str; 4] = [
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$recursiveRef",
];

struct Check<'a> {
    root: &'a Value,
    effort: Effort,
    /// The patterns that are ready.
    patterns: HashMap<&'a str, Rc<Regex>>,
    depth: u32,
    /// Pointer to what is being looked at.
    at: String,
}

type Fits = Result<(), Misfit>;

impl<'a> Check<'a> {
    fn broken(&self, how: impl Into<String>) -> Misfit {
        Misfit::Broken {
            at: self.at.clone(),
            how: how.into(),
        }
    }

    fn look(&mut self, schema: &'a Value, value: &Value) -> Fits {
        self.effort.takes(LOOK)?;
        if self.depth >= DEPTH_MAX {
            return Err(too_complex());
        }
        self.depth += 1;
        let fits = match schema {
            Value::Bool(true) => Ok(()),
            Value::Bool(false) => Err(self.broken("is not allowed")),
            Value::Object(keywords) => self.keywords(keywords, value),
            _ => Err(Misfit::Unjudged(
                "a schema is neither an object nor a boolean".to_owned(),
            )),
        };
        self.depth -= 1;
        fits
    }

    /// A look at a part of the value.
    fn part(&mut self, name: &str, schema: &'a Value, value: &Value) -> Fits {
        let length = self.at.len();
        self.at.push('/');
        for c in name.chars().take(NAME_MAX) {
            match c {
                '~' => self.at.push_str("~0"),
                '/' => self.at.push_str("~1"),
                c => self.at.push(c),
            }
        }
        let fits = self.look(schema, value);
        self.at.truncate(length);
        fits
    }

    /// Whether the value fits; what cannot be judged is an error all the same.
    fn does_fit(&mut self, schema: &'a Value, value: &Value) -> Result<bool, Misfit> {
        let (length, depth) = (self.at.len(), self.depth);
        let fits = self.look(schema, value);
        self.at.truncate(length);
        self.depth = depth;
        match fits {
            Ok(()) => Ok(true),
            Err(Misfit::Broken { .. }) => Ok(false),
            Err(unjudged) => Err(unjudged),
        }
    }

    fn keywords(&mut self, keywords: &'a Map<String, Value>, value: &Value) -> Fits {
        if let Some(unknown) = UNKNOWN.iter().find(|name| keywords.contains_key(**name)) {
            return Err(Misfit::Unjudged(format!("{unknown} is not supported")));
        }
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            self.effort.takes(reference.len())?;
            let target = reference
                .strip_prefix('#')
                .and_then(|pointer| self.root.pointer(&unescaped(pointer)))
                .ok_or_else(|| {
                    let reference = repeated(reference);
                    Misfit::Unjudged(format!("$ref {reference} leads to nothing within it"))
                })?;
            self.look(target, value)?;
        }
        self.kind(keywords, value)?;
        match value {
            Value::Object(members) => self.object(keywords, members, value)?,
            Value::Array(items) => self.array(keywords, items)?,
            Value::String(text) => self.text(keywords, text)?,
            Value::Number(number) => self.number(keywords, number)?,
            Value::Bool(_) | Value::Null => {}
        }
        self.combined(keywords, value)
    }

    fn kind(&mut self, keywords: &Map<String, Value>, value: &Value) -> Fits {
        match keywords.get("type") {
            Some(Value::String(kind)) if !is_of(kind, value) => {
                return Err(self.broken(format!("is not of type {}", short(kind))));
            }
            Some(Value::Array(kinds)) => {
                self.effort.takes(kinds.len())?;
                let kinds = kinds.iter().filter_map(Value::as_str).map(short);
                let kinds: Vec<&str> = kinds.collect();
                if !kinds.iter().any(|kind| is_of(kind, value)) {
                    return Err(
                        self.broken(format!("is of none of the types {}", kinds.join(", ")))
                    );
                }
            }
            _ => {}
        }
        if let Some(Value::Array(values)) = keywords.get("enum") {
            self.effort
                .takes(weight(value).saturating_mul(values.len().max(1)))?;
            if !values.iter().any(|one| equal(one, value)) {
                return Err(self.broken("is none of the values of enum"));
            }
        }
        if let Some(only) = keywords.get("const") {
            self.effort.takes(weight(value))?;
            if !equal(only, value) {
                return Err(self.broken("is not the value of const"));
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        keywords: &'a Map<String, Value>,
        members: &Map<String, Value>,
        value: &Value,
    ) -> Fits {
        let required = keywords.get("required").and_then(Value::as_array);
        self.effort.takes(required.map_or(0, Vec::len))?;
        let required = required.into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !members.contains_key(name) {
                return Err(self.broken(format!("has no {}", repeated(name))));
            }
        }
        self.count(
            keywords,
            members.len(),
            ("minProperties", "maxProperties"),
            "members",
        )?;
        let properties = keywords.get("properties").and_then(Value::as_object);
        let patterns = keywords.get("patternProperties").and_then(Value::as_object);
        let patterns = patterns.into_iter().flatten();
        let patterns = patterns.map(|(pattern, schema)| Ok((self.pattern(pattern)?, schema)));
        let patterns: Vec<(Rc<Regex>, &Value)> = patterns.collect::<Result<_, Misfit>>()?;
        for (name, value) in members {
            self.effort.takes(name.len() / COMPARED_BYTES)?;
            let own = properties.and_then(|properties| properties.get(name));
            if let Some(schema) = own {
                self.part(name, schema, value)?;
            }
            let mut is_known = own.is_some();
            for (pattern, schema) in &patterns {
                self.effort.takes(name.len().saturating_mul(MATCHED_BYTE))?;
                if pattern.is_match(name) {
                    is_known = true;
                    self.part(name, schema, value)?;
                }
            }
            if let Some(other) = keywords.get("additionalProperties").filter(|_| !is_known) {
                self.part(name, other, value)?;
            }
            if let Some(schema) = keywords.get("propertyNames") {
                self.look(schema, &Value::String(name.clone()))?;
            }
        }
        self.dependent(keywords, members, value)
    }

    fn dependent(
        &mut self,
        keywords: &'a Map<String, Value>,
        members: &Map<String, Value>,
        value: &Value,
    ) -> Fits {
        for keyword in ["dependentRequired", "dependentSchemas", "dependencies"] {
            let rules = keywords.get(keyword).and_then(Value::as_object);
            for (name, rule) in rules.into_iter().flatten() {
                self.effort.takes(1)?;
                if !members.contains_key(name) {
                    continue;
                }
                let Value::Array(needed) = rule else {
                    self.look(rule, value)?;
                    continue;
                };
                self.effort.takes(needed.len())?;
                let missing = needed.iter().filter_map(Value::as_str);
                if let Some(missing) = missing.into_iter().find(|one| !members.contains_key(*one)) {
                    let (name, missing) = (repeated(name), repeated(missing));
                    return Err(self.broken(format!("has {name} and no {missing}")));
                }
            }
        }
        Ok(())
    }

    fn array(&mut self, keywords: &'a Map<String, Value>, items: &[Value]) -> Fits {
        self.count(keywords, items.len(), ("minItems", "maxItems"), "items")?;
        // Before draft 2020-12 the first items had their schemas in `items`, and the others one in `additionalItems`.
        let (first, others) = match (keywords.get("prefixItems"), keywords.get("items")) {
            (Some(Value::Array(first)), others) => (first.as_slice(), others),
            (_, Some(Value::Array(first))) => (first.as_slice(), keywords.get("additionalItems")),
            (_, others) => (&[][..], others),
        };
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or(others) {
                self.part(&index.to_string(), schema, item)?;
            }
        }
        if keywords.get("uniqueItems") == Some(&Value::Bool(true)) {
            self.effort.takes(items.iter().map(weight).sum())?;
            let mut seen = HashSet::new();
            if !items
                .iter()
                .all(|item| seen.insert(plain(item).to_string()))
            {
                return Err(self.broken("has the same item twice"));
            }
        }
        let Some(schema) = keywords.get("contains") else {
            return Ok(());
        };
        let mut found = 0;
        for item in items {
            found += u64::from(self.does_fit(schema, item)?);
        }
        let limit = |name: &str| keywords.get(name).and_then(Value::as_u64);
        if found < limit("minContains").unwrap_or(1)
            || limit("maxContains").is_some_and(|most| found > most)
        {
            return Err(self.broken(format!("has {found} items that fit contains")));
        }
        Ok(())
    }

    fn text(&mut self, keywords: &'a Map<String, Value>, text: &str) -> Fits {
        self.effort.takes(text.len() / COMPARED_BYTES)?;
        let length = text.chars().count();
        self.count(keywords, length, ("minLength", "maxLength"), "characters")?;
        let Some(pattern) = keywords.get("pattern").and_then(Value::as_str) else {
            return Ok(());
        };
        let ready = self.pattern(pattern)?;
        self.effort.takes(text.len().saturating_mul(MATCHED_BYTE))?;
        match ready.is_match(text) {
            true => Ok(()),
            false => Err(self.broken(format!("does not match {}", repeated(pattern)))),
        }
    }

    /// A pattern that is ready.
    fn pattern(&mut self, pattern: &'a str) -> Result<Rc<Regex>, Misfit> {
        self.effort.takes(1 + pattern.len() / COMPARED_BYTES)?;
        if let Some(ready) = self.patterns.get(pattern) {
            return Ok(ready.clone());
        }
        self.effort.takes(PATTERN.saturating_add(pattern.len()))?;
        let mut builder = RegexBuilder::new(pattern);
        let ready = builder.size_limit(PATTERN_BYTES_MAX).build();
        let ready = ready.map_err(|_| {
            Misfit::Unjudged(format!(
                "the pattern {} is not supported",
                repeated(pattern)
            ))
        })?;
        let ready = Rc::new(ready);
        self.patterns.insert(pattern, ready.clone());
        Ok(ready)
    }

    fn number(&self, keywords: &Map<String, Value>, number: &Number) -> Fits {
        let value = number.as_f64().unwrap_or(f64::NAN);
        let limit = |name: &str| keywords.get(name).and_then(Value::as_f64);
        // In draft 4 the limit itself was excluded by a flag beside it.
        let is_open = |name: &str| keywords.get(name) == Some(&Value::Bool(true));
        let checks: [(&str, fn(f64, f64) -> bool, bool); 4] = [
            (
                "minimum",
                |value, limit| value < limit,
                is_open("exclusiveMinimum"),
            ),
            (
                "maximum",
                |value, limit| value > limit,
                is_open("exclusiveMaximum"),
            ),
            ("exclusiveMinimum", |value, limit| value <= limit, false),
            ("exclusiveMaximum", |value, limit| value >= limit, false),
        ];
        for (name, breaks, is_open) in checks {
            if let Some(limit) = limit(name)
                && (breaks(value, limit) || is_open && value == limit)
            {
                return Err(self.broken(format!("is beyond its {name}")));
            }
        }
        if let Some(step) = limit("multipleOf").filter(|step| *step > 0.0) {
            let steps = value / step;
            if (steps - steps.round()).abs() > 1e-9 * steps.abs().max(1.0) {
                return Err(self.broken(format!("is no multiple of {step}")));
            }
        }
        Ok(())
    }

    fn count(
        &self,
        keywords: &Map<String, Value>,
        count: usize,
        (least, most): (&str, &str),
        what: &str,
    ) -> Fits {
        let limit = |name: &str| keywords.get(name).and_then(Value::as_u64);
        let count = count as u64;
        if limit(least).is_some_and(|least| count < least)
            || limit(most).is_some_and(|most| count > most)
        {
            return Err(self.broken(format!("has {count} {what}")));
        }
        Ok(())
    }

    fn combined(&mut self, keywords: &'a Map<String, Value>, value: &Value) -> Fits {
        let list = |name: &str| keywords.get(name).and_then(Value::as_array);
        for schema in list("allOf").into_iter().flatten() {
            self.look(schema, value)?;
        }
        for (name, is_right) in [
            ("anyOf", (|n| n > 0) as fn(u32) -> bool),
            ("oneOf", |n| n == 1),
        ] {
            let Some(schemas) = list(name) else { continue };
            let mut fitting = 0;
            for schema in schemas {
                fitting += u32::from(self.does_fit(schema, value)?);
            }
            if !is_right(fitting) {
                return Err(self.broken(format!("fits {fitting} of the schemas of {name}")));
            }
        }
        if let Some(schema) = keywords.get("not")
            && self.does_fit(schema, value)?
        {
            return Err(self.broken("fits the schema of not"));
        }
        if let Some(condition) = keywords.get("if") {
            let branch = match self.does_fit(condition, value)? {
                true => "then",
                false => "else",
            };
            if let Some(schema) = keywords.get(branch) {
                self.look(schema, value)?;
            }
        }
        Ok(())
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match (kind, value) {
        ("object", Value::Object(_))
        | ("array", Value::Array(_))
        | ("string", Value::String(_))
        | ("number", Value::Number(_))
        | ("boolean", Value::Bool(_))
        | ("null", Value::Null) => true,
        ("integer", Value::Number(number)) => {
            number.is_i64()
                || number.is_u64()
                || number.as_f64().is_some_and(|value| value.fract() == 0.0)
        }
        _ => false,
    }
}

/// JSON's equality: `1` and `1.0` are one number.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|other| equal(value, other)))
        }
        _ => one == other,
    }
}

/// A value whose text is the same as that of every equal one.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => number
            .as_f64()
            .and_then(Number::from_f64)
            .map_or_else(|| value.clone(), Value::Number),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            let members = members.into_iter();
            Value::Object(
                members
                    .map(|(name, value)| (name.clone(), plain(value)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

/// As much of a text of a schema as a message repeats.
fn short(text: &str) -> &str {
    let end = text.char_indices().nth(NAME_MAX);
    end.map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// The same in quotes.
fn repeated(text: &str) -> String {
    format!("{:?}", short(text))
}

/// A pointer in the fragment of a URL.
fn unescaped(pointer: &str) -> String {
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match after {
            [high, low, ..] if *first == b'%' => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|code| u8::from_str_radix(code, 16).ok()),
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = match code {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
