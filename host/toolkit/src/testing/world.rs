//! The scripted world of a case: answers in order, a still clock, randomness from a seed, files in memory.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::read::GzDecoder;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use witgate_plugins::{
    Mail, MailEncryption, MailError, MailServer, ModelAnswer, ModelFailure, NoAnswer,
    NoModelAnswer, ShownCertificate, World,
};

use super::case::{
    Exchange, MailFail, MailTurn, ModelFail, ModelFailWord, ModelTurn, Respond, Wanted,
};

/// Bytes of a compressed body that are shown.
const UNPACKED_MAX: u64 = 64 << 20;

/// The world of one case.
pub(crate) struct Script {
    answers: Mutex<VecDeque<Exchange>>,
    turns: Mutex<VecDeque<ModelTurn>>,
    mail: Mutex<VecDeque<MailTurn>>,
    /// Answers everything that `answers` has nothing for.
    always: Option<Exchange>,
    now_ms: u64,
    ticks: AtomicU64,
    random: AtomicU64,
    pub(crate) seen: Mutex<Seen>,
}

/// What happened in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Requests, as they would have been sent.
    pub(crate) requests: Vec<Value>,
    /// Calls of models, as the gateway would have got them.
    pub(crate) llm: Vec<Value>,
    /// Messages, as they would have been handed in.
    pub(crate) mail: Vec<Value>,
    /// Appended bytes by file.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Changes of metrics, as they would stand on a page: `name{label="value"} 1`.
    pub(crate) metrics: Vec<String>,
    /// Lines of the log, `level: text`.
    pub(crate) log: Vec<String>,
    /// Requests that the script did not foresee.
    pub(crate) problems: Vec<String>,
}

impl Script {
    pub(crate) fn new(answers: Vec<Exchange>, now_ms: u64, seed: u64) -> Self {
        Self {
            answers: Mutex::new(answers.into()),
            turns: Mutex::default(),
            mail: Mutex::default(),
            always: None,
            now_ms,
            ticks: AtomicU64::new(0),
            random: AtomicU64::new(seed),
            seen: Mutex::default(),
        }
    }

    /// With what models answer.
    pub(crate) fn with_models(self, turns: Vec<ModelTurn>) -> Self {
        Self {
            turns: Mutex::new(turns.into()),
            ..self
        }
    }

    /// With what mail servers say.
    pub(crate) fn with_mail(self, turns: Vec<MailTurn>) -> Self {
        Self {
            mail: Mutex::new(turns.into()),
            ..self
        }
    }

    /// The same answer to every request.
    pub(crate) fn always(answer: Exchange) -> Self {
        Self {
            always: Some(answer),
            ..Self::new(Vec::new(), 1_767_323_045_000, 0)
        }
    }

    /// Answers that nobody asked for, as a problem.
    pub(crate) fn unused(&self) -> Option<String> {
        let left = |what: &str, count: usize| {
            (count > 0).then(|| format!("{count} of the exchanges in `{what}` did not take place"))
        };
        left("http", self.answers.lock().len())
            .or_else(|| left("llm", self.turns.lock().len()))
            .or_else(|| left("mail", self.mail.lock().len()))
    }

    fn answer(&self, request: &http::Request<Bytes>) -> Result<Exchange, String> {
        let (method, url) = (request.method().as_str(), request.uri().to_string());
        let Some(next) = self.answers.lock().pop_front() else {
            return self
                .always
                .clone()
                .ok_or_else(|| format!("`http` has no answer for {method} {url}"));
        };
        match &next.request {
            Some(wanted) if !wanted.fits(method, &url) => Err(format!(
                "the plugin sent {method} {url}, the next exchange in `http` is for {} {}",
                wanted.method.as_deref().unwrap_or("any method"),
                wanted.url.as_deref().unwrap_or("any URL"),
            )),
            _ => Ok(next),
        }
    }
}

impl Wanted {
    fn fits(&self, method: &str, url: &str) -> bool {
        let fits_url = |wanted: &String| match wanted.strip_suffix('*') {
            Some(start) => url.starts_with(start),
            None => url == wanted,
        };
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.url.as_ref().is_none_or(fits_url)
    }
}

