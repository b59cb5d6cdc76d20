//! Contents: OpenAI's parts as Anthropic's blocks.

use serde_json::{Map, Value, json};
use witgate_plugin::openai::{DataUrl, parts_of};
use witgate_plugin::provider::Failure;

/// The blocks of a message's content, with its mark for the prompt cache on the last one.
pub fn blocks(message: &Value) -> Result<Vec<Value>, Failure> {
    let parts = parts_of(&message["content"]);
    let mut blocks = parts.iter().map(block).collect::<Result<Vec<_>, _>>()?;
    mark_last(&mut blocks, message);
    Ok(blocks)
}

/// Puts the mark of `from` on the last block.
pub fn mark_last(blocks: &mut [Value], from: &Value) {
    if let Some(last) = blocks.last_mut() {
        *last = cached(last.take(), from);
    }
}

/// The block with the mark of `from`, if it has one.
pub fn cached(mut block: Value, from: &Value) -> Value {
    if let (Some(members), Some(mark)) = (block.as_object_mut(), from.get("cache_control")) {
        members.insert("cache_control".to_owned(), mark.clone());
    }
    block
}

/// The beta feature that a block needs.
pub fn beta(block: &Value) -> Option<&'static str> {
    let source = &block["source"];
    match (source["type"].as_str()?, source["media_type"].as_str()) {
        ("file", _) => Some("files-api-2025-04-14"),
        ("base64", Some("application/pdf")) => Some("pdfs-2024-09-25"),
        ("url", _) if block["type"] == "document" => Some("pdfs-2024-09-25"),
        _ => None,
    }
}

fn block(part: &Value) -> Result<Value, Failure> {
    let block = match part["type"].as_str().unwrap_or_default() {
        "text" => json!({"type": "text", "text": part["text"]}),
        "image_url" => image(&part["image_url"])?,
        "file" => file(&part["file"])?,
        // The API's own blocks.
        "image"
        | "document"
        | "thinking"
        | "redacted_thinking"
        | "tool_use"
        | "tool_result"
        | "server_tool_use"
        | "web_search_tool_result"
        | "search_result"
        | "container_upload" => {
            return Ok(part.clone());
        }
        other => {
            return Err(Failure::bad_request(format!(
                "content of type {other:?} is not supported; text, image_url and file are"
            )));
        }
    };
    Ok(cached(block, part))
}

fn image(image: &Value) -> Result<Value, Failure> {
    let url = image.as_str().or_else(|| image["url"].as_str());
    let url = url.ok_or_else(|| Failure::bad_request("image_url has no url"))?;
    let media_type = image["format"].as_str();
    if !url.starts_with("data:") {
        return Ok(json!({"type": "image", "source": {"type": "url", "url": url}}));
    }
    let data = DataUrl::parse(url).ok_or_else(not_base64)?;
    Ok(base64(media_type.unwrap_or(data.media_type), data.data))
}

fn not_base64() -> Failure {
    Failure::bad_request(
        "a data URL must be data:TYPE;base64,DATA, such as data:image/png;base64,…",
    )
}

/// An image, or a document when it is one.
fn base64(media_type: &str, data: &str) -> Value {
    let kind = if media_type.starts_with("image/") {
        "image"
    } else {
        "document"
    };
    json!({"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}})
}

/// A file: its data, its address, or the id of one that was uploaded before.
fn file(file: &Value) -> Result<Value, Failure> {
    let format = file["format"].as_str();
    let text = |key: &str| file[key].as_str().filter(|text| !text.is_empty());
    let block = match text("file_data").or_else(|| text("file_id")) {
        Some(url) if url.starts_with("data:") => {
            let data = DataUrl::parse(url).ok_or_else(not_base64)?;
            base64(format.unwrap_or(data.media_type), data.data)
        }
        Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
            json!({"type": kind(format), "source": {"type": "url", "url": url}})
        }
        Some(id) if text("file_data").is_none() => {
            json!({"type": kind(format), "source": {"type": "file", "file_id": id}})
        }
        Some(_) => return Err(not_base64()),
        None => {
            let text = "a file needs file_data (a data URL or an address) or file_id";
            return Err(Failure::bad_request(text));
        }
    };
    Ok(titled(block, text("filename")))
}

fn kind(format: Option<&str>) -> &'static str {
    match format {
        Some(format) if format.starts_with("image/") => "image",
        _ => "document",
    }
}

/// Documents have a title.
fn titled(mut block: Value, name: Option<&str>) -> Value {
    let members: Option<&mut Map<String, Value>> = block.as_object_mut();
    if let (Some(members), Some(name)) = (members, name)
        && members.get("type").is_some_and(|kind| kind == "document")
    {
        members.insert("title".to_owned(), name.into());
    }
    block
}
