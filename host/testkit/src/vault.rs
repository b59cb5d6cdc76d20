//! HashiCorp Vault as far as a gateway uses it: AppRole and certificate logins, tokens that end, KV version 2.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::http1::Recorded;
use crate::reply::Reply;
use crate::vendor::{FakeVendor, Judgement};

/// A fake Vault. Its address and journals are the [`FakeVendor`]'s; `taken` has one entry per request that it answered:
/// `{"read": path}`, `{"login": method}`, …, with `namespace` when a header named one.
#[derive(Debug)]
pub struct FakeVault {
    vendor: FakeVendor,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Fields by path, as in `secret/data/NAME`.
    secrets: BTreeMap<String, Map<String, Value>>,
    tokens: BTreeSet<String>,
    /// What an AppRole login must bring.
    approle: Option<(String, String)>,
    /// What a certificate login must name.
    cert_role: Option<String>,
    /// Seconds that a token of a login is good for.
    lease: u64,
    logins: u32,
}

impl FakeVault {
    /// Starts it with one token that is valid.
    pub async fn start(token: &str) -> Self {
        let state = Arc::new(Mutex::new(State {
            tokens: BTreeSet::from([token.to_owned()]),
            lease: 3600,
            ..State::default()
        }));
        let judged = Arc::clone(&state);
        let vendor = FakeVendor::start(move |request| judge(&mut judged.lock(), request)).await;
        Self { vendor, state }
    }

    /// The server.
    pub fn vendor(&self) -> &FakeVendor {
        &self.vendor
    }

    /// Its address.
    pub fn address(&self) -> String {
        self.vendor.origin()
    }

    /// Stores a value in the field `key` of a secret, by its whole path.
    pub fn put(&self, path: &str, value: &str) -> &Self {
        let fields = Map::from_iter([("key".to_owned(), json!(value))]);
        self.state.lock().secrets.insert(path.to_owned(), fields);
        self
    }

    /// What a secret has in the field `key`.
    pub fn value(&self, path: &str) -> Option<String> {
        let state = self.state.lock();
        let value = state.secrets.get(path)?.get("key")?;
        value.as_str().map(str::to_owned)
    }

    /// Takes logins by this AppRole.
    pub fn approle(&self, role_id: &str, secret_id: &str) -> &Self {
        self.state.lock().approle = Some((role_id.to_owned(), secret_id.to_owned()));
        self
    }

    /// Takes logins by certificate for this role; who checks the certificate stands in front.
    pub fn cert_role(&self, role: &str) -> &Self {
        self.state.lock().cert_role = Some(role.to_owned());
        self
    }

    /// How long tokens of logins are said to be good for, in seconds.
    pub fn lease(&self, seconds: u64) -> &Self {
        self.state.lock().lease = seconds;
        self
    }

    /// No token is valid any more.
    pub fn revoke_all(&self) -> &Self {
        self.state.lock().tokens.clear();
        self
    }

    /// How often each path was read so far.
    pub fn reads(&self) -> BTreeMap<String, usize> {
        let mut reads = BTreeMap::new();
        for taken in self.vendor.taken().all() {
            if let Some(path) = taken["read"].as_str() {
                *reads.entry(path.to_owned()).or_default() += 1;
            }
        }
        reads
    }

    /// Waits until a path was read that many times.
    pub async fn wait_for_reads(&self, path: &str, count: usize) {
        let enough = |taken: &[Value]| {
            let reads = taken.iter().filter(|one| one["read"] == path);
            reads.count() >= count
        };
        let what = format!("{count} reads of {path}");
        self.vendor.taken().wait_until(&what, enough).await;
    }
}

fn judge(vault: &mut State, request: &Recorded) -> Judgement {
    let path = request
        .path()
        .strip_prefix("/v1/")
        .ok_or((404, "not below /v1/".to_owned()))?;
    if request.target.contains('?') {
        return Err((400, "no query is expected".to_owned()));
    }
    let namespace = request.header("x-vault-namespace");
    let mut taken = json!({});
    if let Some(namespace) = namespace {
        taken["namespace"] = json!(namespace);
    }
    if path.starts_with("auth/") && path.ends_with("/login") {
        return log_in(vault, request, path, taken);
    }
    let token = request.header("x-vault-token").unwrap_or_default();
    if !vault.tokens.contains(token) {
        taken["refused"] = json!(path);
        return Ok((errors(403, &["permission denied"]), vec![taken]));
    }
    if path == "auth/token/lookup-self" && request.method == "GET" {
        taken["lookup"] = json!(true);
        return Ok((Reply::json(200, &json!({"data": {"ttl": 60}})), vec![taken]));
    }
    if namespace.is_some() {
        return Err((400, "the namespace of a secret is in its path".to_owned()));
    }
    if !path.contains("/data/") {
        return Ok((errors(404, &["no handler for route"]), vec![taken]));
    }
    match request.method.as_str() {
        "GET" if request.body.is_empty() => {
            taken["read"] = json!(path);
            let reply = match vault.secrets.get(path) {
                Some(fields) => Reply::json(
                    200,
                    &json!({"data": {"data": fields, "metadata": {"version": 1}}}),
                ),
                None => errors(404, &[]),
            };
            Ok((reply, vec![taken]))
        }
        "POST" => {
            let body = body(request)?;
            let fields = body.get("data").and_then(Value::as_object);
            let fields = fields.filter(|_| body.len() == 1);
            let fields = fields.ok_or((400, "the body is not {data: {…}}".to_owned()))?;
            vault.secrets.insert(path.to_owned(), fields.clone());
            taken["write"] = json!(path);
            Ok((
                Reply::json(200, &json!({"data": {"version": 1}})),
                vec![taken],
            ))
        }
        "DELETE" => {
            vault.secrets.remove(path);
            taken["delete"] = json!(path);
            Ok((
                Reply::status(204, &[("content-length", "0")], ""),
                vec![taken],
            ))
        }
        method => Err((405, format!("{method} is not expected"))),
    }
}

fn log_in(vault: &mut State, request: &Recorded, path: &str, mut taken: Value) -> Judgement {
    if request.method != "POST" || request.header("x-vault-token").is_some() {
        return Err((400, "a login is a POST without a token".to_owned()));
    }
    let given = Value::Object(body(request)?);
    let expected = match path {
        "auth/cert/login" => vault.cert_role.as_ref().map(|role| json!({ "name": role })),
        _ => {
            let role = vault.approle.as_ref();
            role.map(|(role, secret)| json!({"role_id": role, "secret_id": secret}))
        }
    };
    taken["login"] = json!(path);
    if expected != Some(given) {
        return Ok((
            errors(400, &["invalid role or secret ID"]),
            vec![json!({"login_refused": path})],
        ));
    }
    vault.logins += 1;
    let token = format!("hvs.of-login-{}", vault.logins);
    vault.tokens.insert(token.clone());
    let auth = json!({"client_token": token, "lease_duration": vault.lease, "renewable": true});
    Ok((Reply::json(200, &json!({ "auth": auth })), vec![taken]))
}

fn body(request: &Recorded) -> Result<Map<String, Value>, (u16, String)> {
    if request.header("content-type") != Some("application/json") {
        return Err((400, "the body must be application/json".to_owned()));
    }
    serde_json::from_slice(&request.body).map_err(|_| (400, "the body is no object".to_owned()))
}

fn errors(status: u16, errors: &[&str]) -> Reply {
    Reply::json(status, &json!({ "errors": errors }))
}
