//! Plugins in C: bindings from the kind's WIT, and how the SDK and the author's files are compiled with them.
//!
//! The bindings are wit-bindgen's, generated here, so that an author needs no other tool than the compiler. The SDK
//! ([sdk/c](../../../sdk/c)) gives their types short names and has a header and a source per kind.

use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use wit_bindgen_core::Files;
use wit_component::StringEncoding;
use wit_parser::{Resolve, WorldId, WorldItem};
use witgate_plugins::Kind;

use crate::assets;

/// Prefix of what is generated, and name of its files.
const GENERATED: &str = "wit";

/// Size of the stack. It lies below everything else: one that is used up is a trap, not damage.
const STACK: u32 = 1 << 20;

/// The bindings' source as it is compiled. What the host passes in and gets back lies in the memory of the call (`witgate.c`),
/// which is freed as a whole, so nothing is freed one by one; literals may be given back.
const BINDINGS: &str =
    "#include <stdlib.h>\n#define free(pointer) ((void)(pointer))\n#include \"wit.c\"\n";

/// Whether the SDK knows this kind.
pub(crate) fn has_sdk(kind: Kind) -> bool {
    assets::file(&format!("sdk/c/src/kinds/{kind}.c")).is_some()
}

/// Generates `wit.h`, `wit.c` and what compiles it, from the WIT in a folder.
pub(crate) fn write_bindings(wit: &Path, to: &Path) -> anyhow::Result<()> {
    let (mut resolve, world) = resolve(wit)?;
    let imports = imports(&resolve, world);
    let options = wit_bindgen_c::Opts {
        no_object_file: true,
        rename_world: Some(GENERATED.to_owned()),
        rename: renames(&resolve, world),
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    for (name, content) in files.iter() {
        let content = match name {
            "wit.h" => header(std::str::from_utf8(content)?, &imports)?.into_bytes(),
            _ => content.to_vec(),
        };
        assets::write_file(&to.join(name), &content)?;
    }
    Ok(assets::write_file(
        &to.join("bindings.c"),
        BINDINGS.as_bytes(),
    )?)
}

/// Puts the kind's WIT and the generated header into a plugin's `.witgate`, for editors.
pub(crate) fn write_header(kind: Kind, to: &Path) -> io::Result<()> {
    let wit = to.join("wit");
    assets::write_wit(kind.as_str(), &wit)?;
    write_bindings(&wit, &to.join("sdk/c/generated")).map_err(io::Error::other)
}

/// The compiler's arguments but for the output: one call compiles and links.
pub(crate) fn arguments<'a>(
    zig: &mut Command,
    kind: Kind,
    sdk: &Path,
    own: impl Iterator<Item = &'a Path>,
) {
    zig.args(["--target=wasm32-wasi", "-mexec-model=reactor", "-std=gnu17"])
        // `-Os` would silence `assert`.
        .args(["-Os", "-UNDEBUG", "-s", "-Wall", "-Wextra"])
        // Handlers get what they may not need, and text is `char` here and bytes there.
        .args(["-Wno-unused-parameter", "-Wno-pointer-sign"])
        // Their words reach the operator: see `witgate.c`.
        .args(["-Dabort=wg__abort", "-Dexit=wg__exit"])
        .arg("-D__assert_fail=wg__assert_fail")
        .arg(format!("-Wl,-z,stack-size={STACK}"))
        .arg("-I")
        .arg(sdk.join("include"))
        .arg("-I")
        .arg(sdk.join("generated"));
    zig.args(own);
    zig.arg(sdk.join("generated/bindings.c"))
        .arg(sdk.join(format!("src/kinds/{kind}.c")));
    let shared = assets::below("sdk/c/src").map(|(path, _)| path);
    for path in shared.filter(|path| !path.contains('/') && path.ends_with(".c")) {
        zig.arg(sdk.join("src").join(path));
    }
}

