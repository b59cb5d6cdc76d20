//! What this gateway offers to components, and what to say of an import that it does not have.
//!
//! The offer is read from the WIT itself, so that this text and the linked interfaces cannot drift apart.
//! Within a track (`0.1`, or `1`) a component may be of an older or a newer minor version: what counts is
//! that each function it imports is there. The linker compares the types.

use std::sync::LazyLock;

use wasmtime::Engine;
use wasmtime::component::types::{Component, ComponentItem};

/// The packages that plugins may import.
const WIT: [&str; 2] = [
    include_str!("../../../../wit/types/types.wit"),
    include_str!("../../../../wit/host/host.wit"),
];

/// Packages of WASI that are linked, at 0.2.
const WASI: [&str; 7] = [
    "wasi:http/",
    "wasi:io/",
    "wasi:clocks/",
    "wasi:random/",
    "wasi:cli/",
    "wasi:filesystem/",
    "wasi:sockets/",
];

/// An interface of ours.
#[derive(Debug, PartialEq, Eq)]
struct Interface {
    /// `witgate:host/kv`
    name: String,
    /// `0.1.0`
    version: String,
    /// As components name them: `get`, `[method]secret.reveal`.
    functions: Vec<String>,
}

static OURS: LazyLock<Vec<Interface>> =
    LazyLock::new(|| WIT.into_iter().flat_map(interfaces).collect());

/// Everything that the component imports and this gateway does not have.
pub(super) fn missing(component: &Component, engine: &Engine) -> Vec<String> {
    let mut missing = Vec::new();
    for (import, item) in component.imports(engine) {
        let (name, version) = split_version(import);
        if WASI.iter().any(|package| name.starts_with(package)) && track(version) == "0.2" {
            continue;
        }
        let ours = OURS.iter().find(|own| own.name == name);
        let Some(own) = ours.filter(|own| track(&own.version) == track(version)) else {
            missing.push(explain_interface(import, ours));
            continue;
        };
        if let ComponentItem::ComponentInstance(instance) = item.ty {
            let functions = instance
                .exports(engine)
                .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
                .map(|(function, _)| function);
            let unknown = functions.filter(|one| !own.functions.iter().any(|own| own == one));
            missing.extend(unknown.map(|function| explain_function(function, version, own)));
        }
    }
    missing
}

fn explain_interface(import: &str, other_track: Option<&Interface>) -> String {
    if let Some(own) = other_track {
        return format!(
            "it imports {import}, this gateway has {}@{}; build the plugin for that version, or use a gateway that has the other",
            own.name, own.version
        );
    }
    let names = OURS
        .iter()
        .map(|own| format!("{}@{}", own.name, own.version));
    let near = nearest(import, names);
    match near {
        Some(near) => {
            format!("it imports {import}, which this gateway does not have; the nearest is {near}")
        }
        None => format!("it imports {import}, which this gateway does not have"),
    }
}

fn explain_function(function: &str, version: &str, own: &Interface) -> String {
    let Interface {
        name,
        version: has,
        functions,
    } = own;
    let mut text = format!(
        "it imports the function {function} of {name}@{version}, which this gateway's {name}@{has} does not have"
    );
    if let Some(near) = nearest(function, functions.iter().cloned()) {
        text += &format!("; the nearest is {near}");
    }
    if is_newer(version, has) {
        text += "; the plugin was built for a newer gateway";
    }
    text
}

fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let distance = |name: String| (strsim::damerau_levenshtein(&name, wanted), name);
    let near = names.map(distance).min();
    near.filter(|(distance, _)| *distance <= wanted.len() / 2)
        .map(|(_, name)| name)
}

fn split_version(import: &str) -> (&str, &str) {
    import.split_once('@').unwrap_or((import, ""))
}

/// The part of a version within which interfaces are compatible: `0.1` of `0.1.7`, `1` of `1.2.3`.
fn track(version: &str) -> &str {
    let dots = if version.starts_with("0.") { 2 } else { 1 };
    let end = version.match_indices('.').nth(dots - 1);
    end.map_or(version, |(at, _)| &version[..at])
}

fn is_newer(version: &str, than: &str) -> bool {
    let parts = |text: &str| -> Vec<u64> {
        let parts = text.split('.').map(|part| part.parse().unwrap_or_default());
        parts.collect()
    };
    parts(version) > parts(than)
}

/// The interfaces of a package, from its text as it is formatted here: an item a line, braces at line ends.
fn interfaces(wit: &str) -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    let (mut package, mut resource) = (("", ""), None);
    for line in wit.lines() {
        let text = line.trim();
        let word = |keyword: &str| {
            let rest = text.strip_prefix(keyword)?;
            rest.split([' ', ';', '{']).next()
        };
        if let Some(name) = word("package ") {
            package = split_version(name);
        } else if let Some(name) = word("interface ") {
            found.push(Interface {
                name: format!("{}/{name}", package.0),
                version: package.1.to_owned(),
                functions: Vec::new(),
            });
        } else if let Some(name) = word("resource ") {
            resource = Some(name);
        } else if line == "  }" {
            resource = None;
        } else if let Some((name, kind)) = text.split_once(": ")
            && let Some(interface) = found.last_mut()
        {
            let name = name.trim_start_matches('%');
            interface.functions.extend(match (resource, kind) {
                (None, kind) if kind.starts_with("func(") || kind.starts_with("async func(") => {
                    Some(name.to_owned())
                }
                (Some(of), kind) if kind.starts_with("func(") => {
                    Some(format!("[method]{of}.{name}"))
                }
                (Some(of), kind) if kind.starts_with("static func(") => {
                    Some(format!("[static]{of}.{name}"))
                }
                _ => None,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offer_is_what_the_wit_says() {
        let functions = |name: &str| {
            let own = OURS.iter().find(|own| own.name == name);
            own.map(|own| own.functions.clone()).unwrap_or_default()
        };
        assert_eq!(functions("witgate:host/kv"), ["get", "set", "delete"]);
        assert_eq!(
            functions("witgate:host/secrets"),
            ["[method]secret.reveal", "get", "headers"]
        );
        assert!(functions("witgate:host/http").contains(&"send-with-secrets".to_owned()));
        assert!(OURS.iter().any(|own| own.name == "witgate:types/types"));
    }

    #[test]
    fn versions_of_a_track_are_alike() {
        assert_eq!(track("0.1.7"), "0.1");
        assert_eq!(track("1.2.3"), "1");
        assert!(is_newer("0.1.10", "0.1.9") && !is_newer("0.1.0", "0.1.0"));
    }
}
