//! One instance: its making, and the bindings that a kind of plugin brings.

use std::future::Future;
use std::time::Instant;

use serde_json::{Value, json};
use wasmtime::component::InstancePre;
use wasmtime::{PoolConcurrencyLimitError, Store};

use super::Pool;
use super::cpu::Accounted;
use super::run::trap;
use crate::bindings::witgate::types::types::PluginError;
use crate::capabilities::{Level, State};
use crate::error::{Fault, Outcome};
use crate::record::tape::fault;

/// The generated bindings of one kind, as the pool sees them.
pub(crate) trait Bindings: Sized + Send + Sync + 'static {
    /// A component whose exports were found to be of this kind.
    type Pre: Send + Sync + 'static;
    /// Names of the functions, for metrics and errors. The first is `init`.
    const FUNCTIONS: &'static [&'static str];

    /// Looks the exports up.
    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre>;

    /// Makes an instance.
    fn instantiate(
        pre: &Self::Pre,
        store: &mut Store<State>,
    ) -> impl Future<Output = wasmtime::Result<Self>> + Send;

    /// Calls `init`.
    fn init(
        &self,
        store: &mut Store<State>,
    ) -> impl Future<Output = wasmtime::Result<Result<(), PluginError>>> + Send;
}

/// Position of `init` in [`Bindings::FUNCTIONS`].
const INIT: usize = 0;

/// An instance between calls.
pub(crate) struct Warm<B> {
    pub(super) store: Store<State>,
    pub(super) bindings: B,
    pub(super) calls: u64,
    pub(super) born: Instant,
    pub(super) used: Instant,
}

impl<B> Warm<B> {
    /// Bytes of linear memory.
    pub(super) fn memory_used(&self) -> usize {
        self.store.data().memory.used()
    }
}

impl<B: Bindings> Pool<B> {
    /// Makes an instance and lets it check its settings.
    pub(super) async fn instantiate(&self) -> Result<Warm<B>, Fault> {
        let start = Instant::now();
        let made = self.make(start).await;
        let outcome = made.as_ref().map_or_else(Fault::outcome, |_| Outcome::Ok);
        let metrics = &self.context.metrics;
        metrics.called(INIT, outcome, start.elapsed());
        if let Err(Fault::Trap { kind, .. }) = &made {
            metrics.trapped(*kind);
        }
        if let Err(fault) = &made {
            self.context
                .log
                .note(Level::Error, &format!("no instance: {fault}"));
        }
        made
    }

    async fn make(&self, start: Instant) -> Result<Warm<B>, Fault> {
        let timeout = self.bounds.timeout;
        let mut store = self.store();
        store.data_mut().begin(start + timeout, self.bounds.cpu);
        let tape = store.data().senses.tape.clone();
        if let Some(tape) = &tape {
            tape.begin_call("init", Value::Null);
        }
        let making = {
            let making = std::pin::pin!(async {
                let bindings = B::instantiate(&self.pre, &mut store).await?;
                let checked = bindings.init(&mut store).await?;
                Ok::<_, wasmtime::Error>((bindings, checked))
            });
            let making = Accounted::new(making, &self.context.metrics.cpu);
            tokio::time::timeout(timeout, making).await
        };
        let made = match making {
            Ok(Ok((bindings, Ok(())))) => {
                self.context.metrics.instantiations.inc();
                self.context.metrics.memory_used(store.data().memory.used());
                Ok(Warm {
                    store,
                    bindings,
                    calls: 0,
                    born: start,
                    used: start,
                })
            }
            Ok(Ok((_, Err(error)))) => {
                let clean = |text: String| self.context.log.clean(&text);
                let error = crate::PluginError::from(error).map(clean);
                Err(Fault::Plugin(error))
            }
            Ok(Err(error)) if error.is::<PoolConcurrencyLimitError>() => Err(Fault::Overloaded),
            Ok(Err(error)) => Err(trap(
                &error,
                store.data_mut(),
                (self.bounds.output, &self.loaded.names),
            )),
            Err(_) => Err(Fault::Timeout { after: timeout }),
        };
        if let Some(tape) = tape {
            tape.end_call(match &made {
                Ok(_) => json!({"ok": null}),
                Err(error) => fault(error),
            });
        }
        made
    }

    fn store(&self) -> Store<State> {
        let state = State::new(self.context.clone(), self.bounds.memory);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().tick()));
        store.set_epoch_deadline(1);
        // Also bounds lists that name the same long string a million times.
        store.set_hostcall_fuel(self.bounds.output);
        store
    }
}
