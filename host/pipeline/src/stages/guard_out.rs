//! `guard out`: guardrails of mode `post_call` judge the answer, and may edit it.
//!
//! Position: after the call, before the status line. Reads: `answer`. Writes: `answer`,
//! `stream_guards`, `guardrails`, `applied_guardrails`, `response`. Errors: `GuardrailBlocked`,
//! `GuardrailUnavailable`. Config: `guardrails[]`. Cost: one plugin call each; nothing when none.
//!
//! A complete answer is judged here. A stream is judged as it passes, unless a guardrail needs the whole
//! answer: then it is held here until it is complete.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::StreamExt;
use witgate_routing::ErrorClass;
use witgate_wire::json::{Object, Raw, quote};
use witgate_wire::sse::{self, Frame};
use witgate_wire::stream::{ChunkView, StreamAssembler};

use crate::exchange::{Answer, Exchange, UpstreamStream};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::guard::{WireView, judge, no_verdict, selected};
use crate::guard_stream;
use crate::ports::{Phase, PluginFault};
use crate::stages::Flow;
use crate::stream::own_chunk;

pub(super) async fn guard_out(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    let guards = selected(x, Phase::PostCall);
    if guards.is_empty() {
        return Ok(Flow::Continue);
    }
    match x.answer.take() {
        Some(Answer::Complete(body)) => {
            let body = judge_all(gateway, x, &guards, body).await?;
            x.answer = Some(Answer::Complete(body));
        }
        Some(Answer::Stream(stream)) => {
            let stream = guard_stream(gateway, x, &guards, stream).await?;
            x.answer = Some(Answer::Stream(stream));
        }
        None => {}
    }
    for index in guards {
        x.applied_guardrails.push(x.snapshot.guardrails[index].name.clone());
    }
    Ok(Flow::Continue)
}

/// Judges a complete body by each guardrail in turn; gives what they made of it.
async fn judge_all(
    gateway: &Gateway,
    x: &mut Exchange,
    guards: &[usize],
    mut body: Bytes,
) -> Result<Bytes, Failure> {
    for &index in guards {
        let view = WireView::response(x.arrival.endpoint, body.clone());
        let judged = judge(gateway, x, index, Phase::PostCall, view).await;
        x.guardrails.push(judged.run);
        if let Some(failure) = judged.failure {
            return Err(failure);
        }
        let Some(edits) = judged.edits else { continue };
        let edited = Object::scan(&body)
            .map_err(|e| e.to_string())
            .and_then(|object| object.apply(&edits).map_err(|e| e.to_string()));
        match edited {
            Ok(edited) => body = edited,
            Err(error) => {
                let fault = PluginFault(format!("its edit cannot be made: {error}"));
                if let Some(failure) = no_verdict(&x.snapshot.guardrails[index], &fault) {
                    return Err(failure);
                }
            }
        }
    }
    Ok(body)
}

async fn guard_stream(
    gateway: &Gateway,
    x: &mut Exchange,
    guards: &[usize],
    stream: UpstreamStream,
) -> Result<UpstreamStream, Failure> {
    if let Some(chain) = guard_stream::open(x, guards, gateway.clock.now()).await? {
        x.stream_guards = Some(chain);
        return Ok(stream);
    }
    let limit = x.snapshot.settings.max_response_bytes;
    let frames = collect(stream, limit).await?;
    let mut assembler = StreamAssembler::new(limit);
    let mut last = None;
    for chunk in frames.iter().filter_map(|f| ChunkView::parse(f.data.as_ref()?).ok()) {
        assembler.push(&chunk);
        last = Some(chunk);
    }
    let assembled = Bytes::from(assembler.finish().response);
    let judged = judge_all(gateway, x, guards, assembled.clone()).await?;
    let frames =
        if judged == assembled { frames } else { edited_frames(x, frames, last.as_ref(), &judged) };
    Ok(UpstreamStream {
        ready: frames,
        decoder: sse::Decoder::default(),
        body: None,
        idle: std::time::Duration::from_secs(1),
    })
}

