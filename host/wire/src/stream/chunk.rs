//! One chunk: read by ranges, changed by splicing.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::json::{Object, Raw, ScanError, Splice, quote_into};
use crate::usage::Usage;

/// An indexed chunk of a stream (the `data` of one SSE frame).
#[derive(Debug, Clone)]
pub struct ChunkView {
    object: Object,
    choices: Vec<ChoiceView>,
    has_choices: bool,
}

/// What one choice of a chunk adds. Ranges point into the chunk's bytes.
#[derive(Debug, Clone, Default)]
pub struct ChoiceView {
    /// The choice's `index`.
    pub index: u32,
    /// `delta.content` of a chat chunk or `text` of a completion chunk, when it is a string.
    content: Option<Range<usize>>,
    reasoning: Option<Range<usize>>,
    refusal: Option<Range<usize>>,
    role: Option<Range<usize>>,
    finish_reason: Option<Range<usize>>,
    function_call: Option<ToolCallView>,
    tool_calls: Vec<ToolCallView>,
    /// The choice has a `delta`: a chat chunk.
    is_chat: bool,
}

/// What one tool call of a chunk adds.
#[derive(Debug, Clone, Default)]
pub struct ToolCallView {
    /// The call's `index` within its choice.
    pub index: u32,
    pub(super) id: Option<Range<usize>>,
    pub(super) name: Option<Range<usize>>,
    pub(super) arguments: Option<Range<usize>>,
}

/// A piece of text in a chunk, which a guardrail may replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkText {
    /// The choice's `index`.
    pub choice: u32,
    /// Which of the choice's texts the piece continues.
    pub kind: TextKind,
    range: Range<usize>,
}

/// The texts that a choice's chunks build up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TextKind {
    /// `delta.content` or `text`.
    Content,
    /// `delta.reasoning_content` (or `reasoning`).
    Reasoning,
    /// `delta.refusal`.
    Refusal,
    /// The arguments of the tool call with this index.
    ToolArguments(u32),
    /// The arguments of the legacy `function_call`.
    FunctionArguments,
}

/// What to change in a chunk before the client sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChunkRewrite<'a> {
    /// Replace the value of `model`.
    pub model: Option<&'a str>,
    /// Remove `usage`, which the client did not ask for.
    pub drop_usage: bool,
    /// Replace texts of this chunk.
    pub texts: &'a [(ChunkText, &'a str)],
}

impl ChunkView {
    /// Validates and indexes a chunk.
    pub fn parse(data: &Bytes) -> Result<ChunkView, ScanError> {
        let object = Object::scan(data)?;
        let mut choices = Vec::new();
        let list = object.value_range("choices");
        let has_choices = list.is_some();
        for (_, value) in list.into_iter().flat_map(|list| within(data, list)) {
            choices.push(ChoiceView::read(data, value));
        }
        Ok(ChunkView {
            object,
            choices,
            has_choices,
        })
    }

    /// The chunk's own bytes.
    pub fn bytes(&self) -> &Bytes {
        self.object.bytes()
    }

