//! YAML as LiteLLM reads it, with the place of every value.
//!
//! LiteLLM parses with a YAML 1.1 safe loader, so `on` is a boolean and `017` is fifteen. The
//! structure comes from saphyr-parser's events; what a plain scalar means is decided by
//! [`scalar`], which follows that loader rule by rule. Building the values from the same events
//! that carry the positions keeps both true for anchors, merge keys and duplicate keys.

mod scalar;

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::node::{Data, Entry, Node, Position};
use crate::problem::{Problem, ProblemKind};

/// Deepest nesting that is read. LiteLLM itself stops resolving at 100 levels; the values are
/// walked recursively here, so the depth must have an end.
const DEPTH_MAX: usize = 128;

/// Most values in one file after aliases are expanded: bounds what a few lines of nested aliases
/// can turn into.
const VALUES_MAX: usize = 1_000_000;

/// Parses one document. Duplicate keys are reported to `problems` as warnings.
///
/// # Errors
/// The first reason why the text cannot be read, with its place. No value of the file is quoted.
pub(crate) fn parse(
    text: &str,
    file: &Arc<str>,
    problems: &mut Vec<Problem>,
) -> Result<Node, Problem> {
    let mut builder = Builder {
        file,
        problems,
        open: Vec::new(),
        anchors: HashMap::new(),
        values: 0,
        root: None,
        ended: false,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            syntax(
                &Position::new(file, number(mark.line()), number(mark.col() + 1)),
                error.info(),
            )
        })?;
        builder.accept(event, span)?;
    }
    Ok(builder
        .root
        .unwrap_or_else(|| Node::new(Data::Null, Position::of_file(file))))
}

struct Builder<'a> {
    file: &'a Arc<str>,
    problems: &'a mut Vec<Problem>,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    values: usize,
    root: Option<Node>,
    ended: bool,
}

/// A value with a name, and what expanding an alias to it adds.
#[derive(Clone)]
struct Anchored {
    node: Node,
    /// How many values it is made of.
    size: usize,
    /// How many levels of lists and mappings it has.
    height: usize,
}

/// A list or mapping whose end has not been met.
struct Open {
    at: Position,
    anchor: usize,
    /// How many values had been built when it began, to know its size when it ends.
    values_before: usize,
    /// How many levels its content has so far.
    height: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: IndexMap<String, Entry>,
        merged: Vec<Node>,
        key: Option<Key>,
    },
}

/// The key of a mapping that waits for its value.
enum Key {
    Name(String, Position),
    /// `<<`: the value's entries become this mapping's own, unless it has them.
    Merge,
}

