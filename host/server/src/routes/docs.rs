//! What the gateway tells of itself: the OpenAPI document, Swagger UI and ReDoc, all from the binary.
//!
//! Nobody has to sign in for these pages. They load nothing from elsewhere, and their policy (CSP) allows nothing else. An
//! API route wins over a page that is put on its path.

mod assets;
mod document;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use witgate_login::escape;
use witgate_pipeline::Reply;
use witgate_pipeline::passage::Passages;

use super::info;

/// Where the document is.
const DOCUMENT: &str = "/openapi.json";
/// Where the files of the pages are.
const ASSETS: &str = "/docs-assets/";

/// What `DOCS_*` and their sisters say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocsOptions {
    /// Path of the Swagger page (`DOCS_URL`, `NO_DOCS`).
    pub swagger: Option<String>,
    /// Path of the ReDoc page (`REDOC_URL`, `NO_REDOC`).
    pub redoc: Option<String>,
    /// Whether the document is served (`NO_OPENAPI`); the pages are empty without it.
    pub document: bool,
    /// Where `/` leads when no page is there (`ROOT_REDIRECT_URL`).
    pub redirect: Option<String>,
    /// `DOCS_TITLE`
    pub title: String,
    /// `DOCS_DESCRIPTION`
    pub description: Option<String>,
    /// Only routes of models (`DOCS_FILTERED`).
    pub filtered: bool,
}

impl Default for DocsOptions {
    fn default() -> Self {
        Self {
            swagger: Some("/".to_owned()),
            redoc: Some("/redoc".to_owned()),
            document: true,
            redirect: None,
            title: "LiteLLM API".to_owned(),
            description: None,
            filtered: false,
        }
    }
}

/// The pages, made once.
#[derive(Debug, Clone)]
pub struct Docs {
    options: DocsOptions,
    root: String,
    /// The document's text up to its last member, `paths`, and the operations of the paths.
    document: (String, String),
}

impl Docs {
    /// The pages of a gateway below this root path.
    #[must_use]
    pub fn new(options: DocsOptions, root: &str) -> Self {
        Self {
            document: document::text(&options, root),
            root: root.to_owned(),
            options,
        }
    }

    /// Paths of the pages, for `GET /routes`.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        let document = self.options.document.then_some(DOCUMENT);
        let pages = [&self.options.swagger, &self.options.redoc];
        document
            .into_iter()
            .chain(pages.into_iter().flatten().map(String::as_str))
    }

    /// The page of a path without the root path, when there is one.
    pub(super) fn page(
        &self,
        path: &str,
        headers: &HeaderMap,
        passages: &Passages,
    ) -> Option<Reply> {
        let is = |page: &Option<String>| page.as_deref() == Some(path);
        let reply = match path {
            DOCUMENT if self.options.document => {
                let (head, paths) = &self.document;
                let more = match self.options.filtered {
                    true => String::new(),
                    false => document::passages(passages),
                };
                Reply::json(StatusCode::OK, format!("{head}{paths}{more}}}}}"))
            }
            _ if is(&self.options.swagger) => self.html(SWAGGER),
            _ if is(&self.options.redoc) => self.html(REDOC),
            "/" => self.root_page(),
            _ => return assets::file(path.strip_prefix(ASSETS)?, headers),
        };
        Some(reply)
    }

    fn root_page(&self) -> Reply {
        let to = self.options.redirect.as_deref();
        let Some(to) = to.and_then(|to| HeaderValue::try_from(to).ok()) else {
            return info::json(&json!("LiteLLM: RUNNING"));
        };
        let mut reply = Reply::full(StatusCode::TEMPORARY_REDIRECT, "text/plain", "");
        reply.headers.insert(header::LOCATION, to);
        reply
    }

    fn html(&self, page: &str) -> Reply {
        let title = escape(&self.options.title);
        let html = page
            .replace("{title}", &title)
            .replace("{root}", &escape(&self.root));
        let mut reply = Reply::full(StatusCode::OK, "text/html; charset=utf-8", html);
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            reply.headers.insert(name, HeaderValue::from_static(value));
        }
        reply
    }
}

/// Scripts are ours alone. Both pages style their elements one by one, draw small pictures from data and ReDoc searches in
/// a worker that it makes itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SWAGGER: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Swagger UI</title>
<link rel="stylesheet" href="{root}/docs-assets/swagger-ui.css">
</head>
<body>
<div id="docs" data-document="{root}/openapi.json"></div>
<script src="{root}/docs-assets/swagger-ui-bundle.js"></script>
<script src="{root}/docs-assets/start.js"></script>
</body>
</html>
"#;

const REDOC: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - ReDoc</title>
</head>
<body>
<div id="docs" data-document="{root}/openapi.json"></div>
<script src="{root}/docs-assets/redoc.standalone.js"></script>
<script src="{root}/docs-assets/start.js"></script>
</body>
</html>
"#;

#[cfg(test)]
mod tests {
    use witgate_pipeline::ReplyBody;

    use super::*;

    fn page(docs: &Docs, path: &str) -> Option<(u16, HeaderMap, String)> {
        let reply = docs.page(path, &HeaderMap::new(), &Passages::default())?;
        let ReplyBody::Full(body) = reply.body else {
            panic!("a stream");
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        Some((reply.status.as_u16(), reply.headers, text))
    }

    #[test]
    fn pages_are_where_the_variables_say() {
        let docs = Docs::new(DocsOptions::default(), "/gw");
        let (status, headers, html) = page(&docs, "/").unwrap();
        assert!(status == 200 && html.contains(r#"src="/gw/docs-assets/swagger-ui-bundle.js""#));
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(
            page(&docs, "/redoc")
                .unwrap()
                .2
                .contains("redoc.standalone.js")
        );
        assert!(page(&docs, "/swagger").is_none());
        let moved = DocsOptions {
            swagger: Some("/swagger".to_owned()),
            redoc: None,
            document: false,
            redirect: Some("/ui/?a=b".to_owned()),
            title: "<b>".to_owned(),
            ..DocsOptions::default()
        };
        let docs = Docs::new(moved.clone(), "");
        assert!(page(&docs, "/redoc").is_none() && page(&docs, DOCUMENT).is_none());
        assert!(
            page(&docs, "/swagger")
                .unwrap()
                .2
                .contains("<title>&lt;b&gt; - Swagger UI")
        );
        let (status, headers, _) = page(&docs, "/").unwrap();
        assert_eq!(
            (status, headers["location"].to_str().unwrap()),
            (307, "/ui/?a=b")
        );
        let none = DocsOptions {
            swagger: None,
            redirect: None,
            ..moved
        };
        assert_eq!(
            page(&Docs::new(none, ""), "/").unwrap().2,
            "\"LiteLLM: RUNNING\""
        );
    }
}