    /// The indexed chunk.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The response's id.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.object.get("id")?.as_str()
    }

    /// The model that the upstream says it used.
    pub fn model(&self) -> Option<Cow<'_, str>> {
        self.object.get("model")?.as_str()
    }

    /// What each choice adds, in the chunk's order.
    pub fn choices(&self) -> &[ChoiceView] {
        &self.choices
    }

    /// The `error` of a stream that fails midway.
    pub fn error(&self) -> Option<Raw<'_>> {
        self.object.given("error")
    }

    /// True when the chunk carries usage that is not null.
    pub fn has_usage(&self) -> bool {
        self.object.given("usage").is_some()
    }

    /// The usage that the chunk carries.
    pub fn usage(&self) -> Option<Usage> {
        Usage::from_json(self.object.given("usage")?)
    }

    /// True for the extra chunk that only carries usage: a client that did not ask for it must not
    /// get it at all.
    pub fn is_usage_only(&self) -> bool {
        self.has_choices && self.choices.is_empty() && self.has_usage()
    }

    /// True when a choice has content, reasoning, refusal or call arguments that are not empty.
    pub fn has_output(&self) -> bool {
        self.texts().any(|text| text.range.len() > 2)
    }

    /// The text pieces of the chunk, in the chunk's order of choices.
    pub fn texts(&self) -> impl Iterator<Item = ChunkText> {
        self.choices.iter().flat_map(ChoiceView::texts)
    }

    /// The value of a text piece, escapes resolved.
    pub fn text(&self, piece: &ChunkText) -> Cow<'_, str> {
        self.string(&Some(piece.range.clone())).unwrap_or_default()
    }

    /// The finish reason of a choice, when this chunk ends it.
    pub fn finish_reason(&self, choice: &ChoiceView) -> Option<Cow<'_, str>> {
        self.string(&choice.finish_reason)
    }

    /// The chunk with the changes spliced in; the same bytes when nothing changes.
    pub fn rewrite(&self, rewrite: &ChunkRewrite<'_>) -> Bytes {
        if !self.changes(rewrite) {
            return self.bytes().clone();
        }
        self.spliced(rewrite, b"", b"")
    }

    /// The rewritten chunk as an SSE frame (`data: …` and a blank line), `None` when nothing
    /// changes and the original frame may be forwarded.
    pub fn rewrite_frame(&self, rewrite: &ChunkRewrite<'_>) -> Option<Bytes> {
        self.changes(rewrite).then(|| {
            // A chunk that came as several lines of data goes as several lines.
            if memchr::memchr2(b'\n', b'\r', self.bytes()).is_some() {
                return crate::sse::data_frame(&self.spliced(rewrite, b"", b""));
            }
            self.spliced(rewrite, b"data: ", b"\n\n")
        })
    }

    pub(super) fn string(&self, range: &Option<Range<usize>>) -> Option<Cow<'_, str>> {
        Raw::new(&self.bytes()[range.clone()?]).as_str()
    }

    fn changes(&self, rewrite: &ChunkRewrite<'_>) -> bool {
        !rewrite.texts.is_empty()
            || (rewrite.drop_usage && self.object.contains("usage"))
            || rewrite
                .model
                .is_some_and(|to| self.model().is_some_and(|from| from != to))
    }

    fn spliced(&self, rewrite: &ChunkRewrite<'_>, head: &[u8], tail: &[u8]) -> Bytes {
        let items = self.object.items();
        let is_dropped = |i: usize| rewrite.drop_usage && self.object.key(i) == "usage";
        let last_kept = (0..items.len()).rev().find(|i| !is_dropped(*i));
        let mut texts: Vec<&(ChunkText, &str)> = rewrite.texts.iter().collect();
        texts.sort_by_key(|(piece, _)| piece.range.start);
        let choices = self.object.position("choices");

        let mut splice = Splice::with_head(self.bytes(), head);
        let mut quoted = Vec::new();
        for (i, item) in items.iter().enumerate() {
            if is_dropped(i) {
                if last_kept.is_some_and(|kept| i < kept) {
                    splice.remove_before_kept(items, i);
                }
            } else if let (Some(model), "model") = (rewrite.model, self.object.key(i)) {
                quoted.clear();
                quote_into(&mut quoted, model);
                splice.replace(item.value.clone(), &quoted);
            } else if choices == Some(i) {
                for (piece, text) in &texts {
                    quoted.clear();
                    quote_into(&mut quoted, text);
                    splice.replace(piece.range.clone(), &quoted);
                }
            }
        }
        splice.finish_container(items, last_kept, self.object.inside(), b"");
        splice.finish_with(tail)
    }
}

impl ChoiceView {
    /// The text pieces of this choice, in the order of [`TextKind`] first, calls last.
    pub fn texts(&self) -> impl Iterator<Item = ChunkText> {
        let piece = |kind, range: &Option<Range<usize>>| {
            range.clone().map(|range| ChunkText {
                choice: self.index,
                kind,
                range,
            })
        };
        let function = self.function_call.as_ref();
        let fixed = [
            piece(TextKind::Content, &self.content),
            piece(TextKind::Reasoning, &self.reasoning),
            piece(TextKind::Refusal, &self.refusal),
            function.and_then(|call| piece(TextKind::FunctionArguments, &call.arguments)),
        ];
        let calls = self
            .tool_calls
            .iter()
            .filter_map(move |call| piece(TextKind::ToolArguments(call.index), &call.arguments));
        fixed.into_iter().flatten().chain(calls)
    }

