//! From bytes to a component that can be instantiated: checked, compiled or taken from the cache, linked.

mod imports;

use std::time::Instant;

use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};
use witgate_bundles::{Digest, PublicKey};

use crate::cache::{Cache, Lookup};
use crate::capabilities::State;
use crate::engine;
use crate::host::{Progress, ProgressHook};
use crate::names::Names;
use crate::source::{Ask, BundleFacts, Material};
use crate::{Kind, Manifest, Metrics, Source, Trust};

/// A component, ready for instances.
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// SHA-256 in hex.
    pub(crate) digest: String,
    pub(crate) source: Source,
    /// The bundle it comes from.
    pub(crate) bundle: Option<BundleFacts>,
    /// Whose signatures fit.
    pub(crate) signers: Vec<PublicKey>,
    /// Name of the trusted key that signed it.
    pub(crate) signer: Option<String>,
    pub(crate) pre: InstancePre<State>,
    /// For backtraces.
    pub(crate) names: Names,
}

/// What loading needs of the host.
pub(crate) struct Loader<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) linker: &'a Linker<State>,
    pub(crate) cache: Option<&'a Cache>,
    pub(crate) metrics: &'a Metrics,
    pub(crate) on_progress: &'a ProgressHook,
    pub(crate) trust: &'a Trust,
}

impl Loader<'_> {
    /// Loads a component. Blocks: reads files, and compiles what is not in the cache. What is not the pinned
    /// content, or nobody trusted vouches for, is refused before any of it is compiled.
    pub(crate) fn load(&self, source: &Source, ask: &Ask) -> Result<Loaded, String> {
        let material = source
            .read()
            .map_err(|error| format!("{source} cannot be used: {error}"))?;
        let digest = Digest::of(&material.bytes);
        ask.check_digest(
            source,
            &digest,
            material.bundle.as_ref().map(|one| &one.digest),
        )?;
        let signer = source.vouched_for(ask, &material.signers, self.trust)?;
        let Material {
            bytes,
            bundle,
            signers,
        } = material;
        if Engine::detect_precompiled(&bytes).is_some() {
            return Err(format!(
                "{source} is compiled code, which is never accepted from outside; give the component itself"
            ));
        }
        let manifest =
            Manifest::from_component(&bytes).map_err(|error| format!("{source}: {error}"))?;
        if let Some(bundle) = &bundle {
            bundle.fits(source, &manifest)?;
        }
        ask.check_version(source, &manifest)?;
        let digest = digest.hex();
        let component = self.compile(&manifest.name, &digest, &bytes)?;
        let own = component.component_type();
        if manifest.kind == Kind::Provider
            && let Some((name, _)) = own.imports(self.engine).find(|(name, _)| {
                let sends = ["witgate:host/http@", "witgate:host/sign@"];
                sends.iter().any(|start| name.starts_with(start))
            })
        {
            return Err(format!(
                "{source} cannot run here: it imports {name}, but a provider sends nothing itself; the gateway sends what it builds"
            ));
        }
        let missing = imports::missing(&own, self.engine);
        if !missing.is_empty() {
            return Err(format!("{source} cannot run here: {}", missing.join("; ")));
        }
        let pre = self
            .linker
            .instantiate_pre(&component)
            .map_err(|error| format!("{source} does not fit this gateway: {error:#}"))?;
        Ok(Loaded {
            names: Names::beside(source, &digest),
            manifest,
            digest,
            source: source.clone(),
            bundle,
            signers,
            signer,
            pre,
        })
    }

    fn compile(&self, name: &str, digest: &str, bytes: &[u8]) -> Result<Component, String> {
        let found = self
            .cache
            .map_or(Lookup::Miss, |cache| cache.get(self.engine, digest));
        match found {
            Lookup::Hit(component) => {
                self.metrics.cache("hit");
                return Ok(component);
            }
            Lookup::Miss => self.metrics.cache("miss"),
            Lookup::Refused(reason) => {
                self.metrics.cache("refused");
                tracing::warn!(
                    component = name,
                    reason,
                    "the cached compiled code was refused; compiling anew"
                );
            }
        }
        (self.on_progress)(&Progress::Compiling {
            component: name.to_owned(),
            bytes: bytes.len(),
        });
        let start = Instant::now();
        let compile = |engine: &Engine| {
            Component::from_binary(engine, bytes)
                .map_err(|error| format!("the component does not compile: {error:#}"))
        };
        // What the cache can take over is compiled apart, and its compiler goes.
        let apart = self.cache.and_then(|_| engine::for_compiling(self.engine));
        let component = compile(apart.as_ref().unwrap_or(self.engine))?;
        let elapsed = start.elapsed();
        self.metrics.compiled(name, elapsed);
        (self.on_progress)(&Progress::Compiled {
            component: name.to_owned(),
            elapsed,
        });
        let Some(cache) = self.cache else {
            return Ok(component);
        };
        let kept = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|code| cache.put(digest, &code).map_err(|error| error.to_string()));
        // From the cache it is mapped and shared with other processes, not held in the heap.
        let mapped = kept.map(|()| cache.get(self.engine, digest));
        if let Err(reason) = &mapped {
            tracing::warn!(
                component = name,
                reason,
                "the compiled code cannot be kept; the next start compiles again"
            );
        }
        match (mapped, apart) {
            (Ok(Lookup::Hit(mapped)), _) => Ok(mapped),
            // Code of another engine runs on that one only.
            (_, Some(_)) => compile(self.engine),
            (_, None) => Ok(component),
        }
    }
}

impl Loaded {
    /// Whether the operator's pins and keys of now allow it, as [`Loader::load`] asked when it was loaded.
    pub(crate) fn check_pins(&self, ask: &Ask, trust: &Trust) -> Result<(), String> {
        let digest: Digest = self.digest.parse()?;
        let bundle = self.bundle.as_ref().map(|one| &one.digest);
        ask.check_digest(&self.source, &digest, bundle)?;
        ask.check_version(&self.source, &self.manifest)?;
        self.source.vouched_for(ask, &self.signers, trust).map(drop)
    }

    /// Name and version of the bundle it comes from; empty when it comes from none.
    pub(crate) fn bundle_title(&self) -> String {
        let title = self.bundle.as_ref().map(|bundle| bundle.title.clone());
        title.unwrap_or_default()
    }

    /// Whether it does what the configuration uses it for.
    pub(crate) fn check_kind(&self, wanted: Kind) -> Result<(), String> {
        let kind = self.manifest.kind;
        match kind == wanted {
            true => Ok(()),
            false => Err(format!(
                "{} is of kind {kind}, but the configuration uses it as {wanted}",
                self.source
            )),
        }
    }
}
