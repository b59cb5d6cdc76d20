//! Analysis, tokens and putting back, without a host.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers included"
)]

use presidio::analyze::{Entity, Wish, pieces, question, read, sift};
use presidio::config::{Presidio, Settings};
use presidio::restore::{Restorer, Stream};
use presidio::tokens::Tokens;
use proptest::prelude::*;
use serde_json::{Value, json};
use witgate_plugin::guardrail::{StreamGuard, StreamVerdict};

fn presidio(more: Value) -> Presidio {
    let mut settings = json!({"presidio_analyzer_api_base": "http://a", "presidio_anonymizer_api_base": "http://b",
        "presidio_language": "en", "presidio_filter_scope": "both", "presidio_analyze_chunk_size_bytes": 500_000});
    for (name, value) in more.as_object().expect("an object") {
        settings[name] = value.clone();
    }
    let settings: Settings = serde_json::from_value(settings).expect("settings");
    Presidio::of(settings).expect("fine")
}

fn entity(kind: &str, start: usize, end: usize, score: f64) -> Entity {
    Entity {
        entity_type: kind.to_owned(),
        start,
        end,
        score,
        more: serde_json::Map::new(),
    }
}

#[test]
fn the_question_follows_config_request_and_caller() {
    let asked = |presidio: &Presidio, wish: &Wish, extra: &str| -> Value {
        serde_json::from_str(&question(presidio, "hi", wish, extra).expect("a question"))
            .expect("JSON")
    };
    let plain = presidio(json!({}));
    assert_eq!(
        asked(&plain, &Wish::default(), "{}"),
        json!({"text": "hi", "language": "en"})
    );
    let full = presidio(
        json!({"pii_entities_config": {"PERSON": "MASK", "URL": "BLOCK"},
        "presidio_ad_hoc_recognizers": [{"name": "Zip"}], "presidio_language": "de"}),
    );
    assert_eq!(
        asked(&full, &Wish::default(), r#"{"score_threshold": 0.4}"#),
        json!({"score_threshold": 0.4, "text": "hi", "language": "de", "entities": ["PERSON", "URL"],
            "ad_hoc_recognizers": [{"name": "Zip"}]})
    );
    let wish = Wish {
        language: Some("es".to_owned()),
        entities: Some(vec!["ES_NIF".to_owned()]),
    };
    let asked = asked(&full, &wish, "{}");
    assert_eq!(
        (&asked["language"], &asked["entities"]),
        (&json!("es"), &json!(["ES_NIF"]))
    );
}

#[test]
fn long_texts_are_cut_into_overlapping_pieces() {
    let text = "ä".repeat(1_500);
    let pieces = pieces(&text, 1_000);
    assert!(pieces.iter().all(|(_, piece)| piece.len() <= 1_000));
    assert_eq!(
        pieces.iter().map(|(before, _)| *before).collect::<Vec<_>>(),
        [0, 300, 600, 900, 1_200][..pieces.len()]
    );
    let (before, last) = pieces.last().expect("a piece");
    assert_eq!(before + last.chars().count(), 1_500);
    assert_eq!(presidio::analyze::pieces("short", 1_000), [(0, "short")]);
}

#[test]
fn answers_are_read_shifted_and_checked() {
    let answer = br#"[{"entity_type": "PERSON", "start": 1, "end": 3, "score": 0.8, "recognition_metadata": {"a": 1}}]"#;
    let found = read(answer, 10, 13).expect("fine");
    assert_eq!((found[0].start, found[0].end), (11, 13));
    let back = serde_json::to_value(&found[0]).expect("JSON");
    assert_eq!(back["recognition_metadata"], json!({"a": 1}));
    assert!(read(answer, 10, 12).is_err());
    for nonsense in ["", r#"{"error": "the text was Jane"}"#, r#"[{"start": 1}]"#] {
        let trouble = format!("{:?}", read(nonsense.as_bytes(), 0, 9));
        assert!(
            trouble.contains("makes no sense") && !trouble.contains("Jane"),
            "{trouble}"
        );
    }
}

#[test]
fn the_uncertain_the_ignored_and_the_double_are_dropped() {
    let presidio = presidio(
        json!({"presidio_score_thresholds": {"ALL": 0.5, "URL": 0.9}, "presidio_entities_deny_list": ["DATE_TIME"]}),
    );
    let found = vec![
        entity("PERSON", 5, 9, 0.5),
        entity("PERSON", 5, 9, 0.7),
        entity("PERSON", 0, 2, 0.4),
        entity("URL", 20, 22, 0.8),
        entity("DATE_TIME", 30, 32, 1.0),
    ];
    let left = sift(&presidio, found);
    assert_eq!(
        left.iter().map(|e| (e.start, e.end)).collect::<Vec<_>>(),
        [(5, 9)]
    );
}

#[test]
fn the_same_name_has_the_same_token_in_every_message() {
    let texts = ["Jané met Bob", "Bob and Jané, <PERSON_2>?"];
    let mut tokens = Tokens::of(texts.to_vec());
    let first = tokens.mask(
        texts[0],
        &[entity("PERSON", 0, 4, 0.9), entity("PERSON", 9, 12, 0.9)],
    );
    let second = tokens.mask(
        texts[1],
        &[entity("PERSON", 8, 12, 0.9), entity("PERSON", 0, 3, 0.9)],
    );
    // <PERSON_2> is in the request already.
    assert_eq!(first, "<PERSON_1> met <PERSON_3>");
    assert_eq!(second, "<PERSON_3> and <PERSON_1>, <PERSON_2>?");
}

#[test]
fn what_overlaps_becomes_one_token_of_the_surest_kind() {
    let text = "see https://jane.example.com now";
    let mut tokens = Tokens::of(vec![text]);
    let masked = tokens.mask(
        text,
        &[entity("PERSON", 12, 16, 0.4), entity("URL", 4, 28, 0.6)],
    );
    assert_eq!(masked, "see <URL_1> now");
}

fn restorer() -> Vec<(String, String)> {
    let pair = |token: &str, original: &str| (token.to_owned(), original.to_owned());
    vec![
        pair("<PERSON_1>", "Jane \"JD\" Doe"),
        pair("<PERSON_12>", "Bob"),
        pair("<EMAIL_ADDRESS_1>", "jane@example.com"),
        pair("<PERSON_2>", "\"JD\""),
    ]
}

#[test]
fn tokens_are_put_back() {
    let restorer = Restorer::new(restorer());
    for (text, whole) in [
        (
            "Hi <PERSON_12>, a < b, <b>x</b> <PERSON_3>",
            "Hi Bob, a < b, <b>x</b> <PERSON_3>",
        ),
        ("<<PERSON_12>>", "<Bob>"),
        ("<PERSON_1>", "Jane \"JD\" Doe"),
        (
            "{\"name\": \"<PERSON_1>\"}",
            "{\"name\": \"Jane \\\"JD\\\" Doe\"}",
        ),
        ("{\"name\": \"<PERSON_2>\"}", "{\"name\": \"\\\"JD\\\"\"}"),
        ("write to <EMAIL_ADDR", "write to jane@example.com"),
        ("write to <EM", "write to <EM"),
        ("I am <PERSON_1", "I am Jane \"JD\" Doe"),
    ] {
        assert_eq!(restorer.whole(text), whole);
    }
}

proptest! {
    #[test]
    fn a_stream_cut_anywhere_gives_the_same(cuts in proptest::collection::vec(0usize..60, 0..12)) {
        let text = "Dear <PERSON_12>, <PERSON_1> of <EMAIL_ADDRESS_1> and < <x <PERSON";
        let mut places: Vec<usize> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
        places.extend([0, text.len()]);
        places.sort_unstable();
        let mut stream = Stream::new(restorer());
        let mut out = String::new();
        for pair in places.windows(2) {
            let StreamVerdict::Release(text) = stream.push(7, &text[pair[0]..pair[1]]).expect("fine") else {
                panic!("blocked");
            };
            out.push_str(&text);
        }
        let StreamVerdict::Release(rest) = stream.finish(7).expect("fine") else {
            panic!("blocked");
        };
        out.push_str(&rest);
        prop_assert_eq!(out, Restorer::new(restorer()).whole(text));
    }
}
