//! Everything an attacker may do to a bundle, one by one.

use serde_json::json;
use tar::{EntryType, Header};

use super::*;
use crate::{ENTRIES_MAX, UNPACKED_MAX};

pub(crate) fn part(name: &str, component: &[u8]) -> Part {
    Part {
        name: name.to_owned(),
        kind: "guardrail".to_owned(),
        version: "1.0.0".to_owned(),
        license: "Apache-2.0".to_owned(),
        aliases: Vec::new(),
        manifest: json!({"name": name}),
        component: component.to_vec(),
        sbom: Some(br#"{"bomFormat": "CycloneDX"}"#.to_vec()),
    }
}

pub(crate) fn bundle(name: &str, version: &str, parts: Vec<Part>) -> Bundle {
    Bundle::new(name.to_owned(), version.parse().unwrap(), parts).unwrap()
}

fn two() -> Bundle {
    bundle(
        "tools",
        "1.2.3",
        vec![
            part("b-tool", b"the second component"),
            part("a_tool", &[7; 1500]),
        ],
    )
}

fn pair() -> KeyPair {
    KeyPair::generate().unwrap().0
}

/// Why these bytes are refused.
fn refusal(bytes: Vec<u8>) -> String {
    Bundle::open(bytes)
        .expect_err("it must be refused")
        .to_string()
}

/// A file in an archive that somebody else made.
struct Odd<'a> {
    path: &'a str,
    kind: EntryType,
    size: u64,
    content: &'a [u8],
}

fn plain<'a>(path: &'a str, content: &'a [u8]) -> Odd<'a> {
    Odd {
        path,
        kind: EntryType::Regular,
        size: content.len() as u64,
        content,
    }
}

