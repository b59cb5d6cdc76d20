//! A streamed answer on its way to the client: frames as they arrive, with the edits they need.
//!
//! The stream owns its call. When it is dropped before its end, the client has left: the upstream is
//! cancelled with it and the call is settled with what was seen so far.

mod priced;
mod repetition;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout;
use witgate_routing::ErrorClass;
use witgate_wire::Endpoint;
use witgate_wire::errors::{UpstreamError, mask_keys};
use witgate_wire::json::{Edits, Object, Raw, quote};
use witgate_wire::sse::{self, Frame};
use witgate_wire::stream::{ChunkRewrite, ChunkText, ChunkView, StreamAssembler, TextKind};

use crate::exchange::{Exchange, UpstreamStream};
use crate::failure::{Case, Failure};
use crate::gateway::{Finish, Gateway};
use crate::guard_stream::{GuardChain, Released};
use crate::hook_stream::Passed;
use crate::hooks;
use crate::ports::UpstreamErrorKind;
use crate::reply::BodyStream;
use crate::rescue::{Telling, error_json};
use crate::stages::call::onward;
use priced::priced;
use repetition::Repetition;

/// How long an upstream may take to end its answer after the last frame.
const LINGER: std::time::Duration = std::time::Duration::from_secs(1);

/// What a client is sent while the upstream is silent: a comment, which readers of events pass over.
const KEEPALIVE: &[u8] = b": keepalive\n\n";

/// The client's side of a stream.
pub struct ClientStream {
    finish: Finish,
    upstream: UpstreamStream,
    /// The model name the client shall see; `None` keeps the upstream's.
    model: Option<String>,
    /// The client asked for the usage of the stream.
    show_usage: bool,
    /// Who knows what the usage costs, where the client is told.
    priced_by: Option<Arc<Gateway>>,
    /// Another deployment has taken up the stream.
    is_resumed: bool,
    /// `id` and `created` of the first chunk, as JSON: what follows shall have them, too.
    head: Option<(String, String)>,
    ended: bool,
    /// How often the upstream has said the same.
    repetition: Repetition,
    /// How long the upstream has been silent while the client was told that all is well.
    silent: std::time::Duration,
}

impl ClientStream {
    /// The stream of this call's answer.
    #[must_use]
    pub fn new(
        finish: Finish,
        upstream: UpstreamStream,
        model: Option<String>,
        show_usage: bool,
    ) -> Self {
        let streams_cost = |x: &Exchange| x.snapshot.settings.streams_cost;
        let is_told = show_usage && finish.exchange.as_deref().is_some_and(streams_cost);
        Self {
            priced_by: is_told.then(|| finish.gateway()),
            finish,
            upstream,
            model,
            show_usage,
            is_resumed: false,
            head: None,
            ended: false,
            repetition: Repetition::default(),
            silent: std::time::Duration::ZERO,
        }
    }

    /// As the body of a reply.
    #[must_use]
    pub fn into_body(self) -> BodyStream {
        Box::pin(futures_util::stream::unfold(self, |mut this| async move {
            this.next().await.map(|bytes| (bytes, this))
        }))
    }

