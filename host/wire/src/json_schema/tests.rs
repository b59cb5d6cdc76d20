use serde_json::json;

use super::*;

#[test]
fn values_fit_or_break_their_schemas() {
    let person = json!({
        "type": "object", "required": ["name", "age"], "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 2, "pattern": "^[A-Z]"},
            "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": true, "maxItems": 2},
            "friend": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
            "home": {"$ref": "#/$defs/a%20place"},
        },
        "$defs": {"a place": {"type": ["string", "null"]}},
    });
    for (value, at, how) in [
        (
            json!({"name": "Ann", "age": 3.0, "tags": ["a", "b"], "friend": null, "home": "x"}),
            "",
            "",
        ),
        (
            json!({"name": "Ann", "age": 3, "friend": {"name": "Bob", "age": 4}}),
            "",
            "",
        ),
        (json!([]), "", "is not of type object"),
        (json!({"name": "Ann"}), "", "has no \"age\""),
        (
            json!({"name": "Ann", "age": 1, "x/y": 1}),
            "/x~1y",
            "is not allowed",
        ),
        (json!({"name": "A", "age": 1}), "/name", "has 1 characters"),
        (json!({"name": "ann", "age": 1}), "/name", "does not match"),
        (
            json!({"name": "Ann", "age": 1.5}),
            "/age",
            "is not of type integer",
        ),
        (
            json!({"name": "Ann", "age": -1}),
            "/age",
            "is beyond its minimum",
        ),
        (
            json!({"name": "Ann", "age": 150}),
            "/age",
            "is beyond its exclusiveMaximum",
        ),
        (
            json!({"name": "Ann", "age": 1, "tags": ["a", "c"]}),
            "/tags/1",
            "is none of",
        ),
        (
            json!({"name": "Ann", "age": 1, "tags": ["a", "a"]}),
            "/tags",
            "has the same item twice",
        ),
        (
            json!({"name": "Ann", "age": 1, "friend": {"name": "Bob"}}),
            "/friend",
            "fits 0 of the schemas of anyOf",
        ),
        (
            json!({"name": "Ann", "age": 1, "home": 1}),
            "/home",
            "is of none of the types string, null",
        ),
    ] {
        match check(&person, &value) {
            Ok(()) => assert_eq!(how, "", "{value} fits"),
            Err(Misfit::Broken {
                at: place,
                how: said,
            }) => {
                assert_eq!(place, at, "{value}: {said}");
                assert!(!how.is_empty() && said.starts_with(how), "{value}: {said}");
            }
            Err(unjudged) => panic!("{unjudged}"),
        }
    }
}

#[test]
fn further_keywords() {
    for (schema, good, bad) in [
        (
            json!({"oneOf": [{"multipleOf": 3}, {"multipleOf": 5}]}),
            json!(9),
            json!(15),
        ),
        (json!({"not": {"type": "string"}}), json!(1), json!("x")),
        (
            json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}),
            json!(2),
            json!(3),
        ),
        (
            json!({"if": {"type": "number"}, "then": {"minimum": 5}, "else": {"const": "x"}}),
            json!("x"),
            json!(4),
        ),
        (
            json!({"prefixItems": [{"type": "string"}], "items": {"type": "number"}}),
            json!(["a", 1]),
            json!(["a", "b"]),
        ),
        (
            json!({"items": [{"type": "string"}], "additionalItems": false}),
            json!(["a"]),
            json!(["a", 1]),
        ),
        (
            json!({"contains": {"const": 1}, "maxContains": 1}),
            json!([1.0, 2]),
            json!([1, 1]),
        ),
        (
            json!({"patternProperties": {"^x": {"type": "null"}}, "additionalProperties": {"type": "number"}}),
            json!({"x1": null, "y": 1}),
            json!({"x1": 1}),
        ),
        (
            json!({"propertyNames": {"maxLength": 1}}),
            json!({"a": 1}),
            json!({"ab": 1}),
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": 1, "b": 1}),
            json!({"a": 1}),
        ),
        (
            json!({"minimum": 1, "exclusiveMinimum": true}),
            json!(2),
            json!(1),
        ),
        (json!({"multipleOf": 0.1}), json!(0.3), json!(0.35)),
        (json!({"minProperties": 1}), json!({"a": 1}), json!({})),
        (
            json!({"uniqueItems": true}),
            json!([{"a": 1, "b": 2}, {"a": 1}]),
            json!([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]),
        ),
    ] {
        assert_eq!(check(&schema, &good), Ok(()), "{schema} {good}");
        let broken = check(&schema, &bad);
        assert!(
            matches!(broken, Err(Misfit::Broken { .. })),
            "{schema} {bad}: {broken:?}"
        );
    }
}

