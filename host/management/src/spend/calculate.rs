//! `/spend/calculate`: what a call would cost, or did.

use bytes::Bytes;
use serde_json::{Value, json};
use witgate_wire::json::Object;
use witgate_wire::prices::{
    BySize, CostContext, ModelPrice, PriceQuery, Prices, SizeClasses, cost,
};
use witgate_wire::tokens::Tokenizer;
use witgate_wire::usage::Usage;

use crate::fields::{Field, Given, Shape, member};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

const FIELDS: &[Field] = &[
    member("model", Shape::Text),
    member("messages", Shape::Objects),
    member("completion_response", Shape::Object),
];

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    method: "POST",
    paths: &["/spend/calculate"],
    who: Who::Anyone,
    what: "Tells what these messages cost, or this answer did.",
    body: &[FIELDS],
    query: &[],
    run: |plane, ask| Box::pin(async move { calculate(plane, &ask) }),
}];

fn calculate(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let given = Given::read(&[FIELDS], &ask.body)?;
    let member = |name: &str| given.members.get(name).filter(|value| !value.is_null());
    let (messages, answer) = (member("messages"), member("completion_response"));
    let of = answer.filter(|_| messages.is_none());
    let model = member("model").or(of.and_then(|answer| answer.get("model")));
    if messages.is_none() && answer.is_none() {
        return Err(Refusal::bad(
            "Bad Request - Either 'messages' or 'completion_response' must be provided",
        ));
    }
    let model = model
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::bad("Missing required field 'model'").param("model"))?;
    let read = json!({"messages": messages, "usage": of.and_then(|answer| answer.get("usage"))});
    let read = Object::scan(&Bytes::from(read.to_string()))
        .map_err(|error| Refusal::bad(error.to_string()))?;
    let usage = match read.given("messages") {
        Some(messages) => {
            let tokens = Tokenizer::for_model(model)
                .count_messages(messages, &plane.settings.load().counting);
            Some(Usage::of(tokens, 0))
        }
        None => read.given("usage").and_then(Usage::from_json),
    };
    let usage = usage.ok_or_else(|| {
        let message = "completion_response has no usage to price";
        Refusal::bad(message).param("completion_response")
    })?;
    let price = known_price(plane, model)?;
    let cost = cost(&usage, &price, &CostContext::default());
    Ok(json!({ "cost": cost.total_f64() }))
}

/// The price of a model that has one.
pub(super) fn known_price(plane: &ControlPlane, model: &str) -> Result<ModelPrice, Refusal> {
    price_of(plane, model).ok_or_else(|| {
        let message = format!(
            "no price is known for model {model:?}: it is neither in the cost map nor a model of the configuration with one"
        );
        Refusal::bad(message).param("model")
    })
}

/// The price of a model of the configuration, with what its deployment states; else of the cost map.
fn price_of(plane: &ControlPlane, model: &str) -> Option<ModelPrice> {
    let settings = plane.settings.load_full();
    let listed = settings.config.get("model_list").and_then(Value::as_array);
    let mut deployments = listed.into_iter().flatten();
    let called = |entry: &&Value| entry.get("model_name").and_then(Value::as_str) == Some(model);
    let Some(deployment) = deployments.find(called) else {
        return mapped(&settings.classes, model, None);
    };
    let part = |name: &str| deployment.get(name).and_then(Value::as_object);
    let text = |part: Option<&serde_json::Map<String, Value>>, name: &str| {
        part.and_then(|part| part.get(name)?.as_str())
            .map(str::to_owned)
    };
    let (params, info) = (part("litellm_params"), part("model_info"));
    let backend = text(params, "model").unwrap_or_else(|| model.to_owned());
    let base = text(info, "base_model").or_else(|| text(params, "base_model"));
    let backend = mapped(&settings.classes, &backend, base.as_deref());
    let stated: Vec<(&String, String)> = [params, info]
        .into_iter()
        .flatten()
        .flatten()
        .map(|(name, value)| (name, value.to_string()))
        .collect();
    let stated = stated
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    ModelPrice::custom(model, stated, backend.as_ref()).or(backend)
}

fn mapped(classes: &SizeClasses, model: &str, base_model: Option<&str>) -> Option<ModelPrice> {
    let prices = Prices::new();
    let found = |provider: &str, model: &str| {
        prices.resolve(&PriceQuery {
            provider,
            model,
            base_model,
            by_size: Some(BySize {
                classes,
                is_embedding: false,
            }),
            ..PriceQuery::default()
        })
    };
    let split = model.split_once('/');
    let by_provider = split.and_then(|(provider, model)| found(provider, model));
    by_provider
        .or_else(|| found("", model))
        .map(|price| (*price).clone())
}
