//! Tools: OpenAI's functions, Anthropic's own tools, MCP servers, web search, and the choice among them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use witgate_plugin::provider::Failure;

use crate::context::Context;

/// Longest name of a tool that every model takes.
const NAME_MAX: usize = 64;
/// Keys of a schema that the API takes at the top.
const SCHEMA_KEYS: [&str; 6] = [
    "type",
    "properties",
    "additionalProperties",
    "required",
    "$defs",
    "strict",
];
/// How the types of Anthropic's own tools begin.
const NATIVE: [&str; 5] = [
    "computer_",
    "bash_",
    "text_editor_",
    "web_search_",
    "code_execution_",
];

/// The tools of a request.
#[derive(Debug, Default)]
pub struct Tools {
    /// As the API has them.
    pub list: Vec<Value>,
    /// `tool_choice` as the API has it.
    pub choice: Option<Value>,
    mcp_servers: Vec<Value>,
    parallel: Option<bool>,
}

impl Tools {
    /// Takes everything about tools out of a request. Names that the API would refuse are replaced; the
    /// context leads back.
    pub fn read(body: &mut Map<String, Value>, context: &mut Context) -> Result<Self, Failure> {
        let mut tools = Self::default();
        match body.remove("tools") {
            None => {}
            Some(Value::Array(list)) => {
                for (index, tool) in list.iter().enumerate() {
                    tools.add(tool, index, context)?;
                }
            }
            Some(_) => return Err(Failure::bad_request("tools must be a list").param("tools")),
        }
        if let Some(options) = body.remove("web_search_options") {
            tools.list.push(web_search(&options));
        }
        tools.choice = choice(body.remove("tool_choice").as_ref(), context)?;
        tools.parallel = body
            .remove("parallel_tool_calls")
            .as_ref()
            .and_then(Value::as_bool);
        Ok(tools)
    }

    fn add(&mut self, tool: &Value, index: usize, context: &mut Context) -> Result<(), Failure> {
        let kind = tool["type"].as_str().unwrap_or_default();
        if kind == "mcp" {
            self.mcp_servers.push(mcp_server(tool));
        } else if NATIVE.iter().any(|start| kind.starts_with(start)) {
            self.list.push(native(kind, tool));
        } else if tool.get("input_schema").is_some() {
            self.list.push(tool.clone());
        } else if tool["function"]["name"].is_string() {
            self.list.push(function(tool, context));
        } else {
            let text = format!("tools[{index}] is neither a function with a name nor a known tool");
            return Err(Failure::bad_request(text).param(format!("tools[{index}]")));
        }
        Ok(())
    }

    /// Whether a tool is marked for the prompt cache.
    pub fn is_cached(&self) -> bool {
        self.list
            .iter()
            .any(|tool| tool.get("cache_control").is_some())
    }

    /// Beta features that the tools need; the date in a tool's type is the feature's.
    pub fn betas(&self) -> BTreeSet<String> {
        let mut betas = BTreeSet::new();
        for tool in &self.list {
            let kind = tool["type"].as_str().unwrap_or_default();
            let features = [
                ("computer_", "computer-use"),
                ("code_execution_", "code-execution"),
            ];
            for (start, feature) in features {
                let date = kind.strip_prefix(start).and_then(dashed);
                betas.extend(date.map(|date| format!("{feature}-{date}")));
            }
        }
        if !self.mcp_servers.is_empty() {
            betas.insert("mcp-client-2025-04-04".to_owned());
        }
        betas
    }

    /// Puts the tools into the API's request.
    pub fn write(mut self, out: &mut Map<String, Value>) {
        if let Some(parallel) = self.parallel.filter(|_| !self.list.is_empty()) {
            let choice = self.choice.get_or_insert_with(|| json!({"type": "auto"}));
            if choice["type"] != "none" {
                choice["disable_parallel_tool_use"] = (!parallel).into();
            }
        }
        if !self.list.is_empty() {
            out.insert("tools".to_owned(), self.list.into());
            if let Some(choice) = self.choice {
                out.insert("tool_choice".to_owned(), choice);
            }
        }
        if !self.mcp_servers.is_empty() {
            out.insert("mcp_servers".to_owned(), self.mcp_servers.into());
        }
    }
}

/// A tool nobody calls: a history with tool calls needs one.
pub fn dummy() -> Value {
    json!({"name": "dummy_tool", "description": "This is a dummy tool call",
        "input_schema": {"type": "object", "properties": {}}})
}

/// The API's name of a tool: letters, digits, `_` and `-`, no longer than it may be, and not another's.
pub fn safe_name(name: &str, context: &mut Context) -> String {
    let known = context.names.iter().find(|(_, own)| *own == name);
    if let Some((safe, _)) = known {
        return safe.clone();
    }
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(is_good) {
        return name.to_owned();
    }
    let plain: String = name
        .chars()
        .map(|c| if is_good(c) { c } else { '_' })
        .take(NAME_MAX)
        .collect();
    let safe = distinct(plain, &context.names);
    context.names.insert(safe.clone(), name.to_owned());
    safe
}

fn distinct(plain: String, names: &BTreeMap<String, String>) -> String {
    let mut safe = plain.clone();
    let mut number = 2;
    while safe.is_empty() || names.contains_key(&safe) {
        let suffix = format!("_{number}");
        let kept = plain.len().min(NAME_MAX - suffix.len());
        safe = format!("{}{suffix}", &plain[..kept]);
        number += 1;
    }
    safe
}

