//! From a core module to a component with its manifest, and back to what it imports and exports.

use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldItem, WorldKey};
use witgate_plugins::{Kind, Manifest, ManifestError};

/// What a component needs and offers, each as `package:name/interface@version`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Interfaces {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// What is wrong with a module or component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The bytes are no WASM, or no valid component comes of them.
    #[error("this makes no component: {0:#}")]
    Invalid(anyhow::Error),
    /// It went through a build already.
    #[error("it has a manifest already; give the file as its toolchain made it")]
    HasManifest,
    /// The host would refuse the manifest.
    #[error(transparent)]
    Manifest(ManifestError),
    /// It is a WIT package and holds no code.
    #[error("this is a WIT package, not a component")]
    NoCode,
    /// The manifest and the code disagree.
    #[error(
        "plugin.toml says kind = \"{kind}\", but the component does not export {wanted} (it exports {found}); \
         change `kind`, or export it ({macro_name})"
    )]
    WrongKind {
        /// The kind in the manifest.
        kind: Kind,
        /// The interface that the kind means.
        wanted: &'static str,
        /// What is exported.
        found: String,
        /// The SDK's macro that exports it.
        macro_name: &'static str,
    },
    /// The host does not offer an import.
    #[error(
        "the component imports {import}, which the gateway does not offer to a {kind}; it offers {known}"
    )]
    UnknownImport {
        /// The import.
        import: String,
        /// The kind of plugin.
        kind: Kind,
        /// What there is.
        known: String,
    },
}

const HOST: [&str; 15] = [
    "settings", "secrets", "http", "sign", "jwt", "clock", "random", "log", "metrics", "files",
    "body", "kv", "request", "llm", "mail",
];

/// WASI 0.2 packages that the host links, if only to refuse: the standard libraries of some languages
/// import them whether they use them or not.
const WASI: [&str; 7] = [
    "io",
    "clocks",
    "random",
    "cli",
    "filesystem",
    "sockets",
    "http",
];

/// The module whose functions C libraries and other languages' runtimes call for what they take for an operating system.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Makes the component: encodes a module (a component stays as it is), checks it against the manifest, adds
/// the manifest.
pub(crate) fn encode(wasm: &[u8], manifest: &Manifest) -> Result<Vec<u8>, ComponentError> {
    let component = if is_component(wasm) {
        wasm.to_vec()
    } else {
        module(wasm).map_err(ComponentError::Invalid)?
    };
    let interfaces = interfaces(&component)?;
    check(&interfaces, manifest.kind)?;
    for kind in &manifest.also {
        check(&interfaces, *kind)?;
    }
    match Manifest::from_component(&component) {
        Err(ManifestError::Missing) => {}
        _ => return Err(ComponentError::HasManifest),
    }
    manifest.check().map_err(ComponentError::Manifest)?;
    Ok(manifest.embed(component))
}

/// Encodes a module. One that calls WASI preview 1 (`printf` does) gets the adapter to WASI 0.2.
fn module(wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default().validate(true).module(wasm)?;
    // What a module imports stands in it as text.
    if wasm
        .windows(PREVIEW1.len())
        .any(|part| part == PREVIEW1.as_bytes())
    {
        // Its state must outlive a call, and what the module's own `cabi_realloc` gives need not.
        encoder = encoder.realloc_via_memory_grow(true).adapter(
            PREVIEW1,
            wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )?;
    }
    encoder.encode()
}

/// Whether the bytes begin as a component, not as a core module: magic, version, and layer 1.
fn is_component(wasm: &[u8]) -> bool {
    wasm.starts_with(b"\0asm") && wasm.get(6..8) == Some(&[1, 0])
}

