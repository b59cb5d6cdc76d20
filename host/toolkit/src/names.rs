//! The names of a module's functions, for backtraces: taken out of the module and put into a file beside the component.
//!
//! They would be a fifth of a component, and are needed only when it crashes. The file `NAME.names` says in its first
//! line which component it is of, then an index and a name a line, demangled.

use std::fmt::Write as _;

use rustc_demangle::demangle;
use witgate_plugins::NAMES_HEADER;

/// A module without its names, and its names: a line each.
pub(crate) fn split(module: &[u8]) -> (Vec<u8>, String) {
    let mut stripped = module.get(..8).unwrap_or(module).to_vec();
    let mut names = String::new();
    let mut rest = Reader(module.get(8..).unwrap_or_default());
    while let Some(section) = section(&mut rest) {
        match section.custom("name") {
            Some(content) => function_names(content, &mut names),
            None => stripped.extend_from_slice(section.whole),
        }
    }
    if !rest.0.is_empty() {
        // Not a module after all; the encoder says what is wrong with it.
        return (module.to_vec(), String::new());
    }
    (stripped, names)
}

/// The content of the file for a component of this digest (`sha256:…`).
pub(crate) fn file(digest: &str, names: &str) -> String {
    format!("{NAMES_HEADER} {digest}\n{names}")
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

/// One section, with its head in `whole`.
struct Section<'a> {
    id: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Section<'a> {
    /// The content of a custom section of this name.
    fn custom(&self, name: &str) -> Option<&'a [u8]> {
        let mut content = Reader(self.content);
        let found = (self.id == 0).then(|| content.text()).flatten()?;
        (found == name.as_bytes()).then_some(content.0)
    }
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// LEB128.
    fn number(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..32).step_by(7) {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.bytes(length as usize)
    }
}

fn section<'a>(rest: &mut Reader<'a>) -> Option<Section<'a>> {
    let all = rest.0;
    let mut ahead = Reader(all);
    let id = ahead.byte()?;
    let content = ahead.text()?;
    *rest = ahead;
    Some(Section {
        id,
        content,
        whole: all.get(..all.len() - rest.0.len())?,
    })
}

/// The subsection with functions: pairs of index and name.
fn function_names(content: &[u8], into: &mut String) {
    const FUNCTIONS: u8 = 1;
    let mut rest = Reader(content);
    while let Some(part) = section(&mut rest) {
        if part.id != FUNCTIONS {
            continue;
        }
        let mut pairs = Reader(part.content);
        for _ in 0..pairs.number().unwrap_or_default() {
            let (Some(index), Some(name)) = (pairs.number(), pairs.text()) else {
                return;
            };
            let name = String::from_utf8_lossy(name);
            // Without the hash, which no reader needs.
            let name = format!("{:#}", demangle(&name)).replace('\n', " ");
            // Writing to a String does not fail.
            let _ = writeln!(into, "{index} {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with one function, `f`, whose name section is between two other sections.
    fn module() -> (Vec<u8>, Vec<u8>) {
        let head =
            b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b".to_vec();
        let mangled = "_ZN4core6option6Option6unwrap17h0123456789abcdefE";
        let mut pairs = vec![1, 0, mangled.len() as u8];
        pairs.extend(mangled.bytes());
        let mut content = b"\x04name\x00\x02\x01m\x01".to_vec();
        content.push(pairs.len() as u8);
        content.extend(pairs);
        let custom = b"\x00\x03\x01xy".to_vec();
        let mut with = head.clone();
        with.extend([0, content.len() as u8]);
        with.extend(content);
        with.extend(&custom);
        (with, [head, custom].concat())
    }

    #[test]
    fn names_are_taken_out_and_the_rest_stays_byte_for_byte() {
        let (with, without) = module();
        let (stripped, names) = split(&with);
        assert_eq!(stripped, without);
        assert_eq!(names, "0 core::option::Option::unwrap\n");
        assert_eq!(split(&without), (without.clone(), String::new()));
    }

    #[test]
    fn what_is_no_module_stays_as_it_is() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\x01\xff"] {
            assert_eq!(split(bytes), (bytes.to_vec(), String::new()));
        }
    }
}