/// An archive of these files, as another program would write it: paths are put in unchecked.
fn archive(files: &[Odd<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 3).unwrap());
    for file in files {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..file.path.len()].copy_from_slice(file.path.as_bytes());
        header.set_entry_type(file.kind);
        header.set_mode(0o644);
        header.set_size(file.size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        if file.kind.is_symlink() || file.kind.is_hard_link() {
            header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
        }
        header.set_cksum();
        tar.append(&header, file.content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// The index of a bundle with one component of this content, and no bill of materials.
fn index(content: &[u8]) -> Vec<u8> {
    one(content).index.to_json()
}

fn one(content: &[u8]) -> Bundle {
    let only = Part {
        sbom: None,
        ..part("tool", content)
    };
    bundle("tool", "1.0.0", vec![only])
}

#[test]
fn the_same_parts_give_the_same_bytes_in_whatever_order() {
    let again = bundle(
        "tools",
        "1.2.3",
        vec![
            part("a_tool", &[7; 1500]),
            part("b-tool", b"the second component"),
        ],
    );
    assert_eq!(two().bytes(), again.bytes());
    let pair = pair();
    let (mut one, mut other) = (two(), again);
    one.sign(&pair);
    other.sign(&pair);
    assert_eq!(one.bytes(), other.bytes());
}

#[test]
fn what_went_in_comes_out() {
    let (pair, other) = (pair(), self::pair());
    let mut bundle = two();
    let unsigned = bundle.digest;
    bundle.sign(&pair);
    bundle.sign(&other);
    let (opened, component) = Bundle::open_for(bundle.bytes().to_vec(), Some("a-tool")).unwrap();
    assert_eq!(opened.index, bundle.index);
    assert_eq!(
        opened.digest, unsigned,
        "a signature does not change the digest"
    );
    let mut signers = vec![pair.public(), other.public()];
    signers.sort_by_key(ToString::to_string);
    assert_eq!(opened.signatures.signers(), signers);
    assert_eq!(component.unwrap(), [7; 1500]);
    assert!(
        Bundle::open_for(bundle.bytes().to_vec(), Some("c-tool"))
            .unwrap()
            .1
            .is_none()
    );
    let plain = zstd::decode_all(bundle.bytes()).unwrap();
    let names: Vec<String> = tar::Archive::new(plain.as_slice())
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(
        names,
        [
            "index.json",
            "components/a_tool.wasm",
            "sbom/a_tool.cdx.json",
            "components/b-tool.wasm",
            "sbom/b-tool.cdx.json"
        ]
    );
}

#[test]
fn an_altered_byte_anywhere_in_a_signed_bundle_is_refused() {
    let mut bundle = two();
    bundle.sign(&pair());
    let bytes = bundle.bytes();
    for at in 0..bytes.len() {
        for bit in [0x01, 0x80] {
            let mut altered = bytes.to_vec();
            altered[at] ^= bit;
            assert!(
                Bundle::open(altered).is_err(),
                "byte {at} of {} xor {bit}",
                bytes.len()
            );
        }
    }
}

#[test]
fn a_bundle_that_was_cut_off_anywhere_is_refused_or_is_unsigned() {
    let mut bundle = two();
    let archive_len = bundle.bytes().len();
    bundle.sign(&pair());
    for length in 0..bundle.bytes().len() {
        match Bundle::open(bundle.bytes()[..length].to_vec()) {
            // Exactly without its signatures it is whole, and nobody's.
            Ok(opened) => assert!(
                length == archive_len && opened.signatures.is_empty(),
                "{length}"
            ),
            Err(_) => assert_ne!(length, archive_len),
        }
    }
    let mut longer = bundle.bytes().to_vec();
    longer.push(0);
    assert!(Bundle::open(longer).is_err());
    let mut unsigned_and_more = two().bytes().to_vec();
    unsigned_and_more.extend_from_slice(b"more");
    assert!(refusal(unsigned_and_more).contains("behind the end"));
}

#[test]
fn another_bundles_signature_does_not_fit() {
    let pair = pair();
    let (mut signed, other) = (two(), one(b"evil"));
    let archive_len = signed.bytes().len();
    signed.sign(&pair);
    let moved = [other.bytes(), &signed.bytes()[archive_len..]].concat();
    assert!(refusal(moved).contains("altered after it was signed"));
}

#[test]
fn tricks_with_paths_and_kinds_of_files_are_refused_by_name() {
    let content: &[u8] = b"content";
    let text = index(content);
    let good = || plain("index.json", &text);
    let file = "components/tool.wasm";
    let typed = |kind: EntryType| Odd {
        kind,
        size: 0,
        content: b"",
        ..plain(file, b"")
    };
    let cases = [
        (
            vec![good(), plain("../tool.wasm", content)],
            "leads out of the archive",
        ),
        (
            vec![good(), plain("components/../../tool.wasm", content)],
            "leads out of the archive",
        ),
        (
            vec![good(), plain("..\\tool.wasm", content)],
            "leads out of the archive",
        ),
        (
            vec![good(), plain("/etc/cron.d/tool", content)],
            "leads out of the archive",
        ),
        (vec![good(), typed(EntryType::Symlink)], "a symbolic link"),
        (vec![good(), typed(EntryType::Link)], "a hard link"),
        (vec![good(), typed(EntryType::Directory)], "a folder"),
        (vec![good(), typed(EntryType::Char)], "an entry of type"),
        (vec![good(), typed(EntryType::Fifo)], "an entry of type"),
        (vec![good(), typed(EntryType::XHeader)], "an entry of type"),
        (
            vec![good(), typed(EntryType::GNULongName)],
            "an entry of type",
        ),
        (vec![good(), good()], "is in it twice"),
        (
            vec![good(), plain(file, content), plain(file, content)],
            "is in it twice",
        ),
        (
            vec![
                good(),
                plain(file, content),
                plain("components/other.wasm", content),
            ],
            "is not in its index",
        ),
        (
            vec![good(), plain("components/other.wasm", content)],
            "is where components/tool.wasm must be",
        ),
        (vec![good()], "components/tool.wasm is missing"),
        (
            vec![plain(file, content), good()],
            "is where index.json must be",
        ),
        (vec![good(), plain(file, b"CONTENT")], "has the digest"),
        (
            vec![good(), plain(file, b"much more content")],
            "says that it has 17 bytes, but the index says 7",
        ),
        (vec![], "index.json is missing"),
    ];
    for (files, expected) in cases {
        let error = refusal(archive(&files));
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// An index that says what no bundle of ours would.
fn said(change: impl Fn(&mut serde_json::Value)) -> String {
    let mut value: serde_json::Value = serde_json::from_slice(&index(b"content")).unwrap();
    change(&mut value);
    let mut text = serde_json::to_vec_pretty(&value).unwrap();
    text.push(b'\n');
    refusal(archive(&[
        plain("index.json", &text),
        plain("components/tool.wasm", b"content"),
    ]))
}

#[test]
fn an_index_that_claims_too_much_is_refused_before_anything_is_unpacked() {
    let error = said(|index| index["components"][0]["component"]["size"] = json!(u64::MAX));
    assert!(error.contains("at most 256 MiB"), "{error}");
    let error = said(|index| index["components"][0]["component"]["size"] = json!(-1));
    assert!(error.contains("cannot be read"), "{error}");
    let many = |count: usize, size: u64| {
        said(move |index| {
            let first = index["components"][0].clone();
            let all = (0..count).map(|number| {
                let mut one = first.clone();
                one["name"] = format!("tool-{number:05}").into();
                one["component"]["size"] = size.into();
                one
            });
            index["components"] = all.collect();
        })
    };
    let error = many(ENTRIES_MAX, 1);
    assert!(error.contains("too many"), "{error}");
    let error = many(10, UNPACKED_MAX / 8);
    assert!(error.contains("unpacked it would have"), "{error}");
}

#[test]
fn an_index_that_is_not_as_ours_is_refused() {
    for (change, expected) in [
        (json!({"name": "../tool"}), "is no name"),
        (json!({"name": ".tool"}), "is no name"),
        (json!({"name": ""}), "is no name"),
        (json!({"version": "1"}), "cannot be read"),
        (json!({"witgate_bundle": 2}), "format 2 is not known"),
        (json!({"components": []}), "at least one component"),
        (json!({"more": 1}), "cannot be read"),
    ] {
        let error = said(|index| {
            for (key, value) in change.as_object().unwrap() {
                index[key] = value.clone();
            }
        });
        assert!(error.contains(expected), "{change}: {error}");
    }
    for name in ["../../evil", "a/b", "A", "a\u{0}"] {
        let error = said(|index| index["components"][0]["name"] = name.into());
        assert!(error.contains("is no name"), "{name}: {error}");
    }
    let error = said(|index| {
        let one = index["components"][0].clone();
        index["components"].as_array_mut().unwrap().push(one);
    });
    assert!(error.contains("is in it twice"), "{error}");
    let text = serde_json::to_vec(&one(b"content").index).unwrap();
    let error = refusal(archive(&[
        plain("index.json", &text),
        plain("components/tool.wasm", b"content"),
    ]));
    assert!(error.contains("not written as"), "{error}");
}

#[test]
fn a_bomb_is_refused_without_unpacking_it() {
    // Behind the end of the archive: a gigabyte of zeros in a hundred kilobytes.
    let mut tar = zstd::decode_all(one(b"content").bytes()).unwrap();
    tar.resize(tar.len() + (64 << 20), 0);
    let bomb = zstd::encode_all(tar.as_slice(), 3).unwrap();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    assert!(refusal(bomb).contains("more behind the end"));
    // In the place of the index, and in the place of a component.
    let huge = |path, size| Odd {
        size,
        ..plain(path, b"")
    };
    let error = refusal(archive(&[huge("index.json", 1 << 40)]));
    assert!(error.contains("at most 8 MiB"), "{error}");
    let text = index(b"content");
    let error = refusal(archive(&[
        plain("index.json", &text),
        huge("components/tool.wasm", 1 << 40),
    ]));
    assert!(error.contains("but the index says 7"), "{error}");
    // Two frames, one behind the other.
    let doubled = [one(b"content").bytes(), one(b"content").bytes()].concat();
    assert!(refusal(doubled).contains("behind the end"));
    // A frame that asks for a window of two gigabytes.
    let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(30).unwrap();
    std::io::Write::write_all(&mut wide, &vec![0; 1 << 20]).unwrap();
    let error = refusal(wide.finish().unwrap());
    assert!(error.contains("no intact bundle"), "{error}");
}

#[test]
fn what_is_no_bundle_is_told() {
    for bytes in [
        &b""[..],
        b"\0asm\x0d\0\x01\0",
        b"PK\x03\x04",
        &[0x28, 0xb5, 0x2f, 0xfd],
    ] {
        assert!(
            refusal(bytes.to_vec()).contains("no intact bundle"),
            "{bytes:?}"
        );
    }
    let mark_only = [b"x".as_slice(), &[255, 255, 255, 255], b"WGSG"].concat();
    assert!(refusal(mark_only).contains("altered or cut off"));
}
