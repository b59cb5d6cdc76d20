//! What Langfuse answers, and what becomes of the events.

use langfuse::encode::Item;
use langfuse::outcome::answer;
use serde_json::{Value, json};
use witgate_plugin::delivery::Fates;
use witgate_plugin::http::Response;
use witgate_plugin::log_sink::Outcome;

/// The outcome of a batch of three events with two items each (`0-a`, `0-b`, `1-a` …), all in one request.
fn outcome(status: u16, headers: &[(&str, &str)], body: &Value) -> Outcome {
    let items: Vec<(usize, Item)> = (0..3)
        .flat_map(|event| {
            ["a", "b"].map(|part| {
                (
                    event,
                    Item {
                        id: format!("{event}-{part}"),
                        json: String::new(),
                    },
                )
            })
        })
        .collect();
    let refs: Vec<(usize, &Item)> = items.iter().map(|(event, item)| (*event, item)).collect();
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let mut fates = Fates::new(3);
    let response = Response::new(status, headers, body.to_string().into_bytes());
    answer(&mut fates, &response, &refs);
    fates.outcome()
}

fn errors(list: &[(&str, u16)]) -> Value {
    let errors: Vec<Value> = list
        .iter()
        .map(|(id, status)| json!({ "id": id, "status": status, "message": "bad", "error": "why" }))
        .collect();
    json!({ "successes": [], "errors": errors })
}

#[test]
fn without_errors_all_is_delivered() {
    assert!(matches!(
        outcome(207, &[], &errors(&[])),
        Outcome::Delivered
    ));
    assert!(matches!(
        outcome(200, &[], &json!("ok")),
        Outcome::Delivered
    ));
}

#[test]
fn an_input_error_rejects_its_event_and_a_server_error_repeats_it() {
    let Outcome::Partial(partial) = outcome(
        207,
        &[],
        &errors(&[("0-b", 400), ("2-a", 500), ("unknown", 400)]),
    ) else {
        panic!("partial")
    };
    assert_eq!(partial.retry, [2]);
    let rejected: Vec<(u32, &str)> = partial
        .rejected
        .iter()
        .map(|r| (r.index, r.reason.as_str()))
        .collect();
    assert_eq!(rejected, [(0, "status 400: bad \"why\"")]);
}

#[test]
fn an_event_with_both_errors_is_repeated() {
    let Outcome::Partial(partial) = outcome(207, &[], &errors(&[("1-a", 429), ("1-b", 400)]))
    else {
        panic!("partial")
    };
    assert_eq!((partial.retry, partial.rejected.len()), (vec![1], 0));
}

#[test]
fn trouble_repeats_the_whole_batch_when_the_server_says() {
    for status in [408, 429, 500, 503] {
        let Outcome::Retry(again) = outcome(status, &[("retry-after", "3")], &json!("later"))
        else {
            panic!("retry")
        };
        assert_eq!(again.after_ms, Some(3000));
        assert!(
            again.reason.contains(&status.to_string()),
            "{}",
            again.reason
        );
    }
}

#[test]
fn a_refusal_is_final() {
    let Outcome::Partial(partial) = outcome(401, &[], &json!({"message": "no"})) else {
        panic!("rejected")
    };
    assert_eq!(partial.rejected.len(), 3);
    assert!(partial.retry.is_empty());
}
