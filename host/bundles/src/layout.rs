//! How components and bundles are laid out in a registry.
//!
//! A component lies there as the CNCF's layout for WebAssembly says, so any tool that follows it can fetch one of
//! ours and push one for us: an image manifest, a configuration of the type `application/vnd.wasm.config.v0+json`,
//! one layer of the type `application/wasm`. Our signatures travel in an annotation, which other tools pass over.
//! A bundle has types of its own; its signatures are inside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::archive::COMPONENT_MAX;
use crate::bundle::BUNDLE_MAX;
use crate::{Bundle, Digest, Signatures};

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
const WASM_LAYER: &str = "application/wasm";
/// Of tools from before the common layout.
const OLD_WASM_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
const BUNDLE_ARTEFACT: &str = "application/vnd.witgate.bundle.v1";
const BUNDLE_CONFIG: &str = "application/vnd.witgate.bundle.index.v1+json";
const BUNDLE_LAYER: &str = "application/vnd.witgate.bundle.v1.tar+zstd";
const TITLE: &str = "org.opencontainers.image.title";
const SIGNATURES: &str = "io.github.witgate.signatures";

/// What an artefact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// One component.
    Component,
    /// A bundle.
    Bundle,
}

/// What a component says about itself in a registry.
#[derive(Debug, Clone, Default)]
pub struct ComponentFacts {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// SPDX expression.
    pub license: String,
    /// Interfaces it offers.
    pub exports: Vec<String>,
    /// Interfaces it needs.
    pub imports: Vec<String>,
}

/// An artefact as it is sent: three blobs, of which the manifest names the other two.
#[derive(Debug, Clone)]
pub struct Artefact {
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

/// What a manifest leads to.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) content: Content,
    pub(crate) layer: Digest,
    pub(crate) size: u64,
    pub(crate) signatures: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Descriptor {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
        }
    }

    /// With the name of the file that general tools make of it.
    fn titled(mut self, title: String) -> Self {
        self.annotations.insert(TITLE.to_owned(), title);
        self
    }
}

impl Artefact {
    /// A component. The same input gives the same artefact: the layout asks for a time of creation, which is the
    /// beginning of time here.
    #[must_use]
    pub fn component(component: Vec<u8>, facts: &ComponentFacts, signatures: &Signatures) -> Self {
        let config = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [Digest::of(&component)],
            "component": {"exports": facts.exports, "imports": facts.imports, "target": null},
        });
        let mut annotations = annotations(&facts.name, &facts.version);
        for (name, value) in [
            ("description", &facts.description),
            ("licenses", &facts.license),
        ] {
            if !value.is_empty() {
                annotations.insert(format!("org.opencontainers.image.{name}"), value.clone());
            }
        }
        if !signatures.is_empty() {
            annotations.insert(SIGNATURES.to_owned(), signatures.to_json());
        }
        let config = config.to_string().into_bytes();
        let layer = Descriptor::of(WASM_LAYER, &component).titled(format!("{}.wasm", facts.name));
        let types = (None, WASM_CONFIG);
        Self::new(types, config, (component, layer), annotations)
    }

    /// A bundle.
    #[must_use]
    pub fn bundle(bundle: &Bundle) -> Self {
        let annotations = annotations(&bundle.index.name, &bundle.index.version.to_string());
        let title = format!("{}-{}.bundle", bundle.index.name, bundle.index.version);
        let bytes = bundle.bytes().to_vec();
        let layer = Descriptor::of(BUNDLE_LAYER, &bytes).titled(title);
        let types = (Some(BUNDLE_ARTEFACT), BUNDLE_CONFIG);
        let config = bundle.index.to_json();
        Self::new(types, config, (bytes, layer), annotations)
    }

    /// Digest of its manifest, by which it is pinned.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    fn new(
        (artifact_type, config_type): (Option<&str>, &str),
        config: Vec<u8>,
        (layer, described): (Vec<u8>, Descriptor),
        annotations: BTreeMap<String, String>,
    ) -> Self {
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST_TYPE.to_owned()),
            artifact_type: artifact_type.map(str::to_owned),
            config: Descriptor::of(config_type, &config),
            layers: vec![described],
            annotations,
        };
        Self {
            // Strings and numbers always serialise.
            manifest: serde_json::to_vec(&manifest).unwrap_or_default(),
            config,
            layer,
        }
    }
}

impl Found {
    /// Reads a manifest, of our own tools or of others.
    ///
    /// # Errors
    /// What it is instead, and what is accepted.
    pub(crate) fn read(manifest: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_slice(manifest)
            .map_err(|error| format!("it is no manifest: {error}"))?;
        if value.get("manifests").is_some() {
            return Err("it is a list of images for several platforms; give the tag or digest of one artefact".to_owned());
        }
        let manifest: Manifest = serde_json::from_value(value)
            .map_err(|error| format!("it is no image manifest: {error}"))?;
        let [layer] = manifest.layers.as_slice() else {
            return Err(format!(
                "it has {} layers; a component or a bundle has one",
                manifest.layers.len()
            ));
        };
        let (content, max) = match layer.media_type.as_str() {
            WASM_LAYER | OLD_WASM_LAYER => (Content::Component, COMPONENT_MAX),
            BUNDLE_LAYER => (Content::Bundle, BUNDLE_MAX),
            other => {
                return Err(format!(
                    "its layer is of the type {other:?}; a component's is {WASM_LAYER}, a bundle's {BUNDLE_LAYER}"
                ));
            }
        };
        if layer.size > max {
            return Err(format!(
                "its layer says that it has {} bytes; at most {} MiB are accepted",
                layer.size,
                max >> 20
            ));
        }
        Ok(Self {
            content,
            layer: layer.digest.parse()?,
            size: layer.size,
            signatures: manifest.annotations.get(SIGNATURES).cloned(),
        })
    }
}

fn annotations(name: &str, version: &str) -> BTreeMap<String, String> {
    let pairs = [("title", name), ("version", version)];
    pairs
        .into_iter()
        .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
        .collect()
}
