//! The toolkit without the gateway's binary: `plugin build [--out DIR] FOLDER…`, `plugin inspect FILE…`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use std::path::{Path, PathBuf};

use witgate_toolkit::{BuildRequest, Tools, build, inspect};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let mut out = None;
    let mut paths = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--out" {
            out = args.next().map(PathBuf::from);
        } else {
            paths.push(PathBuf::from(arg));
        }
    }
    match command.as_str() {
        "build" => {
            build(BuildRequest {
                paths,
                out,
                tools: Tools::new("target/tools"),
                progress: &mut |step| eprintln!("{step}"),
            })?;
        }
        "inspect" => {
            for path in paths {
                print!("{}", inspect(Path::new(&path))?);
            }
        }
        _ => anyhow::bail!("usage: plugin build [--out DIR] FOLDER… | plugin inspect FILE…"),
    }
    Ok(())
}
