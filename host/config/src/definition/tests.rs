//! The tables are complete: every key and variable of the documented settings page has its row.

use std::collections::{HashMap, HashSet};

use super::*;

const SEED_KEYS: &str = include_str!("../../tests/data/seed_keys.tsv");
const SEED_VARIABLES: &str = include_str!("../../tests/data/seed_env.tsv");
const EXCEPTIONS: &str = include_str!("../../tests/data/seed_exceptions.tsv");

/// The crates of the gateway, one of which acts on each key.
const ROOMS: [&str; 18] = [
    "witgate", "server", "pipeline", "config", "wire", "routing", "metering", "caching", "state",
    "store", "identity", "events", "plugins", "outbound", "toolkit", "testkit", "login", "bundles",
];

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| line.split('\t').collect())
}

/// What differs on purpose: (name, column) to the reason.
fn exceptions() -> HashMap<(&'static str, &'static str), &'static str> {
    rows(EXCEPTIONS)
        .map(|row| ((row[0], row[1]), row[2]))
        .collect()
}

/// The kinds that a documented type may have become.
fn fits(documented: &str, kind: &Kind) -> bool {
    let text = kind.to_string();
    let one_of = |kinds: &[&str]| kinds.contains(&text.as_str());
    let starts = |kinds: &[&str]| kinds.iter().any(|kind| text.starts_with(kind));
    match documented {
        "boolean" | "bool" => one_of(&["bool"]),
        "bool/str" => one_of(&["bool"]),
        "integer" | "int" | "Optional[int]" | "(Optional[int])" => {
            one_of(&["int", "count", "seconds"])
        }
        "Optional[float]" | "(Optional[float])" | "float" | "number" | "float 0–1" => {
            one_of(&["number", "seconds"])
        }
        "seconds" => one_of(&["seconds"]),
        "duration" => starts(&["duration"]),
        "\"<n>d\"" => one_of(&["days"]),
        "string" | "str" => {
            one_of(&["string", "text", "url", "path", "code"]) || starts(&["enum(", "known("])
        }
        "str/int" => one_of(&["text"]),
        "code ref" => one_of(&["code"]),
        "enum" | "binary/scalar/product" | "default_on/default_off" | "DEBUG/INFO" => {
            starts(&["enum("])
        }
        "Literal[\"DEBUG\", \"INFO\"]" | "Literal[\"admin_only\"]" | "admin_only/all/map" => {
            starts(&["enum("])
        }
        "array of strings" | "list[str]" | "List[str]" | "Optional[List[str]]" => {
            one_of(&["names", "list<string>"])
        }
        "array of objects"
        | "list[map]"
        | "List[Dict[str, Any]]"
        | "List[Dict[str, List[str]]]" => {
            starts(&["list<", "fallbacks"]) || text == "map or list<map>"
        }
        "list[list]" | "Optional[List[tuple]]" | "list[[host,port]]" => starts(&["list<list<"]),
        "list[{host,port}]" => starts(&["list<map>"]),
        "map/list" => text == "map or list<map>",
        "any" => one_of(&["any"]),
        "map str→scalar" => one_of(&["map<text>"]),
        "" => true,
        // The remaining documented types are names of mappings: `object`, `dict`, `RetryPolicy` …
        _ => starts(&["map", "section"]),
    }
}

