use super::section::{append_custom_section, is_component};
use super::*;

/// An empty component.
const EMPTY: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// An empty module.
const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

#[test]
fn a_section_of_any_size_is_found_again() {
    for size in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
        let mut wasm = EMPTY.to_vec();
        append_custom_section(&mut wasm, "other", b"x");
        append_custom_section(&mut wasm, SECTION, &vec![b'm'; size]);
        append_custom_section(&mut wasm, "third", b"y");
        assert_eq!(custom_section(&wasm, SECTION).map(<[u8]>::len), Some(size));
        assert_eq!(custom_section(&wasm, "third"), Some(&b"y"[..]));
        assert_eq!(custom_section(&wasm, "absent"), None);
        interfaces(&wasm).expect("still a component");
    }
}

#[test]
fn bytes_that_are_no_wasm_have_no_section() {
    for bytes in [&b""[..], b"\0as", b"\0asm", b"hello, world", &EMPTY[..7], b"\0asm\x0d\0\x01\0\x00\xff\xff\xff\xff\xff"] {
        assert_eq!(custom_section(bytes, SECTION), None);
    }
    assert!(is_component(&EMPTY) && !is_component(&MODULE) && !is_component(b"x"));
    assert!(matches!(interfaces(b"hello"), Err(ComponentError::Invalid(_))));
}

fn check_of(imports: &[&str], exports: &[&str], kind: Kind) -> Result<(), ComponentError> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    check(&Interfaces { imports: owned(imports), exports: owned(exports) }, kind)
}

#[test]
fn imports_are_those_of_the_host_and_of_wasi_0_2() {
    let sink = ["witgate:log-sink/log-sink@0.1.3"];
    let good = ["witgate:types/types@0.1.0", "witgate:host/http@0.1.7", "wasi:http/outgoing-handler@0.2.9"];
    check_of(&good, &sink, Kind::LogSink).expect("all known");
    for bad in ["witgate:host/kv@0.1.0", "witgate:host/http@0.2.0", "wasi:http/handler@0.3.0", "wasi:gpu/gpu@0.2.0", "env"] {
        let error = check_of(&[bad], &sink, Kind::LogSink).expect_err(bad).to_string();
        assert!(error.contains(bad) && error.contains("settings,secrets,http"), "{error}");
    }
}

#[test]
fn kind_and_export_must_agree() {
    let error = check_of(&[], &["witgate:guardrail/guardrail@0.1.0"], Kind::LogSink).expect_err("another kind");
    let text = error.to_string();
    for part in ["kind = \"log-sink\"", "witgate:log-sink/log-sink", "it exports witgate:guardrail", "export_log_sink!"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    let error = check_of(&[], &[], Kind::Guardrail).expect_err("nothing exported").to_string();
    assert!(error.contains("it exports nothing"), "{error}");
}
