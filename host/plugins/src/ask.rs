//! What a configured plugin asks of its component: which one, and what is pinned.

use std::collections::HashMap;

use semver::{Version, VersionReq};
use witgate_bundles::{Digest, Fetched, Reference};

use crate::source::{self, Source, Sources, split_fragment};
use crate::{LoadError, Manifest, PluginSpec};

/// A component that some plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ask {
    /// A name, a path or a reference.
    pub(crate) component: String,
    /// Names by which it is looked for in a bundle.
    pub(crate) names: Vec<String>,
    pub(crate) pins: Pins,
}

/// What the operator pinned.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pins {
    pub(crate) digest: Option<String>,
    pub(crate) version: Option<String>,
}

/// What registries gave, by what was asked for.
#[derive(Debug, Clone, Default)]
pub struct FetchedAll(HashMap<String, Result<(Reference, Fetched), String>>);

impl Ask {
    pub(crate) fn of(spec: &PluginSpec) -> Self {
        Self {
            component: spec.component.clone(),
            names: spec.names.clone(),
            pins: Pins {
                digest: spec.digest.clone(),
                version: spec.version.clone(),
            },
        }
    }

    /// Whether this is the content that the operator pinned: the component, or the bundle it is from.
    pub(crate) fn check_digest(
        &self,
        source: &Source,
        component: &Digest,
        bundle: Option<&Digest>,
    ) -> Result<(), String> {
        let Some(pinned) = &self.pins.digest else {
            return Ok(());
        };
        let wanted: Digest = pinned.parse().map_err(|error| format!("digest: {error}"))?;
        if wanted == *component || bundle == Some(&wanted) {
            return Ok(());
        }
        let bundle = bundle.map(|digest| format!(" (the bundle {digest})"));
        Err(format!(
            "{source} has the digest {component}{}, but the configuration pins {wanted}",
            bundle.unwrap_or_default()
        ))
    }

    /// Whether this is a version that the operator accepts.
    pub(crate) fn check_version(&self, source: &Source, manifest: &Manifest) -> Result<(), String> {
        let Some(pinned) = &self.pins.version else {
            return Ok(());
        };
        let accepted: VersionReq = pinned.parse().map_err(|error| {
            format!("version: {pinned:?} says no versions ({error}); write such as `>=1.2.0`, `1.2` or `=1.2.3`")
        })?;
        let version: Version = manifest.version.parse().map_err(|_| {
            format!(
                "{source} says that its version is {:?}, which cannot be compared with the pinned {pinned}",
                manifest.version
            )
        })?;
        match accepted.matches(&version) {
            true => Ok(()),
            false => Err(format!(
                "{source} has the version {version}, but the configuration pins {pinned}"
            )),
        }
    }
}

impl FetchedAll {
    /// What was fetched successfully.
    pub(crate) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.values().flatten().map(|(reference, _)| reference)
    }
}

impl Sources {
    /// Gets from registries those of these components that lie there, once each. What cannot be had is told when
    /// a plugin asks for it.
    pub async fn fetch(&mut self, components: Vec<String>) {
        for component in &components {
            let (place, _) = split_fragment(component);
            if Reference::is_one(place) && !self.fetched.0.contains_key(place) {
                let fetched = self.fetch_one(place).await;
                self.fetched.0.insert(place.to_owned(), fetched);
            }
        }
    }

    async fn fetch_one(&self, place: &str) -> Result<(Reference, Fetched), String> {
        let reference: Reference = place.parse().map_err(|error| format!("source: {error}"))?;
        let Some(pulled) = &self.pulled else {
            return Err(format!(
                "{reference} cannot be fetched: there is no data directory"
            ));
        };
        let fetched = pulled.fetch(&self.registries, &reference).await;
        let fetched = fetched.map_err(|error| format!("{reference} cannot be fetched: {error}"))?;
        if let Some(note) = &fetched.note {
            tracing::warn!("{note}");
        }
        Ok((reference, fetched))
    }

    /// The source of what was fetched; `None` for what does not lie in a registry, or was not fetched yet.
    pub(crate) fn find_fetched(
        &self,
        component: &str,
        names: &[String],
    ) -> Option<Result<Source, LoadError>> {
        let (place, fragment) = split_fragment(component);
        let fail = |reason: String| LoadError::new(place, reason);
        Some(match self.fetched.0.get(place)? {
            Ok((reference, fetched)) => {
                source::fetched(reference, fetched, fragment, names).map_err(fail)
            }
            Err(reason) => Err(fail(reason.clone())),
        })
    }
}
