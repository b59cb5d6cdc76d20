//! `SPEND_LOGS_URL`: rows of calls are posted to `<url>/spend/update` instead of being kept in the database.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request};
use serde_json::Value;
use witgate_config::Loaded;
use witgate_outbound::{Body, Client, ClientOptions, Egress, collect_limited};
use witgate_store::SendRows;

/// How long the other side may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of its answer is read, so that the connection can be used again.
const ANSWER_MAX: usize = 64 << 10;

/// Who posts; `None` when rows are kept in the database.
///
/// # Errors
/// When the URL is none.
pub fn send_rows(loaded: &Loaded) -> anyhow::Result<Option<SendRows>> {
    let Some(url) = loaded.environment.non_empty("SPEND_LOGS_URL") else {
        return Ok(None);
    };
    let base = url.trim().trim_end_matches('/');
    let uri: http::Uri = format!("{base}/spend/update")
        .parse()
        .ok()
        .filter(|uri: &http::Uri| matches!(uri.scheme_str(), Some("http" | "https")))
        .ok_or_else(|| {
            anyhow::anyhow!("SPEND_LOGS_URL: expected a URL such as https://spend.example.com")
        })?;
    let client = Client::new(ClientOptions::new(Egress::Unrestricted))?;
    Ok(Some(Arc::new(move |rows| {
        let (client, uri) = (client.clone(), uri.clone());
        Box::pin(async move {
            let posted = tokio::time::timeout(TIMEOUT, post(&client, uri, rows)).await;
            let posted = posted.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            posted.map_err(|why| format!("SPEND_LOGS_URL: {why}"))
        })
    })))
}

async fn post(client: &Client, uri: http::Uri, rows: Vec<Value>) -> Result<(), String> {
    let mut request = Request::post(uri)
        .body(Body::from(Value::Array(rows).to_string().into_bytes()))
        .map_err(|error| error.to_string())?;
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    let answer = client
        .send(request)
        .await
        .map_err(|error| error.to_string())?;
    let (head, body) = answer.into_parts();
    // What it says does not matter.
    let _ = collect_limited(body, ANSWER_MAX).await;
    match head.status.as_u16() {
        200 => Ok(()),
        status => Err(format!("it answered {status}, not 200")),
    }
}
