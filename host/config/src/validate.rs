//! Walks a configuration beside its definitions: unknown keys, other spellings, types.

use indexmap::IndexMap;

use crate::coerce;
use crate::definition::definitions;
use crate::definition::kind::Kind;
use crate::node::{Data, Entry, Node};
use crate::problem::{Problem, ProblemKind};
use crate::resolve::loosen;
use crate::secret::is_secret_name;
use crate::suggest;
use crate::tree::{self, Tree};

/// The settings sections, where a key that stands in the wrong place probably belongs.
const SECTIONS: [&str; 3] = ["litellm_settings", "general_settings", "router_settings"];

/// Keys LiteLLM refuses under `router_settings`, because they were moved and silently ignoring
/// them would switch health checks off.
const MOVED_TO_GENERAL: [&str; 2] = ["health_check_interval", "health_check_concurrency"];

/// Checks and coerces the whole configuration in place.
pub(crate) fn validate(root: &mut Node, problems: &mut Vec<Problem>) {
    mapping(root, tree::root(), "", problems);
}

fn mapping(node: &mut Node, place: &Tree, path: &str, problems: &mut Vec<Problem>) {
    let Data::Map(entries) = &mut node.data else {
        return;
    };
    other_spellings(entries, place, path, problems);
    for (name, entry) in entries {
        let path = join(path, name);
        match place.child(name) {
            Some(child) => value(entry, child, &path, problems),
            None => {
                unknown(name, entry, place, &path, problems);
                loosen(&mut entry.node);
            }
        }
    }
}

/// Checks one value by its definition, then what is inside it.
fn value(entry: &mut Entry, place: &Tree, path: &str, problems: &mut Vec<Problem>) {
    let node = &mut entry.node;
    if node.is_null() {
        return;
    }
    if let Some(definition) = place.definition {
        let secret = definition.secret || is_secret_name(definition.name());
        let before = problems.len();
        coerce::fit(node, &definition.kind, path, secret, problems);
        if problems.len() > before {
            return;
        }
        if definition.kind == Kind::Any {
            loosen(node);
        }
    }
    inside(node, place, path, problems);
}

fn inside(node: &mut Node, place: &Tree, path: &str, problems: &mut Vec<Problem>) {
    match &mut node.data {
        Data::Map(_) => mapping(node, place, path, problems),
        Data::List(items) => {
            if let Some(item_place) = place.item() {
                for (index, item) in items.iter_mut().enumerate() {
                    inside(item, item_place, &format!("{path}[{index}]"), problems);
                }
            } else {
                items.iter_mut().for_each(loosen);
            }
        }
        _ => {}
    }
}

/// Renames keys that are another spelling of a key.
fn other_spellings(
    entries: &mut IndexMap<String, Entry>,
    place: &Tree,
    path: &str,
    problems: &mut Vec<Problem>,
) {
    for (name, child) in place.children() {
        let Some(canonical) = child
            .definition
            .and_then(|definition| definition.same_as.as_deref())
        else {
            continue;
        };
        let Some(index) = entries.get_index_of(name) else {
            continue;
        };
        let Some(entry) = entries.shift_remove(name) else {
            continue;
        };
        match entries.get(canonical) {
            Some(present) if !present.node.is_null() => {
                let message =
                    format!("is another spelling of `{canonical}`, which is also given and counts");
                problems.push(Problem::warning(
                    ProblemKind::DuplicateKey,
                    &entry.key_at,
                    join(path, name),
                    message,
                ));
            }
            _ => {
                entries.shift_remove(canonical);
                let index = index.min(entries.len());
                entries.shift_insert(index, canonical.to_owned(), entry);
            }
        }
    }
}

/// Reports a key no definition knows, unless it is somebody's own business.
fn unknown(name: &str, entry: &Entry, place: &Tree, path: &str, problems: &mut Vec<Problem>) {
    if path.starts_with("router_settings.") && MOVED_TO_GENERAL.contains(&name) {
        problems.push(
            Problem::error(
                ProblemKind::UnknownKey,
                &entry.key_at,
                path,
                "does not belong under router_settings",
            )
            .fix("move it to general_settings"),
        );
        return;
    }
    let warn =
        |message: &str| Problem::warning(ProblemKind::UnknownKey, &entry.key_at, path, message);
    if place.takes_any_name() {
        if let Some(meant) = suggest::slip_of(name, place.names()) {
            problems.push(
                warn("is no key of ours and is passed on as it is")
                    .fix(format!("did you mean `{meant}`?")),
            );
        }
        return;
    }
    let problem = warn("is an unknown key and is ignored");
    problems.push(
        match (suggest::nearest(name, place.names()), home_of(name, path)) {
            (_, Some(section)) => problem.fix(format!("it belongs under `{section}`")),
            (Some(near), None) => problem.fix(format!("did you mean `{near}`?")),
            (None, None) => problem,
        },
    );
}

/// The settings section that has a key of this name, when it stands at the top or in another one.
fn home_of(name: &str, path: &str) -> Option<&'static str> {
    let (section, rest) = path.rsplit_once('.').unwrap_or(("", path));
    if rest != name || !(section.is_empty() || SECTIONS.contains(&section)) {
        return None;
    }
    SECTIONS.into_iter().find(|section| {
        let wanted = format!("{section}.{name}");
        definitions()
            .iter()
            .any(|definition| definition.path == wanted)
    })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
