//! What one instance is called with and asks of the host, taken down in order; in a replay also where the answers come from.
//!
//! A kind's method opens a [`Take`] around its call. The instance that serves the call carries the [`Tape`];
//! the two find each other when the lease runs. The tape ends with its instance.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Import, RecordedCall, Session};
use crate::{CallError, Fault, PluginError};

/// The tape of one instance.
pub(crate) struct Tape {
    session: Arc<Session>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    calls: Vec<RecordedCall>,
    /// Answers of the recording that is played, and whether each was given.
    script: Vec<(Import, bool)>,
    bytes: u64,
    /// It grew beyond what may be recorded.
    over: bool,
}

/// Which answer of a recording fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Find {
    /// The next of this import.
    Next,
    /// The next for these arguments; what was given last when there is no other.
    Same,
    /// The next exchange with this method and URL.
    Exchange,
}

/// One import on the tape: its call and its place there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At(usize, usize);

impl Tape {
    pub(super) fn new(session: Arc<Session>) -> Self {
        let played = session.recorder.script();
        let calls = played.into_iter().flat_map(|recording| &recording.calls);
        let imports = calls.flat_map(|call| &call.imports);
        let script = imports.map(|import| (import.clone(), false)).collect();
        Self {
            session,
            inner: Mutex::new(Inner {
                script,
                ..Inner::default()
            }),
        }
    }

    pub(crate) fn begin_call(&self, function: &str, input: Value) {
        let mut inner = self.inner.lock();
        inner.grow(&input, self.session.recorder.bytes_max());
        inner.calls.push(RecordedCall {
            function: function.to_owned(),
            input,
            imports: Vec::new(),
            result: Value::Null,
        });
    }

    pub(crate) fn end_call(&self, result: Value) {
        let mut inner = self.inner.lock();
        inner.grow(&result, self.session.recorder.bytes_max());
        if let Some(call) = inner.calls.last_mut() {
            call.result = result;
        }
    }

    /// Takes down that an import is used. In a replay its answer, if the recording has one.
    pub(crate) fn begin(
        &self,
        import: &'static str,
        args: Value,
        find: Find,
    ) -> (At, Option<Value>) {
        let mut inner = self.inner.lock();
        let answer = inner.find(import, &args, find);
        inner.grow(&args, self.session.recorder.bytes_max());
        let call = inner.calls.len().saturating_sub(1);
        let over = inner.over;
        let Some(imports) = inner.calls.last_mut().map(|call| &mut call.imports) else {
            return (At(call, 0), answer);
        };
        if !over {
            imports.push(Import {
                import: import.to_owned(),
                args,
                answer: Value::Null,
            });
        }
        (At(call, imports.len().saturating_sub(1)), answer)
    }

    /// Takes down what an import answered.
    pub(crate) fn end(&self, At(call, import): At, answer: Value) {
        let mut inner = self.inner.lock();
        inner.grow(&answer, self.session.recorder.bytes_max());
        if inner.over {
            return;
        }
        let call = inner.calls.get_mut(call);
        if let Some(import) = call.and_then(|call| call.imports.get_mut(import)) {
            import.answer = answer;
        }
    }

    /// An import as a whole. `real` is asked when nothing is played, or the recording has no answer.
    pub(crate) fn import<T: Serialize + DeserializeOwned>(
        &self,
        import: &'static str,
        find: Find,
        args: Value,
        real: impl FnOnce() -> T,
    ) -> T {
        let (at, known) = self.begin(import, args, find);
        let known = known.and_then(|answer| serde_json::from_value(answer).ok());
        let answer = known.unwrap_or_else(real);
        self.end(at, serde_json::to_value(&answer).unwrap_or_default());
        answer
    }

    /// An import without an answer.
    pub(crate) fn note(&self, import: &'static str, args: Value) {
        self.begin(import, args, Find::Next);
    }
}

