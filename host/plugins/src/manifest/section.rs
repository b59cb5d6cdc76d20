//! Custom sections at the outermost level of a component's binary form.

use super::ManifestError;

/// Name of the section with the manifest.
pub(super) const MANIFEST: &str = "witgate:manifest";
/// Name of the section with the bill of materials.
pub(super) const SBOM: &str = "witgate:sbom";
const MAGIC: &[u8; 4] = b"\0asm";
/// Version 13, layer 1: a component. A core module has version 1, layer 0.
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
const MODULE: [u8; 4] = [1, 0, 0, 0];

/// The content of a section by its name. Reads section headers only, whatever the component's size.
pub(super) fn find<'a>(
    component: &'a [u8],
    wanted: &str,
) -> Result<Option<&'a [u8]>, ManifestError> {
    let broken = ManifestError::NotAComponent("the file is not valid WebAssembly");
    let Some((header, mut rest)) = component.split_at_checked(8) else {
        return Err(broken);
    };
    if !header.starts_with(MAGIC) {
        return Err(broken);
    }
    if header.ends_with(&MODULE) {
        return Err(ManifestError::NotAComponent(
            "the file is a core WebAssembly module; make it a component with `witgate plugin build`",
        ));
    }
    if !header.ends_with(&COMPONENT) {
        return Err(ManifestError::NotAComponent(
            "the file is of a WebAssembly version that this gateway does not know",
        ));
    }
    let truncated = ManifestError::NotAComponent("the component is cut short");
    while let Some((id, after)) = rest.split_first() {
        let Some((content, next)) = sized(after) else {
            return Err(truncated);
        };
        rest = next;
        if *id != 0 {
            continue;
        }
        if let Some((name, data)) = sized(content)
            && name == wanted.as_bytes()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// The component with this section at its end.
pub(super) fn append(mut component: Vec<u8>, name: &str, json: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(json.len() + name.len() + 2);
    put_leb128(&mut content, name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(json);
    component.push(0);
    put_leb128(&mut component, content.len());
    component.extend_from_slice(&content);
    component
}

/// Splits a length-prefixed piece off.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes.get(at + 1..)?.split_at_checked(length);
        }
    }
    None
}

fn put_leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
