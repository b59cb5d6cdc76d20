//! Plugins in Go: bindings from the kind's WIT, and how the SDK and the author's package are compiled with them.
//!
//! The bindings are wit-bindgen's, generated here into the SDK's module ([sdk/go](../../../sdk/go)), which the author's package
//! imports as `witgate/…`. Only the part of the SDK that is imported becomes part of the component.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use wit_bindgen_core::Files;
use wit_bindgen_go::Format;
use witgate_plugins::Kind;

use crate::assets;
use crate::c;

/// The package of the SDK's module that the bindings go into.
const BINDINGS: &str = "witgate/wit";

/// The packages that the generator takes for granted, and ours in their place.
const RUNTIME: [&str; 2] = ["go.bytecodealliance.org/pkg/wit/", "witgate/abi/"];

/// The version of the language that the bindings need.
const GO: &str = "1.25";

/// Places of Go's own runtime that are built otherwise: file, text, and what takes its place.
///
/// Go takes it that nobody else makes memory grow. In a component the adapter to WASI 0.2 does, once, at the first call. So
/// that call is made before Go looks how much memory there is, and Go's begins behind it; should memory ever grow
/// again by somebody else, that is an error and no damage.
///
/// And Go's scheduler and collector ask for the time and for what is ready also while the host passes data in, when a component may
/// call nothing. Then time stands still and nothing is ready: see `Open` in the SDK's `abi/runtime`.
const PATCHES: [(&str, &str, &str); 5] = [
    (
        "src/runtime/os_wasm.go",
        "\tblocMax = uintptr(currentMemory()) * physPageSize // record the initial linear memory size\n",
        "\tvar argc, argvSize size\n\targs_sizes_get(&argc, &argvSize)\n\
         \tbloc = uintptr(currentMemory()) * physPageSize\n\tblocMax = bloc\n",
    ),
    (
        "src/runtime/os_wasip1.go",
        "func nanotime1() int64 {\n\tvar time timestamp\n",
        "//go:linkname witgateShut\nvar witgateShut bool\n\nvar witgateTime int64\n\n\
         func nanotime1() int64 {\n\tif !witgateShut {\n\t\twitgateTime = witgateNow()\n\t}\n\treturn witgateTime\n}\n\n\
         func witgateNow() int64 {\n\tvar time timestamp\n",
    ),
    (
        "src/runtime/os_wasip1.go",
        "func walltime1() (sec int64, nsec int32) {\n\tvar time timestamp\n",
        "var (\n\twitgateSec int64\n\twitgateNsec int32\n)\n\n\
         func walltime1() (sec int64, nsec int32) {\n\tif !witgateShut {\n\
         \t\twitgateSec, witgateNsec = witgateWall()\n\t}\n\treturn witgateSec, witgateNsec\n}\n\n\
         func witgateWall() (sec int64, nsec int32) {\n\tvar time timestamp\n",
    ),
    (
        "src/runtime/netpoll_wasip1.go",
        "func netpoll(delay int64) (gList, int32) {\n",
        "func netpoll(delay int64) (gList, int32) {\n\tif witgateShut {\n\t\treturn gList{}, 0\n\t}\n",
    ),
    (
        "src/runtime/mem_wasm.go",
        "\t\tresetMemoryDataView()\n",
        "\t\tif uintptr(size)*physPageSize != blocMax {\n\
         \t\t\tthrow(\"somebody else made memory grow\")\n\t\t}\n\t\tresetMemoryDataView()\n",
    ),
];

/// Where things are that a build needs.
pub(crate) struct Layout<'a> {
    /// The author's folder.
    pub plugin: &'a Path,
    /// The kind's WIT.
    pub wit: &'a Path,
    /// The SDK's module, to be written.
    pub sdk: &'a Path,
    /// The module that holds it all together, to be written.
    pub main: &'a Path,
}

/// Whether the SDK knows this kind.
pub(crate) fn has_sdk(kind: Kind) -> bool {
    export(kind).is_some()
}

