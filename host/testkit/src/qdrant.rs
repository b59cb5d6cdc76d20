//! Qdrant by its REST contract: collections with a layout, points with payloads, searches by cosine under a filter.

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::http1::Recorded;
use crate::reply::Reply;
use crate::vendor::{FakeVendor, Judgement};

/// The key that the server knows.
pub const QDRANT_KEY: &str = "qdrant-secret-9876";
/// The one collection that anybody may make.
pub const COLLECTION: &str = "answers";

#[derive(Default)]
struct Shelf {
    /// As it was made.
    layout: Option<Value>,
    points: Vec<Value>,
}

/// A server without a collection. What is taken is what makes one, and the points.
pub async fn fake_qdrant() -> FakeVendor {
    let shelf = Mutex::new(Shelf::default());
    FakeVendor::start(move |request| judge(request, &mut shelf.lock())).await
}

fn judge(request: &Recorded, shelf: &mut Shelf) -> Judgement {
    if request.header("api-key") != Some(QDRANT_KEY) {
        return Err((403, told("Forbidden: Invalid api-key")));
    }
    let rest = request
        .target
        .strip_prefix(&format!("/collections/{COLLECTION}"));
    let rest = rest.ok_or((404, told("Not found: no such collection")))?;
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let done = |result: Value| {
        Reply::json(
            200,
            &json!({"result": result, "status": "ok", "time": 0.001}),
        )
    };
    match (request.method.as_str(), rest) {
        ("GET", "/exists") => {
            let exists = shelf.layout.is_some();
            Ok((done(json!({"exists": exists})), Vec::new()))
        }
        ("PUT", "") => {
            let is_layout = body["vectors"]["size"].is_u64()
                && body["vectors"]["distance"] == "Cosine"
                && body["quantization_config"].is_object();
            if shelf.layout.is_some() || !is_layout {
                return Err((400, told("Wrong input: no layout, or it exists")));
            }
            shelf.layout = Some(body.clone());
            Ok((done(json!(true)), vec![json!({"layout": body})]))
        }
        _ if shelf.layout.is_none() => Err((404, told("Not found: Collection doesn't exist!"))),
        ("PUT", "/index") if body["field_schema"] == "keyword" => Ok((
            done(json!({"status": "acknowledged"})),
            vec![json!({"index": body["field_name"]})],
        )),
        ("PUT", "/points?wait=true") => {
            let points = body["points"].as_array().cloned().unwrap_or_default();
            for point in &points {
                check(shelf, point).map_err(|why| (400, told(why)))?;
                shelf.points.retain(|old| old["id"] != point["id"]);
                shelf.points.push(point.clone());
            }
            Ok((done(json!({"status": "completed"})), points))
        }
        ("POST", "/points/search") => Ok((done(search(shelf, &body)), Vec::new())),
        ("POST", "/points/scroll") => {
            // Fewer than asked for, so that tests see more than one page.
            let from = body["offset"].as_str().unwrap_or_default();
            let mut ids: Vec<&Value> = shelf.points.iter().collect();
            ids.sort_by_key(|point| point["id"].to_string());
            ids.retain(|point| point["id"].as_str().unwrap_or_default() >= from);
            let next = ids.get(2).map_or(Value::Null, |point| point["id"].clone());
            let page: Vec<Value> = ids
                .iter()
                .take(2)
                .map(|point| {
                    let key = &point["payload"]["litellm_cache_key"];
                    json!({"id": point["id"], "payload": {"litellm_cache_key": key}})
                })
                .collect();
            let page = json!({"points": page, "next_page_offset": next});
            Ok((done(page), Vec::new()))
        }
        ("POST", "/points/delete?wait=true") if body["points"].is_array() => {
            let ids = body["points"].as_array().cloned().unwrap_or_default();
            shelf.points.retain(|point| !ids.contains(&point["id"]));
            Ok((done(json!({"status": "completed"})), Vec::new()))
        }
        ("POST", "/points/delete?wait=true") => {
            let keys = body["filter"]["must"][0]["match"]["any"].clone();
            let keys = keys.as_array().cloned().unwrap_or_default();
            shelf
                .points
                .retain(|point| !keys.contains(&point["payload"]["litellm_cache_key"]));
            Ok((done(json!({"status": "completed"})), Vec::new()))
        }
        _ => Err((400, told("not understood"))),
    }
}

fn told(why: &str) -> String {
    json!({"status": {"error": why}, "time": 0.0}).to_string()
}

fn check(shelf: &Shelf, point: &Value) -> Result<(), &'static str> {
    let id = point["id"].as_str().unwrap_or_default();
    let parts: Vec<usize> = id.split('-').map(str::len).collect();
    let is_hex = id
        .bytes()
        .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if parts != [8, 4, 4, 4, 12] || !is_hex {
        return Err("Wrong input: the id is no UUID");
    }
    let size = shelf
        .layout
        .as_ref()
        .and_then(|l| l["vectors"]["size"].as_u64());
    if Some(vector(&point["vector"]).len() as u64) != size {
        return Err("Wrong input: Vector dimension error");
    }
    Ok(())
}

fn vector(value: &Value) -> Vec<f64> {
    let elements = value.as_array().into_iter().flatten();
    elements.filter_map(Value::as_f64).collect()
}

fn search(shelf: &Shelf, body: &Value) -> Value {
    let wanted = &body["filter"]["must"][0];
    let asked = vector(&body["vector"]);
    let mut scored: Vec<Value> = shelf
        .points
        .iter()
        .filter(|point| match wanted["key"].as_str() {
            Some(field) => point["payload"][field] == wanted["match"]["value"],
            None => true,
        })
        .map(|point| {
            let score = cosine(&asked, &vector(&point["vector"]));
            json!({"id": point["id"], "version": 1, "score": score, "payload": point["payload"]})
        })
        .collect();
    let score = |point: &Value| point["score"].as_f64().unwrap_or(-1.0);
    scored.sort_by(|a, b| score(b).total_cmp(&score(a)));
    scored.truncate(body["limit"].as_u64().unwrap_or(0) as usize);
    Value::from(scored)
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
