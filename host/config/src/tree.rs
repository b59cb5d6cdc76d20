//! The definitions as a tree, to walk beside a configuration.

use std::sync::LazyLock;

use indexmap::IndexMap;

use crate::definition::kind::Kind;
use crate::definition::{Definition, definitions};

/// What may stand at one place of the configuration.
#[derive(Default)]
pub(crate) struct Tree {
    /// The definition of this place; none for the top and for the item of a list.
    pub definition: Option<&'static Definition>,
    children: IndexMap<&'static str, Tree>,
    any_name: Option<Box<Tree>>,
    item: Option<Box<Tree>>,
}

/// The whole configuration.
pub(crate) fn root() -> &'static Tree {
    &ROOT
}

static ROOT: LazyLock<Tree> = LazyLock::new(|| {
    let mut root = Tree::default();
    for definition in definitions() {
        let mut place = &mut root;
        for part in definition.path.split('.') {
            let (name, is_item) = part
                .strip_suffix("[]")
                .map_or((part, false), |name| (name, true));
            place = if name == "*" {
                place.any_name.get_or_insert_default().as_mut()
            } else {
                place.children.entry(name).or_default()
            };
            if is_item {
                place = place.item.get_or_insert_default().as_mut();
            }
        }
        place.definition = Some(definition);
    }
    root
});

impl Tree {
    /// What may stand under a name: what is defined for it, else what is defined for any name.
    pub fn child(&self, name: &str) -> Option<&Tree> {
        self.children.get(name).or(self.any_name.as_deref())
    }

    /// What may stand as an item of the list here.
    pub fn item(&self) -> Option<&Tree> {
        self.item.as_deref()
    }

    /// The names that are defined here, in the order of the tables.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.children.keys().copied()
    }

    /// The defined names and what may stand there.
    pub fn children(&self) -> impl Iterator<Item = (&'static str, &Tree)> {
        self.children.iter().map(|(name, tree)| (*name, tree))
    }

    /// What may stand under any name.
    pub fn any_name(&self) -> Option<&Tree> {
        self.any_name.as_deref()
    }

    /// True when names that are not defined are somebody's own business: a provider's parameters,
    /// a plugin's settings.
    pub fn takes_any_name(&self) -> bool {
        self.any_name.is_some()
            || self
                .definition
                .is_some_and(|definition| match &definition.kind {
                    Kind::Section => false,
                    Kind::List(item) => **item != Kind::Section,
                    Kind::MapOf(value) => **value != Kind::Section,
                    _ => true,
                })
    }
}
