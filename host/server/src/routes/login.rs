//! Signing in: a browser's request to the desk, and its answer back.

use http::{HeaderValue, StatusCode, header};
use witgate_login::{Answer, Desk, Step, Visit};
use witgate_pipeline::snapshot::Access;
use witgate_pipeline::{Reply, detail};

use crate::Request;

/// Bytes of a form with name and password.
const FORM_MAX: u64 = 16 << 10;

/// Answers one of the routes of signing in. `path` is without the root path.
pub(super) async fn login(
    desk: &Desk,
    access: &Access,
    step: Step,
    path: String,
    request: Request,
) -> Reply {
    let (head, body) = request.into_parts();
    let scheme = if body.is_tls() { "https" } else { "http" };
    let client_ip = access
        .caller_ip(body.peer().ip(), &head.headers)
        .to_string();
    let form = match step {
        Step::Password | Step::PasswordJson | Step::TakeInvitation => {
            body.limited(FORM_MAX).collect().await
        }
        _ => Ok(bytes::Bytes::new()),
    };
    let Ok(form) = form else {
        return detail(StatusCode::BAD_REQUEST, "The form cannot be read.");
    };
    let host = head.headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter();
    let visit = Visit {
        step,
        method: head.method.as_str().to_owned(),
        path,
        query: head.uri.query().map(str::to_owned),
        headers: headers
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect(),
        body: form.to_vec(),
        origin: format!("{scheme}://{}", host.or(authority).unwrap_or("localhost")),
        client_ip: Some(client_ip),
    };
    reply(desk.answer(&visit).await)
}

fn reply(answer: Answer) -> Reply {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = Reply::full(status, answer.media_type, answer.body);
    for (name, value) in answer.headers {
        // What plugins say was checked for control characters; a header that cannot be is left out.
        if let Ok(value) = HeaderValue::try_from(value) {
            reply.headers.append(name, value);
        }
    }
    reply
}