    /// All that can leave now, or waits for the upstream.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        loop {
            if let Err(failure) = self.forward_ready(&mut out).await {
                self.broke(failure, &mut out).await;
            }
            if !out.is_empty() {
                return Some(out.freeze());
            }
            if self.ended {
                return None;
            }
            if let Err(failure) = self.read(&mut out).await {
                self.broke(failure, &mut out).await;
            }
        }
    }

    /// Forwards the frames that are complete.
    async fn forward_ready(&mut self, out: &mut BytesMut) -> Result<(), Failure> {
        while !self.ended {
            let frame = match self.upstream.ready.pop_front() {
                Some(frame) => frame,
                None => match self.upstream.decoder.next_frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(error) => {
                        return Err(broken(ErrorClass::ApiConnection, &error.to_string()));
                    }
                },
            };
            self.forward(frame, out).await?;
        }
        Ok(())
    }

    async fn read(&mut self, out: &mut BytesMut) -> Result<(), Failure> {
        let Some(body) = &mut self.upstream.body else {
            return self.end_of_upstream(out).await;
        };
        let x = self.finish.exchange.as_deref();
        let every = x.and_then(Exchange::target).and_then(|t| t.keepalive);
        let left = self.upstream.idle.saturating_sub(self.silent);
        let wait = every.map_or(left, |every| every.min(left));
        match timeout(wait, body.get_mut().next()).await {
            Ok(Some(Ok(bytes))) => {
                self.silent = std::time::Duration::ZERO;
                self.upstream.decoder.push(bytes);
            }
            Ok(Some(Err(error))) => return Err(self.interrupted(&error)),
            Ok(None) => self.upstream.body = None,
            Err(_) if wait < left => {
                self.silent += wait;
                out.extend_from_slice(KEEPALIVE);
            }
            Err(_) => {
                let text = format!(
                    "the upstream sent nothing for {} s in the middle of a stream",
                    self.upstream.idle.as_secs_f64()
                );
                return Err(broken(ErrorClass::Timeout, &text));
            }
        }
        Ok(())
    }

    /// A stream that broke, or that told of its failure through its dialect.
    fn interrupted(&self, error: &crate::ports::UpstreamError) -> Failure {
        let class = error.kind.class();
        let x = self.finish.exchange.as_deref();
        match (error.kind, x.and_then(Exchange::target)) {
            (UpstreamErrorKind::Told(_), Some(target)) => Failure::new(
                Case::Upstream(class),
                class.message(&target.provider, &error.message),
            ),
            _ => broken(class, &error.message),
        }
    }

    /// The upstream closed properly without `[DONE]`: some do. A frame cut in two is an error.
    async fn end_of_upstream(&mut self, out: &mut BytesMut) -> Result<(), Failure> {
        if self.upstream.decoder.finish().is_some() {
            let text = "the upstream closed the stream in the middle of a frame";
            return Err(broken(ErrorClass::ApiConnection, text));
        }
        self.done(out, &sse::DONE).await
    }

    async fn forward(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), Failure> {
        if frame.is_done() {
            return self.done(out, &frame.raw).await;
        }
        // Comments and empty events are signs of life.
        let Some(data) = frame
            .data
            .as_ref()
            .filter(|data| !data.trim_ascii().is_empty())
        else {
            out.extend_from_slice(&frame.raw);
            return Ok(());
        };
        let Ok(chunk) = ChunkView::parse(data) else {
            return Err(broken(
                ErrorClass::ApiConnection,
                "the upstream sent a frame that is not JSON",
            ));
        };
        let Some(x) = self.finish.exchange.as_deref_mut() else {
            return Ok(());
        };
        if let Some(error) = chunk.error() {
            let failure = broken(ErrorClass::Api, &UpstreamError::from_raw(error).message);
            if onward::may_go_on(x, &failure) {
                return Err(failure);
            }
            // The upstream's own error frame reaches the client as it is, but for keys; the call has failed.
            match mask_keys(&String::from_utf8_lossy(&frame.raw)) {
                Cow::Borrowed(_) => out.extend_from_slice(&frame.raw),
                Cow::Owned(masked) => out.extend_from_slice(masked.as_bytes()),
            }
            x.failure = Some(x.scrubbed(failure));
            self.report_guards().await;
            self.end();
            return Ok(());
        }
        if let Some(assembler) = x.assembler.as_mut().filter(|_| !self.upstream.is_folded) {
            assembler.push(&chunk);
        }
        let most = x.snapshot.settings.repeats_max;
        if self.repetition.is_loop(&chunk, most) {
            let text = format!(
                "The model is repeating the same chunk = {}.",
                self.repetition.text()
            );
            return Err(broken(ErrorClass::InternalServer, &text));
        }
        let (chunk, frame) = match self.is_resumed {
            false => {
                if self.head.is_none() && x.served.onward.is_some() {
                    self.head = head(&chunk);
                }
                (chunk, frame)
            }
            true => resumed(x, chunk, frame, self.head.as_ref()),
        };
        let (chunk, frame) = match &mut x.thinking {
            Some(thinking) => {
                let edits = thinking.edits(chunk.object());
                edited(chunk, frame, &edits)
            }
            None => (chunk, frame),
        };
        if chunk.is_usage_only() && !self.show_usage {
            return Ok(());
        }
        let (chunk, frame) = match &self.priced_by {
            Some(gateway) => priced(gateway, x, chunk, frame),
            None => (chunk, frame),
        };
        // Log probabilities repeat the text token by token, also what a guardrail masks or holds.
        let chunk = if x.stream_guards.is_some() {
            without_logprobs(chunk)
        } else {
            chunk
        };
        // What hooks edit is gathered first: they see what guardrails let through.
        let mut gathered = BytesMut::new();
        let is_hooked = x.hook_stream.is_some();
        let passed = if is_hooked { &mut gathered } else { &mut *out };
        let guarded = guard(x, &chunk, passed).await?;
        let texts: Vec<(ChunkText, &str)> = guarded
            .iter()
            .map(|(piece, text)| (piece.clone(), text.as_str()))
            .collect();
        let rewrite = ChunkRewrite {
            model: self.model.as_deref(),
            drop_usage: !self.show_usage,
            texts: &texts,
        };
        if let Some(shown) = x.shown.as_mut().filter(|_| !is_hooked) {
            fold(shown, &chunk.rewrite(&rewrite));
        }
        match chunk.rewrite_frame(&rewrite) {
            Some(bytes) => passed.extend_from_slice(&bytes),
            None => passed.extend_from_slice(&frame.raw),
        }
        if is_hooked && hooked(x, gathered, out).await? {
            self.report_guards().await;
            out.extend_from_slice(&sse::DONE);
            self.end();
        }
        Ok(())
    }

    /// The last frame: releases what guardrails still hold, then ends the call.
    async fn done(&mut self, out: &mut BytesMut, last: &Bytes) -> Result<(), Failure> {
        if let Some(x) = self.finish.exchange.as_deref_mut()
            && let Some(mut guards) = x.stream_guards.take()
        {
            let mut gathered = BytesMut::new();
            let is_hooked = x.hook_stream.is_some();
            let passed = if is_hooked { &mut gathered } else { &mut *out };
            let flushed = flush(x, &mut guards, passed).await;
            x.stream_guards = Some(guards);
            flushed?;
            if is_hooked {
                hooked(x, gathered, out).await?;
            }
        }
        if let Some(x) = self.finish.exchange.as_deref_mut()
            && let Some(mut hooks) = x.hook_stream.take()
        {
            let Passed { chunks, .. } = hooks.finish().await?;
            chunks
                .iter()
                .for_each(|chunk| send_chunk(x, chunk, None, out));
        }
        self.report_guards().await;
        out.extend_from_slice(last);
        self.finish_upstream();
        self.end();
        Ok(())
    }

    /// Goes on at another deployment, or tells the client what went wrong.
    async fn broke(&mut self, failure: Failure, out: &mut BytesMut) {
        let gateway = self.finish.gateway();
        if let Some(x) = self.finish.exchange.as_deref_mut()
            && let Some(stream) = onward::go_on(&gateway, x, &failure).await
        {
            self.upstream = stream;
            self.repetition = Repetition::default();
            self.is_resumed = true;
            return;
        }
        self.fail(failure, out).await;
    }

    /// Tells the client what went wrong, in the stream, and ends it.
    async fn fail(&mut self, failure: Failure, out: &mut BytesMut) {
        self.report_guards().await;
        if let Some(x) = self.finish.exchange.as_deref_mut() {
            x.hook_stream = None;
            let failure = x.scrubbed(failure);
            let replacement = match x.snapshot.hooks.is_empty() {
                true => None,
                false => hooks::replaced(x, &failure).await,
            };
            let told = replacement.as_ref().unwrap_or(&failure);
            let error = error_json(told, Telling::of(x));
            out.extend_from_slice(&sse::data_frame(&error));
            if let Some(note) = &failure.operator_note {
                tracing::warn!(call_id = x.call_id, class = failure.class(), "{note}");
            }
            x.failure = Some(failure);
        }
        self.end();
    }

    async fn report_guards(&mut self) {
        let gateway = self.finish.gateway();
        if let Some(x) = self.finish.exchange.as_deref_mut()
            && let Some(guards) = x.stream_guards.take()
        {
            guards.report(x, gateway.clock.now()).await;
        }
    }

    /// Reads past the last frame: a connection whose answer was read to its end can be used again.
    fn finish_upstream(&mut self) {
        let Some(mut body) = self.upstream.body.take() else {
            return;
        };
        // As a rule the end came with the last frame.
        if let Some(None) = body.get_mut().next().now_or_never() {
            return;
        }
        let rest = async move { while let Some(Ok(_)) = body.get_mut().next().await {} };
        self.finish.gateway().tasks.spawn(timeout(LINGER, rest));
    }

    fn end(&mut self) {
        self.ended = true;
        self.upstream.body = None;
        self.upstream.ready.clear();
        self.finish.done();
    }
}

