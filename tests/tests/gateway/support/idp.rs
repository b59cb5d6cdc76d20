//! A certified OpenID provider (npm's oidc-provider), for every scenario that needs a real one.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use witgate_testkit::workspace_root;

use super::http_client;

/// An OpenID provider with a client that gets tokens for itself.
pub struct Idp {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    http: reqwest::Client,
    own: Value,
}

impl Idp {
    /// Starts it.
    pub async fn start() -> Self {
        let mut process = Command::new("node")
            .arg(workspace_root().join("tests/vendors/idp/server.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("run the OpenID provider; `make test` installs it");
        let input = process.stdin.take().expect("a pipe");
        let output = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut idp = Self {
            _process: process,
            input,
            output,
            http: http_client(|builder| builder),
            own: Value::Null,
        };
        idp.own = idp.line().await;
        idp
    }

    /// What it says of itself, such as its `issuer`.
    pub fn own(&self, name: &str) -> String {
        self.own[name].as_str().expect("text").to_owned()
    }

    /// The algorithms that it signs with.
    pub fn algorithms(&self) -> Vec<String> {
        serde_json::from_value(self.own["algorithms"].clone()).expect("texts")
    }

    /// A token for the gateway that is like this: `alg`, `claims`, `audience`, `scope`, `format`.
    pub async fn token(&self, like: &[(&str, &str)]) -> String {
        let like: String = like
            .iter()
            .map(|(name, value)| format!("{name}={}&", escaped(value)))
            .collect();
        let resource = format!("{}/?{like}", self.own("audience"));
        let scope = like.contains("litellm_proxy_admin");
        let scope = if scope {
            "&scope=litellm_proxy_admin"
        } else {
            ""
        };
        let body = format!(
            "grant_type=client_credentials&resource={}{scope}",
            escaped(&resource)
        );
        let answer = self.post("/token", body).await;
        answer["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("no token: {answer}"))
            .to_owned()
    }

    /// Takes a token back.
    pub async fn revoke(&self, token: &str) {
        let body = format!("token={}", escaped(token));
        self.post("/token/revocation", body).await;
    }

    /// Replaces its keys.
    pub async fn rotate(&mut self) {
        self.input
            .write_all(b"rotate\n")
            .await
            .expect("the OpenID provider lives");
        self.line().await;
    }

    async fn post(&self, path: &str, body: String) -> Value {
        let request = self
            .http
            .post(format!("{}{path}", self.own("issuer")))
            .basic_auth(self.own("client_id"), Some(self.own("client_secret")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let text = request.send().await.expect("an answer").text().await;
        serde_json::from_str(&text.expect("a body")).unwrap_or_default()
    }

    async fn line(&mut self) -> Value {
        let line = self.output.next_line().await.expect("a line");
        serde_json::from_str(&line.expect("the OpenID provider lives")).expect("JSON")
    }
}

fn escaped(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| match plain(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
