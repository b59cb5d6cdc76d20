//! Buckets that keep what they are given: Google Cloud's and Azure's, behind the token services of their clouds.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde_json::json;

use crate::clouds;
use crate::http1::Recorded;
use crate::reply::Reply;
use crate::vendor::{FakeVendor, Judgement};

/// The bucket of Google's, and the container of Azure's.
pub const BUCKET: &str = "answers";

/// Both clouds at one address. What is taken is `{object, body}`.
pub async fn fake_buckets() -> FakeVendor {
    let objects = Mutex::new(HashMap::new());
    FakeVendor::start(move |request| judge(request, &objects)).await
}

/// What a request wants of an object.
enum Wish {
    Write(String),
    Read(String),
    Delete(String),
    /// Names that begin so, behind a name; as JSON or as XML.
    List(String, String, Form),
}

enum Form {
    Google,
    Azure,
}

/// Names of a page: few, so that tests see more than one.
const PAGE: usize = 2;

fn judge(request: &Recorded, objects: &Mutex<HashMap<String, String>>) -> Judgement {
    let (reply, taken) = clouds::judge(request)?;
    if request.path() == "/token" || request.path().ends_with("/oauth2/v2.0/token") {
        return Ok((reply, taken));
    }
    let wish = google(request).or_else(|| azure(request));
    let missing = || (Reply::status(404, &[], "no such object"), Vec::new());
    let mut objects = objects.lock();
    match wish {
        Some(Wish::Write(name)) if request.header("content-type") == Some("application/json") => {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let object = json!({"object": &name, "body": &body});
            objects.insert(name, body);
            Ok((Reply::json(200, &json!({})), vec![object]))
        }
        Some(Wish::Read(name)) => Ok(match objects.get(&name) {
            Some(body) => (
                Reply::status(200, &[("content-type", "application/json")], body.clone()),
                Vec::new(),
            ),
            None => missing(),
        }),
        Some(Wish::Delete(name)) => Ok(match objects.remove(&name) {
            Some(_) => (Reply::status(204, &[], ""), Vec::new()),
            None => missing(),
        }),
        Some(Wish::List(prefix, after, form)) => {
            let mut names: Vec<String> = objects.keys().map(|name| decoded(name)).collect();
            names.retain(|name| name.starts_with(&prefix) && *name > after);
            names.sort();
            let is_last = names.len() <= PAGE;
            names.truncate(PAGE);
            let next = names.last().filter(|_| !is_last).cloned();
            Ok((listed(&names, next, &form), Vec::new()))
        }
        _ => Err((400, format!("not understood: {}", request.target))),
    }
}

fn listed(names: &[String], next: Option<String>, form: &Form) -> Reply {
    match form {
        Form::Google => {
            let items: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
            let mut body = json!({ "items": items });
            if let Some(next) = next {
                body["nextPageToken"] = next.into();
            }
            Reply::json(200, &body)
        }
        Form::Azure => {
            let blobs: String = names
                .iter()
                .map(|name| format!("<Blob><Name>{name}</Name><Properties/></Blob>"))
                .collect();
            let next = next.unwrap_or_default();
            let xml = format!(
                "<?xml version=\"1.0\"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
            );
            Reply::status(200, &[("content-type", "application/xml")], xml)
        }
    }
}

/// A text as it was before its characters were escaped.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = std::str::from_utf8(after.get(..2).unwrap_or_default());
        let code = code.ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A parameter of the query.
fn param(request: &Recorded, name: &str) -> Option<String> {
    let (_, query) = request.target.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(own, _)| *own == name)
        .map(|(_, value)| decoded(value))
}

fn list(request: &Recorded, token: &str, form: Form) -> Option<Wish> {
    let after = param(request, token).unwrap_or_default();
    Some(Wish::List(param(request, "prefix")?, after, form))
}

/// The JSON API: an object's name is one segment, escaped.
fn google(request: &Recorded) -> Option<Wish> {
    let upload = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=");
    if request.method == "POST" {
        let name = request.target.strip_prefix(&upload)?;
        return Some(Wish::Write(name.to_owned()));
    }
    if request.method == "GET" && request.path() == format!("/storage/v1/b/{BUCKET}/o") {
        return list(request, "pageToken", Form::Google);
    }
    let named = request
        .target
        .strip_prefix(&format!("/storage/v1/b/{BUCKET}/o/"))?;
    match (request.method.as_str(), named.strip_suffix("?alt=media")) {
        ("GET", Some(name)) => Some(Wish::Read(name.to_owned())),
        ("DELETE", None) => Some(Wish::Delete(named.to_owned())),
        _ => None,
    }
}

fn azure(request: &Recorded) -> Option<Wish> {
    let is_list = request.method == "GET"
        && request.path() == format!("/{BUCKET}")
        && param(request, "restype").as_deref() == Some("container")
        && param(request, "comp").as_deref() == Some("list");
    if is_list && request.header("x-ms-version").is_some() {
        return list(request, "marker", Form::Azure);
    }
    let name = request.target.strip_prefix(&format!("/{BUCKET}/"))?;
    request.header("x-ms-version")?;
    let name = name.to_owned();
    match request.method.as_str() {
        "PUT" if request.header("x-ms-blob-type") == Some("BlockBlob") => Some(Wish::Write(name)),
        "GET" => Some(Wish::Read(name)),
        "DELETE" => Some(Wish::Delete(name)),
        _ => None,
    }
}
