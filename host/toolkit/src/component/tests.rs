use super::*;

#[test]
fn modules_and_components_are_told_apart() {
    assert!(
        is_component(b"\0asm\x0d\0\x01\0")
            && !is_component(b"\0asm\x01\0\0\0")
            && !is_component(b"x")
    );
    assert!(matches!(
        interfaces(b"hello"),
        Err(ComponentError::Invalid(_))
    ));
    assert_eq!(
        interfaces(b"\0asm\x0d\0\x01\0").expect("an empty component"),
        Interfaces::default()
    );
}

fn check_of(imports: &[&str], exports: &[&str], kind: Kind) -> Result<(), ComponentError> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    check(
        &Interfaces {
            imports: owned(imports),
            exports: owned(exports),
        },
        kind,
    )
}

#[test]
fn imports_are_those_of_the_host_and_of_wasi_0_2() {
    let sink = ["witgate:log-sink/log-sink@0.1.3"];
    let good = [
        "witgate:types/types@0.1.0",
        "witgate:host/http@0.1.7",
        "wasi:http/outgoing-handler@0.2.9",
    ];
    check_of(&good, &sink, Kind::LogSink).expect("all known");
    for bad in [
        "witgate:host/sockets@0.1.0",
        "witgate:host/http@0.2.0",
        "wasi:http/handler@0.3.0",
        "wasi:gpu/gpu@0.2.0",
        "env",
    ] {
        let error = check_of(&[bad], &sink, Kind::LogSink)
            .expect_err(bad)
            .to_string();
        assert!(
            error.contains(bad) && error.contains("settings,secrets,http"),
            "{error}"
        );
    }
}

#[test]
fn kind_and_export_must_agree() {
    let error = check_of(&[], &["witgate:guardrail/guardrail@0.1.0"], Kind::LogSink)
        .expect_err("another kind");
    let text = error.to_string();
    for part in [
        "kind = \"log-sink\"",
        "witgate:log-sink/log-sink",
        "it exports witgate:guardrail",
        "export_log_sink!",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    let error = check_of(&[], &[], Kind::Guardrail)
        .expect_err("nothing exported")
        .to_string();
    assert!(error.contains("it exports nothing"), "{error}");
}
