//! Where the pages are that tell of the API, and what they say: `DOCS_*` and their sisters.

use anyhow::bail;
use witgate_config::Env;
use witgate_server::routes::{Docs, DocsOptions};

/// The pages that the environment asks for. A path that is given wins over the switch that turns its page off.
///
/// # Errors
/// A path that is none.
pub fn docs(env: &Env, root_path: &str) -> anyhow::Result<Docs> {
    let default = DocsOptions::default();
    let text = |name: &str| env.non_empty(name).map(|value| value.trim().to_owned());
    let page = |path: &str, off: &str, default: Option<String>| match text(path) {
        Some(path) if path.starts_with('/') => Ok(Some(path)),
        Some(other) => {
            bail!("{path} must be a path that begins with /, such as /docs, not {other:?}")
        }
        None => Ok(default.filter(|_| env.flag(off) != Some(true))),
    };
    let options = DocsOptions {
        swagger: page("DOCS_URL", "NO_DOCS", default.swagger)?,
        redoc: page("REDOC_URL", "NO_REDOC", default.redoc)?,
        document: env.flag("NO_OPENAPI") != Some(true),
        redirect: text("ROOT_REDIRECT_URL"),
        title: text("DOCS_TITLE").unwrap_or(default.title),
        description: text("DOCS_DESCRIPTION"),
        filtered: env.flag("DOCS_FILTERED") == Some(true),
    };
    Ok(Docs::new(options, root_path))
}