/// `id` and `created` of a chunk, as JSON.
fn head(chunk: &ChunkView) -> Option<(String, String)> {
    let member = |name: &str| Some(chunk.object().get(name)?.text().to_owned());
    Some((member("id")?, member("created")?))
}

/// A chunk of the deployment that took up a stream, as one of the stream that began elsewhere: same
/// head, no second role, and the usage of all parts.
fn resumed(
    x: &Exchange,
    chunk: ChunkView,
    frame: Frame,
    head: Option<&(String, String)>,
) -> (ChunkView, Frame) {
    let mut edits = Edits::new();
    if let Some((id, created)) = head {
        edits.set("id", id.clone()).set("created", created.clone());
    }
    let choices = chunk.object().get("choices").into_iter();
    for (i, choice) in choices.flat_map(Raw::elements).enumerate() {
        if choice.get("delta").is_some_and(|d| d.get("role").is_some()) {
            edits.remove_pointer(&format!("/choices/{i}/delta/role"));
        }
    }
    if let (Some(usage), Some(earlier)) = (chunk.usage(), &x.earlier) {
        let (prompt, completion) = (
            usage.prompt_tokens + earlier.prompt,
            usage.completion_tokens + earlier.completion,
        );
        edits.set(
            "usage",
            format!(
                "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\"total_tokens\":{}}}",
                prompt + completion
            ),
        );
    }
    edited(chunk, frame, &edits)
}

