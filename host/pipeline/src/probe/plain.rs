//! Calls of modes that the gateway has no route for: made by hand, of upstreams that speak OpenAI's dialect.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method, StatusCode, Uri};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};
use url::form_urlencoded;

use super::{Probe, patience};
use crate::attempt::{Failed, collect, error_body, refusal, too_slow, unreachable};
use crate::snapshot::{Snapshot, Target};

/// Between the parts of a form; it occurs in none of them.
const BOUNDARY: &str = "witgate-health-check-0c7a1f";

/// What the voice says, LiteLLM's word.
const SPOKEN: &str = "test";

/// The voice, unless the model has another.
const VOICE: &str = "alloy";

/// Tokens asked for of an answer: fewer are refused.
const RESPONSE_TOKENS: u64 = 16;

/// A picture of one white pixel.
const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg==";

/// The same picture's bytes.
const PIXEL_PNG: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\x0aIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\x1b\xb6\xeeV\x00\x00\x00\x00IEND\xaeB`\x82";

/// A call: its path, and what is sent.
struct Call {
    path: &'static str,
    sends: Sends,
}

enum Sends {
    Json(Value),
    /// A file and texts, as a form.
    Form(File, Vec<(&'static str, String)>),
    /// Nothing: a list is asked for, which costs nothing.
    List,
    /// A web socket is opened, and closed.
    Socket,
}

/// A file of a form.
struct File {
    field: &'static str,
    name: &'static str,
    kind: &'static str,
    bytes: Vec<u8>,
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
            sends: Sends::Json(body),
        })
    };
    match mode {
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
            sends: Sends::Form(
                File {
                    field: "file",
                    name: "test.wav",
                    kind: "audio/wav",
                    bytes: clip(),
                },
                Vec::new(),
            ),
        }),
        "image_edit" => Some(Call {
            path: "/images/edits",
            sends: Sends::Form(
                File {
                    field: "image",
                    name: "test.png",
                    kind: "image/png",
                    bytes: PIXEL_PNG.to_vec(),
                },
                vec![("prompt", prompt.to_owned())],
            ),
        }),
        "responses" => json(
            "/responses",
            json!({"input": prompt, "max_output_tokens": RESPONSE_TOKENS, "store": false}),
        ),
        "ocr" => json(
            "/ocr",
            json!({"document": {"type": "image_url", "image_url": PIXEL}}),
        ),
        "batch" => Some(Call {
            path: "/batches",
            sends: Sends::List,
        }),
        "video_generation" => Some(Call {
            path: "/videos",
            sends: Sends::List,
        }),
        "realtime" => Some(Call {
            path: "/realtime",
            sends: Sends::Socket,
        }),
        "rerank" => json("/rerank", json!({"query": "", "documents": [prompt]})),
        _ => None,
    }
}

/// The call with the deployment's headers and its own parameters.
fn request(target: &Target, call: &Call, model: &str) -> Option<http::Request<Bytes>> {
    let mut request = http::Request::new(Bytes::new());
    *request.method_mut() = match call.sends {
        Sends::Json(_) | Sends::Form(..) => Method::POST,
        Sends::List | Sends::Socket => Method::GET,
    };
    *request.headers_mut() = target.headers.clone();
    let mut query = Vec::new();
    match &call.sends {
        Sends::Json(own) => {
            let mut body = Map::new();
            for (name, text) in &target.defaults {
                body.insert(name.clone(), serde_json::from_str(text).ok()?);
            }
            body.extend(own.as_object()?.clone());
            body.insert("model".to_owned(), model.into());
            if call.path == "/audio/speech" {
                body.entry("voice").or_insert_with(|| VOICE.into());
            }
            *request.body_mut() = Value::Object(body).to_string().into();
        }
        Sends::Form(file, texts) => {
            let kind = format!("multipart/form-data; boundary={BOUNDARY}");
            let kind = HeaderValue::try_from(kind).ok()?;
            request.headers_mut().insert(CONTENT_TYPE, kind);
            *request.body_mut() = form(model, file, texts).into();
        }
        Sends::List => query.push(("limit", "1")),
        Sends::Socket => {
            query.push(("model", model));
            for (name, value) in SOCKET {
                request
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
            }
        }
    }
    *request.uri_mut() = beside_chat(&target.urls[0], call.path, &query)?;
    Some(request)
}

/// What opens a web socket (RFC 6455). The nonce proves nothing here: no frame is read.
const SOCKET: [(HeaderName, &str); 4] = [
    (CONNECTION, "Upgrade"),
    (UPGRADE, "websocket"),
    (SEC_WEBSOCKET_VERSION, "13"),
    (SEC_WEBSOCKET_KEY, "d2l0Z2F0ZS1wcm9iZS0wMQ=="),
];

/// The URL of another operation of the same server.
pub(crate) fn beside_chat(chat: &Uri, path: &str, query: &[(&str, &str)]) -> Option<Uri> {
    let base = chat.path().strip_suffix("/chat/completions")?;
    let own = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    let query = [chat.query().unwrap_or_default(), &own];
    let query: Vec<&str> = query.into_iter().filter(|part| !part.is_empty()).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let mut parts = chat.clone().into_parts();
    let whole = format!("{base}{path}{mark}{}", query.join("&"));
    parts.path_and_query = Some(whole.parse().ok()?);
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
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // An open socket has no end to wait for; it is closed as this is dropped.
        return Ok(Probe {
            headers: head.headers,
            ..Probe::default()
        });
    }
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

/// The model's name, the texts and the file, as a form.
fn form(model: &str, file: &File, texts: &[(&'static str, String)]) -> Vec<u8> {
    let mut form = Vec::with_capacity(file.bytes.len() + 512);
    let own = texts.iter().map(|(name, text)| (*name, text.as_str()));
    for (name, text) in std::iter::once(("model", model)).chain(own) {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        form.extend(
            format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"
            )
            .into_bytes(),
        );
    }
    let File {
        field, name, kind, ..
    } = file;
    form.extend(
        format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\ncontent-type: {kind}\r\n\r\n"
        )
        .into_bytes(),
    );
    form.extend(&file.bytes);
    form.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    form
}

/// A quarter of a second of silence, as a WAV file: one channel, 8 bits, 8000 samples a second, all of them silent.
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
        let speech = beside_chat(&chat, "/audio/speech", &[]).unwrap();
        assert_eq!(speech, "https://h.test/v1/audio/speech?api-version=2");
        let socket = beside_chat(&chat, "/realtime", &[("model", "a b&c")]).unwrap();
        let expected = "https://h.test/v1/realtime?api-version=2&model=a+b%26c";
        assert_eq!(socket, expected);
        let other = "https://h.test/other".parse().unwrap();
        assert!(beside_chat(&other, "/x", &[]).is_none());
    }
}
