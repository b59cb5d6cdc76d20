//! The one WebAssembly engine of the process, and the thread that keeps its time.

use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::HostError;
use crate::cache::compatibility;

/// Length of an epoch: how often the processor time of a call is looked at, and the longest time that
/// a plugin keeps a worker thread to itself.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Instances of all plugins together. Costs address space and a few hundred bytes each, until used.
const INSTANCES_MAX: u32 = 1024;

/// Builds the engine and starts its clock. With `pooling`, instances live in slots that are reserved
/// ahead, where the machine has the address space; otherwise memory is mapped when needed.
pub(crate) fn start(pooling: bool) -> Result<Engine, HostError> {
    let pooled = pooling.then(|| Engine::new(config().allocation_strategy(pool())));
    let engine = match pooled {
        Some(Ok(engine)) => engine,
        tried => {
            if let Some(Err(error)) = tried {
                tracing::warn!(
                    error = %format_args!("{error:#}"),
                    "no room to reserve plugin instances ahead; they are mapped one by one, which is slower"
                );
            }
            Engine::new(&config()).map_err(|error| HostError::Engine(format!("{error:#}")))?
        }
    };
    start_clock(&engine)?;
    Ok(engine)
}

/// An engine that compiles code for another one. An engine's compiler keeps its working memory for the
/// next time, which is tens of megabytes that a gateway mostly never needs again; this one's goes with it.
/// `None` when no such engine can be had.
pub(crate) fn for_compiling(code_of: &Engine) -> Option<Engine> {
    let wanted = compatibility(code_of);
    let fits = |engine: &Engine| compatibility(engine) == wanted;
    let pooled = Engine::new(config().allocation_strategy(pool())).ok();
    let plain = || Engine::new(&config()).ok().filter(fits);
    pooled.filter(fits).or_else(plain)
}

fn config() -> Config {
    let mut config = Config::new();
    // Processor time is bounded by epochs: a counter that compiled code compares at loops and calls.
    config.epoch_interruption(true);
    // What no plugin needs is surface for nothing. Threads, GC and exceptions are not compiled in.
    config.wasm_memory64(false);
    // A component of several modules, as Python's and JavaScript's are, passes data between their memories.
    config.wasm_multi_memory(true);
    config
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    // A component is several core instances: three for a Rust plugin, fourteen for a Python one.
    pool.total_component_instances(INSTANCES_MAX)
        .total_core_instances(8 * INSTANCES_MAX)
        .max_core_instances_per_component(40)
        .total_memories(INSTANCES_MAX + INSTANCES_MAX / 2)
        .max_memories_per_component(8)
        .total_tables(4 * INSTANCES_MAX)
        .max_tables_per_component(24)
        .table_elements(20_000)
        .total_stacks(INSTANCES_MAX)
        // Virtual; each plugin's own limit is far lower.
        .max_memory_size(1 << 30)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        // Slots that were used are used again before fresh ones are touched.
        .max_unused_warm_slots(16)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(32 << 10);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        // The kernel says which pages an instance wrote. Only those are reset, and stay: the next
        // instance then meets no page faults. Without it this would copy what nobody touched.
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(512 << 10);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

/// An OS thread, because a plugin that hogs the workers of the async runtime must not stop the clock
/// that would stop it. Ends with the engine.
fn start_clock(engine: &Engine) -> Result<(), HostError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("plugin-clock".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })
        .map(drop)
        .map_err(|error| HostError::Engine(format!("its clock cannot start: {error}")))
}
