//! The YAML 1.1 reading, as tables of texts and what PyYAML's safe loader makes of them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Result<(Value, Vec<String>), String> {
    let mut problems = Vec::new();
    let node =
        parse(text, &"f.yaml".into(), &mut problems).map_err(|problem| problem.to_string())?;
    Ok((
        node.to_json(),
        problems.iter().map(Problem::to_string).collect(),
    ))
}

#[test]
fn scalars_mean_what_they_mean_in_yaml_1_1() {
    let cases = [
        ("yes", json!(true)),
        ("Yes", json!(true)),
        ("on", json!(true)),
        ("OFF", json!(false)),
        ("No", json!(false)),
        ("y", json!("y")),
        ("n", json!("n")),
        ("yEs", json!("yEs")),
        ("true", json!(true)),
        ("FALSE", json!(false)),
        ("'yes'", json!("yes")),
        ("\"on\"", json!("on")),
        ("017", json!(15)),
        ("0o17", json!("0o17")),
        ("-017", json!(-15)),
        ("018", json!("018")),
        ("0", json!(0)),
        ("-0", json!(0)),
        ("1_000", json!(1000)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("+5", json!(5)),
        ("_1", json!("_1")),
        ("1e3", json!("1e3")),
        ("1.0e+3", json!(1000.0)),
        ("1.0e3", json!("1.0e3")),
        ("1.", json!(1.0)),
        (".5", json!(0.5)),
        ("-.5", json!("-.5")),
        ("1.5", json!(1.5)),
        ("-1_0.5", json!(-10.5)),
        (".inf", json!(null)),
        ("1.2.3", json!("1.2.3")),
        ("12:30:45", json!(45045)),
        ("1:5", json!(65)),
        ("1:75", json!("1:75")),
        ("0:30", json!("0:30")),
        ("2024-01-02", json!("2024-01-02")),
        ("2024-08-01-preview", json!("2024-08-01-preview")),
        ("~", json!(null)),
        ("null", json!(null)),
        ("", json!(null)),
        ("nil", json!("nil")),
        ("0.0000015", json!(0.0000015)),
        ("0.000_001", json!(0.000001)),
        ("!!str 5", json!("5")),
        ("!!int '5'", json!(5)),
        ("!!float 5", json!(5.0)),
        ("!!bool on", json!(true)),
        ("9223372036854775807", json!(9223372036854775807_i64)),
        ("18446744073709551616", json!(18446744073709551616.0)),
    ];
    for (text, expected) in cases {
        let (value, _) = read(&format!("k: {text}")).expect(text);
        assert_eq!(value, json!({ "k": expected }), "{text}");
    }
}

#[test]
fn anchors_aliases_and_merge_keys_work() {
    let text = "
base: &base {a: 1, b: 2}
more: &more {b: 3, c: 4}
one: {<<: *base, b: 9}
two:
  b: 9
  <<: [*base, *more]
list: [*base]
quoted: {'<<': 1}
";
    let (value, problems) = read(text).expect("valid");
    assert_eq!(value["one"], json!({"a": 1, "b": 9}));
    assert_eq!(value["two"], json!({"a": 1, "b": 9, "c": 4}));
    assert_eq!(value["list"], json!([{"a": 1, "b": 2}]));
    assert_eq!(value["quoted"], json!({"<<": 1}));
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn the_last_duplicate_counts_and_is_reported() {
    let (value, problems) = read("a: 1\nb: 2\na: 3\n").expect("valid");
    assert_eq!(value, json!({"a": 3, "b": 2}));
    assert_eq!(
        problems,
        ["f.yaml:3:1 a: is given twice; this one counts; remove the one in line 1"]
    );
}

#[test]
fn keys_are_texts_as_they_are_written() {
    assert_eq!(
        read("on: 1\n5: 2\n").expect("valid").0,
        json!({"on": 1, "5": 2})
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let cases = [
        (
            "a: 1\n---\nb: 2\n",
            "f.yaml:2:1: a second document begins here; keep one document per file",
        ),
        (
            "a: !custom 1\n",
            "f.yaml:1:4: the tag `!custom` is not read here",
        ),
        (
            "a: !!int x\n",
            "f.yaml:1:4: `x` does not fit the tag `tag:yaml.org,2002:int`",
        ),
        (
            "[1]: 2\n",
            "f.yaml:1:1: a key must be a text, not a list or mapping",
        ),
        (
            "a: {<<: 1}\n",
            "f.yaml:1:9: `<<` needs a mapping, or a list of mappings",
        ),
        (
            "a: &x [*x]\n",
            "f.yaml:1:8: an alias inside the value it names",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).expect_err(text), expected, "{text}");
    }
    assert!(
        read("a: [1\nb: 2\n")
            .expect_err("open list")
            .starts_with("f.yaml:")
    );
    assert!(read("a:\n\t- b: *nowhere\n").is_err());
}

#[test]
fn nesting_and_alias_growth_have_an_end() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    assert!(
        read(&deep)
            .expect_err("deep")
            .contains("nested more than 128 levels")
    );
    let step = |i: usize| {
        format!(
            "a{i}: &a{i} {}*a{}{}\n",
            "[".repeat(50),
            i - 1,
            "]".repeat(50)
        )
    };
    let tower = format!("a0: &a0 [1]\n{}", (1..2000).map(step).collect::<String>());
    assert_eq!(
        read(&tower).expect_err("tower"),
        "f.yaml:4:59: is nested more than 128 levels deep"
    );
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let previous = format!("*a{}", i - 1);
        bomb += &format!("a{i}: &a{i} [{}]\n", vec![previous; 10].join(", "));
    }
    assert!(
        read(&bomb)
            .expect_err("bomb")
            .contains("more than 1000000 values")
    );
}

#[test]
fn marks_and_line_ends_of_other_systems_are_read() {
    assert_eq!(
        read("\u{feff}a: 1\r\nb: [x]\r\n").expect("valid").0,
        json!({"a": 1, "b": ["x"]})
    );
    assert_eq!(read("# nothing\n").expect("valid").0, json!(null));
}

#[test]
fn every_value_knows_its_place() {
    let mut problems = Vec::new();
    let node = parse(
        "a:\n  - b: 1\n    c: xyz\n",
        &"f.yaml".into(),
        &mut problems,
    )
    .expect("valid");
    let item = &node.get("a").and_then(Node::as_list).expect("a list")[0];
    let entry = &item.as_map().expect("a mapping")["c"];
    assert_eq!((entry.key_at.line, entry.key_at.col), (3, 5));
    assert_eq!((entry.node.at.line, entry.node.at.col), (3, 8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-a-c0-9:.,_ \\n\\t\\[\\]{}&*<>!'\"|#%@~?]{0,80}") {
        let _ = read(&text);
    }

    #[test]
    fn integers_survive(value in any::<i64>()) {
        let (read, _) = read(&format!("k: {value}")).expect("valid");
        prop_assert_eq!(read, json!({ "k": if value == i64::MIN { json!(value as f64) } else { json!(value) } }));
    }
}
