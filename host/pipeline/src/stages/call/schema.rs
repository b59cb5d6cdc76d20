//! Whether a whole answer is what `response_format` asks for (`enable_json_schema_validation`).

use serde_json::Value;
use witgate_routing::ErrorClass;
use witgate_wire::json::Raw;
use witgate_wire::json_schema::{self, Misfit};
use witgate_wire::{Endpoint, RequestView};

use crate::attempt::Failed;
use crate::exchange::{Answer, Exchange};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;

/// The parameter of a request, and the key of the configuration.
const SWITCH: &str = "enable_json_schema_validation";

/// The failure in place of an answer that breaks the schema it was asked for. A schema that cannot be judged is the caller's
/// fault, and no other try could end differently.
pub(super) async fn broken(
    gateway: &Gateway,
    x: &Exchange,
    request: &RequestView,
    answer: &Answer,
) -> Option<Failed> {
    let Answer::Complete(body) = answer else {
        return None;
    };
    let own = request.field(SWITCH).and_then(Raw::as_bool);
    if request.endpoint() != Endpoint::ChatCompletions
        || !own.unwrap_or(x.snapshot.settings.validates_json_schema)
    {
        return None;
    }
    let format = request.field("response_format")?;
    let schema = format.get("json_schema")?.get("schema")?;
    let (schema, body) = (schema.text().to_owned(), body.clone());
    // Both are others' work: on a thread for what takes long.
    let judging = gateway
        .tasks
        .spawn_blocking(move || misfit(&schema, &body))
        .await;
    let misfit =
        judging.unwrap_or_else(|error| Some(Misfit::Unjudged(format!("it ended: {error}"))))?;
    let (class, is_final) = match misfit {
        Misfit::Broken { .. } => (ErrorClass::Api, false),
        Misfit::Unjudged(_) => (ErrorClass::BadRequest, true),
    };
    // Not what the model said: the text goes to logs, which may not see it.
    let message = format!(
        "litellm.JSONSchemaValidationError: model={} returned an invalid response for the schema of response_format: {misfit}",
        x.model
    );
    Some(Failed {
        class,
        retry_after: None,
        failure: Failure::new(Case::Upstream(class), message),
        headers: http::HeaderMap::new(),
        is_final,
    })
}

/// What of an answer's contents does not fit first.
fn misfit(schema: &str, body: &[u8]) -> Option<Misfit> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    let answer: Value = serde_json::from_slice(body).ok()?;
    let choices = answer.get("choices")?.as_array()?;
    // A refusal and a call of a tool have no content, or an empty one.
    let contents = choices
        .iter()
        .filter_map(|choice| choice.get("message")?.get("content")?.as_str())
        .filter(|content| !content.is_empty());
    contents
        .filter_map(|content| match serde_json::from_str::<Value>(content) {
            Ok(content) => json_schema::check(&schema, &content).err(),
            Err(_) => Some(Misfit::Broken {
                at: String::new(),
                how: "is not JSON".to_owned(),
            }),
        })
        .next()
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use serde_json::json;

    use crate::testing::{Script, Setup, chat, completed};

    /// A check that takes long is nobody else's: a call that came after it on the same thread is answered before.
    #[tokio::test]
    async fn others_do_not_wait_for_a_check_that_takes_long() {
        let world = Setup::new()
            .settings(|settings| settings.validates_json_schema = true)
            .build();
        // Each asks the next one twice.
        let mut defs = serde_json::Map::new();
        for n in 0..24 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            defs.insert(format!("d{n}"), json!({"anyOf": [next, next]}));
        }
        defs.insert("d24".to_owned(), json!({"type": "object"}));
        let schema = json!({"$ref": "#/$defs/d0", "$defs": defs});
        let format = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": schema}});
        world.upstream.then(Script::json(200, &completed("[1]")));
        let order = Mutex::new(Vec::new());
        let noted = async |name: &'static str, body| {
            let answer = world.send(chat(body)).await;
            order.lock().push(name);
            answer.status
        };
        let (checked, other) = tokio::join!(
            noted("checked", json!({"response_format": format})),
            noted("other", json!({})),
        );
        assert_eq!((checked, other), (400, 200));
        assert_eq!(*order.lock(), ["other", "checked"]);
    }
}
