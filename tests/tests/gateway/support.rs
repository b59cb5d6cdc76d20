//! What every scenario needs: a gateway in front of a fake upstream, and a client of it.

pub mod idp;
pub mod mail;
pub mod moto;
pub mod proxy;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, GatewayBuilder, PATIENCE};

/// The master key of every scenario that has one.
pub const MASTER_KEY: &str = "sk-master-1234";
/// The credential the gateway has for the upstream: it must never be seen by a client.
pub const UPSTREAM_KEY: &str = "sk-upstream-secret-5678";

/// A gateway with a master key in front of one upstream.
pub struct Stage {
    /// The OpenAI-compatible server behind it.
    pub upstream: FakeUpstream,
    /// The gateway itself.
    pub gateway: Gateway,
    /// A client that holds the master key.
    pub client: Client,
}

impl Stage {
    /// With the model `gpt-4o` and nothing else.
    pub async fn plain() -> Self {
        Self::with("").await
    }

    /// With further top-level YAML after the [`base_config`].
    pub async fn with(more: &str) -> Self {
        let upstream = FakeUpstream::start().await;
        let config = base_config(&upstream.api_base()) + more;
        Self::of(upstream, Gateway::builder(config)).await
    }

    /// Of an upstream and a gateway that is yet to start.
    pub async fn of(upstream: FakeUpstream, gateway: GatewayBuilder) -> Self {
        let gateway = gateway.start().await;
        let client = Client::of(&gateway).key(MASTER_KEY);
        Self {
            upstream,
            gateway,
            client,
        }
    }
}

/// A model list with `gpt-4o`, `text-embedding-3-small` and `gpt-3.5-turbo-instruct`, every
/// other name passed on as it is, the master key, and no retries (so that one request is one
/// call).
pub fn base_config(api_base: &str) -> String {
    let model = |name: &str, model: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: {model}, api_base: '{api_base}', api_key: {UPSTREAM_KEY}}}\n"
        )
    };
    [
        "model_list:\n".to_owned(),
        model("gpt-4o", "openai/gpt-4o"),
        model("text-embedding-3-small", "openai/text-embedding-3-small"),
        model(
            "gpt-3.5-turbo-instruct",
            "text-completion-openai/gpt-3.5-turbo-instruct",
        ),
        model("'*'", "'openai/*'"),
        format!("general_settings:\n  master_key: {MASTER_KEY}\n"),
        "router_settings:\n  num_retries: 0\n".to_owned(),
    ]
    .concat()
}

/// The smallest chat request for a model.
pub fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hello!"}]})
}

/// The same, streamed.
pub fn chat_stream(model: &str) -> Value {
    let mut body = chat(model);
    body["stream"] = json!(true);
    body
}

/// The virtual environment that `make test` installs.
pub fn venv_folder() -> PathBuf {
    target().join("venv-sdk")
}

fn target() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let target = own.ancestors().nth(3);
    target.expect("a test lies in a target folder").to_owned()
}

/// A program of another environment that `make test` installs.
pub fn venv_of(folder: &str, program: &str) -> PathBuf {
    target().join(folder).join("bin").join(program)
}

/// A program of it, such as `python`.
pub fn venv(program: &str) -> PathBuf {
    venv_folder().join("bin").join(program)
}