impl Builder<'_> {
    fn accept(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = Position::new(
            self.file,
            number(span.start.line()),
            number(span.start.col() + 1),
        );
        match event {
            Event::DocumentStart(_) if self.ended => {
                return Err(
                    syntax(&at, "a second document begins here").fix("keep one document per file")
                );
            }
            Event::DocumentEnd => self.ended = true,
            Event::Scalar(text, style, anchor, tag) => {
                return self.scalar(&text, style, anchor, tag.as_deref(), at);
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", &at)?;
                return self.begin(Content::List(Vec::new()), anchor, at);
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", &at)?;
                let content = Content::Map {
                    entries: IndexMap::new(),
                    merged: Vec::new(),
                    key: None,
                };
                return self.begin(content, anchor, at);
            }
            Event::SequenceEnd | Event::MappingEnd => return self.end(),
            Event::Alias(anchor) => return self.alias(anchor, at),
            _ => {}
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Problem> {
        let plain = matches!(style, ScalarStyle::Plain);
        if plain
            && text == "<<"
            && tag.is_none()
            && let Some(Open {
                content: Content::Map {
                    key: key @ None, ..
                },
                ..
            }) = self.open.last_mut()
        {
            *key = Some(Key::Merge);
            return Ok(());
        }
        if let Some(Open {
            content: Content::Map {
                key: key @ None, ..
            },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(Key::Name(text.to_owned(), at));
            return Ok(());
        }
        let data = match tag {
            Some(tag) => scalar::tagged(tag, text).map_err(|message| syntax(&at, &message))?,
            None if plain => scalar::plain(text),
            None => Data::Text(text.to_owned()),
        };
        self.count(1, &at)?;
        let node = Node::new(data, at);
        self.remember(anchor, &node, 1, 0);
        self.place(node, 0)
    }

    fn begin(&mut self, content: Content, anchor: usize, at: Position) -> Result<(), Problem> {
        if let Some(Open {
            content: Content::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            return Err(syntax(&at, "a key must be a text, not a list or mapping"));
        }
        self.allow_depth(1, &at)?;
        self.count(1, &at)?;
        self.open.push(Open {
            at,
            anchor,
            values_before: self.values,
            height: 0,
            content,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open {
            at,
            anchor,
            values_before,
            height,
            content,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let data = match content {
            Content::List(items) => Data::List(items),
            Content::Map {
                entries, merged, ..
            } => Data::Map(merge(entries, merged)),
        };
        let node = Node::new(data, at);
        let size = self.values - values_before + 1;
        self.remember(anchor, &node, size, height + 1);
        self.place(node, height + 1)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Problem> {
        // An anchor is known only once its value has ended: `&a [*a]` is refused here.
        let Some(Anchored { node, size, height }) = self.anchors.get(&anchor).cloned() else {
            return Err(syntax(&at, "an alias inside the value it names"));
        };
        // Before the value is put anywhere: a chain of aliases could grow as deep as the file is
        // long, and everything that walks values recurses.
        self.allow_depth(height, &at)?;
        self.count(size, &at)?;
        let as_key = matches!(
            self.open.last(),
            Some(Open {
                content: Content::Map { key: None, .. },
                ..
            })
        );
        if !as_key {
            return self.place(node, height);
        }
        let Data::Text(name) = node.data else {
            return Err(syntax(&at, "a key must be a text"));
        };
        if let Some(Open {
            content: Content::Map { key, .. },
            ..
        }) = self.open.last_mut()
        {
            *key = Some(Key::Name(name, at));
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node, size: usize, height: usize) {
        if anchor > 0 {
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    size,
                    height,
                },
            );
        }
    }

    /// Refuses a value of so many levels below the open ones, if that is too deep.
    fn allow_depth(&self, levels: usize, at: &Position) -> Result<(), Problem> {
        if self.open.len() + levels > DEPTH_MAX {
            return Err(syntax(
                at,
                &format!("is nested more than {DEPTH_MAX} levels deep"),
            ));
        }
        Ok(())
    }

    fn count(&mut self, values: usize, at: &Position) -> Result<(), Problem> {
        self.values = self.values.saturating_add(values);
        if self.values > VALUES_MAX {
            return Err(syntax(
                at,
                &format!(
                    "the file has more than {VALUES_MAX} values once its aliases are expanded"
                ),
            ));
        }
        Ok(())
    }

    /// Puts a finished value where it belongs: in the list or mapping around it, or at the top.
    fn place(&mut self, node: Node, height: usize) -> Result<(), Problem> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.height = open.height.max(height);
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map {
                entries,
                merged,
                key,
            } => match key.take() {
                Some(Key::Name(name, key_at)) => {
                    if let Some(earlier) = entries.get(&name) {
                        self.problems.push(
                            Problem::warning(
                                ProblemKind::DuplicateKey,
                                &key_at,
                                name.clone(),
                                "is given twice; this one counts",
                            )
                            .fix(format!("remove the one in line {}", earlier.key_at.line)),
                        );
                    }
                    entries.insert(name, Entry { key_at, node });
                }
                Some(Key::Merge) => return collect_merge(node, merged),
                None => return Err(syntax(&node.at, "a value without a key")),
            },
        }
        Ok(())
    }
}

/// Takes the mappings that `<<` names: one, or a list of them, the earlier ones winning.
fn collect_merge(node: Node, merged: &mut Vec<Node>) -> Result<(), Problem> {
    match node.data {
        Data::Map(_) => merged.push(node),
        Data::List(items) if items.iter().all(|item| matches!(item.data, Data::Map(_))) => {
            merged.extend(items)
        }
        _ => {
            return Err(syntax(
                &node.at,
                "`<<` needs a mapping, or a list of mappings",
            ));
        }
    }
    Ok(())
}

/// Merged entries come first and give way to the mapping's own, as PyYAML orders them.
fn merge(own: IndexMap<String, Entry>, merged: Vec<Node>) -> IndexMap<String, Entry> {
    if merged.is_empty() {
        return own;
    }
    let mut entries = IndexMap::new();
    for node in merged {
        if let Data::Map(more) = node.data {
            for (name, entry) in more {
                entries.entry(name).or_insert(entry);
            }
        }
    }
    entries.extend(own);
    entries
}

fn refuse_tag(tag: Option<&Tag>, allowed: &str, at: &Position) -> Result<(), Problem> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == allowed) => Err(syntax(
            at,
            &format!("the tag `{}{}` is not read here", tag.handle, tag.suffix),
        )),
        _ => Ok(()),
    }
}

fn syntax(at: &Position, message: &str) -> Problem {
    Problem::error(ProblemKind::Syntax, at, "", message)
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
