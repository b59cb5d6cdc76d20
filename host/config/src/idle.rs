//! What a configuration asks for that is not built yet, or never has an effect.

use indexmap::IndexMap;

use crate::definition::{Status, variables};
use crate::env::Env;
use crate::node::{Data, Node, Position};
use crate::tree::{self, Tree};

/// What is given but does nothing yet, or nothing ever: keys and variables with a text about them.
#[derive(Default)]
pub(crate) struct Idle {
    pub planned: IndexMap<String, String>,
    pub accepted: IndexMap<String, (String, Position)>,
}

/// The keys that are given and say something else than their default, each once, then the
/// variables of the gateway itself. Variables of plugins are not listed: `AWS_REGION_NAME` is set
/// for many reasons.
pub(crate) fn find(root: &Node, env: &Env) -> Idle {
    let mut idle = Idle::default();
    idle.keys(root, tree::root());
    for variable in variables() {
        let ours = variable.owner != "plugins" && variable.name != "NO_PROXY";
        if let Some(text) = env.non_empty(&variable.name).filter(|_| ours)
            && !same_as_default(text, &variable.default)
        {
            idle.note(
                &variable.name,
                &variable.doc,
                &variable.status,
                &Position::default(),
            );
        }
    }
    idle
}

impl Idle {
    fn keys(&mut self, node: &Node, place: &Tree) {
        if node.is_null() {
            return;
        }
        if let Some(definition) = place.definition {
            if !same_as_default(&default_form(node), &definition.default) {
                self.note(
                    &definition.path,
                    &definition.doc,
                    &definition.status,
                    &node.at,
                );
            }
            if definition.status != Status::Supported {
                return;
            }
        }
        match &node.data {
            Data::Map(entries) => {
                for (name, entry) in entries {
                    if let Some(child) = place.child(name) {
                        self.keys(&entry.node, child);
                    }
                }
            }
            Data::List(items) => {
                if let Some(item) = place.item() {
                    items.iter().for_each(|node| self.keys(node, item));
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, name: &str, doc: &str, status: &Status, at: &Position) {
        match status {
            Status::Supported => {}
            Status::Planned => drop(self.planned.insert(name.to_owned(), doc.to_owned())),
            Status::Accepted(reason) => {
                self.accepted
                    .insert(name.to_owned(), (reason.clone(), at.clone()));
            }
        }
    }
}

/// A value as defaults are written in the tables.
fn default_form(node: &Node) -> String {
    match &node.data {
        Data::Text(text) => text.clone(),
        _ => node.to_json().to_string(),
    }
}

/// True when a value says what holds anyway. Defaults may carry a remark: `true on proxy`.
fn same_as_default(text: &str, default: &str) -> bool {
    let default = default.split(' ').next().unwrap_or_default();
    text.eq_ignore_ascii_case(default)
        || (text.eq_ignore_ascii_case("false") && matches!(default, "unset" | "none" | ""))
}
