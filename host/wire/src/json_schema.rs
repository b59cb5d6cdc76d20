//! Whether a JSON value fits a JSON Schema: what models are asked for with `response_format`.
//!
//! The keywords of the drafts from 4 to 2020-12 that say something about a value; `format` and the like only describe. References
//! within the schema are followed, no others. A schema that cannot be judged is told apart from a value that breaks one.
//!
//! Our own, because schemas come from clients: the work of one check is bounded. With `jsonschema` 0.61 a kilobyte of alternatives that
//! refer to alternatives takes seconds, and each level more doubles it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Number, Value};

/// The effort of one check, at most, in what it takes to compare two numbers. Ordinary checks take some ten of these for each value;
/// references, alternatives and patterns can multiply without end. All of it is some tens of milliseconds.
const EFFORT_MAX: usize = 1_000_000;
/// The effort of a look at a schema, whatever it says.
const LOOK: usize = 10;
/// The effort of making a pattern ready, once in a check.
const PATTERN: usize = 10_000;
/// The effort of a byte that a pattern is matched against: most are read at once, but a hostile pattern goes many ways at a time.
const MATCHED_BYTE: usize = 16;
/// Bytes of texts that compare as fast as a number.
const COMPARED_BYTES: usize = 64;
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
        effort: 0,
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
    effort: usize,
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

    /// Accounts for what comes next.
    fn takes(&mut self, effort: usize) -> Fits {
        self.effort = self.effort.saturating_add(effort);
        match self.effort > EFFORT_MAX {
            true => Err(too_complex()),
            false => Ok(()),
        }
    }

    fn look(&mut self, schema: &'a Value, value: &Value) -> Fits {
        self.takes(LOOK)?;
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
            self.takes(reference.len())?;
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
                self.takes(kinds.len())?;
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
            self.takes(weight(value).saturating_mul(values.len().max(1)))?;
            if !values.iter().any(|one| equal(one, value)) {
                return Err(self.broken("is none of the values of enum"));
            }
        }
        if let Some(only) = keywords.get("const") {
            self.takes(weight(value))?;
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
        self.takes(required.map_or(0, Vec::len))?;
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
            self.takes(name.len() / COMPARED_BYTES)?;
            let own = properties.and_then(|properties| properties.get(name));
            if let Some(schema) = own {
                self.part(name, schema, value)?;
            }
            let mut is_known = own.is_some();
            for (pattern, schema) in &patterns {
                self.takes(name.len().saturating_mul(MATCHED_BYTE))?;
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
                self.takes(1)?;
                if !members.contains_key(name) {
                    continue;
                }
                let Value::Array(needed) = rule else {
                    self.look(rule, value)?;
                    continue;
                };
                self.takes(needed.len())?;
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
            self.takes(items.iter().map(weight).sum())?;
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
        self.takes(text.len() / COMPARED_BYTES)?;
        let length = text.chars().count();
        self.count(keywords, length, ("minLength", "maxLength"), "characters")?;
        let Some(pattern) = keywords.get("pattern").and_then(Value::as_str) else {
            return Ok(());
        };
        let ready = self.pattern(pattern)?;
        self.takes(text.len().saturating_mul(MATCHED_BYTE))?;
        match ready.is_match(text) {
            true => Ok(()),
            false => Err(self.broken(format!("does not match {}", repeated(pattern)))),
        }
    }

    /// A pattern that is ready.
    fn pattern(&mut self, pattern: &'a str) -> Result<Rc<Regex>, Misfit> {
        self.takes(1 + pattern.len() / COMPARED_BYTES)?;
        if let Some(ready) = self.patterns.get(pattern) {
            return Ok(ready.clone());
        }
        self.takes(PATTERN.saturating_add(pattern.len()))?;
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

fn too_complex() -> Misfit {
    Misfit::Unjudged("it is too complex".to_owned())
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

/// The effort of comparing a value with another.
fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / COMPARED_BYTES,
        Value::Array(items) => items.iter().fold(1, |sum, item| sum + weight(item)),
        Value::Object(members) => members.iter().fold(1, |sum, (name, value)| {
            sum + name.len() / COMPARED_BYTES + weight(value)
        }),
        _ => 1,
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_fit_or_break_their_schemas() {
        let person = json!({
            "type": "object", "required": ["name", "age"], "additionalProperties": false,
            "properties": {
                "name": {"type": "string", "minLength": 2, "pattern": "^[A-Z]"},
                "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": true, "maxItems": 2},
                "friend": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
                "home": {"$ref": "#/$defs/a%20place"},
            },
            "$defs": {"a place": {"type": ["string", "null"]}},
        });
        for (value, at, how) in [
            (
                json!({"name": "Ann", "age": 3.0, "tags": ["a", "b"], "friend": null, "home": "x"}),
                "",
                "",
            ),
            (
                json!({"name": "Ann", "age": 3, "friend": {"name": "Bob", "age": 4}}),
                "",
                "",
            ),
            (json!([]), "", "is not of type object"),
            (json!({"name": "Ann"}), "", "has no \"age\""),
            (
                json!({"name": "Ann", "age": 1, "x/y": 1}),
                "/x~1y",
                "is not allowed",
            ),
            (json!({"name": "A", "age": 1}), "/name", "has 1 characters"),
            (json!({"name": "ann", "age": 1}), "/name", "does not match"),
            (
                json!({"name": "Ann", "age": 1.5}),
                "/age",
                "is not of type integer",
            ),
            (
                json!({"name": "Ann", "age": -1}),
                "/age",
                "is beyond its minimum",
            ),
            (
                json!({"name": "Ann", "age": 150}),
                "/age",
                "is beyond its exclusiveMaximum",
            ),
            (
                json!({"name": "Ann", "age": 1, "tags": ["a", "c"]}),
                "/tags/1",
                "is none of",
            ),
            (
                json!({"name": "Ann", "age": 1, "tags": ["a", "a"]}),
                "/tags",
                "has the same item twice",
            ),
            (
                json!({"name": "Ann", "age": 1, "friend": {"name": "Bob"}}),
                "/friend",
                "fits 0 of the schemas of anyOf",
            ),
            (
                json!({"name": "Ann", "age": 1, "home": 1}),
                "/home",
                "is of none of the types string, null",
            ),
        ] {
            match check(&person, &value) {
                Ok(()) => assert_eq!(how, "", "{value} fits"),
                Err(Misfit::Broken {
                    at: place,
                    how: said,
                }) => {
                    assert_eq!(place, at, "{value}: {said}");
                    assert!(!how.is_empty() && said.starts_with(how), "{value}: {said}");
                }
                Err(unjudged) => panic!("{unjudged}"),
            }
        }
    }

    #[test]
    fn further_keywords() {
        for (schema, good, bad) in [
            (
                json!({"oneOf": [{"multipleOf": 3}, {"multipleOf": 5}]}),
                json!(9),
                json!(15),
            ),
            (json!({"not": {"type": "string"}}), json!(1), json!("x")),
            (
                json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}),
                json!(2),
                json!(3),
            ),
            (
                json!({"if": {"type": "number"}, "then": {"minimum": 5}, "else": {"const": "x"}}),
                json!("x"),
                json!(4),
            ),
            (
                json!({"prefixItems": [{"type": "string"}], "items": {"type": "number"}}),
                json!(["a", 1]),
                json!(["a", "b"]),
            ),
            (
                json!({"items": [{"type": "string"}], "additionalItems": false}),
                json!(["a"]),
                json!(["a", 1]),
            ),
            (
                json!({"contains": {"const": 1}, "maxContains": 1}),
                json!([1.0, 2]),
                json!([1, 1]),
            ),
            (
                json!({"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": {"type": "number"}}),
                json!({"x1": null, "y": 1}),
                json!({"x1": 1}),
            ),
            (
                json!({"propertyNames": {"maxLength": 1}}),
                json!({"a": 1}),
                json!({"ab": 1}),
            ),
            (
                json!({"dependentRequired": {"a": ["b"]}}),
                json!({"a": 1, "b": 1}),
                json!({"a": 1}),
            ),
            (
                json!({"minimum": 1, "exclusiveMinimum": true}),
                json!(2),
                json!(1),
            ),
            (json!({"multipleOf": 0.1}), json!(0.3), json!(0.35)),
            (json!({"minProperties": 1}), json!({"a": 1}), json!({})),
            (
                json!({"uniqueItems": true}),
                json!([{"a": 1, "b": 2}, {"a": 1}]),
                json!([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]),
            ),
        ] {
            assert_eq!(check(&schema, &good), Ok(()), "{schema} {good}");
            let broken = check(&schema, &bad);
            assert!(
                matches!(broken, Err(Misfit::Broken { .. })),
                "{schema} {bad}: {broken:?}"
            );
        }
    }

    #[test]
    fn schemas_that_cannot_be_judged_are_told_apart() {
        let mut wide = json!({"type": "object"});
        for _ in 0..20 {
            wide = json!({"anyOf": [wide, wide]});
        }
        for (schema, words) in [
            (json!({"$ref": "http://x.org/schema"}), "leads to nothing"),
            (json!({"$ref": "#"}), "too complex"),
            (wide, "too complex"),
            (json!({"pattern": "(?=a)"}), "pattern"),
            (
                json!({"unevaluatedProperties": false}),
                "unevaluatedProperties",
            ),
            (json!({"properties": {"a": 7}}), "neither an object"),
        ] {
            let value = match words {
                "pattern" => json!("x"),
                "neither an object" => json!({"a": 1}),
                _ => json!({}),
            };
            let refused = check(&schema, &value).unwrap_err();
            assert!(
                matches!(&refused, Misfit::Unjudged(what) if what.contains(words)),
                "{refused:?}"
            );
        }
    }

    /// Whatever schemas and values are put together, the effort ends, before anything is done that takes longer than it says.
    #[test]
    fn what_would_take_long_is_too_complex() {
        let texts = |count: usize| -> Vec<String> { (0..count).map(|n| format!("t{n}")).collect() };
        let each = |count: usize, of: fn(usize) -> Value| (0..count).map(of).collect::<Vec<_>>();
        let nested = json!(vec![vec![vec!["t"; 10]; 10]; 10]);
        let rows = [
            (
                "many patterns",
                json!({"anyOf": each(1_000, |n| json!({"pattern": format!("^a{n}$")}))}),
                json!("t"),
            ),
            (
                "a pattern that goes many ways, again and again",
                json!({"items": {"pattern": "(?:a?){500}a{500}"}}),
                json!(vec!["a".repeat(1_000); 100]),
            ),
            (
                "names of members against patterns",
                json!({"patternProperties": {"(a|aa|aaa)+$": {}}}),
                json!(
                    texts(30_000)
                        .into_iter()
                        .map(|name| (name, 1))
                        .collect::<HashMap<_, _>>()
                ),
            ),
            (
                "an enum for each of many items",
                json!({"items": {"enum": texts(2_000)}}),
                json!(texts(2_000)),
            ),
            (
                "values that are long to compare",
                json!({"anyOf": each(1_000, |_| json!({"const": 1}))}),
                nested.clone(),
            ),
            (
                "sets of them",
                json!({"anyOf": each(1_000, |_| json!({"uniqueItems": true}))}),
                json!([nested]),
            ),
            (
                "long lists of names",
                json!({"items": {"required": vec!["t"; 2_000]}}),
                json!(vec![json!({"t": 1}); 2_000]),
            ),
            (
                "long lists of types",
                json!({"items": {"type": vec!["null"; 2_000]}}),
                json!(vec![json!(null); 2_000]),
            ),
            (
                "long references",
                json!({"$defs": {"a".repeat(2_000): {}}, "items": {"$ref": format!("#/$defs/{}", "a".repeat(2_000))}}),
                json!(vec![1; 2_000]),
            ),
        ];
        for (name, schema, value) in rows {
            let judged = check(&schema, &value);
            assert_eq!(judged, Err(too_complex()), "{name}");
        }
        let large = json!({"pattern": "\\w{100}"});
        let refused = check(&large, &json!("t")).unwrap_err();
        assert_eq!(
            refused,
            Misfit::Unjudged("the pattern \"\\\\w{100}\" is not supported".to_owned())
        );
    }

    /// What models are asked for takes a small part of the effort.
    #[test]
    fn a_long_answer_is_judged() {
        let schema = json!({
            "type": "object", "required": ["people"],
            "properties": {"people": {"type": "array", "items": {"$ref": "#/$defs/person"}}},
            "$defs": {"person": {
                "type": "object", "required": ["name", "mail", "kind"], "additionalProperties": false,
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "mail": {"type": "string", "pattern": "^[\\w.-]+@[\\w.-]+$"},
                    "kind": {"enum": ["staff", "guest", "other"]},
                    "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": true},
                },
            }},
        });
        let person = |n: usize| json!({"name": format!("Ann {n}"), "mail": format!("ann{n}@example.org"), "kind": "guest", "tags": ["a", "b"]});
        let mut people: Vec<Value> = (0..1_000).map(person).collect();
        assert_eq!(check(&schema, &json!({ "people": people })), Ok(()));
        people.push(json!({"name": "Bob", "mail": "nowhere", "kind": "guest"}));
        let broken = check(&schema, &json!({ "people": people })).unwrap_err();
        assert!(
            matches!(&broken, Misfit::Broken { at, .. } if at == "/people/1000/mail"),
            "{broken:?}"
        );
    }

    #[test]
    fn long_names_are_cut_where_they_are_told() {
        let long = "a".repeat(1_000);
        let broken = check(
            &json!({"additionalProperties": false}),
            &json!({ &long: 1 }),
        );
        let message = broken.unwrap_err().to_string();
        assert_eq!(
            message,
            format!("the answer's /{} is not allowed", &long[..64])
        );
        let broken = check(&json!({"required": [long]}), &json!({}));
        let message = broken.unwrap_err().to_string();
        assert_eq!(message, format!("the answer has no {:?}", &"a".repeat(64)));
    }
}