impl Inner {
    fn find(&mut self, import: &str, args: &Value, find: Find) -> Option<Value> {
        let target = |args: &Value| {
            let request = args.get("request");
            let of = |name| request.and_then(|request| request.get(name)).cloned();
            (of("method"), of("url"))
        };
        let fits = |one: &Import| match find {
            Find::Next => one.import == import,
            Find::Same => one.import == import && one.args == *args,
            Find::Exchange => one.import == import && target(&one.args) == target(args),
        };
        let next = self
            .script
            .iter_mut()
            .find(|(one, given)| !given && fits(one));
        if let Some((one, given)) = next {
            *given = true;
            return Some(one.answer.clone());
        }
        let again = self.script.iter().rfind(|(one, _)| fits(one));
        let again = again.filter(|_| find == Find::Same);
        again.map(|(one, _)| one.answer.clone())
    }

    fn grow(&mut self, value: &Value, max: u64) {
        self.bytes = self.bytes.saturating_add(size(value));
        if self.bytes > max {
            self.over = true;
            self.calls.iter_mut().for_each(|call| call.imports.clear());
        }
    }
}

/// About the bytes of a value in its file.
fn size(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() as u64 + 8,
        Value::Array(items) => items.iter().map(size).sum::<u64>() + 8,
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| key.len() as u64 + 8 + size(value))
            .sum(),
    }
}

impl Drop for Tape {
    /// The instance is gone, however it went: only here all of its ways out meet.
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        let mut calls = std::mem::take(&mut inner.calls);
        // A call whose caller left has no result, and one that is not whole cannot be played.
        calls.retain(|call| !call.result.is_null());
        if inner.over {
            tracing::warn!(
                plugin = self.session.head.plugin,
                "a call was too large to be recorded (`record.mb`)"
            );
        } else if calls.len() > 1 {
            self.session.finish(calls);
        }
    }
}

tokio::task_local! {
    /// The call under way, for the lease that serves it.
    static CALL: Arc<Note>;
}

struct Note {
    function: &'static str,
    input: Mutex<Value>,
    tape: OnceLock<Arc<Tape>>,
}

/// One call that may be recorded.
pub(crate) struct Take(Option<Arc<Note>>);

impl Take {
    /// Nothing is made of the input unless the plugin is recorded.
    pub(crate) fn new(
        session: Option<&Arc<Session>>,
        function: &'static str,
        input: impl FnOnce() -> Value,
    ) -> Self {
        Self(session.map(|_| {
            Arc::new(Note {
                function,
                input: Mutex::new(input()),
                tape: OnceLock::new(),
            })
        }))
    }

    /// Makes the call; `show` is what the recording has of a result.
    pub(crate) async fn run<R>(
        self,
        call: impl Future<Output = Result<R, CallError>>,
        show: impl FnOnce(&R) -> Value,
    ) -> Result<R, CallError> {
        let Some(note) = self.0 else {
            return call.await;
        };
        let result = CALL.scope(note.clone(), call).await;
        if let Some(tape) = note.tape.get() {
            tape.end_call(match &result {
                Ok(result) => json!({"ok": show(result)}),
                Err(error) => fault(&error.fault),
            });
        }
        result
    }
}

/// The lease of this instance serves the call under way.
pub(crate) fn attach(tape: &Arc<Tape>) {
    // Not set for what the host does by itself, such as dropping a stream's resource.
    let _ = CALL.try_with(|note| {
        tape.begin_call(note.function, std::mem::take(&mut *note.input.lock()));
        let _ = note.tape.set(tape.clone());
    });
}

/// Why there is no result, as the recording has it.
pub(crate) fn fault(fault: &Fault) -> Value {
    let Fault::Plugin(error) = fault else {
        return json!({"fault": fault.to_string()});
    };
    let (kind, text) = match error {
        PluginError::InvalidSettings(text) => ("invalid_settings", text),
        PluginError::Denied(text) => ("denied", text),
        PluginError::Unavailable(text) => ("unavailable", text),
        PluginError::Failed(text) => ("failed", text),
    };
    json!({"error": {kind: text}})
}

/// A value's JSON.
pub(crate) fn shown<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
