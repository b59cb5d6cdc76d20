//! `witgate plugin replay`.

use std::path::Path;

use anyhow::anyhow;
use witgate_plugins::Recording;
use witgate_toolkit::replay::{self, Replayed};

use crate::cli::Replay;
use crate::wiring;

pub(super) fn replay(what: &Replay) -> anyhow::Result<()> {
    if let Some(folder) = &what.as_case {
        let [file] = what.files.as_slice() else {
            return Err(anyhow!("--as-case takes one recording"));
        };
        let case = replay::as_case(&replay::read(file)?, folder)?;
        println!("{}", case.path.display());
        eprintln!(
            "next: read it, then `witgate plugin test --bless` for what is expected; it has what the recording has, so mind what is in it"
        );
        return Ok(());
    }
    let (loaded, paths) = super::load(None, None)?;
    super::test::with_host(|host| async move {
        let sources = wiring::sources(&paths, &loaded).await;
        let sources = sources.map_err(|problems| anyhow!(problems.join("\n")))?;
        let mut differing = 0;
        for file in &what.files {
            let recording = replay::read(file)?;
            let component = match &what.component {
                Some(path) => absolute(path),
                None => recorded(&recording),
            };
            let played = replay::replay(&host, &sources, &recording, &component).await?;
            differing += usize::from(played.difference.is_some());
            print(file, &recording, &played, what.component.is_some());
        }
        match differing {
            0 => Ok(()),
            number => Err(anyhow!(
                "{number} of {} came out differently",
                what.files.len()
            )),
        }
    })
}

/// The component that was recorded, where it was, else the one of its name.
fn recorded(recording: &Recording) -> String {
    match Path::new(&recording.source).is_file() {
        true => recording.source.clone(),
        false => recording.manifest.name.clone(),
    }
}

fn absolute(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.display().to_string()
}

fn print(file: &Path, recording: &Recording, played: &Replayed, chosen: bool) {
    let digest = format!("sha256:{}", played.digest.trim_start_matches("sha256:"));
    if !chosen && !played.digest.is_empty() && digest != recording.digest {
        eprintln!(
            "note: {} is not what was recorded: it is {digest}, it was {}",
            recording.plugin, recording.digest
        );
    }
    match &played.difference {
        None => println!("ok    {}: {} calls, the same", file.display(), played.calls),
        Some(difference) => {
            println!("FAIL  {}", file.display());
            difference.lines().for_each(|line| println!("      {line}"));
        }
    }
}
