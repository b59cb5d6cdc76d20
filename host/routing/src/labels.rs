//! Tags and access groups as numbers: a choice compares them for every deployment.

use std::collections::HashMap;

/// A tag's or access group's number.
pub(crate) type Label = u32;

/// The number of what no deployment has.
const UNKNOWN: Label = Label::MAX;

/// The labels of a snapshot's deployments.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    numbers: HashMap<String, Label>,
    lists: Vec<Label>,
}

/// The labels of one deployment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LabelList {
    start: u32,
    end: u32,
}

impl Labels {
    pub(crate) fn add(&mut self, names: &[String]) -> LabelList {
        let start = self.lists.len() as u32;
        for name in names {
            let next = self.numbers.len() as Label;
            let number = *self.numbers.entry(name.clone()).or_insert(next);
            self.lists.push(number);
        }
        let end = self.lists.len() as u32;
        LabelList { start, end }
    }

    pub(crate) fn number(&self, name: &str) -> Label {
        self.numbers.get(name).copied().unwrap_or(UNKNOWN)
    }

    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.numbers.contains_key(name)
    }

    pub(crate) fn of(&self, list: LabelList) -> &[Label] {
        &self.lists[list.start as usize..list.end as usize]
    }
}
