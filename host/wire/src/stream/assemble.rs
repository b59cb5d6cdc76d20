//! All chunks of a stream folded into one response.

use crate::json::{Raw, quote_into};
use crate::prices::Cited;
use crate::usage::Usage;

use super::chunk::{ChoiceView, ChunkView, TextKind, ToolCallView};

/// Most text kept of one stream unless told otherwise; a log event needs no more.
pub const DEFAULT_ASSEMBLED_MAX_BYTES: usize = 8 * 1024 * 1024;

/// More choices or calls than this are not kept: indexes come from the upstream and could be
/// anything.
const PARTS_MAX: usize = 256;

/// Folds chunks as they pass.
#[derive(Debug)]
pub struct StreamAssembler {
    max_bytes: usize,
    kept_bytes: usize,
    truncated: bool,
    chunks: u64,
    id: Option<String>,
    model: Option<String>,
    system_fingerprint: Option<String>,
    service_tier: Option<String>,
    created: Option<i64>,
    usage: Option<Usage>,
    cited: Cited,
    is_text_completion: bool,
    notes_losses: bool,
    lost: bool,
    choices: Vec<Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    index: u32,
    role: Option<String>,
    content: Option<String>,
    reasoning: Option<String>,
    refusal: Option<String>,
    finish_reason: Option<String>,
    function_call: Option<Call>,
    tool_calls: Vec<Call>,
}

#[derive(Debug, Default)]
struct Call {
    index: u32,
    id: Option<String>,
    name: String,
    arguments: String,
}

/// What a stream amounted to.
#[derive(Debug, Clone, PartialEq)]
pub struct Assembled {
    /// The response as if it had not been streamed: a `chat.completion` or `text_completion`
    /// object, as JSON text.
    pub response: String,
    /// The usage, when a chunk carried it. `None` after an early end: then the caller counts.
    pub usage: Option<Usage>,
    /// The id that the chunks carried.
    pub id: Option<String>,
    /// The model that the chunks named.
    pub model: Option<String>,
    /// The service tier that the chunks named.
    pub service_tier: Option<String>,
    /// The finish reasons of the choices that ended, by choice.
    pub finish_reasons: Vec<String>,
    /// The generated text of all choices (content, reasoning, call arguments), for counting.
    pub text: String,
    /// How many chunks were folded.
    pub chunks: u64,
    /// Text beyond the bound was left out of `response` and `text`.
    pub truncated: bool,
    /// A choice said something that `response` does not have. Noticed only with [`StreamAssembler::note_losses`].
    pub lost: bool,
}

impl Default for StreamAssembler {
    fn default() -> Self {
        StreamAssembler::new(DEFAULT_ASSEMBLED_MAX_BYTES)
    }
}

impl StreamAssembler {
    /// An assembler that keeps at most `max_bytes` of text.
    pub fn new(max_bytes: usize) -> StreamAssembler {
        StreamAssembler {
            max_bytes,
            kept_bytes: 0,
            truncated: false,
            chunks: 0,
            id: None,
            model: None,
            system_fingerprint: None,
            service_tier: None,
            created: None,
            usage: None,
            cited: Cited::default(),
            is_text_completion: false,
            notes_losses: false,
            lost: false,
            choices: Vec::new(),
        }
    }

    /// From here on it is noticed when a choice says what the response will not have.
    pub fn note_losses(&mut self) {
        self.notes_losses = true;
    }

    /// Adds one chunk. A later usage replaces an earlier one: upstreams that report it in every
    /// chunk report running totals.
    pub fn push(&mut self, chunk: &ChunkView) {
        self.chunks += 1;
        if self.id.is_none() {
            self.read_head(chunk);
        }
        if let Some(usage) = chunk.usage() {
            self.usage = Some(usage);
        }
        self.cited.add(Cited::read(chunk.bytes()));
        if self.notes_losses && !self.lost {
            self.lost = says_more(chunk);
        }
        for choice in chunk.choices() {
            self.push_choice(chunk, choice);
        }
    }

    /// Forgets the usage seen so far: what follows is another upstream's.
    pub fn forget_usage(&mut self) {
        self.usage = None;
        self.cited = Cited::default();
    }

    /// What the chunks so far cite.
    pub fn cited(&self) -> Cited {
        self.cited
    }

