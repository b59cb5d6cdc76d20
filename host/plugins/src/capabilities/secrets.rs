//! `witgate:host/secrets`: handles to values that stay here.

use std::sync::Arc;

use serde_json::json;
use wasmtime::component::Resource;
use zeroize::Zeroizing;

use super::Context;
use super::settings::Secret;
use super::state::State;
use crate::bindings::witgate::host::secrets as wit;

/// What a plugin's handle stands for.
pub struct SecretHandle {
    name: String,
    value: Arc<Zeroizing<String>>,
    reveal: bool,
}

impl SecretHandle {
    fn new(name: String, secret: &Secret) -> Self {
        Self {
            name,
            value: secret.value.clone(),
            reveal: secret.reveal,
        }
    }

    /// The setting, and for one of several headers its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    pub(super) fn shared(&self) -> Arc<Zeroizing<String>> {
        self.value.clone()
    }
}

impl wit::Host for State {
    fn get(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Option<Resource<SecretHandle>>, String>> {
        self.note("secrets.get", || json!({"name": name}));
        let context = self.context.clone();
        let Some(secret) = context.settings.secret(&name) else {
            return Ok(Err(denied(&context, &name)));
        };
        let Some(secret) = secret else {
            return Ok(Ok(None));
        };
        let handle = SecretHandle::new(name, secret);
        Ok(Ok(Some(self.table.push(handle)?)))
    }

    fn headers(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Vec<(String, Resource<SecretHandle>)>, String>> {
        let context = self.context.clone();
        if context.settings.secret(&name).is_none() {
            return Ok(Err(denied(&context, &name)));
        }
        let mut handles = Vec::new();
        for (header, secret) in context.settings.headers(&name) {
            let handle = SecretHandle::new(format!("{name}.{header}"), secret);
            handles.push((header.clone(), self.table.push(handle)?));
        }
        Ok(Ok(handles))
    }
}

fn denied(context: &Context, name: &str) -> String {
    context.metrics.denied("secret");
    format!(
        "the secret {name:?} is not granted: the plugin's manifest must declare it as a secret setting, and `plugins.{}.grants.secrets`, when given, must list it",
        context.name
    )
}

impl wit::HostSecret for State {
    fn reveal(
        &mut self,
        handle: Resource<SecretHandle>,
    ) -> wasmtime::Result<Result<String, String>> {
        let secret = self.table.get(&handle)?;
        self.note("secrets.reveal", || json!({"name": secret.name}));
        if !secret.reveal {
            self.context.metrics.denied("reveal");
            return Ok(Err(format!(
                "the secret {:?} may be used but not seen: its declaration in the plugin's manifest needs `reveal: true`",
                secret.name
            )));
        }
        self.context.metrics.reveals.inc();
        Ok(Ok(secret.value().to_owned()))
    }

    fn drop(&mut self, handle: Resource<SecretHandle>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
