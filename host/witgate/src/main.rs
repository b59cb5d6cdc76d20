//! `witgate`: the LLM gateway. Reads the command line and hands over to one of `commands`.

mod allocator;
mod budget_metrics;
mod cli;
mod commands;
mod config_admin;
mod cost_map;
mod database;
mod environment;
mod health_admin;
mod health_records;
mod memory;
mod plugin_admin;
mod process;
mod reload;
mod source;
mod telemetry;
mod wiring;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    // The one TLS provider of the process; a second installation is refused, and harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    commands::run(cli::parse())
}
