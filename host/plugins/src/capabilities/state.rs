//! What a store holds: the plugin's capabilities, the instance's limits, the call under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::Context;
use super::Streams;
use super::llm::Lineage;
use super::request::RequestScope;
use super::taped;
use super::wasi::Wasi;
use crate::pool::cpu;
use crate::record::tape::{At, shown};
use crate::record::{Find, Tape};
use crate::world::Senses;

/// The data of one instance.
pub(crate) struct State {
    pub(crate) context: Arc<Context>,
    pub(crate) table: ResourceTable,
    pub(crate) memory: Memory,
    pub(crate) call: Call,
    pub(crate) senses: Senses,
    /// The answers of models that are being made.
    pub(super) streams: Streams,
    /// Made when a WASI import is first used; our own plugins use none.
    pub(super) wasi: Option<Box<Wasi>>,
}

/// The call under way.
pub(crate) struct Call {
    /// When the caller stops waiting.
    pub(crate) deadline: Instant,
    /// Processor time it may take.
    pub(crate) cpu: Duration,
    /// The plugin's last words.
    pub(crate) panic: Option<String>,
    /// Bytes of log lines so far.
    pub(crate) log_bytes: usize,
    /// The client's request that it is made for, when it is made for one.
    pub(crate) request: Option<RequestScope>,
    /// What it used of models, when it is made for no request.
    pub(super) own_use: Option<Lineage>,
}

/// Linear memory and tables of one instance, all together: a component may have several of each.
pub(crate) struct Memory {
    max: usize,
    used: usize,
    /// What was asked for in vain, in bytes, since the call began.
    pub(crate) refused: Option<usize>,
}

impl State {
    pub(crate) fn new(context: Arc<Context>, memory_max: usize) -> Self {
        let senses = Senses {
            world: context.world.clone(),
            tape: context.recorded.as_ref().and_then(|session| session.tape()),
        };
        Self {
            senses,
            context,
            table: ResourceTable::new(),
            memory: Memory {
                max: memory_max,
                used: 0,
                refused: None,
            },
            call: Call {
                deadline: Instant::now(),
                cpu: Duration::ZERO,
                panic: None,
                log_bytes: 0,
                request: None,
                own_use: None,
            },
            streams: Streams::default(),
            wasi: None,
        }
    }

    /// The call returned: what it left open ends with it.
    pub(crate) fn end(&mut self) {
        self.close_streams();
    }

    /// Begins a call with this much processor time.
    pub(crate) fn begin(&mut self, deadline: Instant, cpu: Duration) {
        self.call = Call {
            deadline,
            cpu,
            panic: None,
            log_bytes: 0,
            request: None,
            own_use: None,
        };
        self.memory.refused = None;
    }

    /// Takes an import without an answer down, when the plugin is recorded.
    pub(super) fn note(&self, import: &'static str, args: impl FnOnce() -> Value) {
        if let Some(tape) = &self.senses.tape {
            tape.note(import, args());
        }
    }

    /// The same for an import with one.
    pub(super) fn asked(
        &self,
        import: &'static str,
        find: Find,
        args: impl FnOnce() -> Value,
    ) -> Taken {
        Taken(self.senses.tape.as_ref().map(|tape| {
            let (at, known) = tape.begin(import, args(), find);
            (tape.clone(), at, known)
        }))
    }

    /// An epoch passed while the plugin ran: others get their turn, until its time is used up.
    pub(crate) fn tick(&mut self) -> UpdateDeadline {
        if cpu::of_this_call() < self.call.cpu {
            UpdateDeadline::Yield(1)
        } else {
            UpdateDeadline::Interrupt
        }
    }
}

/// An import that is being taken down, if anything is.
pub(super) struct Taken(Option<(Arc<Tape>, At, Option<Value>)>);

impl Taken {
    /// What the recording that is played has for an answer. It is taken down again.
    pub(super) fn known<T: DeserializeOwned>(&self) -> Option<T> {
        let (tape, at, known) = self.0.as_ref()?;
        let answer = serde_json::from_value(known.clone()?).ok()?;
        tape.end(*at, known.clone()?);
        Some(answer)
    }

    /// What was answered.
    pub(super) fn end<T: Serialize>(&self, answer: impl FnOnce() -> T) {
        if let Some((tape, at, _)) = &self.0 {
            tape.end(*at, shown(&answer()));
        }
    }

    /// The same as [`Self::known`] for an exchange.
    pub(super) fn known_exchange(&self) -> Option<taped::Answer> {
        taped::answered(&self.known::<Value>()?)
    }
}

impl Memory {
    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// The limit in bytes.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current);
        match self
            .used
            .checked_add(more)
            .filter(|total| *total <= self.max)
        {
            Some(total) => {
                self.used = total;
                true
            }
            None => {
                self.refused = Some(self.used.saturating_add(more));
                false
            }
        }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        const ENTRY: usize = size_of::<usize>();
        Ok(self.grow(current.saturating_mul(ENTRY), desired.saturating_mul(ENTRY)))
    }
}