/// What a component imports and exports.
pub(crate) fn interfaces(component: &[u8]) -> Result<Interfaces, ComponentError> {
    match wit_component::decode(component).map_err(ComponentError::Invalid)? {
        DecodedWasm::WitPackage(..) => Err(ComponentError::NoCode),
        DecodedWasm::Component(resolve, world) => {
            let world = &resolve.worlds[world];
            let names = |items: &mut dyn Iterator<Item = (&WorldKey, &WorldItem)>| {
                items.map(|(key, item)| name(&resolve, key, item)).collect()
            };
            Ok(Interfaces {
                imports: names(&mut world.imports.iter()),
                exports: names(&mut world.exports.iter()),
            })
        }
    }
}

fn name(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> String {
    match (key, item) {
        (WorldKey::Name(_), WorldItem::Interface { id, .. }) => resolve
            .id_of(*id)
            .unwrap_or_else(|| resolve.name_world_key(key)),
        _ => resolve.name_world_key(key),
    }
}

fn check(interfaces: &Interfaces, kind: Kind) -> Result<(), ComponentError> {
    let wanted = interface(kind);
    if !interfaces
        .exports
        .iter()
        .any(|export| without_version(export) == wanted)
    {
        let found = match interfaces.exports.as_slice() {
            [] => "nothing".to_owned(),
            exports => exports.join(", "),
        };
        let macro_name = match kind {
            Kind::LogSink => "witgate_plugin::export_log_sink!",
            Kind::Alerter => "witgate_plugin::export_alerter!",
            Kind::Guardrail => "witgate_plugin::export_guardrail!",
            Kind::Authenticator => "witgate_plugin::export_authenticator!",
            Kind::KeyPolicy => "witgate_plugin::export_key_policy!",
            Kind::Router => "witgate_plugin::export_router!",
            Kind::Provider => "witgate_plugin::export_provider!",
            Kind::PromptManager => "witgate_plugin::export_prompt_manager!",
            Kind::Sso => "witgate_plugin::export_sso!",
            Kind::SecretManager => "witgate_plugin::export_secret_manager!",
            Kind::RequestHook => "witgate_plugin::export_request_hook!",
        };
        return Err(ComponentError::WrongKind {
            kind,
            wanted,
            found,
            macro_name,
        });
    }
    match interfaces.imports.iter().find(|import| !is_known(import)) {
        None => Ok(()),
        Some(import) => Err(ComponentError::UnknownImport {
            import: import.clone(),
            kind,
            known: format!(
                "witgate:host/{{{}}}@0.1 and wasi:{{{}}}@0.2",
                HOST.join(","),
                WASI.join(",")
            ),
        }),
    }
}

fn is_known(import: &str) -> bool {
    let (path, version) = import.split_once('@').unwrap_or((import, ""));
    let Some((package, interface)) = path.split_once('/') else {
        return false;
    };
    match package.split_once(':') {
        Some(("witgate", "types")) => interface == "types" && version.starts_with("0.1."),
        Some(("witgate", "host")) => HOST.contains(&interface) && version.starts_with("0.1."),
        // The types of the kind's own interface come back as an import when a world uses them.
        Some(("witgate", _)) => Kind::ALL.iter().any(|kind| self::interface(*kind) == path),
        Some(("wasi", package)) => WASI.contains(&package) && version.starts_with("0.2."),
        _ => false,
    }
}

/// The interface that a plugin of this kind exports, without its version.
fn interface(kind: Kind) -> &'static str {
    match kind {
        Kind::LogSink => "witgate:log-sink/log-sink",
        Kind::Alerter => "witgate:alerter/alerter",
        Kind::Guardrail => "witgate:guardrail/guardrail",
        Kind::Authenticator => "witgate:authenticator/authenticator",
        Kind::KeyPolicy => "witgate:key-policy/key-policy",
        Kind::Router => "witgate:router/router",
        Kind::Provider => "witgate:provider/provider",
        Kind::PromptManager => "witgate:prompt-manager/prompt-manager",
        Kind::Sso => "witgate:sso/sso",
        Kind::SecretManager => "witgate:secret-manager/secret-manager",
        Kind::RequestHook => "witgate:request-hook/request-hook",
    }
}

fn without_version(name: &str) -> &str {
    name.split_once('@').map_or(name, |(path, _)| path)
}

#[cfg(test)]
mod tests;
