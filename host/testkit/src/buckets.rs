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
}

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
        _ => Err((400, format!("not understood: {}", request.target))),
    }
}

/// The JSON API: an object's name is one segment, escaped.
fn google(request: &Recorded) -> Option<Wish> {
    let upload = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=");
    if request.method == "POST" {
        let name = request.target.strip_prefix(&upload)?;
        return Some(Wish::Write(name.to_owned()));
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
