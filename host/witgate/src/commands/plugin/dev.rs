//! `witgate plugin dev`: builds and tests a plugin each time one of its files is saved, and lets a gateway take it over.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};

use super::test;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_millis(300);
/// How deep a plugin's files lie.
const DEPTH: usize = 8;

/// Until interrupted. With a configuration, a gateway serves it beside and reloads after each good build.
pub(super) fn dev(path: &Path, out: Option<PathBuf>, config: Option<&Path>) -> anyhow::Result<()> {
    let watched = match path.is_file() {
        true => path.parent().unwrap_or(Path::new(".")),
        false => path,
    };
    let mut gateway = None;
    let mut seen = None;
    loop {
        let now = newest(watched, DEPTH);
        if now == seen {
            if let Some(ended) = ended(&mut gateway)? {
                return Err(anyhow!("the gateway ended: {ended}"));
            }
            std::thread::sleep(LOOK);
            continue;
        }
        // What is saved while it builds is built next.
        seen = now;
        if let Err(error) = build_and_test(path, out.clone()) {
            eprintln!("{error:#}");
            continue;
        }
        match (&gateway, config) {
            (_, None) => {}
            (None, Some(config)) => gateway = Some(serve(config)?),
            (Some(gateway), Some(_)) => reload(gateway)?,
        }
        eprintln!("waiting for changes of {}", watched.display());
    }
}

fn build_and_test(path: &Path, out: Option<PathBuf>) -> anyhow::Result<()> {
    super::build(vec![path.to_owned()], out.clone())?;
    test::test(&test::Wanted {
        paths: vec![path.to_owned()],
        bless: false,
        case: None,
        built: out,
        verbose: false,
    })
}

fn serve(config: &Path) -> anyhow::Result<Child> {
    let binary = std::env::current_exe().context("cannot find this program")?;
    Command::new(binary)
        .arg("serve")
        .arg("--config")
        .arg(config)
        .spawn()
        .context("cannot start the gateway")
}

/// The gateway's own way to load its configuration again; a component whose bytes changed is swapped in.
fn reload(gateway: &Child) -> anyhow::Result<()> {
    let status = Command::new("kill")
        .arg("-HUP")
        .arg(gateway.id().to_string())
        .status()
        .context("cannot run kill")?;
    match status.success() {
        true => Ok(()),
        false => Err(anyhow!("the gateway does not take the signal to reload")),
    }
}

fn ended(gateway: &mut Option<Child>) -> anyhow::Result<Option<String>> {
    let Some(gateway) = gateway else {
        return Ok(None);
    };
    let status = gateway.try_wait().context("the gateway is lost")?;
    Ok(status.map(|status| status.to_string()))
}

/// When the newest of the plugin's own files was saved; what builds write is none of them.
fn newest(folder: &Path, depth: usize) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let of_entry = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let made = matches!(name.as_str(), "target" | "node_modules" | "__pycache__")
            || name.starts_with('.')
            || name.ends_with(".wasm")
            || name == "Cargo.lock"
            || name == "package-lock.json";
        let metadata = entry.metadata().ok().filter(|_| !made)?;
        match metadata.is_dir() {
            true => newest(&entry.path(), depth.checked_sub(1)?),
            false => metadata.modified().ok(),
        }
    };
    entries.filter_map(of_entry).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_write_is_no_change() {
        let folder = std::env::temp_dir().join(format!("witgate-dev-{}", std::process::id()));
        let write = |name: &str, seconds: u64| {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            let file = std::fs::File::create(path).expect("a file");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            file.set_modified(time).expect("a time");
        };
        write("src/lib.rs", 10);
        let before = newest(&folder, DEPTH);
        assert!(before.is_some());
        for made in ["target/release/x", "my.wasm", ".witgate/sdk/x"] {
            write(made, 20);
        }
        assert_eq!(newest(&folder, DEPTH), before);
        write("cases/one/case.yaml", 30);
        assert!(newest(&folder, DEPTH) > before);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
