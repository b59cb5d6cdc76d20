//! A request hook at work on a stream.

use serde_json::{Value, json};

use super::{FINISH, PUSH, Piece, wit};
use crate::CallError;
use crate::capabilities::RequestScope;
use crate::pool::Pinned;
use crate::record::tape::shown;

/// A hook at work on one stream, on an instance of its own.
pub struct StreamHook {
    pub(super) pinned: Pinned<wit::RequestHookPlugin>,
    pub(super) request: Option<RequestScope>,
}

impl StreamHook {
    /// A chunk.
    ///
    /// # Errors
    /// As [`RequestHook::pre_call`](super::RequestHook::pre_call). After a trap or timeout every further call fails.
    pub async fn push(&mut self, chunk: &str) -> Result<Piece, CallError> {
        let take = self.pinned.take("push", || json!({"chunk": chunk}));
        take.run(self.pushed(chunk), shown).await
    }

    async fn pushed(&mut self, chunk: &str) -> Result<Piece, CallError> {
        let chunk = chunk.to_owned();
        let bytes = chunk.len() as u64;
        let (resource, request) = (self.pinned.resource(), self.request.clone());
        let piece = self
            .pinned
            .call(PUSH, bytes, move |store, plugin| {
                Box::pin(async move {
                    store.data_mut().call.request = request;
                    let stream = plugin.witgate_request_hook_request_hook().stream_hook();
                    stream.call_push(store, resource, &chunk).await
                })
            })
            .await?;
        Piece::try_from(piece).map_err(|error| self.pinned.broken(PUSH, error))
    }

    /// The upstream has said all.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn finish(&mut self) -> Result<Piece, CallError> {
        let take = self.pinned.take("finish", || Value::Null);
        take.run(self.finished(), shown).await
    }

    async fn finished(&mut self) -> Result<Piece, CallError> {
        let (resource, request) = (self.pinned.resource(), self.request.clone());
        let piece = self
            .pinned
            .call(FINISH, 0, move |store, plugin| {
                Box::pin(async move {
                    store.data_mut().call.request = request;
                    let stream = plugin.witgate_request_hook_request_hook().stream_hook();
                    stream.call_finish(store, resource).await
                })
            })
            .await?;
        Piece::try_from(piece).map_err(|error| self.pinned.broken(FINISH, error))
    }
}

impl std::fmt::Debug for StreamHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamHook").finish_non_exhaustive()
    }
}
