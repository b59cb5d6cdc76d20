//! `GET /v2/model/info`: the list of deployments that LiteLLM's UI shows, searched, sorted and in pages.

use http::StatusCode;
use serde_json::{Value, json};
use witgate_pipeline::{Principal, Reply, Snapshot};

use super::info::{self, entries};

/// Deployments on a page, and at most.
const PAGE: u64 = 50;
const PAGE_MAX: u64 = 1000;

/// The parameters of the query that say something.
struct Params(Vec<(String, String)>);

impl Params {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A whole number from 1 on.
    fn number(&self, name: &str, default: u64, most: u64) -> Result<u64, Reply> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        let number = text.parse().ok();
        number
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| {
                let message = format!("Input should be a whole number from 1 to {most}");
                let fault = json!([{"type": "value_error", "loc": ["query", name], "msg": message, "input": text}]);
                let body = json!({ "detail": fault }).to_string();
                Reply::json(StatusCode::UNPROCESSABLE_ENTITY, body)
            })
    }

    /// Whether an entry is one that is asked for: by `model` (the group), `modelId`, `teamId`, and `search` in its names.
    fn want(&self, one: &Value) -> bool {
        let is = |name: &str, at: &str| {
            self.get(name)
                .is_none_or(|asked| one.pointer(at).is_some_and(|value| value == asked))
        };
        let has = |search: &str| {
            let search = search.to_lowercase();
            let names = ["/model_name", "/litellm_params/model"];
            names.iter().any(|at| text(one, at).contains(&search))
        };
        is("model", "/model_name")
            && is("modelId", "/model_info/id")
            && is("teamId", "/model_info/team_id")
            && self.get("search").is_none_or(has)
    }
}

/// Answers as `GET /model/info` does, in pages once anybody asks for one.
pub(super) fn list(snapshot: &Snapshot, principal: &Principal, query: Option<&str>) -> Reply {
    let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let params = Params(query.into_owned().filter(|(_, v)| !v.is_empty()).collect());
    told(&params, entries(snapshot, principal)).unwrap_or_else(|refused| refused)
}

fn told(params: &Params, mut all: Vec<Value>) -> Result<Reply, Reply> {
    let page = params.number("page", 1, u64::MAX >> 16)?;
    let size = params.number("size", PAGE, PAGE_MAX)?;
    all.retain(|one| params.want(one));
    let by = match params.get("sortBy") {
        None => None,
        Some("model_name") => Some("/model_name"),
        Some("created_at") => Some("/model_info/created_at"),
        Some("updated_at") => Some("/model_info/updated_at"),
        Some(_) => {
            let text = "sortBy is model_name, created_at or updated_at";
            let body = json!({"detail": {"error": text}}).to_string();
            return Err(Reply::json(StatusCode::BAD_REQUEST, body));
        }
    };
    if let Some(by) = by {
        all.sort_by_cached_key(|one| text(one, by));
    }
    if params.get("sortOrder") == Some("desc") {
        all.reverse();
    }
    if params.get("page").is_none() && params.get("size").is_none() {
        return Ok(info::json(&json!({ "data": all })));
    }
    let total = all.len() as u64;
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let before = whole((page - 1).saturating_mul(size));
    let data: Vec<Value> = all.into_iter().skip(before).take(whole(size)).collect();
    Ok(info::json(&json!({
        "data": data,
        "total_count": total,
        "current_page": page,
        "total_pages": total.div_ceil(size),
        "size": size,
    })))
}

/// A text of an entry, in small letters.
fn text(one: &Value, at: &str) -> String {
    let text = one.pointer(at).and_then(Value::as_str);
    text.unwrap_or_default().to_lowercase()
}
