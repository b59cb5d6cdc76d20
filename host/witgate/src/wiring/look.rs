//! How the UI looks: `litellm_settings.ui_theme_config`, `UI_LOGO_PATH`, `LITELLM_FAVICON_URL`.
//!
//! A file is read when the configuration is, and only the operator names one. What cannot be shown is told, and Witgate's own
//! picture is shown: nobody is kept out because of a logo.

use std::io::Read;

use bytes::Bytes;
use serde_json::{Map, Value};
use witgate_config::Loaded;
use witgate_management::{Picture, is_page};

/// Bytes of a picture.
const MOST: u64 = 1 << 20;

/// How the kinds of pictures begin.
const KINDS: [(&[u8], &str); 7] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\0\0\x01\0", "image/x-icon"),
    (b"<svg", "image/svg+xml"),
    (b"<?xml", "image/svg+xml"),
];

/// `ui_theme_config`
pub(super) fn theme(loaded: &Loaded) -> Map<String, Value> {
    let litellm = loaded.config.raw.get("litellm_settings");
    let theme = litellm.and_then(|litellm| litellm.get("ui_theme_config")?.as_object());
    theme.cloned().unwrap_or_default()
}

/// The logo.
pub(super) fn logo(loaded: &Loaded) -> Picture {
    if let Some(picture) = at(loaded, "logo_url") {
        return picture;
    }
    let Some(text) = loaded.environment.non_empty("UI_LOGO_PATH") else {
        return Picture::Own;
    };
    if is_page(text) {
        return Picture::At(text.to_owned());
    }
    match file(text) {
        Ok(picture) => picture,
        Err(why) => {
            tracing::warn!("UI_LOGO_PATH: {text}: {why}; Witgate's own logo is shown");
            Picture::Own
        }
    }
}

/// The small icon.
pub(super) fn favicon(loaded: &Loaded) -> Picture {
    if let Some(picture) = at(loaded, "favicon_url") {
        return picture;
    }
    match loaded.environment.non_empty("LITELLM_FAVICON_URL") {
        Some(url) if is_page(url) => Picture::At(url.to_owned()),
        Some(_) => {
            tracing::warn!(
                "LITELLM_FAVICON_URL is no http or https URL; Witgate's own icon is shown"
            );
            Picture::Own
        }
        None => Picture::Own,
    }
}

/// An address of the theme.
fn at(loaded: &Loaded, name: &str) -> Option<Picture> {
    let theme = theme(loaded);
    let url = theme.get(name)?.as_str().filter(|url| !url.is_empty())?;
    if is_page(url) {
        return Some(Picture::At(url.to_owned()));
    }
    tracing::warn!(
        "litellm_settings.ui_theme_config.{name} is no http or https URL, and has no effect; a file is said by UI_LOGO_PATH"
    );
    None
}

fn file(path: &str) -> Result<Picture, String> {
    let told = |error: std::io::Error| error.to_string();
    let meta = std::fs::metadata(path).map_err(told)?;
    // A pipe or a device would not end.
    if !meta.is_file() {
        return Err("is no file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(told)?;
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > MOST {
        return Err(format!("is larger than {MOST} bytes"));
    }
    let media = kind(&bytes).ok_or("is no PNG, JPEG, GIF, WebP, ICO or SVG")?;
    Ok(Picture::File(media, Bytes::from(bytes)))
}

fn kind(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    let text = bytes.trim_ascii_start();
    let found = KINDS
        .iter()
        .find(|(begins, _)| bytes.starts_with(begins) || text.starts_with(begins))?;
    let is_xml = found.0.starts_with(b"<?xml");
    let has_svg = || bytes.windows(4).any(|part| part == b"<svg");
    (!is_xml || has_svg()).then_some(found.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_how_they_begin() {
        for (bytes, media) in [
            (&b"\x89PNG\r\n\x1a\nrest"[..], Some("image/png")),
            (b"\n <svg xmlns='x'/>", Some("image/svg+xml")),
            (b"<?xml version='1.0'?><svg/>", Some("image/svg+xml")),
            (b"<?xml version='1.0'?><html/>", None),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"root:x:0:0:root:/root:/bin/sh", None),
            (b"", None),
        ] {
            assert_eq!(kind(bytes), media, "{bytes:?}");
        }
        assert!(file("/dev/zero").is_err());
    }
}
