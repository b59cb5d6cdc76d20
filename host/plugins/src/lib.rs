//! The wasmtime host: registry, capabilities, limits, instance pools, bindings per kind.
