//! How the UI looks: `/get/ui_theme_settings`, `/get_image` and their sisters, for everybody: a page has a logo before anybody
//! has signed in.
//!
//! A picture that is somewhere else is never fetched: browsers are sent there.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use witgate_management::{Picture, UiSettings};
use witgate_pipeline::Reply;

use super::info;

/// What is asked of the look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookRoute {
    /// `GET /get/ui_theme_settings`
    Theme,
    /// `GET /get_logo_url`
    LogoUrl,
    /// `GET /get_image`
    Logo,
    /// `GET /get_favicon`
    Favicon,
}

const OWN: &str = include_str!("look/logo.svg");

/// What a picture may do where it is opened by itself: show.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Answers it.
pub(super) fn answer(ui: &UiSettings, route: LookRoute) -> Reply {
    match route {
        LookRoute::Theme => theme(ui),
        LookRoute::LogoUrl => {
            let url = match &ui.logo {
                Picture::At(url) => url.as_str(),
                Picture::Own | Picture::File(..) => "",
            };
            info::json(&json!({ "logo_url": url }))
        }
        LookRoute::Logo => picture(&ui.logo),
        LookRoute::Favicon => picture(&ui.favicon),
    }
}

fn theme(ui: &UiSettings) -> Reply {
    let value = |name: &str| ui.theme.get(name).cloned().unwrap_or(Value::Null);
    let told = |what: &str| json!({"type": "string", "description": what});
    info::json(&json!({
        "values": {"logo_url": value("logo_url"), "favicon_url": value("favicon_url")},
        "field_schema": {"description": "Look of the UI", "properties": {
            "logo_url": told("Where browsers find the logo (http or https)"),
            "favicon_url": told("Where browsers find the small icon (http or https)"),
        }},
    }))
}

fn picture(picture: &Picture) -> Reply {
    let mut reply = match picture {
        Picture::Own => Reply::full(StatusCode::OK, "image/svg+xml", OWN),
        Picture::File(media, bytes) => Reply::full(StatusCode::OK, media, bytes.clone()),
        Picture::At(url) => {
            let mut reply = Reply::full(StatusCode::TEMPORARY_REDIRECT, "text/plain", "");
            if let Ok(url) = HeaderValue::from_str(url) {
                reply.headers.insert(header::LOCATION, url);
            }
            reply
        }
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        reply.headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}
