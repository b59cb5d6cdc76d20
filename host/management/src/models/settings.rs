//! What a UI asks before it adds a deployment: which providers there are, and what each takes.

use serde_json::{Value, json};

use crate::operation::{Operation, Outcome, Who};
use crate::{ControlPlane, Refusal};

pub(crate) const OPERATIONS: &[Operation] = &[Operation {
    method: "GET",
    paths: &["/model/settings"],
    who: Who::Viewer,
    what: "Lists the providers of deployments with the parameters that each needs.",
    body: &[],
    query: &[],
    run: |plane, _| Box::pin(settings(plane)),
}];

async fn settings(plane: &ControlPlane) -> Outcome {
    let all = plane.configuration()?.providers().await;
    let all = all.map_err(|why| Refusal::error(500, "internal_server_error", why))?;
    let told = all.into_iter().map(|provider| {
        let fields = provider.params.into_iter().map(|param| {
            json!({
                "field_name": param.name, "field_type": param.kind, "field_description": param.doc,
                "field_value": param.default,
            })
        });
        json!({"name": provider.name, "fields": fields.collect::<Vec<Value>>()})
    });
    Ok(Value::Array(told.collect()))
}
