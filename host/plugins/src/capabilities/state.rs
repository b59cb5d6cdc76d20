//! What a store holds: the plugin's capabilities, the instance's limits, the call under way.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::Context;
use super::llm::Lineage;
use super::request::RequestScope;
use super::wasi::Wasi;

/// The data of one instance.
pub(crate) struct State {
    pub(crate) context: Arc<Context>,
    pub(crate) table: ResourceTable,
    pub(crate) memory: Memory,
    pub(crate) call: Call,
    /// Made when a WASI import is first used; our own plugins use none.
    pub(super) wasi: Option<Box<Wasi>>,
}

/// The call under way.
pub(crate) struct Call {
    /// When the caller stops waiting.
    pub(crate) deadline: Instant,
    /// Epochs it may still see.
    pub(crate) ticks_left: u32,
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
        Self {
            context,
            table: ResourceTable::new(),
            memory: Memory {
                max: memory_max,
                used: 0,
                refused: None,
            },
            call: Call {
                deadline: Instant::now(),
                ticks_left: 0,
                panic: None,
                log_bytes: 0,
                request: None,
                own_use: None,
            },
            wasi: None,
        }
    }

    /// Begins a call with this much processor time.
    pub(crate) fn begin(&mut self, deadline: Instant, ticks: u32) {
        self.call = Call {
            deadline,
            ticks_left: ticks,
            panic: None,
            log_bytes: 0,
            request: None,
            own_use: None,
        };
        self.memory.refused = None;
    }

    /// An epoch passed while the plugin ran: others get their turn, until its time is used up.
    pub(crate) fn tick(&mut self) -> UpdateDeadline {
        match self.call.ticks_left.checked_sub(1) {
            Some(left) => {
                self.call.ticks_left = left;
                UpdateDeadline::Yield(1)
            }
            None => UpdateDeadline::Interrupt,
        }
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