/// Adds the types of the kind's world to a module, from which the component is encoded.
pub(crate) fn name_types(module: &mut Vec<u8>, wit: &Path) -> anyhow::Result<()> {
    let (resolve, world) = resolve(wit)?;
    wit_component::embed_component_metadata(module, &resolve, world, StringEncoding::UTF8)
}

/// What the linker misses is mostly a function that the author did not write, or wrote under another name.
pub(crate) fn with_hint(output: String) -> String {
    match output.contains("undefined symbol: plugin_") {
        true => format!(
            "{output}\nfunctions whose names begin with plugin_ are yours to write; the header of the plugin's kind declares them"
        ),
        false => output,
    }
}

/// The world of the WIT in a folder.
pub(crate) fn resolve(wit: &Path) -> anyhow::Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], None)?;
    Ok((resolve, world))
}

/// `witgate:host/http@0.1.0` is called `wit_http`; what the plugin exports `plugin`, whatever its kind.
fn renames(resolve: &Resolve, world: WorldId) -> Vec<(String, String)> {
    let world = &resolve.worlds[world];
    let short = |name: &str| {
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        let interface = name.rsplit('/').next().unwrap_or(name);
        format!("{GENERATED}_{}", interface.replace('-', "_"))
    };
    let names = |key| resolve.name_world_key(key);
    let imports = world.imports.keys().map(names);
    let imports = imports.map(|name| (name.clone(), short(&name)));
    let exports = world.exports.keys().map(names);
    let exports = exports.map(|name| (name, "plugin".to_owned()));
    imports.chain(exports).collect()
}

/// The interfaces of the host that this kind of plugin may import.
fn imports(resolve: &Resolve, world: WorldId) -> Vec<String> {
    let imports = &resolve.worlds[world].imports;
    let names = imports.values().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => resolve.interfaces[*id].name.clone(),
        _ => None,
    });
    names.collect()
}

/// The generated header with text of `char`, as C has it, and a macro for each import: kinds differ in what they have.
fn header(generated: &str, imports: &[String]) -> anyhow::Result<String> {
    const GUARD: &str = "#define __BINDINGS_WIT_H\n";
    const TEXT: &str = "typedef struct wit_string_t {\n  uint8_t*ptr;";
    let at = generated
        .find(GUARD)
        .context("the generated header has no guard")?
        + GUARD.len();
    let (guard, rest) = generated.split_at(at);
    anyhow::ensure!(
        rest.contains(TEXT),
        "the generated header has no type for text"
    );
    let macros: String = imports
        .iter()
        .map(|name| {
            format!(
                "#define WIT_HAS_{}\n",
                name.replace('-', "_").to_uppercase()
            )
        })
        .collect();
    let rest = rest.replace(TEXT, &TEXT.replace("uint8_t*ptr", "char *ptr"));
    Ok(format!("{guard}{macros}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_sdk_has_bindings_with_short_names() {
        let folder = tempfile::tempdir().expect("a folder");
        for kind in Kind::ALL {
            assert!(has_sdk(kind), "{kind}");
            let to = folder.path().join(kind.as_str());
            write_header(kind, &to).expect("generated");
            let header = std::fs::read_to_string(to.join("sdk/c/generated/wit.h")).expect("wit.h");
            for part in [
                "typedef struct wit_string_t {\n  char *ptr;",
                "exports_plugin_init(",
                "wit_log_panic(",
                "#define WIT_HAS_SETTINGS\n",
            ] {
                assert!(header.contains(part), "{kind}: {part}");
            }
            let http = header.contains("#define WIT_HAS_HTTP\n");
            assert_eq!(http, kind != Kind::Provider, "{kind}");
        }
    }

    #[test]
    fn a_function_that_is_missing_is_explained() {
        let output = "wasm-ld: error: guardrail.o: undefined symbol: plugin_check".to_owned();
        assert!(with_hint(output).contains("yours to write"));
        assert_eq!(with_hint("else".to_owned()), "else");
    }
}
