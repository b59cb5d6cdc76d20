//! `witgate:host/body`: lazy access to the body under inspection.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmtime::component::Resource;

use super::state::State;
use crate::bindings::witgate::host::body as wit;
use crate::record::Find;

/// A body as the caller holds it. Nothing is parsed before the plugin asks.
pub trait BodyView: Send + Sync {
    /// The whole body, JSON for all calls that guardrails see.
    fn raw(&self) -> Cow<'_, str>;
    /// Its length in bytes.
    fn size(&self) -> u64;
    /// The JSON text at a pointer (RFC 6901), `None` when there is nothing.
    fn field(&self, pointer: &str) -> Option<String>;
    /// Every text that a person or model wrote, in body order.
    fn texts(&self) -> Vec<Text>;
}

/// One text of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// JSON pointer of the text.
    pub pointer: String,
    /// Role of the message it belongs to.
    pub role: Option<String>,
    /// The text.
    pub text: String,
}

/// What a plugin's handle stands for.
pub struct View(pub(crate) Arc<dyn BodyView>);

impl wit::Host for State {}

impl wit::HostView for State {
    fn raw(&mut self, view: Resource<View>) -> wasmtime::Result<String> {
        Ok(self.table.get(&view)?.0.raw().into_owned())
    }

    fn size(&mut self, view: Resource<View>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&view)?.0.size())
    }

    fn field(&mut self, view: Resource<View>, pointer: String) -> wasmtime::Result<Option<String>> {
        let view = self.table.get(&view)?.0.clone();
        Ok(match &self.senses.tape {
            Some(tape) => tape.import("body.field", Find::Same, pointer.as_str().into(), || {
                view.field(&pointer)
            }),
            None => view.field(&pointer),
        })
    }

    fn texts(&mut self, view: Resource<View>) -> wasmtime::Result<Vec<wit::Text>> {
        let view = self.table.get(&view)?.0.clone();
        let texts = match &self.senses.tape {
            Some(tape) => tape.import("body.texts", Find::Same, Value::Null, || view.texts()),
            None => view.texts(),
        };
        Ok(texts
            .into_iter()
            .map(
                |Text {
                     pointer,
                     role,
                     text,
                 }| wit::Text {
                    pointer,
                    role,
                    text,
                },
            )
            .collect())
    }

    fn drop(&mut self, view: Resource<View>) -> wasmtime::Result<()> {
        self.table.delete(view)?;
        Ok(())
    }
}
