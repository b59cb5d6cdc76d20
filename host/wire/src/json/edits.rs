//! Changes to a document, spliced into the caller's own bytes.

use std::ops::Range;

use bytes::Bytes;

use super::object::Object;
use super::scanner::{Item, Items};
use super::{Raw, quote, quote_into, unquote};

/// A list of changes to one document: set or remove a value by key or by JSON pointer.
///
/// A later change of the same place replaces the earlier one. Where a key occurs twice, the last
/// occurrence is changed and the earlier ones are dropped, so that no reader of the result can see
/// the old value.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    root: Node,
}

/// An edit that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot edit {pointer:?}: {reason}")]
pub struct EditError {
    /// The JSON pointer as far as the document could be followed, and the step that failed.
    pub pointer: String,
    /// Why.
    pub reason: &'static str,
}

#[derive(Debug, Clone, Default)]
struct Node {
    change: Change,
    /// What happens below this value; at most one node per step.
    below: Vec<(String, Node)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
enum Change {
    #[default]
    None,
    Set(Bytes),
    Remove,
}

impl Edits {
    /// No changes.
    pub fn new() -> Edits {
        Edits::default()
    }

    /// True when there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.root.below.is_empty() && self.root.change == Change::None
    }

    /// Sets a top-level member to a JSON text, appending the member when it is absent.
    pub fn set(&mut self, key: &str, json: impl Into<Bytes>) -> &mut Self {
        self.change([key], Change::Set(json.into()))
    }

    /// Sets a top-level member to a string.
    pub fn set_string(&mut self, key: &str, text: &str) -> &mut Self {
        self.set(key, quote(text))
    }

    /// Removes a top-level member, all its duplicates included.
    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.change([key], Change::Remove)
    }

    /// Sets the value at a JSON pointer (RFC 6901, e.g. `/messages/0/content`) to a JSON text.
    ///
    /// Missing members are created, a `null` on the way becomes an object; an array's element must
    /// exist, or be `-` to append.
    pub fn set_pointer(&mut self, pointer: &str, json: impl Into<Bytes>) -> &mut Self {
        self.change(steps(pointer), Change::Set(json.into()))
    }

    /// Sets the value at a JSON pointer to a string.
    pub fn set_pointer_string(&mut self, pointer: &str, text: &str) -> &mut Self {
        self.set_pointer(pointer, quote(text))
    }

    /// Removes the value at a JSON pointer; absent is fine.
    pub fn remove_pointer(&mut self, pointer: &str) -> &mut Self {
        self.change(steps(pointer), Change::Remove)
    }

    pub(super) fn apply_to(&self, object: &Object) -> Result<Bytes, EditError> {
        if self.is_empty() {
            return Ok(object.bytes().clone());
        }
        if self.root.change != Change::None {
            return Err(EditError {
                pointer: String::new(),
                reason: "the whole body cannot be set",
            });
        }
        let mut splice = Splice::new(object.bytes());
        edit_object(&mut splice, &self.root, object.items(), object.inside(), "")?;
        Ok(splice.finish())
    }

    fn change<S: Into<String> + AsRef<str>>(
        &mut self,
        path: impl IntoIterator<Item = S>,
        change: Change,
    ) -> &mut Self {
        let mut node = &mut self.root;
        for step in path {
            let found = node.below.iter().position(|(s, _)| s == step.as_ref());
            let index = found.unwrap_or_else(|| {
                node.below.push((step.into(), Node::default()));
                node.below.len() - 1
            });
            node = &mut node.below[index].1;
        }
        node.below.clear();
        node.change = change;
        self
    }
}

/// Copies a document while replacing spans of it, in increasing order.
pub(crate) struct Splice<'a> {
    source: &'a [u8],
    out: Vec<u8>,
    copied: usize,
}