    /// The text so far, as long as the stream is one choice of nothing but text that has not ended.
    pub fn plain_text(&self) -> Option<&str> {
        let choice = match self.choices.as_slice() {
            [] => return Some(""),
            [choice] => choice,
            _ => return None,
        };
        let is_plain = choice.reasoning.as_deref().unwrap_or_default().is_empty()
            && choice.refusal.as_deref().unwrap_or_default().is_empty()
            && choice.finish_reason.is_none()
            && choice.function_call.is_none()
            && choice.tool_calls.is_empty()
            && !self.truncated;
        is_plain.then(|| choice.content.as_deref().unwrap_or_default())
    }

    /// The usage seen so far.
    pub fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// What the chunks amount to.
    pub fn finish(mut self) -> Assembled {
        self.choices.sort_by_key(|c| c.index);
        let response = self.write_response();
        let reasons = self.choices.iter().filter_map(|c| c.finish_reason.clone());
        let mut text = String::with_capacity(self.kept_bytes);
        for choice in &self.choices {
            let parts = [&choice.content, &choice.reasoning, &choice.refusal];
            parts
                .into_iter()
                .flatten()
                .for_each(|part| text.push_str(part));
            for call in choice.function_call.iter().chain(&choice.tool_calls) {
                text.push_str(&call.name);
                text.push_str(&call.arguments);
            }
        }
        Assembled {
            response,
            finish_reasons: reasons.collect(),
            text,
            usage: self.usage,
            id: self.id,
            model: self.model,
            service_tier: self.service_tier,
            chunks: self.chunks,
            truncated: self.truncated,
            lost: self.lost,
        }
    }

    fn read_head(&mut self, chunk: &ChunkView) {
        let object = chunk.object();
        let text = |key: &str| Some(object.get(key)?.as_str()?.into_owned());
        self.id = text("id").filter(|id| !id.is_empty());
        self.model = text("model")
            .filter(|m| !m.is_empty())
            .or(self.model.take());
        self.system_fingerprint = text("system_fingerprint");
        self.service_tier = text("service_tier");
        self.created = object.get("created").and_then(|raw| raw.as_i64());
    }

    fn push_choice(&mut self, chunk: &ChunkView, view: &ChoiceView) {
        self.is_text_completion |= !view.is_chat();
        let found = self.choices.iter().position(|c| c.index == view.index);
        let at = match found {
            Some(at) => at,
            None if self.choices.len() >= PARTS_MAX => {
                self.truncated = true;
                return;
            }
            None => {
                self.choices.push(Choice {
                    index: view.index,
                    ..Choice::default()
                });
                self.choices.len() - 1
            }
        };
        let mut budget = self.max_bytes - self.kept_bytes.min(self.max_bytes);
        let before = budget;
        let choice = &mut self.choices[at];
        let mut fits = true;
        if let Some(role) = chunk.string(view.role())
            && choice.role.is_none()
        {
            fits &= append(choice.role.get_or_insert_default(), &role, &mut budget);
        }
        for piece in view.texts() {
            let text = chunk.text(&piece);
            let slot = match piece.kind {
                TextKind::Content => &mut choice.content,
                TextKind::Reasoning => &mut choice.reasoning,
                TextKind::Refusal => &mut choice.refusal,
                // Calls have an id and a name besides; they are merged below.
                TextKind::ToolArguments(_) | TextKind::FunctionArguments => continue,
            };
            fits &= append(slot.get_or_insert_default(), &text, &mut budget);
        }
        if let Some(call) = view.function_call() {
            fits &= choice
                .function_call
                .get_or_insert_default()
                .push(chunk, call, &mut budget);
        }
        for call in view.tool_calls() {
            fits &= choice.push_call(chunk, call, &mut budget);
        }
        if let Some(reason) = chunk.finish_reason(view) {
            choice.finish_reason = Some(reason.into_owned());
        }
        self.kept_bytes += before - budget;
        self.truncated |= !fits;
    }

    fn write_response(&self) -> String {
        let mut out = Vec::with_capacity(self.kept_bytes + 512);
        out.extend_from_slice(b"{");
        if let Some(id) = &self.id {
            member(&mut out, "id", id);
            out.push(b',');
        }
        let object = if self.is_text_completion {
            "text_completion"
        } else {
            "chat.completion"
        };
        member(&mut out, "object", object);
        if let Some(created) = self.created {
            out.extend_from_slice(format!(",\"created\":{created}").as_bytes());
        }
        let texts = [
            ("model", &self.model),
            ("system_fingerprint", &self.system_fingerprint),
            ("service_tier", &self.service_tier),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                out.push(b',');
                member(&mut out, key, value);
            }
        }
        out.extend_from_slice(b",\"choices\":[");
        for (i, choice) in self.choices.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            choice.write(&mut out, self.is_text_completion);
        }
        out.push(b']');
        if let Some(raw) = self.usage.as_ref().and_then(|u| u.raw.as_ref()) {
            out.extend_from_slice(b",\"usage\":");
            out.extend_from_slice(raw.as_bytes());
        }
        out.push(b'}');
        String::from_utf8(out).unwrap_or_default()
    }
}