#[test]
fn schemas_that_cannot_be_judged_are_told_apart() {
    let mut wide = json!({"type": "object"});
    for _ in 0..20 {
        wide = json!({"anyOf": [wide, wide]});
    }
    for (schema, words) in [
        (json!({"$ref": "http://x.org/schema"}), "leads to nothing"),
        (json!({"$ref": "#"}), "too complex"),
        (wide, "too complex"),
        (json!({"pattern": "(?=a)"}), "pattern"),
        (
            json!({"unevaluatedProperties": false}),
            "unevaluatedProperties",
        ),
        (json!({"properties": {"a": 7}}), "neither an object"),
    ] {
        let value = match words {
            "pattern" => json!("x"),
            "neither an object" => json!({"a": 1}),
            _ => json!({}),
        };
        let refused = check(&schema, &value).unwrap_err();
        assert!(
            matches!(&refused, Misfit::Unjudged(what) if what.contains(words)),
            "{refused:?}"
        );
    }
}

/// Whatever schemas and values are put together, the effort ends, before anything is done that takes longer than it says.
#[test]
fn what_would_take_long_is_too_complex() {
    let texts = |count: usize| -> Vec<String> { (0..count).map(|n| format!("t{n}")).collect() };
    let each = |count: usize, of: fn(usize) -> Value| (0..count).map(of).collect::<Vec<_>>();
    let nested = json!(vec![vec![vec!["t"; 10]; 10]; 10]);
    let rows = [
        (
            "many patterns",
            json!({"anyOf": each(1_000, |n| json!({"pattern": format!("^a{n}$")}))}),
            json!("t"),
        ),
        (
            "a pattern that goes many ways, again and again",
            json!({"items": {"pattern": "(?:a?){500}a{500}"}}),
            json!(vec!["a".repeat(1_000); 100]),
        ),
        (
            "names of members against patterns",
            json!({"patternProperties": {"(a|aa|aaa)+$": {}}}),
            json!(
                texts(30_000)
                    .into_iter()
                    .map(|name| (name, 1))
                    .collect::<HashMap<_, _>>()
            ),
        ),
        (
            "an enum for each of many items",
            json!({"items": {"enum": texts(2_000)}}),
            json!(texts(2_000)),
        ),
        (
            "values that are long to compare",
            json!({"anyOf": each(1_000, |_| json!({"const": 1}))}),
            nested.clone(),
        ),
        (
            "sets of them",
            json!({"anyOf": each(1_000, |_| json!({"uniqueItems": true}))}),
            json!([nested]),
        ),
        (
            "long lists of names",
            json!({"items": {"required": vec!["t"; 2_000]}}),
            json!(vec![json!({"t": 1}); 2_000]),
        ),
        (
            "long lists of types",
            json!({"items": {"type": vec!["null"; 2_000]}}),
            json!(vec![json!(null); 2_000]),
        ),
        (
            "long references",
            json!({"$defs": {"a".repeat(2_000): {}}, "items": {"$ref": format!("#/$defs/{}", "a".repeat(2_000))}}),
            json!(vec![1; 2_000]),
        ),
    ];
    for (name, schema, value) in rows {
        let judged = check(&schema, &value);
        assert_eq!(judged, Err(too_complex()), "{name}");
    }
    let large = json!({"pattern": "\\w{100}"});
    let refused = check(&large, &json!("t")).unwrap_err();
    assert_eq!(
        refused,
        Misfit::Unjudged("the pattern \"\\\\w{100}\" is not supported".to_owned())
    );
}

/// What models are asked for takes a small part of the effort.
#[test]
fn a_long_answer_is_judged() {
    let schema = json!({
        "type": "object", "required": ["people"],
        "properties": {"people": {"type": "array", "items": {"$ref": "#/$defs/person"}}},
        "$defs": {"person": {
            "type": "object", "required": ["name", "mail", "kind"], "additionalProperties": false,
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "mail": {"type": "string", "pattern": "^[\\w.-]+@[\\w.-]+$"},
                "kind": {"enum": ["staff", "guest", "other"]},
                "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": true},
            },
        }},
    });
    let person = |n: usize| json!({"name": format!("Ann {n}"), "mail": format!("ann{n}@example.org"), "kind": "guest", "tags": ["a", "b"]});
    let mut people: Vec<Value> = (0..1_000).map(person).collect();
    assert_eq!(check(&schema, &json!({ "people": people })), Ok(()));
    people.push(json!({"name": "Bob", "mail": "nowhere", "kind": "guest"}));
    let broken = check(&schema, &json!({ "people": people })).unwrap_err();
    assert!(
        matches!(&broken, Misfit::Broken { at, .. } if at == "/people/1000/mail"),
        "{broken:?}"
    );
}

#[test]
fn long_names_are_cut_where_they_are_told() {
    let long = "a".repeat(1_000);
    let broken = check(
        &json!({"additionalProperties": false}),
        &json!({ &long: 1 }),
    );
    let message = broken.unwrap_err().to_string();
    assert_eq!(
        message,
        format!("the answer's /{} is not allowed", &long[..64])
    );
    let broken = check(&json!({"required": [long]}), &json!({}));
    let message = broken.unwrap_err().to_string();
    assert_eq!(message, format!("the answer has no {:?}", &"a".repeat(64)));
}