/// The chunk and its frame with the edits; both as they are when the edits do not fit the chunk.
fn edited(chunk: ChunkView, frame: Frame, edits: &Edits) -> (ChunkView, Frame) {
    if edits.is_empty() {
        return (chunk, frame);
    }
    let edited = chunk.object().apply(edits).ok();
    match edited.and_then(|bytes| Some((ChunkView::parse(&bytes).ok()?, bytes))) {
        Some((edited, bytes)) => {
            let frame = Frame {
                raw: sse::data_frame(&bytes),
                data: Some(bytes),
                ..frame
            };
            (edited, frame)
        }
        None => (chunk, frame),
    }
}

/// The chunk with the `logprobs` of its choices set to null.
fn without_logprobs(chunk: ChunkView) -> ChunkView {
    let edits = logprobs_off(chunk.object());
    let edited = (!edits.is_empty())
        .then(|| chunk.object().apply(&edits).ok())
        .flatten();
    edited
        .and_then(|bytes| ChunkView::parse(&bytes).ok())
        .unwrap_or(chunk)
}

/// Edits that take the log probabilities out of an answer or a chunk.
pub(crate) fn logprobs_off(body: &Object) -> Edits {
    let mut edits = Edits::new();
    let choices = body.get("choices").into_iter().flat_map(Raw::elements);
    for (i, choice) in choices.enumerate() {
        if choice.get("logprobs").is_some_and(|raw| !raw.is_null()) {
            edits.set_pointer(&format!("/choices/{i}/logprobs"), "null");
        }
    }
    edits
}

/// Puts a chunk's texts through the guardrails; gives the texts that may leave in their place.
async fn guard(
    x: &mut Exchange,
    chunk: &ChunkView,
    out: &mut BytesMut,
) -> Result<Vec<(ChunkText, String)>, Failure> {
    let Some(mut guards) = x.stream_guards.take() else {
        return Ok(Vec::new());
    };
    let guarded = guard_chunk(x, &mut guards, chunk, out).await;
    x.stream_guards = Some(guards);
    guarded
}

async fn guard_chunk(
    x: &mut Exchange,
    guards: &mut GuardChain,
    chunk: &ChunkView,
    out: &mut BytesMut,
) -> Result<Vec<(ChunkText, String)>, Failure> {
    let mut texts: Vec<(ChunkText, String)> = Vec::new();
    for piece in chunk.texts() {
        let text = guards
            .push(piece.choice, piece.kind, &chunk.text(&piece))
            .await?;
        texts.push((piece, text));
    }
    for choice in chunk.choices().iter().filter(|choice| choice.is_finished()) {
        for held in guards.finish(choice.index).await? {
            match texts
                .iter_mut()
                .find(|(p, _)| p.choice == choice.index && p.kind == held.kind)
            {
                Some((_, text)) => text.push_str(&held.text),
                // The chunk that ends a choice has no text of its own: what was held gets a chunk before it.
                None => send_held(x, Some(chunk), choice.index, &held, out),
            }
        }
    }
    texts.retain(|(piece, text)| *text != *chunk.text(piece));
    Ok(texts)
}

/// What guardrails still hold of choices that the upstream never ended.
async fn flush(
    x: &mut Exchange,
    guards: &mut GuardChain,
    out: &mut BytesMut,
) -> Result<(), Failure> {
    for choice in guards.open_choices() {
        for held in guards.finish(choice).await? {
            send_held(x, None, choice, &held, out);
        }
    }
    Ok(())
}

fn send_held(
    x: &mut Exchange,
    like: Option<&ChunkView>,
    choice: u32,
    held: &Released,
    out: &mut BytesMut,
) {
    let frame = held_chunk(x, like, choice, &held.kind, &held.text);
    // Of what hooks get, that is folded which they let through.
    let is_hooked = x.hook_stream.is_some();
    if let Some(shown) = x.shown.as_mut().filter(|_| !is_hooked) {
        let mut decoder = sse::Decoder::default();
        decoder.push(frame.clone());
        if let Ok(Some(Frame {
            data: Some(data), ..
        })) = decoder.next_frame()
        {
            fold(shown, &data);
        }
    }
    out.extend_from_slice(&frame);
}

