//! The reference page: every key and variable, generated from the definitions.

use std::fmt::Write;

use crate::definition::kind::Kind;
use crate::definition::{Status, definitions, sections, variables};

const HEAD: &str = "# Configuration reference

This page is generated from the definitions of the program: `witgate config reference`.

A value may be written `os.environ/NAME` to be read from a variable. Status: *supported* works;
*planned* is read and checked, and serving with it says so once at start; *accepted* is taken for
LiteLLM's sake and has no effect.
";

/// The reference page as Markdown: one table per section of the file, then the variables.
pub fn reference_markdown() -> String {
    let mut page = HEAD.to_owned();
    for section in sections() {
        let _ = write!(page, "\n## {}\n\n{}\n\n", section.title, section.doc);
        page.push_str(
            "| Key | Type | Default | Status | What it does |\n| --- | --- | --- | --- | --- |\n",
        );
        for definition in definitions().get(section.rows.clone()).unwrap_or_default() {
            let name = definition
                .path
                .strip_prefix(&format!("{}.", section.path))
                .unwrap_or(&definition.path);
            let mut doc = with_reason(&definition.doc, &definition.status);
            if let Some(variable) = &definition.env {
                let _ = write!(doc, " Variable: `{variable}`.");
            }
            row(
                &mut page,
                name,
                &definition.kind,
                &definition.default,
                &definition.status,
                &doc,
            );
        }
    }
    page.push_str("\n## Environment variables\n\nA variable set by `environment_variables` in the file wins over the process.\n");
    let mut group = "";
    for variable in variables() {
        if variable.group != group {
            group = &variable.group;
            let _ = write!(
                page,
                "\n### {group}\n\n| Variable | Type | Default | Status | What it does |\n| --- | --- | --- | --- | --- |\n"
            );
        }
        let doc = with_reason(&variable.doc, &variable.status);
        row(
            &mut page,
            &variable.name,
            &variable.kind,
            &variable.default,
            &variable.status,
            &doc,
        );
    }
    page
}

fn with_reason(doc: &str, status: &Status) -> String {
    match status {
        Status::Accepted(reason) => format!("{doc} No effect: {reason}."),
        _ => doc.to_owned(),
    }
}

fn row(page: &mut String, name: &str, kind: &Kind, default: &str, status: &Status, doc: &str) {
    let default = if default.is_empty() {
        String::new()
    } else {
        format!("`{}`", cell(default))
    };
    let (name, kind, doc) = (cell(name), cell(&in_words(kind)), cell(doc));
    let _ = writeln!(
        page,
        "| `{name}` | {kind} | {default} | {} | {doc} |",
        status.word()
    );
}

/// A type as a reader wants it.
fn in_words(kind: &Kind) -> String {
    match kind {
        Kind::Enum(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Count | Kind::Int => "integer".to_owned(),
        Kind::String | Kind::Text | Kind::Known(_) => "text".to_owned(),
        Kind::Code => "plugin".to_owned(),
        Kind::Names => "list of names".to_owned(),
        Kind::Map | Kind::Section => "mapping".to_owned(),
        Kind::List(item) if matches!(**item, Kind::Map | Kind::Section) => {
            "list of mappings".to_owned()
        }
        Kind::List(item) => format!("list of {}", in_words(item)),
        Kind::MapOf(value) => format!("mapping to {}", in_words(value)),
        Kind::Either(kinds) => kinds.iter().map(in_words).collect::<Vec<_>>().join(" or "),
        other => other.to_string(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_has_its_row() {
        let page = reference_markdown();
        let rows = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, definitions().len() + variables().len());
        assert!(page.contains("| `master_key` | text | `LITELLM_MASTER_KEY` | supported |"));
        assert!(page.contains("| `LITELLM_LICENSE` |"));
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 6, "{line}");
        }
    }
}