    /// True when this chunk ends the choice.
    pub fn is_finished(&self) -> bool {
        self.finish_reason.is_some()
    }

    /// What the chunk adds to the choice's tool calls.
    pub fn tool_calls(&self) -> &[ToolCallView] {
        &self.tool_calls
    }

    pub(super) fn is_chat(&self) -> bool {
        self.is_chat
    }

    pub(super) fn role(&self) -> &Option<Range<usize>> {
        &self.role
    }

    pub(super) fn function_call(&self) -> Option<&ToolCallView> {
        self.function_call.as_ref()
    }

    fn read(data: &[u8], choice: Range<usize>) -> ChoiceView {
        let mut view = ChoiceView::default();
        for (key, value) in within(data, choice) {
            match key {
                b"\"index\"" => view.index = index(data, value),
                b"\"text\"" => view.content = string(data, value),
                b"\"finish_reason\"" => view.finish_reason = string(data, value),
                b"\"delta\"" => {
                    view.is_chat = true;
                    view.read_delta(data, value);
                }
                _ => {}
            }
        }
        view
    }

    fn read_delta(&mut self, data: &[u8], delta: Range<usize>) {
        for (key, value) in within(data, delta) {
            match key {
                b"\"role\"" => self.role = string(data, value),
                b"\"content\"" => self.content = string(data, value),
                b"\"reasoning_content\"" => self.reasoning = string(data, value),
                b"\"reasoning\"" if self.reasoning.is_none() => {
                    self.reasoning = string(data, value);
                }
                b"\"refusal\"" => self.refusal = string(data, value),
                b"\"function_call\"" if data[value.start] == b'{' => {
                    let mut call = ToolCallView::default();
                    call.read_function(data, value);
                    self.function_call = Some(call);
                }
                b"\"tool_calls\"" => {
                    for (at, (_, call)) in within(data, value).enumerate() {
                        self.tool_calls.push(ToolCallView::read(data, call, at));
                    }
                }
                _ => {}
            }
        }
    }
}

impl ToolCallView {
    fn read(data: &[u8], call: Range<usize>, at: usize) -> ToolCallView {
        // Some upstreams leave the index out; then the position is the index.
        let position = u32::try_from(at).unwrap_or(u32::MAX);
        let mut view = ToolCallView {
            index: position,
            ..ToolCallView::default()
        };
        for (key, value) in within(data, call) {
            match key {
                b"\"index\"" => view.index = index(data, value),
                b"\"id\"" => view.id = string(data, value),
                b"\"function\"" => view.read_function(data, value),
                _ => {}
            }
        }
        view
    }

    fn read_function(&mut self, data: &[u8], function: Range<usize>) {
        for (key, value) in within(data, function) {
            match key {
                b"\"name\"" => self.name = string(data, value),
                b"\"arguments\"" => self.arguments = string(data, value),
                _ => {}
            }
        }
    }
}

/// Keys (as written) and value ranges of the container at `range`; nothing for a scalar.
///
/// Keys are compared as written: no upstream escapes the letters of its field names.
fn within(data: &[u8], range: Range<usize>) -> impl Iterator<Item = (&[u8], Range<usize>)> {
    let mut items = crate::json::Items::open(data, range.start, 0);
    std::iter::from_fn(move || {
        let item = items.as_mut()?.next_item().ok().flatten()?;
        Some((&data[item.key], item.value))
    })
}

fn string(data: &[u8], value: Range<usize>) -> Option<Range<usize>> {
    (data[value.start] == b'"').then_some(value)
}

fn index(data: &[u8], value: Range<usize>) -> u32 {
    Raw::new(&data[value])
        .as_i64()
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(0)
}