impl World for Script {
    fn exchange(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, NoAnswer> {
        let answer = self.answer(&request);
        let mut seen = self.seen.lock();
        seen.requests.push(describe(&request));
        let answer = answer.map_err(|problem| {
            seen.problems.push(problem.clone());
            NoAnswer::Connection(problem)
        })?;
        match (answer.fail.as_deref(), answer.respond) {
            (Some("timeout"), _) => Err(NoAnswer::Timeout),
            (Some(reason), _) => Err(NoAnswer::Connection(reason.to_owned())),
            (None, respond) => response(respond.unwrap_or_default()).map_err(|problem| {
                seen.problems.push(problem.clone());
                NoAnswer::Connection(problem)
            }),
        }
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn monotonic_ns(&self) -> u64 {
        // A microsecond for each look: differences are never zero, and always the same.
        self.ticks.fetch_add(1, Ordering::Relaxed) * 1000
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            // SplitMix64: well spread, and the same on every machine.
            let state = self
                .random
                .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let word = (mixed ^ (mixed >> 31)).to_le_bytes();
            piece
                .iter_mut()
                .zip(word)
                .for_each(|(byte, random)| *byte = random);
        }
    }

    fn append(&self, file: &str, data: &[u8]) -> Result<(), String> {
        let mut seen = self.seen.lock();
        seen.files
            .entry(file.to_owned())
            .or_default()
            .extend_from_slice(data);
        Ok(())
    }

    fn chat(&self, request: &str) -> Result<ModelAnswer, NoModelAnswer> {
        let request: Value = serde_json::from_str(request).unwrap_or_default();
        let model = request["model"].as_str().unwrap_or_default().to_owned();
        let mut seen = self.seen.lock();
        seen.llm.push(request);
        let turn = self.turns.lock().pop_front();
        let problem = match &turn {
            // A probe of the conformance suite: whoever is asked is silent, as the other side is.
            None if self.always.is_some() => return Err(NoModelAnswer::Timeout),
            None => Some(format!("`llm` has no answer for the model {model}")),
            Some(turn) => turn.model.as_ref().filter(|wanted| **wanted != model).map(|wanted| {
                format!("the plugin called the model {model}, the next answer in `llm` is for {wanted}")
            }),
        };
        if let Some(problem) = problem {
            seen.problems.push(problem.clone());
            return Err(NoModelAnswer::Unavailable(problem));
        }
        turn.map_or(Err(NoModelAnswer::Timeout), |turn| said(turn, &model))
    }

    fn mail(&self, server: &MailServer, mail: &Mail) -> Result<(), MailError> {
        let place = format!("{}:{}", server.host, server.port);
        let mut seen = self.seen.lock();
        seen.mail.push(describe_mail(&place, server, mail));
        let turn = self.mail.lock().pop_front();
        let problem = match &turn {
            None if self.always.is_some() => return self.always.as_ref().map_or(Ok(()), by_mail),
            None => Some(format!("`mail` has no answer for {place}")),
            Some(turn) => turn.server.as_ref().filter(|wanted| **wanted != place).map(|wanted| {
                format!("the plugin handed mail in at {place}, the next answer in `mail` is for {wanted}")
            }),
        };
        if let Some(problem) = problem {
            seen.problems.push(problem.clone());
            return Err(MailError::Connection(problem));
        }
        match turn.and_then(|turn| turn.fail) {
            None => Ok(()),
            Some(MailFail::Text(word)) if word == "timeout" => Err(MailError::Timeout),
            Some(MailFail::Text(reason)) => Err(MailError::Connection(reason)),
            Some(MailFail::Refused { code, text }) => Err(MailError::Refused { code, text }),
        }
    }

    fn sample(&self, name: &str, labels: &[(String, String)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        let line = format!("{name}{{{}}} {value}", labels.join(","));
        self.seen.lock().metrics.push(line);
    }

    fn log(&self, level: &'static str, line: &str) {
        self.seen.lock().log.push(format!("{level}: {line}"));
    }
}

/// What a probe's answer to every request is in the words of a mail server.
fn by_mail(always: &Exchange) -> Result<(), MailError> {
    let refused = |code| {
        let text = "as every request".to_owned();
        Err(MailError::Refused { code, text })
    };
    match (&always.fail, &always.respond) {
        (Some(reason), _) if reason != "timeout" => Err(MailError::Connection(reason.clone())),
        (None, Some(respond)) => match respond.status {
            ..400 => Ok(()),
            408 | 429 | 500.. => refused(451),
            _ => refused(550),
        },
        _ => Err(MailError::Timeout),
    }
}

/// A turn as the gateway would have given it.
fn said(turn: ModelTurn, model: &str) -> Result<ModelAnswer, NoModelAnswer> {
    match turn.fail {
        Some(ModelFail::Word(ModelFailWord::Timeout)) => return Err(NoModelAnswer::Timeout),
        Some(ModelFail::Word(ModelFailWord::Unavailable)) => {
            return Err(NoModelAnswer::Unavailable(
                "the gateway is ending".to_owned(),
            ));
        }
        Some(ModelFail::Failed {
            status,
            kind,
            message,
        }) => {
            return Err(NoModelAnswer::Failed(ModelFailure {
                status,
                kind,
                message,
            }));
        }
        None => {}
    }
    let body = turn.json.unwrap_or_else(|| {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_767_323_045, "model": model,
            "choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": turn.say.unwrap_or_default()}}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        })
    });
    Ok(ModelAnswer {
        tokens: body["usage"]["total_tokens"].as_u64().unwrap_or_default(),
        body: body.to_string(),
        cost_usd: turn.cost_usd,
        call_id: "00000000-0000-4000-8000-000000000002".to_owned(),
    })
}

