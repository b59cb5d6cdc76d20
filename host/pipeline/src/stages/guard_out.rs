//! `guard out`: guardrails of mode `post_call` judge the answer, and may edit it.
//!
//! Position: after the call, before the status line. Reads: `answer`. Writes: `answer`,
//! `thinking`, `stream_guards`, `shown`, `withheld`, `guardrails`, `applied_guardrails`. Errors: `GuardrailBlocked`,
//! `GuardrailUnavailable`. Config: `guardrails[]`, `merge_reasoning_content_in_choices`. Cost: one plugin call each; nothing when none.
//!
//! A complete answer is judged here. A stream is judged as it passes, unless a guardrail needs the whole
//! answer: then it is held here until it is complete.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::StreamExt;
use witgate_routing::ErrorClass;
use witgate_wire::Endpoint;
use witgate_wire::errors::UpstreamError;
use witgate_wire::json::{Object, Raw, quote};
use witgate_wire::sse::{self, Frame};
use witgate_wire::stream::{ChunkView, StreamAssembler};

use crate::attempt::assembler;
use crate::exchange::{Answer, Exchange, UpstreamStream};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::guard::{WireView, edited_body, judge, selected};
use crate::guard_stream::{self, Opened};
use crate::ports::Phase;
use crate::reasoning;
use crate::stages::Flow;
use crate::stream::{broken, logprobs_off, own_chunk, own_chunk_with};

pub(super) async fn guard_out(gateway: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    // They judge what the client would see.
    reasoning::fold(x);
    let guards = selected(x, Phase::PostCall);
    if guards.is_empty() {
        return Ok(Flow::Continue);
    }
    match x.answer.take() {
        Some(Answer::Complete(body)) => {
            // Kept for settling in case a guardrail, or the client by leaving, ends the call here.
            x.withheld = Some(body.clone());
            let body = judge_all(gateway, x, &guards, body).await?;
            x.withheld = None;
            x.answer = Some(Answer::Complete(body));
        }
        Some(Answer::Stream(stream)) => {
            let stream = guard_stream(gateway, x, &guards, stream).await?;
            x.answer = Some(Answer::Stream(stream));
        }
        None => {}
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
        let view = WireView::response(body.clone());
        let mut judged = judge(gateway, x, index, Phase::PostCall, view).await;
        match judged.edits.take().map(|edits| edited_body(&body, &edits)) {
            // Log probabilities repeat what was edited away.
            Some(Ok(edited)) => {
                x.keeps_back();
                body = without_logprobs(edited);
            }
            Some(Err(error)) => judged.cannot_edit(&x.snapshot.guardrails[index], &error),
            None => {}
        }
        judged.conclude(x, index)?;
    }
    Ok(body)
}

fn without_logprobs(body: Bytes) -> Bytes {
    let Ok(object) = Object::scan(&body) else {
        return body;
    };
    object.apply(&logprobs_off(&object)).unwrap_or(body)
}

async fn guard_stream(
    gateway: &Gateway,
    x: &mut Exchange,
    guards: &[usize],
    stream: UpstreamStream,
) -> Result<UpstreamStream, Failure> {
    x.shown = Some(assembler());
    if let Opened::Pieces(chain) = guard_stream::open(gateway, x, guards).await? {
        x.stream_guards = chain;
        return Ok(stream);
    }
    let limit = x.snapshot.settings.max_response_bytes;
    let frames = collect(x, stream, limit).await?;
    let mut assembler = StreamAssembler::new(limit);
    let mut last = None;
    for chunk in frames
        .iter()
        .filter_map(|f| ChunkView::parse(f.data.as_ref()?).ok())
    {
        assembler.push(&chunk);
        last = Some(chunk);
    }
    let assembled = assembler.finish();
    if assembled.truncated {
        return Err(too_large());
    }
    let assembled = Bytes::from(assembled.response);
    let judged = judge_all(gateway, x, guards, assembled.clone()).await?;
    let frames = if judged == assembled {
        frames
    } else {
        edited_frames(x, frames, last.as_ref(), &judged)
    };
    Ok(UpstreamStream {
        ready: frames,
        decoder: sse::Decoder::default(),
        body: None,
        idle: std::time::Duration::from_secs(1),
        is_folded: true,
    })
}

