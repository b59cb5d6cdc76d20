//! `/global/predict/spend/logs`: what a month will cost when its days go on as they began; `/cost/estimate`: what calls would.

use std::collections::BTreeMap;

use jiff::Span;
use jiff::civil::Date;
use serde_json::{Value, json};
use witgate_wire::prices::{Adjustments, CostContext, cost};
use witgate_wire::usage::Usage;

use super::calculate::known_price;
use super::money;
use crate::fields::{Field, Given, Shape, member};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

const DATA: &[Field] = &[member("data", Shape::Objects)];
const ESTIMATE: &[Field] = &[
    member("model", Shape::Text),
    member("input_tokens", Shape::Whole),
    member("output_tokens", Shape::Whole),
    member("num_requests_per_day", Shape::Whole),
    member("num_requests_per_month", Shape::Whole),
];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/global/predict/spend/logs"],
        who: Who::Viewer,
        what: "Predicts the rest of the month of the last of these days.",
        body: &[DATA],
        query: &[],
        run: |_, ask| Box::pin(async move { predict(&ask) }),
    },
    Operation {
        method: "POST",
        paths: &["/cost/estimate"],
        who: Who::Viewer,
        what: "Tells what calls of so many tokens would cost, one of them, a day's and a month's.",
        body: &[ESTIMATE],
        query: &[],
        run: |plane, ask| Box::pin(async move { estimate(plane, &ask) }),
    },
];

/// Days that are read; a chart has no more.
const MOST: usize = 10_000;

/// Every day to come of the month of the last day costs what that month's days cost so far, on average.
fn predict(ask: &Ask) -> Outcome {
    let given = Given::read(&[DATA], &ask.body)?;
    let data = given.members.get("data").and_then(Value::as_array);
    let mut days: BTreeMap<Date, f64> = BTreeMap::new();
    for entry in data.into_iter().flatten().take(MOST) {
        let day = entry.get("date").and_then(Value::as_str);
        let day = day.and_then(|day| day.get(..10)?.parse::<Date>().ok());
        let spend = entry.get("spend").and_then(Value::as_f64);
        let (Some(day), Some(spend)) = (day, spend) else {
            let message = "an item of data is {\"date\": \"YYYY-MM-DD\", \"spend\": US dollars}";
            return Err(Refusal::bad(message).param("data"));
        };
        *days.entry(day).or_default() += spend;
    }
    let Some(last) = days.keys().next_back().copied() else {
        return Err(Refusal::missing("data"));
    };
    let month = days.range(last.first_of_month()..=last);
    let so_far: f64 = month.map(|(_, spend)| spend).sum();
    let a_day = so_far / f64::from(last.day().max(1));
    let mut told = Vec::new();
    let mut day = last;
    while let Ok(next) = day.checked_add(Span::new().days(1))
        && next <= last.last_of_month()
    {
        told.push(json!({"date": next.to_string(), "predicted_spend": money(a_day)}));
        day = next;
    }
    let whole = so_far + a_day * told.len() as f64;
    let name = last.strftime("%B %Y");
    Ok(json!({
        "response": told,
        "predicted_spend": format!("Predicted Spend for {name}, ${whole:.2}"),
    }))
}

fn estimate(plane: &ControlPlane, ask: &Ask) -> Outcome {
    let given = Given::read(&[ESTIMATE], &ask.body)?;
    let model = ask.required_text("model")?;
    let whole = |name: &str| given.members.get(name).and_then(Value::as_u64);
    let tokens = |name: &str| whole(name).ok_or_else(|| Refusal::missing(name));
    let (input, output) = (tokens("input_tokens")?, tokens("output_tokens")?);
    let price = known_price(plane, model)?;
    let settings = plane.settings.load_full();
    let key = |name: &str| settings.litellm(name);
    let adjustments = Adjustments::read(key("cost_discount_config"), key("cost_margin_config"));
    let of =
        |input: u64, output: u64| cost(&Usage::of(input, output), &price, &CostContext::default());
    let mut both = of(input, output);
    let plain = both.total_f64();
    if let Ok(adjustments) = adjustments {
        adjustments.apply(&price.provider, &mut both);
    }
    // What a call costs beside its tokens is told with its input.
    let out = of(0, output).total_f64() - of(0, 0).total_f64();
    let total = both.total_f64();
    let parts = [total, plain - out, out, total - plain];
    let times =
        |count: Option<u64>| parts.map(|part| count.map(|count| money(part * count as f64)));
    let (day, month) = (
        whole("num_requests_per_day"),
        whole("num_requests_per_month"),
    );
    let mut told = json!({
        "model": model, "input_tokens": input, "output_tokens": output, "num_requests_per_day": day,
        "num_requests_per_month": month, "provider": price.provider,
        "input_cost_per_token": money(of(1_000, 0).total_f64() / 1_000.0),
        "output_cost_per_token": money(of(0, 1_000).total_f64() / 1_000.0),
    });
    for (prefix, suffix, values) in [
        ("", "_per_request", times(Some(1))),
        ("daily_", "", times(day)),
        ("monthly_", "", times(month)),
    ] {
        let names = ["cost", "input_cost", "output_cost", "margin_cost"];
        for (name, value) in names.into_iter().zip(values) {
            told[format!("{prefix}{name}{suffix}")] = value.into();
        }
    }
    Ok(told)
}
