//! Tool definitions, counted as the TypeScript in which OpenAI's models are shown them.

use super::{Counting, Tokenizer};
use crate::json::Raw;

impl Tokenizer {
    /// What `tools` (or the legacy `functions`) and `tool_choice` add to a chat's prompt.
    pub(super) fn count_tools(self, body: Raw<'_>, counting: &Counting) -> u64 {
        let mut count = 0;
        if let Some(text) = rendered(body) {
            count += counting.definitions + self.count_text(&text);
        }
        if let Some(choice) = body.get("tool_choice") {
            if choice.as_str().is_some_and(|c| c == "none") {
                count += 1;
            } else if choice.kind() == "object" {
                let name = choice.get("function").and_then(|f| f.get("name")?.as_str());
                count += counting.choice_object + name.map_or(0, |name| self.count_text(&name));
            }
        }
        count
    }
}

/// Whether the body has tools.
pub(super) fn are_there(body: Raw<'_>) -> bool {
    definitions(body).next().is_some()
}

fn definitions(body: Raw<'_>) -> impl Iterator<Item = Raw<'_>> {
    let tools = body.get("tools").into_iter().flat_map(Raw::elements);
    let tools = tools.filter_map(|tool| tool.get("function"));
    tools.chain(body.get("functions").into_iter().flat_map(Raw::elements))
}

fn rendered(body: Raw<'_>) -> Option<String> {
    let mut lines = vec!["namespace functions {".to_owned(), String::new()];
    for function in definitions(body) {
        if let Some(text) = text(function, "description") {
            lines.push(format!("// {text}"));
        }
        let name = text(function, "name").unwrap_or_default();
        let parameters = function.get("parameters");
        match parameters.filter(|p| properties(*p).next().is_some()) {
            Some(parameters) => {
                lines.push(format!("type {name} = (_: {{"));
                lines.push(object(parameters, 0));
                lines.push("}) => any;".to_owned());
            }
            None => lines.push(format!("type {name} = () => any;")),
        }
        lines.push(String::new());
    }
    if lines.len() == 2 {
        return None;
    }
    lines.push("} // namespace functions".to_owned());
    Some(lines.join("\n"))
}

fn object(schema: Raw<'_>, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let mut lines = Vec::new();
    for (key, property) in properties(schema) {
        if let Some(text) = text(property, "description") {
            lines.push(format!("{pad}// {text}"));
        }
        let mut required = schema.get("required").into_iter().flat_map(Raw::elements);
        let is_required = required.any(|r| r.as_str().is_some_and(|r| r == key));
        let question = if is_required { "" } else { "?" };
        lines.push(format!("{pad}{key}{question}: {},", kind(property, indent)));
    }
    lines.join("\n")
}

fn kind(schema: Raw<'_>, indent: usize) -> String {
    let named = text(schema, "type").unwrap_or_default();
    match named.as_str() {
        "string" | "integer" | "number" => {
            let choices: Vec<String> = schema
                .get("enum")
                .into_iter()
                .flat_map(Raw::elements)
                .map(|c| format!("\"{}\"", c.as_str().unwrap_or(c.text().into())))
                .collect();
            match named.as_str() {
                _ if !choices.is_empty() => choices.join(" | "),
                "string" => "string".to_owned(),
                _ => "number".to_owned(),
            }
        }
        "array" => {
            let items = schema.get("items");
            format!(
                "{}[]",
                items.map_or("any".to_owned(), |items| kind(items, indent))
            )
        }
        "object" => format!("{{\n{}\n}}", object(schema, indent + 2)),
        "boolean" => "boolean".to_owned(),
        "null" => "null".to_owned(),
        _ => "any".to_owned(),
    }
}

fn properties(schema: Raw<'_>) -> impl Iterator<Item = (std::borrow::Cow<'_, str>, Raw<'_>)> {
    schema.get("properties").into_iter().flat_map(Raw::entries)
}

fn text(object: Raw<'_>, key: &str) -> Option<String> {
    object
        .get(key)?
        .as_str()
        .map(|s| s.into_owned())
        .filter(|s| !s.is_empty())
}
