//! `POST /guardrails/apply_guardrail`: one guardrail on one text. For whoever may make calls.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use witgate_pipeline::{Asking, Gateway, GuardedText, Principal, Reply, apply_guardrail, rescue};
use witgate_wire::errors::{CompatErrors, ErrorBody};

use super::{bodies, info};
use crate::Request;

/// Has the guardrail judge the text.
pub(super) async fn apply(gateway: &Gateway, request: Request, principal: Arc<Principal>) -> Reply {
    let settings = &gateway.snapshot.load_full().settings;
    let (headers, body) = match bodies::whole(gateway, request).await {
        Ok(read) => read,
        Err(failure) => return rescue(&failure, settings.compat),
    };
    let wanted = serde_json::from_slice::<GuardedText>(&body).ok();
    let Some(wanted) = wanted.filter(|wanted| !wanted.guardrail_name.is_empty()) else {
        let text = "the body is {\"guardrail_name\": NAME, \"text\": TEXT} and may have language, entities and input_type";
        return refused(400, "guardrail_name", text, settings.compat);
    };
    let asking = Asking {
        principal,
        headers: headers.into(),
    };
    match apply_guardrail(gateway, asking, &wanted).await {
        Ok(Some(text)) => info::json(&json!({ "response_text": text })),
        Ok(None) => {
            let name = &wanted.guardrail_name;
            let text = format!(
                "Guardrail '{name}' not found. Please ensure the guardrail is configured in your LiteLLM proxy."
            );
            refused(404, "guardrail_name", &text, settings.compat)
        }
        Err(failure) => rescue(&failure, settings.compat),
    }
}

fn refused(status: u16, param: &str, text: &str, compat: CompatErrors) -> Reply {
    let body = ErrorBody::new(status, text)
        .kind("invalid_request_error")
        .param(param);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    Reply::json(status, body.openai(compat))
}
