//! From bytes to a component that can be instantiated: checked, compiled or taken from the cache, linked.

mod imports;

use std::time::Instant;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::cache::{Cache, Lookup};
use crate::capabilities::State;
use crate::engine;
use crate::host::{Progress, ProgressHook};
use crate::names::Names;
use crate::{Kind, Manifest, Metrics, Source};

/// A component, ready for instances.
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    /// SHA-256 in hex.
    pub(crate) digest: String,
    pub(crate) source: Source,
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
}

impl Loader<'_> {
    /// Loads a component. Blocks: reads files, and compiles what is not in the cache.
    pub(crate) fn load(&self, source: &Source) -> Result<Loaded, String> {
        let bytes = source
            .read()
            .map_err(|error| format!("{source} cannot be read: {error}"))?;
        if Engine::detect_precompiled(&bytes).is_some() {
            return Err(format!(
                "{source} is compiled code, which is never accepted from outside; give the component itself"
            ));
        }
        let manifest =
            Manifest::from_component(&bytes).map_err(|error| format!("{source}: {error}"))?;
        let digest = hex::encode(Sha256::digest(&bytes));
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
    /// Whether this is the component that the operator pinned.
    pub(crate) fn check_digest(&self, pinned: &str) -> Result<(), String> {
        let wanted = pinned
            .strip_prefix("sha256:")
            .unwrap_or(pinned)
            .to_ascii_lowercase();
        match bool::from(wanted.as_bytes().ct_eq(self.digest.as_bytes())) {
            true => Ok(()),
            false => Err(format!(
                "{} has the digest sha256:{}, but the configuration pins sha256:{wanted}",
                self.source, self.digest
            )),
        }
    }

    /// Whether it does what the configuration uses it for.
    pub(crate) fn check_kind(&self, wanted: Kind) -> Result<(), String> {
        let kind = self.manifest.kind;
        match self.manifest.is(wanted) {
            true => Ok(()),
            false => Err(format!(
                "{} is of kind {kind}, but the configuration uses it as {wanted}",
                self.source
            )),
        }
    }
}
