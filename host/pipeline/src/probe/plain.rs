//! Calls of modes that the gateway has no route for: made by hand, of upstreams that speak OpenAI's dialect.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Uri};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::{Probe, patience};
use crate::attempt::{Failed, collect, error_body, refusal, too_slow, unreachable};
use crate::snapshot::{Snapshot, Target};

/// Between the parts of a form; it occurs in none of them.
const BOUNDARY: &str = "witgate-health-check-0c7a1f";

/// What the voice says, LiteLLM's word.
const SPOKEN: &str = "test";

/// The voice, unless the model has another.
const VOICE: &str = "alloy";

/// A call: its path, and its body.
struct Call {
    path: &'static str,
    body: Body,
}

enum Body {
    Json(Value),
    /// An audio file and the model's name, as a form.
    Clip,
}

/// Calls a deployment of one of these modes.
pub(super) async fn probe(snapshot: &Snapshot, index: usize, mode: &str) -> Probe {
    let target = &snapshot.targets[index];
    let (settings, info) = (&snapshot.settings.health, &target.info.1);
    let Some(call) = call(mode, &settings.prompt, info) else {
        return Probe::failed(format!(
            "this gateway does not call models of mode '{mode}'"
        ));
    };
    if let Some((class, why)) = &target.unavailable {
        return Failed::of(target, *class, why).into();
    }
    if target.dialect.is_some() {
        return Probe::failed(format!(
            "the provider plugin of '{}' does not call models of mode '{mode}'",
            target.provider
        ));
    }
    if target.mock.is_some() {
        return Probe::default();
    }
    let model = &snapshot.routing.deployment(index).upstream_model;
    let Some(request) = request(target, &call, model) else {
        return Probe::failed("the deployment's URL does not lead to such a call");
    };
    let limit = snapshot.settings.max_response_bytes;
    match send(target, request, limit, patience(settings, info)).await {
        Ok(probe) => probe,
        Err(failed) => failed.into(),
    }
}

fn call(mode: &str, prompt: &str, info: &Value) -> Option<Call> {
    let json = |path, body| {
        Some(Call {
            path,
            body: Body::Json(body),
        })
    };
    match mode {
        "image_generation" => json("/images/generations", json!({"prompt": prompt})),
        "audio_speech" => {
            let voice = info.get("health_check_voice").and_then(Value::as_str);
            let mut body = json!({"input": SPOKEN});
            if let Some(voice) = voice {
                body["voice"] = voice.into();
            }
            json("/audio/speech", body)
        }
        "audio_transcription" => Some(Call {
            path: "/audio/transcriptions",
            body: Body::Clip,
        }),
        "moderation" => json("/moderations", json!({"input": prompt})),
        "rerank" => json("/rerank", json!({"query": "", "documents": [prompt]})),
        _ => None,
    }
}

/// The call with the deployment's headers and its own parameters.
fn request(target: &Target, call: &Call, model: &str) -> Option<http::Request<Bytes>> {
    let (body, kind) = match &call.body {
        Body::Json(own) => {
            let mut body = Map::new();
            for (name, text) in &target.defaults {
                body.insert(name.clone(), serde_json::from_str(text).ok()?);
            }
            body.extend(own.as_object()?.clone());
            body.insert("model".to_owned(), model.into());
            if call.path == "/audio/speech" {
                body.entry("voice").or_insert_with(|| VOICE.into());
            }
            (Value::Object(body).to_string().into_bytes(), None)
        }
        Body::Clip => {
            let kind = format!("multipart/form-data; boundary={BOUNDARY}");
            (form(model), Some(kind))
        }
    };
    let mut request = http::Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = beside_chat(&target.urls[0], call.path)?;
    *request.headers_mut() = target.headers.clone();
    if let Some(kind) = kind {
        let kind = HeaderValue::try_from(kind).ok()?;
        request.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Some(request)
}

/// The URL of another operation of the same server.
fn beside_chat(chat: &Uri, path: &str) -> Option<Uri> {
    let base = chat.path().strip_suffix("/chat/completions")?;
    let query = chat.query().map_or(String::new(), |q| format!("?{q}"));
    let mut parts = chat.clone().into_parts();
    parts.path_and_query = Some(format!("{base}{path}{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

async fn send(
    target: &Target,
    request: http::Request<Bytes>,
    limit: usize,
    wait: Duration,
) -> Result<Probe, Failed> {
    let deadline = Instant::now() + wait;
    let sent = timeout_at(deadline, target.upstream.send(request)).await;
    let answer = sent.map_err(|_| too_slow(target, wait))?;
    let answer = answer.map_err(|error| unreachable(target, &error))?;
    let (head, body) = answer.into_parts();
    if !head.status.is_success() {
        let text = error_body(body, deadline).await;
        let mut failed = refusal(target, head.status, &text);
        failed.headers = head.headers;
        return Err(failed);
    }
    // It is an answer when it has come to its end.
    collect(target, body, limit, deadline, wait).await?;
    Ok(Probe {
        headers: head.headers,
        ..Probe::default()
    })
}

/// The model's name and a quarter of a second of silence, as a form.
fn form(model: &str) -> Vec<u8> {
    let model: String = model.chars().filter(|c| !c.is_control()).collect();
    let mut form = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n\
         --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"test.wav\"\r\n\
         content-type: audio/wav\r\n\r\n"
    )
    .into_bytes();
    form.extend(clip());
    form.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    form
}

/// A WAV file: one channel, 8 bits, 8000 samples a second, all of them silent.
fn clip() -> Vec<u8> {
    const SAMPLES: u32 = 2000;
    const RATE: u32 = 8000;
    let mut wav = Vec::with_capacity(44 + SAMPLES as usize);
    wav.extend(b"RIFF");
    wav.extend((36 + SAMPLES).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    // PCM, one channel, samples and bytes per second, bytes per frame, bits per sample.
    wav.extend([1, 0, 1, 0]);
    wav.extend(RATE.to_le_bytes());
    wav.extend(RATE.to_le_bytes());
    wav.extend([1, 0, 8, 0]);
    wav.extend(b"data");
    wav.extend(SAMPLES.to_le_bytes());
    wav.resize(wav.len() + SAMPLES as usize, 0x80);
    wav
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_is_as_long_as_it_says() {
        let wav = clip();
        let number = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap());
        assert_eq!(number(4) as usize, wav.len() - 8);
        assert_eq!(number(40) as usize, wav.len() - 44);
    }

    #[test]
    fn another_operation_stands_beside_chat() {
        let chat: Uri = "https://h.test/v1/chat/completions?api-version=2"
            .parse()
            .unwrap();
        let speech = beside_chat(&chat, "/audio/speech").unwrap();
        assert_eq!(speech, "https://h.test/v1/audio/speech?api-version=2");
        assert!(beside_chat(&"https://h.test/other".parse().unwrap(), "/x").is_none());
    }
}