/// Puts the gathered frames through the hooks, and sends what they let through. True when a hook has ended the stream.
async fn hooked(x: &mut Exchange, gathered: BytesMut, out: &mut BytesMut) -> Result<bool, Failure> {
    let Some(mut hooks) = x.hook_stream.take() else {
        out.extend_from_slice(&gathered);
        return Ok(false);
    };
    let mut decoder = sse::Decoder::default();
    decoder.push(gathered.freeze());
    while let Ok(Some(frame)) = decoder.next_frame() {
        let Some(data) = &frame.data else {
            out.extend_from_slice(&frame.raw);
            continue;
        };
        let passed = hooks.push(data.clone()).await?;
        let raw = passed.is_same.then_some(&frame.raw);
        for chunk in &passed.chunks {
            send_chunk(x, chunk, raw, out);
        }
        if passed.ended {
            return Ok(true);
        }
    }
    x.hook_stream = Some(hooks);
    Ok(false)
}

/// Sends a chunk that hooks let through, as the frame it came in where it was not changed.
fn send_chunk(x: &mut Exchange, chunk: &Bytes, raw: Option<&Bytes>, out: &mut BytesMut) {
    if let Some(shown) = &mut x.shown {
        fold(shown, chunk);
    }
    match raw {
        Some(raw) => out.extend_from_slice(raw),
        None => out.extend_from_slice(&sse::data_frame(chunk)),
    }
}

fn fold(assembler: &mut StreamAssembler, data: &Bytes) {
    if let Ok(chunk) = ChunkView::parse(data) {
        assembler.push(&chunk);
    }
}

/// A chunk with text that a guardrail had held.
fn held_chunk(
    x: &Exchange,
    like: Option<&ChunkView>,
    choice: u32,
    kind: &TextKind,
    text: &str,
) -> Bytes {
    let text = quote(text);
    if x.arrival.endpoint == Endpoint::Completions {
        return own_chunk(
            x,
            like,
            choice,
            &format!("\"text\":{text},\"logprobs\":null"),
        );
    }
    let delta = match kind {
        TextKind::Content => format!("\"content\":{text}"),
        TextKind::Reasoning => format!("\"reasoning_content\":{text}"),
        TextKind::Refusal => format!("\"refusal\":{text}"),
        TextKind::ToolArguments(call) => {
            format!("\"tool_calls\":[{{\"index\":{call},\"function\":{{\"arguments\":{text}}}}}]")
        }
        TextKind::FunctionArguments => format!("\"function_call\":{{\"arguments\":{text}}}"),
    };
    own_chunk(x, like, choice, &format!("\"delta\":{{{delta}}}"))
}

/// A chunk of our own in the likeness of the upstream's: `part` is what the choice says
/// (`"delta":{…}` or `"text":"…"`).
pub(crate) fn own_chunk(x: &Exchange, like: Option<&ChunkView>, choice: u32, part: &str) -> Bytes {
    let choices = format!("[{{\"index\":{choice},{part},\"finish_reason\":null}}]");
    own_chunk_with(x, like, &choices, "")
}

/// A chunk of our own with these `choices`, and `rest` (from its comma on) behind them.
pub(crate) fn own_chunk_with(
    x: &Exchange,
    like: Option<&ChunkView>,
    choices: &str,
    rest: &str,
) -> Bytes {
    let field = |name: &str| {
        like.and_then(|chunk| chunk.object().get(name))
            .map(|raw| raw.text().to_owned())
    };
    let id = field("id").unwrap_or_else(|| format!("\"chatcmpl-{}\"", x.call_id));
    let created = field("created").unwrap_or_else(|| x.started.as_second().to_string());
    let model = quote(&x.model);
    let object = if x.arrival.endpoint == Endpoint::Completions {
        "text_completion"
    } else {
        "chat.completion.chunk"
    };
    let json = format!(
        "{{\"id\":{id},\"object\":\"{object}\",\"created\":{created},\"model\":{model},\"choices\":{choices}{rest}}}"
    );
    sse::data_frame(json.as_bytes())
}

pub(crate) fn broken(class: ErrorClass, text: &str) -> Failure {
    Failure::new(
        Case::Upstream(class),
        format!("litellm.{}: {text}", class.name()),
    )
}

#[cfg(test)]
mod tests;
