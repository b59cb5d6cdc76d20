//! The OpenAPI document: made of the routes and of what is told about them.
//!
//! Operations of the control plane tell of themselves; the routes of the server are in `routes.json` (the shapes are those
//! of [`witgate_management::shape`]), what frames it all in `frame.json`.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use witgate_management::{Operation, row_schemas, shape};
use witgate_pipeline::passage::Passages;

use super::DocsOptions;
use crate::routes::{Kind, ROUTES, Route};

static FRAME: LazyLock<Value> = LazyLock::new(|| read(include_str!("frame.json")));
static TOLD: LazyLock<Value> = LazyLock::new(|| read(include_str!("routes.json")));

fn read(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

/// The document.
pub(super) fn document(options: &DocsOptions, root: &str) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES
        .iter()
        .filter(|route| !options.filtered || of_models(route.kind))
    {
        for path in route.paths {
            let entry = paths.entry(*path).or_insert_with(|| json!({}));
            entry[route.method.as_str().to_ascii_lowercase()] = operation(route, path);
        }
    }
    let mut document = FRAME.clone();
    document["info"] = json!({
        "title": options.title,
        "description": options.description.as_deref().unwrap_or("An LLM gateway with LiteLLM's API."),
        "version": env!("CARGO_PKG_VERSION"),
    });
    document["servers"] = json!([{"url": if root.is_empty() { "/" } else { root }}]);
    document["paths"] = paths.into();
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.extend(row_schemas());
    }
    // What the tags are for a prefix is for this file alone.
    if let Some(document) = document.as_object_mut() {
        document.remove("tags");
    }
    document
}

/// The document's text in two parts, so that paths can be added: up to the operations of `paths`, which is its last member,
/// and these operations. Two braces end it.
pub(super) fn text(options: &DocsOptions, root: &str) -> (String, String) {
    let mut document = document(options, root);
    let paths = document
        .as_object_mut()
        .and_then(|document| document.remove("paths"));
    let open = |text: String| text.strip_suffix('}').unwrap_or(&text).to_owned();
    let head = format!("{},\"paths\":", open(document.to_string()));
    (head, open(paths.unwrap_or_default().to_string()))
}

/// The operations of the operator's pass-through routes, as more members of `paths`.
pub(super) fn passages(passages: &Passages) -> String {
    let mut paths: Map<String, Value> = Map::new();
    // The server's own routes are told already, and go before.
    let is_own = |path: &str| {
        let mut all = ROUTES.iter().flat_map(|route| route.paths);
        all.any(|own| *own == path)
    };
    for passage in passages.iter() {
        for path in passage.paths().into_iter().filter(|path| !is_own(path)) {
            let parameters = match path.contains('{') {
                true => {
                    json!([{"name": "subpath", "in": "path", "required": true, "schema": {"type": "string"}}])
                }
                false => json!([]),
            };
            let told = paths.entry(path.clone()).or_insert_with(|| json!({}));
            for method in passage.methods() {
                let method = method.as_str().to_ascii_lowercase();
                let id = path.replace(['/', '{', '}', '-', '.'], "_");
                let mut operation = json!({
                    "tags": ["pass-through"],
                    "summary": "Passed on as it is, and so is the answer.",
                    "operationId": format!("{method}{id}"),
                    "parameters": parameters,
                    "responses": {"default": {"description": "What the target answers, or why it was not asked."}},
                });
                if !passage.needs_key {
                    operation["security"] = json!([]);
                }
                told[method] = operation;
            }
        }
    }
    let text = Value::Object(paths).to_string();
    match text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
    {
        Some(members) if !members.is_empty() => format!(",{members}"),
        _ => String::new(),
    }
}

/// Whether a route is one of those that `DOCS_FILTERED` leaves.
const fn of_models(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Call(_) | Kind::Models | Kind::Model | Kind::ModelInfo
    )
}

fn operation(route: &Route, path: &str) -> Value {
    let mut told = match route.kind {
        Kind::Manage(operation) => managed(operation),
        _ => own(route),
    };
    let id = path.replace(['/', '{', '}', '-'], "_");
    told["operationId"] = format!("{}{id}", route.method.as_str().to_ascii_lowercase()).into();
    if let Some((_, rest)) = path.split_once('{')
        && let Some((name, _)) = rest.split_once('}')
        && let Some(parameters) = told["parameters"].as_array_mut()
    {
        parameters.push(json!({
            "name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1},
        }));
    }
    told
}

fn managed(operation: &Operation) -> Value {
    let media = match operation.is_scim() {
        true => SCIM,
        false => "application/json",
    };
    let content = json!({ media: {"schema": operation.answer_schema()} });
    let mut told = json!({
        "tags": [tag(operation.name())],
        "summary": operation.what,
        "description": format!("Who may ask: {}", operation.audience()),
        "parameters": operation.parameters(),
        "responses": responses(content, None),
    });
    if let Some(schema) = operation.body_schema() {
        told["requestBody"] = body(schema, !operation.needs().is_empty());
    }
    if let Some(responses) = told["responses"].as_object_mut() {
        if operation.status() != 200
            && let Some(mut done) = responses.remove("200")
        {
            if operation.status() == 204
                && let Some(done) = done.as_object_mut()
            {
                done.remove("content");
            }
            responses.insert(operation.status().to_string(), done);
        }
        if operation.is_scim() {
            for refused in ["4XX", "5XX"] {
                responses[refused]["content"][SCIM] = json!({});
            }
        }
    }
    told
}