fn function(tool: &Value, context: &mut Context) -> Value {
    let function = &tool["function"];
    let name = function["name"].as_str().unwrap_or_default();
    let mut out = Map::new();
    out.insert("name".to_owned(), safe_name(name, context).into());
    if let Some(text) = function["description"].as_str() {
        out.insert("description".to_owned(), text.into());
    }
    out.insert("input_schema".to_owned(), schema(&function["parameters"]));
    let mark = tool
        .get("cache_control")
        .or_else(|| function.get("cache_control"));
    if let Some(mark) = mark {
        out.insert("cache_control".to_owned(), mark.clone());
    }
    Value::Object(out)
}

fn schema(parameters: &Value) -> Value {
    let Some(given) = parameters.as_object().filter(|given| !given.is_empty()) else {
        return json!({"type": "object", "properties": {}});
    };
    let mut schema: Map<String, Value> = given
        .iter()
        .filter(|(key, _)| SCHEMA_KEYS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    // The API takes objects only.
    schema.insert("type".to_owned(), "object".into());
    schema
        .entry("properties")
        .or_insert_with(|| Value::Object(Map::new()));
    Value::Object(schema)
}

/// A tool of Anthropic's own. Clients of OpenAI's shape give its parameters as a function's.
fn native(kind: &str, tool: &Value) -> Value {
    let Some(function) = tool.get("function") else {
        return tool.clone();
    };
    let default = NATIVE.iter().find(|start| kind.starts_with(*start));
    let default = default.map_or("", |start| start.trim_end_matches('_'));
    let name = function["name"].as_str().unwrap_or(default);
    let mut out = Map::new();
    out.insert("type".to_owned(), kind.into());
    out.insert("name".to_owned(), name.into());
    let parameters = function["parameters"].as_object().into_iter().flatten();
    for (key, value) in parameters {
        // LiteLLM's names lack the unit.
        let key = match key.as_str() {
            "display_width" => "display_width_px",
            "display_height" => "display_height_px",
            other => other,
        };
        out.insert(key.to_owned(), value.clone());
    }
    if let Some(mark) = tool.get("cache_control") {
        out.insert("cache_control".to_owned(), mark.clone());
    }
    Value::Object(out)
}

/// OpenAI's MCP tool as one of the API's servers.
fn mcp_server(tool: &Value) -> Value {
    let mut out = Map::new();
    out.insert("type".to_owned(), "url".into());
    out.insert("url".to_owned(), tool["server_url"].clone());
    out.insert("name".to_owned(), tool["server_label"].clone());
    let header = tool["headers"]["Authorization"].as_str();
    let token = header.map(|text| text.strip_prefix("Bearer ").unwrap_or(text));
    if let Some(token) = token.or_else(|| tool["authorization"].as_str()) {
        out.insert("authorization_token".to_owned(), token.into());
    }
    if tool["allowed_tools"].is_array() {
        let allowed = json!({"enabled": true, "allowed_tools": tool["allowed_tools"]});
        out.insert("tool_configuration".to_owned(), allowed);
    }
    Value::Object(out)
}

/// `web_search_options` as the API's search tool.
fn web_search(options: &Value) -> Value {
    let mut out = json!({"type": "web_search_20250305", "name": "web_search"});
    let uses = match options["search_context_size"].as_str() {
        Some("low") => Some(1),
        Some("medium") => Some(5),
        Some("high") => Some(10),
        _ => None,
    };
    if let Some(uses) = uses {
        out["max_uses"] = uses.into();
    }
    if let Some(place) = options["user_location"]["approximate"].as_object() {
        let mut location = Map::new();
        location.insert("type".to_owned(), "approximate".into());
        location.extend(place.clone());
        out["user_location"] = Value::Object(location);
    }
    out
}

fn choice(given: Option<&Value>, context: &mut Context) -> Result<Option<Value>, Failure> {
    let Some(given) = given else {
        return Ok(None);
    };
    let choice = match given {
        Value::String(word) => match word.as_str() {
            "auto" => Some(json!({"type": "auto"})),
            "required" | "any" => Some(json!({"type": "any"})),
            "none" => Some(json!({"type": "none"})),
            _ => None,
        },
        named => match named["function"]["name"].as_str() {
            Some(name) => Some(json!({"type": "tool", "name": safe_name(name, context)})),
            // The API's own form.
            None => named["type"].is_string().then(|| named.clone()),
        },
    };
    choice.map(Some).ok_or_else(|| {
        let text = format!("tool_choice must be auto, required, none or a function, not {given}");
        Failure::bad_request(text).param("tool_choice")
    })
}

/// `20250124` as `2025-01-24`.
fn dashed(date: &str) -> Option<String> {
    let is_date = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
    is_date.then(|| format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_stay_apart() {
        let mut context = Context::default();
        let names = ["get_weather", "files.read", "files/read", "files.read", ""];
        let safe: Vec<String> = names
            .iter()
            .map(|name| safe_name(name, &mut context))
            .collect();
        assert_eq!(
            safe,
            [
                "get_weather",
                "files_read",
                "files_read_2",
                "files_read",
                "_2"
            ]
        );
        for (safe, own) in safe.iter().zip(names) {
            assert_eq!(context.own_name(safe), own);
        }
        let long = safe_name(&"x".repeat(100), &mut context);
        assert_eq!(long.len(), NAME_MAX);
        let longer = safe_name(&"x".repeat(101), &mut context);
        assert!(longer.len() <= NAME_MAX && longer != long);
    }
}
