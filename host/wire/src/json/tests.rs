//! Odd but valid JSON, generated as text, and what edits do to it, with `serde_json` as oracle.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn scan(text: &str) -> Result<Object, ScanError> {
    Object::scan(&Bytes::copy_from_slice(text.as_bytes()))
}

fn edited(text: &str, make: impl FnOnce(&mut Edits)) -> Result<String, EditError> {
    let mut edits = Edits::new();
    make(&mut edits);
    let out = scan(text).unwrap().apply(&edits)?;
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

#[test]
fn what_is_json_and_what_is_not() {
    let valid = [
        "{}",
        " {\t}\r\n",
        r#"{"a":1}"#,
        r#"{"a":-0.0e+10}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"":[]}"#,
        r#"{"a":[[],{},[1, 2 ,3]]}"#,
        r#"{"a":12345678901234567890123456789}"#,
        "{\"a\":\"\u{7f}é\"}",
        r#"{"a":true,"a":false,"a":null}"#,
    ];
    for text in valid {
        scan(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    let broken = [
        ("", 0),
        ("{", 1),
        (r#"{"a"}"#, 4),
        (r#"{"a":}"#, 5),
        (r#"{"a":1,}"#, 7),
        (r#"{a:1}"#, 1),
        (r#"{"a":01}"#, 6),
        (r#"{"a":1.}"#, 7),
        (r#"{"a":.5}"#, 5),
        (r#"{"a":+1}"#, 5),
        (r#"{"a":1e}"#, 7),
        (r#"{"a":NaN}"#, 5),
        (r#"{"a":tru}"#, 5),
        (r#"{"a":"\x"}"#, 7),
        (r#"{"a":"\u12g4"}"#, 10),
        ("{\"a\":\"\n\"}", 6),
        (r#"{"a":"b}"#, 8),
        (r#"{"a":[1,]}"#, 8),
        (r#"{"a":[1 2]}"#, 8),
        (r#"{"a":1} x"#, 8),
        (r#"{'a':1}"#, 1),
        (r#"{"a":1}}"#, 7),
        (r#"{,}"#, 1),
        (r#"{"a":-}"#, 6),
    ];
    for (text, offset) in broken {
        match scan(text) {
            Err(ScanError::Syntax(e)) => assert_eq!(e.offset, offset, "{text}: {e}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn other_kinds_are_not_objects() {
    for (text, kind) in [
        ("[1]", "array"),
        ("\"a\"", "string"),
        (" 3 ", "number"),
        ("null", "null"),
        ("true", "boolean"),
    ] {
        assert_eq!(
            scan(text).unwrap_err(),
            ScanError::NotAnObject { found: kind }
        );
    }
    assert!(matches!(scan("[1"), Err(ScanError::Syntax(_))));
}

#[test]
fn errors_tell_line_and_column() {
    let Err(ScanError::Syntax(e)) = scan("{\n  \"a\": 1,\n  b\n}") else {
        panic!()
    };
    assert_eq!((e.line, e.column, e.offset), (3, 3, 14));
    assert_eq!(
        e.to_string(),
        "expected a property name in double quotes: line 3 column 3 (char 14)"
    );
    let body = Bytes::from_static(b"{\"a\":\"\xff\"}");
    let Err(ScanError::Syntax(e)) = Object::scan(&body) else {
        panic!()
    };
    assert_eq!((e.offset, e.message), (6, "invalid UTF-8"));
}

#[test]
fn depth_is_bounded_and_the_bound_is_serde_jsons() {
    let nested = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
    for n in [
        1,
        MAX_DEPTH - 2,
        MAX_DEPTH - 1,
        MAX_DEPTH,
        MAX_DEPTH + 1,
        100_000,
    ] {
        let ours = scan(&nested(n)).is_ok();
        assert_eq!(ours, n < MAX_DEPTH, "{n}");
        assert!(!ours || serde_json::from_str::<Value>(&nested(n)).is_ok() || n + 1 == MAX_DEPTH);
    }
}

#[test]
fn the_last_of_equal_keys_counts() {
    let object = scan(r#"{"a":1,"b":2,"\u0061":"\u0078\n","c":null}"#).unwrap();
    assert_eq!(object.get("a").unwrap().as_str().unwrap(), "x\n");
    assert_eq!(object.get("b").unwrap().as_i64(), Some(2));
    assert!(object.get("d").is_none() && object.given("c").is_none() && object.contains("c"));
    let keys: Vec<&str> = object.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "b", "a", "c"]);
}

#[test]
fn strings_to_and_fro() {
    let cases = [
        (r#""plain""#, "plain"),
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u00e9\ud83d\ude00""#, "é😀"),
        (r#""\ud800x""#, "\u{fffd}x"),
        (r#""\ud800\u0041""#, "\u{fffd}A"),
        (r#""\udc00""#, "\u{fffd}"),
    ];
    for (literal, text) in cases {
        assert_eq!(unquote(literal.as_bytes()).unwrap(), text, "{literal}");
    }
    assert_eq!(unquote(b"1"), None);
    let hard = "\"\\\u{0}\u{1f}\n\r\t\u{8}\u{c}é😀/";
    assert_eq!(serde_json::from_str::<String>(&quote(hard)).unwrap(), hard);
}

/// One row: a document, the edit, the document after it.
#[test]
fn edits_table() {
    type Make = fn(&mut Edits);
    let rows: &[(&str, Make, &str)] = &[
        ("{}", |e| _ = e.set("a", "1"), r#"{"a":1}"#),
        (
            "{ }",
            |e| _ = e.set("a", "1").set("b", "2"),
            r#"{"a":1,"b":2 }"#,
        ),
        (
            r#"{ "a" : 1 , "b":2 }"#,
            |e| _ = e.set("a", "9"),
            r#"{ "a" : 9 , "b":2 }"#,
        ),
        (
            r#"{ "a" : 1 , "b":2 }"#,
            |e| _ = e.set("c", "3"),
            r#"{ "a" : 1 , "b":2,"c":3 }"#,
        ),
        (
            r#"{ "a" : 1 , "b":2 }"#,
            |e| _ = e.remove("a"),
            r#"{ "b":2 }"#,
        ),
        (
            r#"{ "a" : 1 , "b":2 }"#,
            |e| _ = e.remove("b"),
            r#"{ "a" : 1 }"#,
        ),
        (
            r#"{ "a" : 1 , "b":2 }"#,
            |e| _ = e.remove("a").remove("b"),
            "{  }",
        ),
        (
            r#"{"a":1,"b":2,"c":3}"#,
            |e| _ = e.remove("b").remove("c").set("d", "4"),
            r#"{"a":1,"d":4}"#,
        ),
        (
            r#"{"a":1,"b":2}"#,
            |e| _ = e.remove("a").remove("b").set("d", "4"),
            r#"{"d":4}"#,
        ),
        (
            r#"{"a":1,"b":2,"a":3}"#,
            |e| _ = e.set("a", "9"),
            r#"{"b":2,"a":9}"#,
        ),
        (
            r#"{"a":1,"b":2,"a":3}"#,
            |e| _ = e.remove("a"),
            r#"{"b":2}"#,
        ),
        (r#"{"a":1}"#, |e| _ = e.remove("x"), r#"{"a":1}"#),
        (
            r#"{"a":1}"#,
            |e| _ = e.set("a", "2").set("a", "3"),
            r#"{"a":3}"#,
        ),
        (r#"{"a":1}"#, |e| _ = e.set("a", "2").remove("a"), "{}"),
        (
            r#"{"a":{"b":[1,{"c":"x"}]}}"#,
            |e| _ = e.set_pointer_string("/a/b/1/c", "y"),
            r#"{"a":{"b":[1,{"c":"y"}]}}"#,
        ),
        (
            r#"{"a":{ "b":1 }}"#,
            |e| _ = e.set_pointer("/a/c", "2"),
            r#"{"a":{ "b":1,"c":2 }}"#,
        ),
        (
            r#"{"a":null}"#,
            |e| _ = e.set_pointer("/a/b/c", "2"),
            r#"{"a":{"b":{"c":2}}}"#,
        ),
        (
            r#"{"x":0}"#,
            |e| _ = e.set_pointer("/a/b", "2").set_pointer("/a/c", "3"),
            r#"{"x":0,"a":{"b":2,"c":3}}"#,
        ),
        (
            r#"{"a":[1,2,3]}"#,
            |e| _ = e.remove_pointer("/a/0").remove_pointer("/a/2"),
            r#"{"a":[2]}"#,
        ),
        (
            r#"{"a":[1]}"#,
            |e| _ = e.set_pointer("/a/-", "2"),
            r#"{"a":[1,2]}"#,
        ),
        (
            r#"{"a":[ ]}"#,
            |e| _ = e.set_pointer("/a/-", "2"),
            r#"{"a":[2 ]}"#,
        ),
        (
            r#"{"a/b":{"~":1}}"#,
            |e| _ = e.set_pointer("/a~1b/~0", "2"),
            r#"{"a/b":{"~":2}}"#,
        ),
        (
            r#"{"\u0061":1}"#,
            |e| _ = e.set("a", "2"),
            r#"{"\u0061":2}"#,
        ),
        (
            r#"{"a":{"b":1}}"#,
            |e| _ = e.remove_pointer("/a/x/y"),
            r#"{"a":{"b":1}}"#,
        ),
    ];
    for (before, make, after) in rows {
        assert_eq!(edited(before, make).unwrap(), *after, "{before}");
    }
}

#[test]
fn edits_that_cannot_be_made_say_where() {
    let text = r#"{"a":[1],"s":"x"}"#;
    let refused = |pointer: &str| edited(text, |e| _ = e.set_pointer(pointer, "1")).unwrap_err();
    assert_eq!(refused("/a/1").pointer, "/a/1");
    assert_eq!(refused("/a/x/y").pointer, "/a/x");
    assert_eq!(refused("/s/t").pointer, "/s");
    assert_eq!(refused("").pointer, "");
    let both = edited(text, |e| _ = e.set("a", "[2]").set_pointer("/a/0", "3"));
    assert_eq!(both.unwrap_err().pointer, "/a");
}

/// A JSON text with odd whitespace, numbers, escapes and duplicate keys.
fn value() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
    ];
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("null".to_owned()),
        number,
        literal()
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            (vec(inner.clone(), 0..5), space())
                .prop_map(|(items, s)| { format!("[{s}{}{s}]", items.join(&format!("{s},"))) }),
            object_of(inner),
        ]
    })
}

fn object_of(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (vec((key(), inner), 0..6), space(), space()).prop_map(|(members, s, t)| {
        let members: Vec<String> = members
            .into_iter()
            .map(|(k, v)| format!("{s}{k}{t}:{s}{v}{t}"))
            .collect();
        format!("{{{}{s}}}", members.join(","))
    })
}

fn key() -> impl Strategy<Value = String> {
    // Few names, so that duplicates and hits are common; some are escaped.
    prop_oneof![
        "[a-d]".prop_map(|k| format!("\"{k}\"")),
        "[a-d]".prop_map(|k| format!("\"\\u{:04x}\"", k.as_bytes()[0])),
        literal(),
    ]
}

fn literal() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![
            "[ -!#-\\[\\]-~é😀]{0,12}",
            Just("\\u00e9".to_owned()),
            Just("\\ud83d\\ude00".to_owned()),
            Just("\\n\\\"\\\\\\/".to_owned()),
        ],
        0..4,
    )
    .prop_map(|parts| format!("\"{}\"", parts.concat()))
}

fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,2}"
}

/// Maximal runs of the original that an edit must leave alone: every member not edited.
fn untouched(object: &Object, names: &[&str]) -> Vec<(String, Vec<u8>)> {
    object
        .iter()
        .filter(|(key, _)| !names.contains(key))
        .map(|(key, raw)| (key.to_owned(), raw.bytes().to_vec()))
        .collect()
}

proptest! {
    #[test]
    fn the_scanner_agrees_with_serde_json(text in object_of(value())) {
        let object = scan(&text).unwrap();
        let oracle: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
        for (key, expected) in &oracle {
            let raw = object.get(key).unwrap();
            let ours: Value = serde_json::from_slice(raw.bytes()).unwrap();
            prop_assert_eq!(&ours, expected);
            if let Some(text) = expected.as_str() {
                let read = raw.as_str();
                prop_assert_eq!(read.as_deref(), Some(text));
            }
        }
        prop_assert!(object.iter().all(|(key, _)| oracle.contains_key(key)));
    }

    #[test]
    fn a_mutilated_text_is_judged_as_serde_json_judges_it(
        text in object_of(value()), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let ours = Object::scan(&Bytes::from(bytes.clone()));
        let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok();
        let judged = matches!(ours, Ok(_) | Err(ScanError::NotAnObject { .. }));
        prop_assert_eq!(judged, is_json, "{:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn edits_leave_everything_else_byte_equal(text in object_of(value()), new in value()) {
        let object = scan(&text).unwrap();
        let mut edits = Edits::new();
        edits.set("a", new.clone()).remove("b").set_string("new\n", "x");
        let out = object.apply(&edits).unwrap();
        let after = Object::scan(&out).unwrap();
        let names = ["a", "b", "new\n"];
        prop_assert_eq!(untouched(&object, &names), untouched(&after, &names));
        prop_assert_eq!(after.get("a").unwrap().text(), new);
        prop_assert_eq!(after.iter().filter(|(k, _)| *k == "a").count(), 1);
        prop_assert!(!after.contains("b"));
        prop_assert_eq!(after.get("new\n").unwrap().text(), "\"x\"");
    }

    #[test]
    fn an_edit_of_one_existing_value_changes_only_its_span(text in object_of(value()), new in value()) {
        let object = scan(&text).unwrap();
        let keys: Vec<&str> = object.iter().map(|(key, _)| key).collect();
        for (i, key) in keys.iter().enumerate() {
            if keys.iter().filter(|k| *k == key).count() > 1 { continue; }
            let span = object.value_range(key).unwrap();
            let expected = format!("{}{new}{}", &text[..span.start], &text[span.end..]);
            let mut edits = Edits::new();
            edits.set(key, new.clone());
            prop_assert_eq!(&object.apply(&edits).unwrap()[..], expected.as_bytes(), "member {}", i);
        }
    }

    #[test]
    fn a_pointer_reaches_what_serde_json_reaches(text in object_of(value())) {
        let object = scan(&text).unwrap();
        let mut tree: Value = serde_json::from_str(&text).unwrap();
        let mut pointers = Vec::new();
        list_pointers(&tree, String::new(), &mut pointers);
        for pointer in pointers.iter().take(12) {
            let mut edits = Edits::new();
            edits.set_pointer_string(pointer, "edited");
            let out: Value = serde_json::from_slice(&object.apply(&edits).unwrap()).unwrap();
            let old = std::mem::replace(tree.pointer_mut(pointer).unwrap(), "edited".into());
            prop_assert_eq!(&out, &tree, "{}", pointer);
            *tree.pointer_mut(pointer).unwrap() = old;
        }
    }
}

fn list_pointers(value: &Value, at: String, found: &mut Vec<String>) {
    if !at.is_empty() {
        found.push(at.clone());
    }
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                list_pointers(item, format!("{at}/{i}"), found);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                let step = key.replace('~', "~0").replace('/', "~1");
                list_pointers(item, format!("{at}/{step}"), found);
            }
        }
        _ => {}
    }
}
