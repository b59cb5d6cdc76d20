//! Base URLs of upstreams: what is behind them for each operation, and what of them may be shown.

use http::Uri;
use witgate_wire::Endpoint;

/// The URL of an operation behind a base URL, whose query stays behind the path.
///
/// # Errors
/// When the base is not the beginning of an absolute `http` or `https` URL.
pub fn endpoint_url(base: &str, endpoint: Endpoint) -> Result<Uri, String> {
    let (path, query) = match base.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (base, String::new()),
    };
    let url = format!("{}{}{query}", path.trim_end_matches('/'), endpoint.path());
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("api_base is not a URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err("api_base must begin with http:// or https:// and name a host".to_owned()),
    }
}

/// A base URL as it may be shown: without query and credentials.
#[must_use]
pub fn shown_base(base: &str) -> String {
    let path = base.split_once('?').map_or(base, |(path, _)| path);
    let parts = path.split_once("://");
    match parts.and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => path.to_owned(),
    }
}
