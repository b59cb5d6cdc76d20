//! Custom sections at the outermost level of a component: read and appended without touching the rest.

/// `\0asm`
const MAGIC: [u8; 4] = *b"\0asm";
/// Magic, version, layer.
const PREAMBLE: usize = 8;
/// Id of a custom section.
const CUSTOM: u8 = 0;

/// Whether the bytes begin as a component, not as a core module.
pub(crate) fn is_component(wasm: &[u8]) -> bool {
    // The layer, after the version: 0 is a module, 1 a component.
    wasm.starts_with(&MAGIC) && wasm.get(6..PREAMBLE) == Some(&[1, 0])
}

/// Content of the first custom section of this name. `None` when there is none, also in what is no WASM.
pub(crate) fn custom_section<'a>(wasm: &'a [u8], name: &str) -> Option<&'a [u8]> {
    if !wasm.starts_with(&MAGIC) {
        return None;
    }
    let mut rest = wasm.get(PREAMBLE..)?;
    while let Some((&id, after_id)) = rest.split_first() {
        let (section, after) = split_sized(after_id)?;
        rest = after;
        if id == CUSTOM {
            let (found, content) = split_sized(section)?;
            if found == name.as_bytes() {
                return Some(content);
            }
        }
    }
    None
}

/// Adds a custom section at the end.
pub(crate) fn append_custom_section(wasm: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut section = Vec::with_capacity(name.len() + content.len() + 5);
    push_size(&mut section, name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(content);
    wasm.push(CUSTOM);
    push_size(wasm, section.len());
    wasm.extend_from_slice(&section);
}

/// Splits off what a size in front says.
fn split_sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, length) = read_size(bytes)?;
    bytes.get(length..)?.split_at_checked(size)
}

/// A size in LEB128, and how many bytes it took.
fn read_size(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut size = 0u32;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        size |= u32::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((size as usize, index + 1));
        }
    }
    None
}

fn push_size(bytes: &mut Vec<u8>, mut size: usize) {
    loop {
        let low = (size & 0x7f) as u8;
        size >>= 7;
        if size == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}
