//! `witgate:host/secrets`: handles to values that stay here.

use std::sync::Arc;

use wasmtime::component::Resource;
use zeroize::Zeroizing;

use super::state::State;
use crate::bindings::witgate::host::secrets as wit;

/// What a plugin's handle stands for.
pub struct SecretHandle {
    name: String,
    value: Arc<Zeroizing<String>>,
    reveal: bool,
}

impl SecretHandle {
    pub(crate) fn value(&self) -> &str {
        &self.value
    }
}

impl wit::Host for State {
    fn get(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Option<Resource<SecretHandle>>, String>> {
        let context = self.context.clone();
        let Some(secret) = context.settings.secret(&name) else {
            context.metrics.denied("secret");
            return Ok(Err(format!(
                "the secret {name:?} is not granted: the plugin's manifest must declare it as a secret setting, and `plugins.{}.grants.secrets`, when given, must list it",
                context.name
            )));
        };
        let Some(secret) = secret else {
            return Ok(Ok(None));
        };
        let handle = SecretHandle {
            name,
            value: secret.value.clone(),
            reveal: secret.reveal,
        };
        Ok(Ok(Some(self.table.push(handle)?)))
    }
}

impl wit::HostSecret for State {
    fn reveal(
        &mut self,
        handle: Resource<SecretHandle>,
    ) -> wasmtime::Result<Result<String, String>> {
        let secret = self.table.get(&handle)?;
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