impl Choice {
    fn push_call(&mut self, chunk: &ChunkView, view: &ToolCallView, budget: &mut usize) -> bool {
        let found = self.tool_calls.iter().position(|c| c.index == view.index);
        let at = match found {
            Some(at) => at,
            None if self.tool_calls.len() >= PARTS_MAX => return false,
            None => {
                self.tool_calls.push(Call {
                    index: view.index,
                    ..Call::default()
                });
                self.tool_calls.len() - 1
            }
        };
        self.tool_calls[at].push(chunk, view, budget)
    }

    fn write(&self, out: &mut Vec<u8>, is_text: bool) {
        out.extend_from_slice(format!("{{\"index\":{},", self.index).as_bytes());
        if is_text {
            member(out, "text", self.content.as_deref().unwrap_or_default());
        } else {
            out.extend_from_slice(b"\"message\":{");
            member(out, "role", self.role.as_deref().unwrap_or("assistant"));
            out.push(b',');
            optional(out, "content", self.content.as_deref());
            for (key, value) in [
                ("reasoning_content", &self.reasoning),
                ("refusal", &self.refusal),
            ] {
                if let Some(value) = value {
                    out.push(b',');
                    member(out, key, value);
                }
            }
            if let Some(call) = &self.function_call {
                out.extend_from_slice(b",\"function_call\":");
                call.write_function(out);
            }
            for (i, call) in self.tool_calls.iter().enumerate() {
                out.extend_from_slice(if i == 0 { b",\"tool_calls\":[" } else { b"," });
                call.write(out);
            }
            if !self.tool_calls.is_empty() {
                out.push(b']');
            }
            out.push(b'}');
        }
        out.push(b',');
        optional(out, "finish_reason", self.finish_reason.as_deref());
        out.push(b'}');
    }
}

impl Call {
    fn push(&mut self, chunk: &ChunkView, view: &ToolCallView, budget: &mut usize) -> bool {
        let mut fits = true;
        if let Some(id) = chunk.string(&view.id)
            && self.id.is_none()
        {
            fits &= append(self.id.get_or_insert_default(), &id, budget);
        }
        // A name comes whole in the first piece; some upstreams repeat it in every piece.
        if let Some(name) = chunk.string(&view.name)
            && self.name.is_empty()
        {
            fits &= append(&mut self.name, &name, budget);
        }
        if let Some(arguments) = chunk.string(&view.arguments) {
            fits &= append(&mut self.arguments, &arguments, budget);
        }
        fits
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        optional(out, "id", self.id.as_deref());
        out.extend_from_slice(b",\"type\":\"function\",\"function\":");
        self.write_function(out);
        out.push(b'}');
    }

    fn write_function(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        member(out, "name", &self.name);
        out.push(b',');
        member(out, "arguments", &self.arguments);
        out.push(b'}');
    }
}

/// Whether a choice has members that are not folded, such as log probabilities or signatures of a provider.
fn says_more(chunk: &ChunkView) -> bool {
    const OF_CHOICE: [&str; 4] = ["index", "delta", "text", "finish_reason"];
    const OF_DELTA: [&str; 6] = [
        "role",
        "content",
        "reasoning_content",
        "refusal",
        "function_call",
        "tool_calls",
    ];
    let says = |value: Raw<'_>| !value.is_null() && !["{}", "[]"].contains(&value.text());
    let more = |of: Raw<'_>, known: &[&str]| {
        of.entries()
            .any(|(name, value)| !known.contains(&&*name) && says(value))
    };
    let choices = chunk.object().get("choices").into_iter();
    choices.flat_map(Raw::elements).any(|choice| {
        more(choice, &OF_CHOICE)
            || choice
                .get("delta")
                .is_some_and(|delta| more(delta, &OF_DELTA))
    })
}

/// Appends what the budget allows, cut at a character; false when something was left out.
fn append(text: &mut String, more: &str, budget: &mut usize) -> bool {
    let end = more.floor_char_boundary(*budget);
    text.push_str(&more[..end]);
    *budget -= end;
    end == more.len()
}

fn member(out: &mut Vec<u8>, key: &str, value: &str) {
    optional(out, key, Some(value));
}

fn optional(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    quote_into(out, key);
    out.push(b':');
    match value {
        Some(value) => quote_into(out, value),
        None => out.extend_from_slice(b"null"),
    }
}