/// Repeats a look at the outside world until it gives a value; for what can only be polled.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client of one gateway.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Without a credential.
    pub fn of(gateway: &Gateway) -> Self {
        Self::at(gateway.base_url(), http_client(|builder| builder))
    }

    /// Over a given HTTP client.
    pub fn at(base: &str, http: reqwest::Client) -> Self {
        Self {
            http,
            base: base.to_owned(),
            headers: Vec::new(),
        }
    }

    /// With `Authorization: Bearer KEY`.
    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// With one more header on every request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// POSTs a chat completion.
    pub async fn chat(&self, body: &Value) -> Answer {
        self.post("/v1/chat/completions", body).await
    }

    /// POSTs a chat completion to a gateway that may die: the answer when it came to its end.
    pub async fn try_chat(&self, body: &Value) -> Option<Answer> {
        let body = Bytes::from(body.to_string());
        let request = self.request_of(Method::POST, "/v1/chat/completions", Some(body));
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.ok()?;
        Some(Answer {
            status,
            headers,
            body,
        })
    }

    /// POSTs JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_bytes(path, body.to_string()).await
    }

    /// POSTs these bytes as JSON.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        Answer::whole(self.send(Method::POST, path, Some(body.into())).await).await
    }

    /// GETs.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::whole(self.send(Method::GET, path, None).await).await
    }

    /// Any method, with these bytes as JSON.
    pub async fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        Answer::whole(self.send(method, path, Some(body.into())).await).await
    }

    /// PATCHes JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        let body = Some(body.to_string().into());
        Answer::whole(self.send(Method::PATCH, path, body).await).await
    }

    /// Any method, no body.
    pub async fn request(&self, method: Method, path: &str) -> Answer {
        Answer::whole(self.send(method, path, None).await).await
    }

    /// POSTs a chat completion and returns when the head is there.
    pub async fn open(&self, body: &Value) -> EventStream {
        let body = Bytes::from(body.to_string());
        EventStream::of(
            self.send(Method::POST, "/v1/chat/completions", Some(body))
                .await,
        )
    }

    async fn send(&self, method: Method, path: &str, body: Option<Bytes>) -> reqwest::Response {
        let sent = self.request_of(method, path, body).send().await;
        sent.unwrap_or_else(|error| panic!("no answer from {path}: {error:?}"))
    }

    fn request_of(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        request
    }
}

/// A `reqwest` client that gives up when a test should.
pub fn http_client(
    shape: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> reqwest::Client {
    // One TLS stack for all: the first caller installs it, the others find it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().timeout(2 * PATIENCE);
    shape(builder).build().expect("build a client")
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head.
    pub headers: http::HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
}

impl Answer {
    async fn whole(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("read the body");
        Self {
            status,
            headers,
            body,
        }
    }

    /// The first header of that name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("a header is text"))
    }

    /// The body as JSON; panics when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{} with a body that is not JSON ({error}): {}",
                self.status,
                self.text()
            )
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON of an answer that must be a 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The error object of an answer that must be this status, in OpenAI's shape.
    #[track_caller]
    pub fn error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let error = self.json()["error"].clone();
        assert!(
            error["message"].is_string(),
            "not an OpenAI error: {}",
            self.text()
        );
        error
    }

    /// The assistant's text.
    #[track_caller]
    pub fn content(&self) -> String {
        let body = self.ok();
        body["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The `data:` of every event of a streamed answer.
    pub fn events(&self) -> Vec<String> {
        self.text()
            .split("\n\n")
            .filter_map(|frame| frame.strip_prefix("data: "))
            .map(str::to_owned)
            .collect()
    }
}

/// A streamed answer, read event by event.
pub struct EventStream {
    /// The status.
    pub status: u16,
    /// The head.
    pub headers: http::HeaderMap,
    body: futures_util::stream::BoxStream<'static, reqwest::Result<Bytes>>,
    unread: String,
}

impl EventStream {
    fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes_stream().boxed(),
            unread: String::new(),
        }
    }

    /// The `data:` of the next event; `None` at the end of the body, `Some(Err)` when it broke.
    pub async fn next(&mut self) -> Option<Result<String, reqwest::Error>> {
        loop {
            if let Some((frame, rest)) = self.unread.split_once("\n\n") {
                let data = frame.strip_prefix("data: ").unwrap_or(frame).to_owned();
                self.unread = rest.to_owned();
                return Some(Ok(data));
            }
            match self.body.next().await? {
                Ok(bytes) => self.unread.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next event, which must be there and be JSON.
    pub async fn next_json(&mut self) -> Value {
        let data = self
            .next()
            .await
            .expect("one more event")
            .expect("an unbroken stream");
        serde_json::from_str(&data)
            .unwrap_or_else(|error| panic!("event is not JSON ({error}): {data}"))
    }

    /// All further events until the end.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event.expect("an unbroken stream"));
        }
        events
    }
}

/// The text of a list of stream events.
pub fn streamed_text(events: &[String]) -> String {
    events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}