/// A message as a value that is readable and compares well.
fn describe_mail(place: &str, server: &MailServer, mail: &Mail) -> Value {
    let mut described = json!({
        "server": place,
        "encryption": match server.encryption {
            MailEncryption::StartTls => "starttls",
            MailEncryption::Tls => "tls",
            MailEncryption::Off => "none",
        },
        "from": mail.from,
        "to": mail.to,
        "subject": mail.subject,
    });
    let login = server.login.as_ref();
    let login = login.map(|login| json!({"user": login.user, "password": login.password.as_str()}));
    for (name, value) in [
        ("login", login),
        ("text", mail.text.clone().map(Value::from)),
        ("html", mail.html.clone().map(Value::from)),
    ] {
        if let Some(value) = value {
            described[name] = value;
        }
    }
    described
}

fn response(respond: Respond) -> Result<http::Response<Bytes>, String> {
    let mut response = http::Response::builder().status(respond.status);
    if respond.json.is_some() && !respond.headers.contains_key("content-type") {
        response = response.header("content-type", "application/json");
    }
    for (name, value) in &respond.headers {
        response = response.header(name, value);
    }
    let body = match (respond.json, respond.body) {
        (Some(json), _) => json.to_string().into_bytes(),
        (None, body) => body.unwrap_or_default().into_bytes(),
    };
    response
        .body(body.into())
        .map_err(|error| format!("a response of `http` is malformed: {error}"))
}

/// A request as a value that is readable and compares well.
fn describe(request: &http::Request<Bytes>) -> Value {
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in request.headers() {
        headers
            .entry(name.as_str())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let mut described = Map::new();
    described.insert("method".to_owned(), request.method().as_str().into());
    described.insert("url".to_owned(), request.uri().to_string().into());
    if !headers.is_empty() {
        let headers = headers.into_iter().map(|(name, mut values)| {
            let value = match (values.len(), values.pop()) {
                (1, Some(value)) => json!(value),
                (_, last) => json!(values.into_iter().chain(last).collect::<Vec<_>>()),
            };
            (name.to_owned(), value)
        });
        described.insert("headers".to_owned(), headers.collect::<Map<_, _>>().into());
    }
    if request.extensions().get::<ShownCertificate>().is_some() {
        described.insert("client_certificate".to_owned(), true.into());
    }
    let unpacked = unpacked(request);
    if let Some((name, value)) = describe_body(unpacked.as_deref().unwrap_or(request.body())) {
        described.insert(name.to_owned(), value);
    }
    described.into()
}

/// The content of a body that is compressed. Nobody expects the bytes that a compressor makes of it.
fn unpacked(request: &http::Request<Bytes>) -> Option<Vec<u8>> {
    let encoding = request.headers().get("content-encoding")?;
    if encoding != "gzip" {
        return None;
    }
    let packed: &[u8] = request.body();
    let mut content = Vec::new();
    let read = GzDecoder::new(packed)
        .take(UNPACKED_MAX)
        .read_to_end(&mut content);
    read.ok().map(|_| content)
}

/// A body as JSON, text or Base64, whichever it is.
pub(crate) fn describe_body(body: &[u8]) -> Option<(&'static str, Value)> {
    if body.is_empty() {
        return None;
    }
    if let Ok(json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(body) {
        return Some(("json", json));
    }
    Some(match std::str::from_utf8(body) {
        Ok(text) => ("body", text.into()),
        Err(_) => ("body_base64", STANDARD.encode(body).into()),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn answers_come_in_order_and_only_to_the_request_they_are_for() {
        let exchange = |url: &str| Exchange {
            request: Some(Wanted {
                method: Some("GET".to_owned()),
                url: Some(url.to_owned()),
            }),
            respond: Some(Respond::default()),
            fail: None,
        };
        let script = Script::new(vec![exchange("https://a/*"), exchange("https://b/")], 0, 0);
        let get = |url: &str| {
            let request = http::Request::builder().uri(url).body(Bytes::new());
            script.exchange(request.expect("a request"))
        };
        assert!(get("https://a/one").is_ok());
        assert!(get("https://c/").is_err());
        assert!(get("https://d/").is_err());
        let seen = script.seen.lock();
        assert_eq!(seen.requests.len(), 3);
        assert!(
            seen.problems[0].contains("https://b/"),
            "{:?}",
            seen.problems
        );
        assert!(
            seen.problems[1].contains("no answer"),
            "{:?}",
            seen.problems
        );
    }

    #[test]
    fn what_is_compressed_can_be_read() {
        let body = |body: &[u8]| {
            let request = http::Request::builder()
                .uri("https://a/")
                .header("content-encoding", "gzip")
                .body(Bytes::copy_from_slice(body));
            describe(&request.expect("a request"))
        };
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(br#"[{"id":"one"}]"#).expect("in memory");
        let packed = packer.finish().expect("in memory");
        assert_eq!(body(&packed)["json"], json!([{"id": "one"}]));
        assert_eq!(body(b"plain")["body"], "plain");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |seed| {
            let mut bytes = [0; 20];
            Script::new(Vec::new(), 0, seed).fill_random(&mut bytes);
            bytes
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
        assert_ne!(bytes(1)[..8], bytes(1)[8..16]);
    }
}