/// Reads a stream to its end, within the bound on answers.
async fn collect(mut stream: UpstreamStream, limit: usize) -> Result<VecDeque<Frame>, Failure> {
    let failed = |class: ErrorClass, text: &str| {
        Failure::new(Case::Upstream(class), format!("litellm.{}: {text}", class.name()))
    };
    let mut frames = std::mem::take(&mut stream.ready);
    let mut size: usize = frames.iter().map(|frame| frame.raw.len()).sum();
    loop {
        while let Some(frame) =
            stream.decoder.next_frame().map_err(|e| failed(ErrorClass::ApiConnection, &e.to_string()))?
        {
            size += frame.raw.len();
            frames.push_back(frame);
        }
        if size > limit {
            return Err(Failure::new(
                Case::ResponseTooLarge,
                "the answer is too large to be judged as a whole",
            ));
        }
        if frames.back().is_some_and(Frame::is_done) {
            return Ok(frames);
        }
        let Some(body) = &mut stream.body else { return Ok(frames) };
        match tokio::time::timeout(stream.idle, body.get_mut().next()).await {
            Ok(Some(Ok(bytes))) => stream.decoder.push(bytes),
            Ok(Some(Err(error))) => return Err(failed(ErrorClass::ApiConnection, &error.message)),
            Ok(None) => stream.body = None,
            Err(_) => return Err(failed(ErrorClass::Timeout, "the upstream stalled")),
        }
    }
}

/// The stream of an edited answer: its texts in one chunk per choice, then the upstream's own last chunks
/// (finish reasons, usage) without their texts.
fn edited_frames(
    x: &Exchange,
    frames: VecDeque<Frame>,
    like: Option<&ChunkView>,
    edited: &Bytes,
) -> VecDeque<Frame> {
    let frame_of = |raw: Bytes| {
        let mut decoder = sse::Decoder::default();
        decoder.push(raw);
        decoder.next_frame().ok().flatten()
    };
    let mut out = VecDeque::new();
    for (choice, part) in choices_of(edited) {
        out.extend(frame_of(own_chunk(x, like, choice, &part)));
    }
    for frame in frames {
        let chunk = frame.data.as_ref().and_then(|data| ChunkView::parse(data).ok());
        let ends = chunk.is_none_or(|chunk| {
            chunk.is_usage_only() || (!chunk.has_output() && chunk.choices().iter().any(|c| c.is_finished()))
        });
        if ends {
            out.push_back(frame);
        }
    }
    out
}

/// What each choice of an assembled answer says, as the part of a chunk that says it.
fn choices_of(body: &Bytes) -> Vec<(u32, String)> {
    let Ok(object) = Object::scan(body) else { return Vec::new() };
    let choices = object.get("choices").into_iter().flat_map(|raw| raw.elements());
    choices
        .enumerate()
        .map(|(i, choice)| {
            let index = choice.get("index").and_then(|raw| raw.as_i64());
            let index = index.and_then(|i| u32::try_from(i).ok()).unwrap_or(i as u32);
            let part = match (choice.get("message"), choice.get("text")) {
                (Some(message), _) => format!("\"delta\":{}", delta_of(message)),
                (None, Some(text)) => format!("\"text\":{},\"logprobs\":null", text.text()),
                (None, None) => "\"delta\":{}".to_owned(),
            };
            (index, part)
        })
        .collect()
}

/// A message as a delta: the same members, tool calls numbered.
fn delta_of(message: Raw<'_>) -> String {
    let mut members = Vec::new();
    for (name, value) in message.entries().filter(|(_, value)| !value.is_null()) {
        let value = if name == "tool_calls" {
            let calls = value.elements().enumerate().map(|(i, call)| {
                let rest = call.text().trim_start().trim_start_matches('{');
                format!("{{\"index\":{i},{rest}")
            });
            format!("[{}]", calls.collect::<Vec<_>>().join(","))
        } else {
            value.text().to_owned()
        };
        members.push(format!("{}:{value}", quote(&name)));
    }
    format!("{{{}}}", members.join(","))
}