/// The media type of SCIM.
const SCIM: &str = "application/scim+json";

fn own(route: &Route) -> Value {
    let told = &TOLD[format!("{} {}", route.method, route.name)];
    let names = |list: &str| {
        let names = told[list].as_array();
        names.into_iter().flatten().filter_map(Value::as_str)
    };
    let needs: Vec<&str> = names("needs").collect();
    let text = names("query").map(|name| {
        json!({"name": name, "in": "query", "required": needs.contains(&name), "schema": {"type": "string"}})
    });
    let flags = names("flags").map(|name| {
        json!({"name": name, "in": "query", "required": false, "schema": {"type": "boolean"}})
    });
    let schema = |of: &Value| json!({"schema": shape(of)});
    let mut content = Map::new();
    if told["page"] == true {
        content.insert("text/html".to_owned(), json!({}));
    } else if let Some(media) = told["media"].as_str() {
        content.insert(media.to_owned(), json!({}));
    } else {
        content.insert("application/json".to_owned(), schema(&told["answer"]));
    }
    if told["stream"] == true {
        content.insert("text/event-stream".to_owned(), json!({}));
    }
    let mut operation = json!({
        "tags": [told["tag"]],
        "summary": told["what"],
        "parameters": text.chain(flags).collect::<Vec<Value>>(),
        "responses": responses(content.into(), told.get("refused").map(shape)),
    });
    if told["page"] == true {
        let page = json!({"application/json": {}, "text/html": {}, "text/plain": {}});
        for (status, what) in [
            ("3XX", "Leads on."),
            ("4XX", "Why not."),
            ("5XX", "What failed."),
        ] {
            operation["responses"][status] = json!({"description": what, "content": page});
        }
    }
    if told["leads"] == true {
        operation["responses"]["3XX"] = json!({"description": "Leads on."});
    }
    if let Some(of) = told.get("body") {
        operation["requestBody"] = body(shape(of), true);
    }
    if told["public"] == true {
        operation["security"] = json!([]);
    }
    operation
}

fn responses(content: Value, refused: Option<Value>) -> Value {
    let refused = refused.unwrap_or_else(|| json!({"$ref": "#/components/schemas/Refused"}));
    let refused = json!({"application/json": {"schema": refused}});
    json!({
        "200": {"description": "Done.", "content": content},
        "4XX": {"description": "Not done: what is asked for is wrong, not allowed or not there.", "content": refused},
        "5XX": {"description": "Not done: the gateway, its database or an upstream failed.", "content": refused},
    })
}

fn body(schema: Value, required: bool) -> Value {
    json!({"required": required, "content": {"application/json": {"schema": schema}}})
}

/// The heading of a path of the control plane: that of the longest prefix.
fn tag(path: &str) -> &str {
    let tags = FRAME["tags"].as_object();
    let fits = |(prefix, _): &(&String, &Value)| path.starts_with(prefix.as_str());
    let longest = tags
        .into_iter()
        .flatten()
        .filter(fits)
        .max_by_key(|(prefix, _)| prefix.len());
    longest.and_then(|(_, tag)| tag.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_told_and_nothing_else_is() {
        let own = ROUTES
            .iter()
            .filter(|route| !matches!(route.kind, Kind::Manage(_)));
        let names: BTreeSet<String> = own.map(|r| format!("{} {}", r.method, r.name)).collect();
        let told: BTreeSet<String> = TOLD.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            names, told,
            "routes.json has one entry for each route of the server"
        );
        let document = document(&DocsOptions::default(), "");
        let mut ids = BTreeSet::new();
        for route in ROUTES.iter() {
            for path in route.paths {
                let method = route.method.as_str().to_ascii_lowercase();
                let told = &document["paths"][*path][&method];
                assert!(
                    told["summary"].is_string() && told["tags"][0].is_string(),
                    "{path}"
                );
                assert_ne!(told["tags"][0], "other", "{path} has no tag in frame.json");
                assert!(ids.insert(told["operationId"].to_string()), "{path}");
                let placeholder = told["parameters"].as_array().unwrap().iter();
                let placeholder = placeholder.filter(|parameter| parameter["in"] == "path");
                assert_eq!(placeholder.count(), path.matches('{').count(), "{path}");
            }
        }
        let text = document.to_string();
        for rest in text.split("#/components/schemas/").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name}"
            );
        }
    }

    #[test]
    fn the_document_says_what_the_variables_say() {
        let options = DocsOptions {
            title: "Ours".to_owned(),
            description: Some("What it is.".to_owned()),
            filtered: true,
            ..DocsOptions::default()
        };
        let document = document(&options, "/gw");
        assert_eq!(document["info"]["title"], "Ours");
        assert_eq!(document["info"]["description"], "What it is.");
        assert_eq!(document["servers"][0]["url"], "/gw");
        let paths = document["paths"].as_object().unwrap();
        assert!(paths.contains_key("/v1/chat/completions") && paths.contains_key("/model/info"));
        assert!(!paths.contains_key("/key/generate") && !paths.contains_key("/health"));
    }
}