/// Writes the SDK's module for one kind: the packages, the bindings, and what exports the author's plugin by them.
pub(crate) fn write_sdk(kind: Kind, wit: &Path, to: &Path) -> anyhow::Result<()> {
    for (path, content) in assets::below("sdk/go") {
        let own = ["exports/", "templates/"];
        if !own.iter().any(|folder| path.starts_with(folder)) {
            assets::write_file(&to.join(path), content)?;
        }
    }
    let (mut resolve, world) = c::resolve(wit)?;
    let options = wit_bindgen_go::Opts {
        format: Format::False,
        pkg_name: Some(BINDINGS.to_owned()),
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let to = to.join("wit");
    for (name, content) in files.iter() {
        let text = std::str::from_utf8(content)?.replace(RUNTIME[0], RUNTIME[1]);
        let text = narrow_exports(&shut_around_imports(&text));
        assets::write_file(&to.join(name), text.as_bytes())?;
    }
    let export = export(kind).context("there is no Go SDK for plugins of this kind yet")?;
    let snake = kind.as_str().replace('-', "_");
    let folder = format!("export_witgate_{snake}_{snake}");
    Ok(assets::write_file(
        &to.join(folder).join("export.go"),
        export,
    )?)
}

/// Shuts Go's runtime (see `PATCHES`) while the host answers a call: what it returns it writes to memory that it asks Go for.
fn shut_around_imports(bindings: &str) -> String {
    const IMPORT: &str = "func wasm_import_";
    // What needs no memory does not import the package either.
    if !bindings.contains("witRuntime \"") {
        return bindings.to_owned();
    }
    let mut out = String::with_capacity(bindings.len());
    for line in bindings.lines() {
        let Some((name, params, result)) = signature(line, IMPORT) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let arguments: Vec<&str> = params
            .split(',')
            .filter_map(|param| param.split_whitespace().next())
            .collect();
        let call = format!("raw_{name}({})", arguments.join(", "));
        let (keep, give) = match result.trim() {
            "" => (call, ""),
            _ => (format!("result := {call}"), "\treturn result\n"),
        };
        out.push_str(&format!(
            "func raw_{name}({params}){result}\n\n{IMPORT}{name}({params}){result} {{\n\tbefore := witRuntime.Shut()\n\
             \t{keep}\n\twitRuntime.Restore(before)\n{give}}}\n"
        ));
    }
    out
}

/// Go takes exports with at most 128 bytes of arguments, and an address is eight bytes to it, though four in WebAssembly. Exports with
/// many arguments take addresses as four.
fn narrow_exports(bindings: &str) -> String {
    const EXPORT: &str = "func wasm_export_";
    /// So many are never too large: addresses and lengths take turns.
    const FIT: usize = 14;
    let mut out = String::with_capacity(bindings.len());
    for line in bindings.lines() {
        if let Some((name, params, result)) = signature(line, EXPORT)
            && params.split(',').count() > FIT
        {
            let arguments: Vec<String> = params
                .split(',')
                .filter_map(|param| param.trim().split_once(' '))
                .map(|(argument, of)| match of {
                    "uintptr" => format!("uintptr({argument})"),
                    _ => argument.to_owned(),
                })
                .collect();
            let narrow = params.replace("uintptr", "uint32");
            let give = if result.trim_end_matches([' ', '{']).is_empty() {
                ""
            } else {
                "return "
            };
            out.push_str(&format!(
                "{EXPORT}{name}({narrow}){result}\n\t{give}wide_{name}({})\n}}\n\nfunc wide_{name}({params}){result}\n",
                arguments.join(", ")
            ));
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Name, parameters and the rest of a line of Go that begins a function whose name begins so.
fn signature<'a>(line: &'a str, prefix: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (name, rest) = line.strip_prefix(prefix)?.split_once('(')?;
    let (params, result) = rest.split_once(')')?;
    Some((name, params, result))
}

/// Puts the SDK into a plugin's `.witgate`, for editors and `go vet`.
pub(crate) fn write_for_editor(kind: Kind, to: &Path) -> io::Result<()> {
    let wit = to.join("wit");
    assets::write_wit(kind.as_str(), &wit)?;
    write_sdk(kind, &wit, &to.join("sdk/go")).map_err(io::Error::other)
}

/// Writes what a build needs and completes the command, but for its output.
pub(crate) fn prepare(
    go: &mut Command,
    root: &Path,
    kind: Kind,
    layout: &Layout<'_>,
) -> anyhow::Result<()> {
    write_sdk(kind, layout.wit, layout.sdk)?;
    let module = module(layout.plugin)?;
    let write =
        |name: &str, text: String| assets::write_file(&layout.main.join(name), text.as_bytes());
    write(
        "main.go",
        format!(
            "package main\n\nimport (\n\t_ {module:?}\n\t_ \"{BINDINGS}/wit_exports\"\n)\n\nfunc main() {{}}\n"
        ),
    )?;
    write(
        "go.mod",
        format!(
            "module main\n\ngo {GO}\n\nrequire (\n\t{module} v0.0.0\n\twitgate v0.0.0\n)\n\n\
             replace {module} => {:?}\n\nreplace witgate => {:?}\n",
            layout.plugin, layout.sdk
        ),
    )?;
    // The digests of what the author's module needs.
    if let Ok(sums) = fs::read_to_string(layout.plugin.join("go.sum")) {
        write("go.sum", sums)?;
    }
    write("overlay.json", overlay(root, layout.main)?)?;
    go.current_dir(layout.main)
        .args(["build", "-buildmode=c-shared", "-trimpath"])
        // Names and positions of functions stay: an error tells its place. Only what debuggers read goes.
        .args(["-ldflags=-s -w", "-overlay=overlay.json"]);
    Ok(())
}

/// Writes the patched files of Go's runtime; returns what `-overlay` takes.
fn overlay(root: &Path, to: &Path) -> anyhow::Result<String> {
    let mut replace = BTreeMap::new();
    for (file, from, into) in PATCHES {
        let theirs = root.join(file);
        let ours = to.join(format!("{}.overlay", file.replace('/', "-")));
        let source = if replace.contains_key(&theirs) {
            &ours
        } else {
            &theirs
        };
        let text = fs::read_to_string(source).with_context(|| source.display().to_string())?;
        anyhow::ensure!(
            text.matches(from).count() == 1,
            "{}: this is not the Go that plugins are built with",
            theirs.display()
        );
        assets::write_file(&ours, text.replace(from, into).as_bytes())?;
        replace.insert(theirs, ours);
    }
    Ok(serde_json::json!({ "Replace": replace }).to_string())
}

fn export(kind: Kind) -> Option<&'static [u8]> {
    assets::file(&format!("sdk/go/exports/{kind}/export.go"))
}

/// The path of the author's module, from its `go.mod`.
fn module(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "{}: a Go plugin needs one: `module example.com/my-plugin`, `go {GO}`, `require witgate v0.0.0` and \
             `replace witgate => ./.witgate/sdk/go`",
            path.display()
        )
    })?;
    let module = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("module "))
        .map(|name| name.trim().trim_matches('"').to_owned());
    module.with_context(|| format!("{}: it has no line `module …`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_sdk_has_bindings_and_an_export() {
        let folder = tempfile::tempdir().expect("a folder");
        for kind in Kind::ALL {
            assert!(has_sdk(kind), "{kind}");
            let to = folder.path().join(kind.as_str());
            write_for_editor(kind, &to).expect("written");
            let exports = to.join("sdk/go/wit/wit_exports/wit_exports.go");
            let text = fs::read_to_string(exports).expect("the exports");
            assert!(text.contains("witgate/abi/types"), "{kind}");
            assert!(!text.contains("bytecodealliance"), "{kind}");
        }
    }

    #[test]
    fn imports_are_called_with_the_runtime_shut() {
        let bindings = "import (\nwitRuntime \"witgate/abi/runtime\"\n)\n\n//go:wasmimport a get\n\
                        func wasm_import_get(arg0 int32, arg1 uintptr) int32\n";
        let shut = shut_around_imports(bindings);
        for part in [
            "//go:wasmimport a get\nfunc raw_get(arg0 int32, arg1 uintptr) int32\n",
            "func wasm_import_get(arg0 int32, arg1 uintptr) int32 {\n\tbefore := witRuntime.Shut()\n\
             \tresult := raw_get(arg0, arg1)\n\twitRuntime.Restore(before)\n\treturn result\n}\n",
        ] {
            assert!(shut.contains(part), "{part}: {shut}");
        }
    }

    #[test]
    fn an_export_of_many_arguments_takes_addresses_as_four_bytes() {
        let params: Vec<String> = (0..16)
            .map(|at| format!("arg{at} {}", ["uintptr", "uint32"][at % 2]))
            .collect();
        let many = format!(
            "//go:wasmexport a\nfunc wasm_export_a({}) uintptr {{\n\tbody\n}}\n",
            params.join(", ")
        );
        let narrow = narrow_exports(&many);
        for part in [
            "//go:wasmexport a\nfunc wasm_export_a(arg0 uint32, arg1 uint32, ",
            ") uintptr {\n\treturn wide_a(uintptr(arg0), arg1, ",
            "}\n\nfunc wide_a(arg0 uintptr, arg1 uint32, ",
            ") uintptr {\n\tbody\n}\n",
        ] {
            assert!(narrow.contains(part), "{part}: {narrow}");
        }
        let few = "func wasm_export_a(arg0 uintptr) {\n}\n";
        assert_eq!(narrow_exports(few), few);
    }

    #[test]
    fn a_module_is_named_by_its_go_mod() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = module(folder.path())
            .expect_err("there is none")
            .to_string();
        assert!(error.contains("a Go plugin needs one"), "{error}");
        fs::write(
            folder.path().join("go.mod"),
            "// one\nmodule example.com/x\n\ngo 1.25\n",
        )
        .expect("written");
        assert_eq!(module(folder.path()).expect("named"), "example.com/x");
    }
}
