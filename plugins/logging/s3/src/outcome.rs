//! What the store answers, and what becomes of the event. Pure.

use witgate_plugin::Error;
use witgate_plugin::delivery::Fates;
use witgate_plugin::http::{HttpError, Response};

/// Codes that say something about now, whatever the status: another try may do.
const TEMPORARY: [&str; 6] = [
    "ExpiredToken",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SlowDown",
    "TooManyRequests",
];

/// Reads the answer to the event's request. The text says why the rest of the batch should wait, if it should.
pub fn read(
    fates: &mut Fates,
    event: usize,
    written: Result<Response, HttpError>,
) -> Result<Option<String>, Error> {
    let response = match written {
        Ok(response) => response,
        Err(error) => {
            let wait = match Error::from(error.clone()) {
                Error::Unavailable(reason) => Some(reason),
                _ => None,
            };
            fates.exchange(Err(error), [event])?;
            return Ok(wait);
        }
    };
    if response.is_success() {
        return Ok(None);
    }
    let text = response.text();
    let code = element(&text, "Code").unwrap_or_default();
    let reason = match code {
        "" => response.summary(),
        code => format!(
            "status {}: {code}: {}",
            response.status(),
            element(&text, "Message").unwrap_or_default()
        ),
    };
    // 403: who may write is put right in the store, often minutes after it is missed.
    if response.is_worth_a_retry() || response.status() == 403 || TEMPORARY.contains(&code) {
        fates.retry_after(response.retry_after_ms());
        fates.retry(event, reason.as_str());
        return Ok(Some(reason));
    }
    fates.reject(event, reason);
    Ok(None)
}

/// The text of the first element of this name in the store's XML.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}