#[test]
fn every_documented_key_has_its_definition_type_and_default() {
    let exceptions = exceptions();
    let mut wrong = Vec::new();
    for row in rows(SEED_KEYS) {
        let [section, key, documented, kind, default] = row[..] else {
            panic!("five columns: {row:?}")
        };
        let path = if section.is_empty() {
            key.to_owned()
        } else {
            format!("{section}.{key}")
        };
        let Some(definition) = find(&path) else {
            wrong.push(format!("{path} has no definition"));
            continue;
        };
        let excepted = |column| exceptions.contains_key(&(path.as_str(), column));
        if !(excepted("type") || fits(documented, &definition.kind) && fits(kind, &definition.kind))
        {
            wrong.push(format!(
                "{path} is {documented} / {kind}, defined as {}",
                definition.kind
            ));
        }
        if !excepted("default") && definition.default != default {
            wrong.push(format!(
                "{path} has the default {default}, defined as {}",
                definition.default
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows(SEED_KEYS).count(), 185);
}

#[test]
fn every_documented_variable_has_its_definition_and_default() {
    let exceptions = exceptions();
    let same = |a: &str, b: &str| {
        a.eq_ignore_ascii_case(b)
            || a.parse::<f64>()
                .ok()
                .zip(b.parse().ok())
                .is_some_and(|(a, b): (f64, f64)| a == b)
    };
    let mut wrong = Vec::new();
    for row in rows(SEED_VARIABLES) {
        let [name, default] = row[..] else {
            panic!("two columns: {row:?}")
        };
        match variable(name) {
            None => wrong.push(format!("{name} has no definition")),
            Some(found)
                if default.is_empty()
                    || same(&found.default, default)
                    || exceptions.contains_key(&(name, "default")) => {}
            Some(found) => wrong.push(format!(
                "{name} has the default {default}, defined as {}",
                found.default
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows(SEED_VARIABLES).count(), 386);
}

#[test]
fn every_exception_is_needed_and_reasoned() {
    for ((name, _), reason) in exceptions() {
        assert!(
            find(name).is_some() || variable(name).is_some(),
            "{name} does not exist"
        );
        assert!(reason.len() > 10, "{name} gives no reason");
    }
}

#[test]
fn the_tables_can_be_read_and_hold_nothing_twice() {
    let read = table::read().expect("the tables can be read");
    let mut seen = HashSet::new();
    for definition in &read.keys {
        assert!(
            seen.insert(definition.path.clone()),
            "{} is defined twice",
            definition.path
        );
        assert!(
            definition.doc.ends_with('.') && definition.doc.len() > 3,
            "{}: {}",
            definition.path,
            definition.doc
        );
        assert!(
            ROOMS.contains(&definition.owner.as_str()),
            "{} belongs to no room",
            definition.path
        );
        if let Some(name) = &definition.env {
            assert!(
                variable(name).is_some(),
                "{}: the variable {name} has no definition",
                definition.path
            );
        }
        if let Some(canonical) = &definition.same_as {
            let section = definition
                .path
                .rsplit_once('.')
                .map(|(section, _)| format!("{section}."))
                .unwrap_or_default();
            assert!(
                find(&format!("{section}{canonical}")).is_some(),
                "{} names no key",
                definition.path
            );
        }
    }
    for variable in &read.variables {
        assert!(
            seen.insert(variable.name.clone()),
            "{} is defined twice",
            variable.name
        );
        assert!(
            variable.doc.ends_with('.') && variable.doc.len() > 3,
            "{}: {}",
            variable.name,
            variable.doc
        );
        assert!(
            ROOMS.contains(&variable.owner.as_str()),
            "{} belongs to no room",
            variable.name
        );
    }
}

#[test]
fn no_type_is_lost_in_writing_and_reading() {
    for definition in definitions() {
        assert_eq!(
            Kind::parse(&definition.kind.to_string()).as_ref(),
            Ok(&definition.kind),
            "{}",
            definition.path
        );
    }
    assert!(Kind::parse("strin").is_err());
    assert_eq!(
        Kind::parse("map<string or map>").map(|kind| kind.to_string()),
        Ok("map<string or map>".to_owned())
    );
}

#[test]
fn secrets_are_marked() {
    for path in [
        "general_settings.master_key",
        "general_settings.database_url",
        "model_list[].litellm_params.api_key",
        "model_list[].litellm_params.aws_secret_access_key",
        "router_settings.redis_password",
        "litellm_settings.cache_params.password",
        "litellm_settings.cache_params.s3_aws_secret_access_key",
        "guardrails[].litellm_params.api_key",
        "credential_list[].credential_values",
        "environment_variables",
    ] {
        assert!(find(path).expect(path).secret, "{path}");
    }
    for path in [
        "general_settings.completion_model",
        "litellm_settings.request_timeout",
        "plugins.*.grants.egress",
    ] {
        assert!(!find(path).expect(path).secret, "{path}");
    }
    for name in [
        "LITELLM_MASTER_KEY",
        "DATABASE_URL",
        "LANGFUSE_SECRET_KEY",
        "OTEL_HEADERS",
        "SMTP_PASSWORD",
        "GROQ_API_KEY",
    ] {
        assert!(variable(name).expect(name).secret, "{name}");
    }
}
