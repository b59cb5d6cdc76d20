//! The commands. What they print is the program's answer, so here, and only here, it prints.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command's answer goes to the terminal"
)]

mod check;
mod explain;
mod plugin;
mod serve;

use std::process::ExitCode;

use crate::cli::{Cli, Command, Config, Explained};

pub use check::strict;

/// Runs a command; its exit code is 0 when it did what was asked.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Serve(options) => serve::serve(*options),
        Command::Check(options) => check::check(&options),
        Command::Explain(options) => match options.what {
            None => explain::explain(&options.call),
            Some(Explained::Pipeline) => {
                print!("{}", witgate_pipeline::explain());
                ExitCode::SUCCESS
            }
        },
        Command::Plugin { what } => plugin::plugin(what),
        Command::Config { what } => {
            match what {
                Config::Reference => print!("{}", witgate_config::reference_markdown()),
                Config::Schema => println!("{:#}", witgate_config::json_schema()),
            }
            ExitCode::SUCCESS
        }
        Command::Version => {
            println!("witgate {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

/// Prints an error with its causes.
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("witgate: {error:#}");
    ExitCode::FAILURE
}

/// Rows in columns as wide as their widest cell.
fn print_rows<const N: usize>(table: &[[String; N]]) {
    let width = |column: usize| {
        table
            .iter()
            .map(move |row| row[column].chars().count())
            .max()
    };
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in table {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