impl<'a> Splice<'a> {
    pub fn new(source: &'a [u8]) -> Splice<'a> {
        Splice::with_head(source, b"")
    }

    /// Starts the output with bytes of its own.
    pub fn with_head(source: &'a [u8], head: &[u8]) -> Splice<'a> {
        let mut out = Vec::with_capacity(source.len() + 64);
        out.extend_from_slice(head);
        Splice {
            source,
            out,
            copied: 0,
        }
    }

    /// Replaces one span; spans come in increasing order and do not overlap.
    pub fn replace(&mut self, span: Range<usize>, with: &[u8]) {
        debug_assert!(self.copied <= span.start && span.start <= span.end);
        self.out
            .extend_from_slice(self.source.get(self.copied..span.start).unwrap_or_default());
        self.out.extend_from_slice(with);
        self.copied = span.end;
    }

    /// Ends one container: removes the items behind the last one that stays, then adds the texts
    /// of new items (joined by commas). Comes after all other changes inside that container.
    pub fn finish_container(
        &mut self,
        items: &[Item],
        last_kept: Option<usize>,
        inside: usize,
        added: &[u8],
    ) {
        let Some(last) = items.last() else {
            return self.replace(inside..inside, added);
        };
        let span = match last_kept {
            Some(kept) => items[kept].value.end..last.value.end,
            None => items[0].start()..last.value.end,
        };
        if !added.is_empty() && last_kept.is_some() {
            self.replace(span.start..span.start, b",");
        }
        self.replace(span, added);
    }

    /// Removes item `i` of a container in which a later item stays.
    pub fn remove_before_kept(&mut self, items: &[Item], i: usize) {
        self.replace(items[i].start()..items[i + 1].start(), b"");
    }

    pub fn finish(self) -> Bytes {
        self.finish_with(b"")
    }

    /// Ends the output with bytes of its own.
    pub fn finish_with(mut self, tail: &[u8]) -> Bytes {
        self.out
            .extend_from_slice(self.source.get(self.copied..).unwrap_or_default());
        self.out.extend_from_slice(tail);
        Bytes::from(self.out)
    }
}

fn edit_object(
    splice: &mut Splice<'_>,
    node: &Node,
    items: &[Item],
    inside: usize,
    at: &str,
) -> Result<(), EditError> {
    let source = splice.source;
    let key_of = |item: &Item| unquote(&source[item.key.clone()]).unwrap_or_default();
    // For each item: the step that names it, if any, and whether it is the occurrence that counts.
    let mut plan: Vec<Option<(usize, bool)>> = vec![None; items.len()];
    let mut seen = vec![false; node.below.len()];
    for (i, item) in items.iter().enumerate().rev() {
        let key = key_of(item);
        if let Some(step) = node.below.iter().position(|(s, _)| *s == *key) {
            plan[i] = Some((step, !seen[step]));
            seen[step] = true;
        }
    }
    let removed = |p: &Option<(usize, bool)>| {
        p.is_some_and(|(step, counts)| !counts || node.below[step].1.change == Change::Remove)
    };
    let last_kept = plan.iter().rposition(|p| !removed(p));
    for (i, p) in plan.iter().enumerate() {
        if removed(p) {
            if last_kept.is_some_and(|kept| i < kept) {
                splice.remove_before_kept(items, i);
            }
        } else if let Some((step, _)) = p {
            let (name, child) = &node.below[*step];
            edit_value(splice, child, items[i].value.clone(), at, name)?;
        }
    }
    let mut added = Vec::new();
    for ((name, child), _) in node.below.iter().zip(&seen).filter(|(_, seen)| !**seen) {
        if let Some(json) = fresh(child) {
            if !added.is_empty() {
                added.push(b',');
            }
            quote_into(&mut added, name);
            added.push(b':');
            added.extend_from_slice(&json);
        }
    }
    splice.finish_container(items, last_kept, inside, &added);
    Ok(())
}

fn edit_array(
    splice: &mut Splice<'_>,
    node: &Node,
    items: &[Item],
    inside: usize,
    at: &str,
) -> Result<(), EditError> {
    let index_of = |step: &str| step.parse::<usize>().ok().filter(|i| *i < items.len());
    if let Some((name, _)) = node
        .below
        .iter()
        .find(|(s, n)| s != "-" && index_of(s).is_none() && n.change != Change::Remove)
    {
        return Err(refuse(at, name, "the array has no such element"));
    }
    let step_of = |i: usize| node.below.iter().find(|(s, _)| index_of(s) == Some(i));
    let removed = |i: usize| step_of(i).is_some_and(|(_, n)| n.change == Change::Remove);
    let last_kept = (0..items.len()).rev().find(|i| !removed(*i));
    for (i, item) in items.iter().enumerate() {
        if removed(i) {
            if last_kept.is_some_and(|kept| i < kept) {
                splice.remove_before_kept(items, i);
            }
        } else if let Some((name, child)) = step_of(i) {
            edit_value(splice, child, item.value.clone(), at, name)?;
        }
    }
    let appended = node
        .below
        .iter()
        .find(|(s, _)| s == "-")
        .and_then(|(_, n)| fresh(n));
    splice.finish_container(items, last_kept, inside, &appended.unwrap_or_default());
    Ok(())
}

fn edit_value(
    splice: &mut Splice<'_>,
    node: &Node,
    value: Range<usize>,
    at: &str,
    name: &str,
) -> Result<(), EditError> {
    if let (Change::Set(json), true) = (&node.change, node.below.is_empty()) {
        splice.replace(value, json);
        return Ok(());
    }
    if node.change != Change::None {
        return Err(refuse(
            at,
            name,
            "the value is replaced as a whole and edited inside",
        ));
    }
    let source = splice.source;
    if Raw::new(&source[value.clone()]).is_null() {
        splice.replace(
            value,
            &fresh(node).unwrap_or_else(|| Bytes::from_static(b"null")),
        );
        return Ok(());
    }
    let Some(mut walk) = Items::open(source, value.start, 0) else {
        return Err(refuse(at, name, "it is neither an object nor an array"));
    };
    let mut items = Vec::new();
    while let Ok(Some(item)) = walk.next_item() {
        items.push(item);
    }
    let at = format!("{at}/{}", escape_step(name));
    let edit = if walk.is_object() {
        edit_object
    } else {
        edit_array
    };
    edit(splice, node, &items, value.start + 1, &at)
}

/// The value that a node makes where there was none; `None` when it only removes.
fn fresh(node: &Node) -> Option<Bytes> {
    if let Change::Set(json) = &node.change {
        return Some(json.clone());
    }
    let mut out = vec![b'{'];
    for (name, child) in &node.below {
        let Some(json) = fresh(child) else { continue };
        if out.len() > 1 {
            out.push(b',');
        }
        quote_into(&mut out, name);
        out.push(b':');
        out.extend_from_slice(&json);
    }
    out.push(b'}');
    (out.len() > 2).then(|| Bytes::from(out))
}

fn refuse(at: &str, name: &str, reason: &'static str) -> EditError {
    EditError {
        pointer: format!("{at}/{}", escape_step(name)),
        reason,
    }
}

fn escape_step(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

fn steps(pointer: &str) -> impl Iterator<Item = String> {
    pointer
        .split('/')
        .skip(1)
        .map(|s| s.replace("~1", "/").replace("~0", "~"))
}