fn too_large() -> Failure {
    Failure::new(
        Case::ResponseTooLarge,
        "the answer is too large to be judged as a whole",
    )
}

/// Reads a stream to its end, within the bound on answers; folds its chunks.
async fn collect(
    x: &mut Exchange,
    mut stream: UpstreamStream,
    limit: usize,
) -> Result<VecDeque<Frame>, Failure> {
    let lost = |text: &str| broken(ErrorClass::ApiConnection, text);
    let mut frames = VecDeque::new();
    let mut size = 0;
    loop {
        let next = match stream.ready.pop_front() {
            Some(frame) => Some(frame),
            None => stream
                .decoder
                .next_frame()
                .map_err(|e| lost(&e.to_string()))?,
        };
        if let Some(frame) = next {
            size += frame.raw.len();
            if size > limit {
                return Err(too_large());
            }
            let is_done = frame.is_done();
            if let Some(chunk) = frame
                .data
                .as_ref()
                .and_then(|data| ChunkView::parse(data).ok())
            {
                if let Some(error) = chunk.error() {
                    return Err(broken(
                        ErrorClass::Api,
                        &UpstreamError::from_raw(error).message,
                    ));
                }
                if let Some(assembler) = &mut x.assembler {
                    assembler.push(&chunk);
                }
            }
            frames.push_back(frame);
            if is_done {
                return Ok(frames);
            }
            continue;
        }
        let Some(body) = &mut stream.body else {
            return match stream.decoder.finish() {
                Some(_) => Err(lost(
                    "the upstream closed the stream in the middle of a frame",
                )),
                None => Ok(frames),
            };
        };
        match tokio::time::timeout(stream.idle, body.get_mut().next()).await {
            Ok(Some(Ok(bytes))) => stream.decoder.push(bytes),
            Ok(Some(Err(error))) => return Err(lost(&error.message)),
            Ok(None) => stream.body = None,
            Err(_) => {
                return Err(broken(
                    ErrorClass::Timeout,
                    "the upstream stalled in the middle of a stream",
                ));
            }
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
        let Some(chunk) = frame
            .data
            .as_ref()
            .and_then(|data| ChunkView::parse(data).ok())
        else {
            out.push_back(frame);
            continue;
        };
        let is_bare =
            !chunk.has_output() && chunk.choices().iter().all(|c| c.tool_calls().is_empty());
        if chunk.is_usage_only() || (is_bare && chunk.choices().iter().any(|c| c.is_finished())) {
            out.push_back(frame);
        } else {
            // The end may come with a text, which has been told in its edited form.
            out.extend(ends_of(x, &chunk).into_iter().filter_map(frame_of));
        }
    }
    out
}

/// What a chunk says besides its texts: how choices ended, and the usage.
fn ends_of(x: &Exchange, chunk: &ChunkView) -> Vec<Bytes> {
    let part = if x.arrival.endpoint == Endpoint::Completions {
        "\"text\":\"\",\"logprobs\":null"
    } else {
        "\"delta\":{}"
    };
    let mut out = Vec::new();
    for choice in chunk.choices() {
        if let Some(reason) = chunk.finish_reason(choice) {
            let choice = format!(
                "{{\"index\":{},{part},\"finish_reason\":{}}}",
                choice.index,
                quote(&reason)
            );
            out.push(own_chunk_with(x, Some(chunk), &format!("[{choice}]"), ""));
        }
    }
    if let Some(usage) = chunk.object().given("usage") {
        out.push(own_chunk_with(
            x,
            Some(chunk),
            "[]",
            &format!(",\"usage\":{}", usage.text()),
        ));
    }
    out
}

/// What each choice of an assembled answer says, as the part of a chunk that says it.
fn choices_of(body: &Bytes) -> Vec<(u32, String)> {
    let Ok(object) = Object::scan(body) else {
        return Vec::new();
    };
    let choices = object
        .get("choices")
        .into_iter()
        .flat_map(|raw| raw.elements());
    choices
        .enumerate()
        .map(|(i, choice)| {
            let index = choice.get("index").and_then(|raw| raw.as_i64());
            let index = index
                .and_then(|i| u32::try_from(i).ok())
                .unwrap_or(i as u32);
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

#[cfg(test)]
mod tests;
