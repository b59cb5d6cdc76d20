//! A resource of a plugin on an instance of its own, for as long as a stream lasts.

use std::sync::Arc;

use serde_json::Value;
use wasmtime::component::ResourceAny;

use super::instance::Bindings;
use super::run::Run;
use super::{Lease, Pool};
use crate::CallError;
use crate::error::Fault;
use crate::record::Take;

/// A plugin's resource, and the instance it lives in.
pub(crate) struct Pinned<B: Bindings> {
    /// `None` only while it is being dropped.
    lease: Option<Lease<B>>,
    resource: ResourceAny,
}

impl<B: Bindings> Pinned<B> {
    pub(crate) fn new(lease: Lease<B>, resource: ResourceAny) -> Self {
        Self {
            lease: Some(lease),
            resource,
        }
    }

    /// The resource, for a call.
    pub(crate) fn resource(&self) -> ResourceAny {
        self.resource
    }

    /// A further call that is to be recorded, when the plugin is.
    pub(crate) fn take(&self, function: &'static str, input: impl FnOnce() -> Value) -> Take {
        let lease = self.lease.as_ref();
        let session = lease.and_then(|lease| lease.pool().context.recorded.as_ref());
        Take::new(session, function, input)
    }

    /// A further call on the same instance. After a trap or timeout every further one fails.
    pub(crate) async fn call<R, F>(
        &mut self,
        function: usize,
        input_bytes: u64,
        run: F,
    ) -> Result<R, CallError>
    where
        F: Run<B, R>,
    {
        match &mut self.lease {
            Some(lease) => {
                let pool: Arc<Pool<B>> = lease.pool().clone();
                pool.call_pinned(lease, function, input_bytes, run).await
            }
            None => Err(CallError {
                plugin: "".into(),
                function: B::FUNCTIONS.get(function).copied().unwrap_or_default(),
                fault: Fault::Unloaded("the stream is over".to_owned()),
            }),
        }
    }

    /// The plugin's own answer, refused: it broke its contract.
    pub(crate) fn broken(&self, function: usize, error: crate::PluginError) -> CallError {
        CallError {
            plugin: self
                .lease
                .as_ref()
                .map_or_else(|| "".into(), |lease| lease.pool().context.name.clone()),
            function: B::FUNCTIONS.get(function).copied().unwrap_or_default(),
            fault: Fault::Plugin(error),
        }
    }
}

impl<B: Bindings> Drop for Pinned<B> {
    /// Lets the plugin drop its side, then hands the instance back, off the stream's path.
    fn drop(&mut self) {
        let Some(mut lease) = self.lease.take().filter(Lease::is_whole) else {
            return;
        };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let resource = self.resource;
        let tasks = lease.pool().tasks().clone();
        tasks.spawn(async move {
            let dropped = lease
                .run(move |store, _: &B| {
                    Box::pin(async move { Ok(Ok(resource.resource_drop_async(store).await?)) })
                })
                .await;
            if dropped.is_ok() {
                lease.give_back();
            }
        });
    }
}
