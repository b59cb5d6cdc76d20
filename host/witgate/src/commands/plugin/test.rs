//! `witgate plugin test`, `run` and `check`.

use std::future::Future;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use witgate_config::{Env, Source};
use witgate_plugins::Host;
use witgate_toolkit::source::{FILE_NAME, plugin_folders};
use witgate_toolkit::testing::case::Case;
use witgate_toolkit::testing::conformance::{self, Check};
use witgate_toolkit::testing::{self, CaseReport, Tested};

use crate::wiring::Paths;

/// What `witgate plugin test` was asked for.
pub(super) struct Wanted {
    pub(super) paths: Vec<PathBuf>,
    pub(super) bless: bool,
    pub(super) case: Option<String>,
    pub(super) built: Option<PathBuf>,
    pub(super) verbose: bool,
}

pub(super) fn test(wanted: &Wanted) -> anyhow::Result<()> {
    let tested = components(&wanted.paths, wanted.built.as_deref())?;
    let start = Instant::now();
    let mut tally = Tally::default();
    with_host(|host| async move {
        for one in &tested {
            let only = wanted.case.as_deref();
            let name = name_of(&one.component);
            match testing::test(&host, one, only, wanted.bless).await {
                Ok(reports) if reports.is_empty() => {
                    // With --case and several plugins, only one has it.
                    tally.empty += 1;
                }
                Ok(reports) => reports
                    .iter()
                    .for_each(|report| tally.case(&name, report, wanted.verbose)),
                Err(error) => tally.problem(&name, "cases", &error.to_string()),
            }
            if only.is_none() {
                match conformance::conformance(&host, &one.component, Some(&one.folder)).await {
                    Ok(checks) => checks.iter().for_each(|check| tally.check(&name, check)),
                    Err(error) => tally.problem(&name, "conformance", &error.to_string()),
                }
            }
        }
        if tally.empty == tested.len() {
            return Err(anyhow!("no plugin has a case of this name"));
        }
        tally.end(start)
    })
}

pub(super) fn run(path: &Path, network: bool) -> anyhow::Result<()> {
    let component = match path.extension().is_some_and(|ending| ending == "wasm") {
        true => path.to_owned(),
        false => components(&[path.to_owned()], None)?.remove(0).component,
    };
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read standard input")?;
    let case = Case::parse(&text, Path::new("standard input"))?;
    with_host(|host| async move {
        let (value, log) = testing::run(&host, &component, &case, network).await?;
        log.iter().for_each(|line| eprintln!("{line}"));
        println!("{}", serde_json::to_string_pretty(&value)?);
        let failed = value.pointer("/result/fault").is_some() || value.get("problems").is_some();
        if failed {
            Err(anyhow!("the call did not go as it should"))
        } else {
            Ok(())
        }
    })
}

pub(super) fn check(files: &[PathBuf]) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut tally = Tally::default();
    with_host(|host| async move {
        for file in files {
            let folder = conformance::cases_beside(file);
            let checks = conformance::conformance(&host, file, folder.as_deref()).await?;
            let name = name_of(file);
            for check in &checks {
                if check.problem.is_none() {
                    println!("ok    {name}: {}", check.name);
                }
                tally.check(&name, check);
            }
        }
        tally.end(start)
    })
}

/// The components of plugin folders, built or from a folder of built ones.
fn components(paths: &[PathBuf], built: Option<&Path>) -> anyhow::Result<Vec<Tested>> {
    let folders: Vec<PathBuf> = paths.iter().flat_map(|path| plugin_folders(path)).collect();
    let Some(built) = built else {
        let mut progress = |step: witgate_toolkit::Progress<'_>| eprintln!("{step}");
        let built = witgate_toolkit::build(witgate_toolkit::BuildRequest {
            paths: folders.clone(),
            out: None,
            tools: super::tools(),
            progress: &mut progress,
        })?;
        let both = built.into_iter().zip(folders);
        return Ok(both
            .map(|(built, folder)| Tested {
                component: built.path,
                folder: cases_of(folder),
            })
            .collect());
    };
    folders
        .into_iter()
        .map(|folder| {
            let source = witgate_toolkit::source::Source::read(&folder)?;
            let component = built.join(format!("{}.wasm", source.name()));
            match component.is_file() {
                true => Ok(Tested {
                    component,
                    folder: cases_of(folder),
                }),
                false => Err(anyhow!(
                    "{}: {} is not there; build it first",
                    folder.join(FILE_NAME).display(),
                    component.display()
                )),
            }
        })
        .collect()
}

/// Where a plugin's cases are: in its folder; of a Python file of LiteLLM's, in a folder of its name beside it.
fn cases_of(path: PathBuf) -> PathBuf {
    match path
        .extension()
        .is_some_and(|ending| ending.to_string_lossy().starts_with("py"))
    {
        true => path.with_extension(""),
        false => path,
    }
}

pub(super) fn with_host<F>(work: impl FnOnce(Arc<Host>) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let env = Env::new(std::env::vars());
    let host = super::host(&Paths::of(&Source::Empty, None, &env))?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start a runtime")?;
    let done = runtime.block_on(work(host.clone()));
    runtime.block_on(host.shutdown());
    done
}

fn name_of(component: &Path) -> String {
    let stem = component.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Counts, and prints what failed.
#[derive(Default)]
struct Tally {
    cases: usize,
    checks: usize,
    failed: usize,
    blessed: usize,
    empty: usize,
}

impl Tally {
    fn case(&mut self, plugin: &str, report: &CaseReport, verbose: bool) {
        self.cases += 1;
        self.blessed += usize::from(report.blessed);
        if !report.problems.is_empty() {
            self.problem(plugin, &report.name, &report.problems.join("\n"));
        }
        if verbose || !report.problems.is_empty() {
            report.log.iter().for_each(|line| println!("  log {line}"));
        }
    }

    fn check(&mut self, plugin: &str, check: &Check) {
        self.checks += 1;
        if let Some(problem) = &check.problem {
            self.problem(plugin, &check.name, problem);
        }
    }

    fn problem(&mut self, plugin: &str, what: &str, problem: &str) {
        self.failed += 1;
        println!("FAIL  {plugin}: {what}");
        problem.lines().for_each(|line| println!("      {line}"));
    }

    fn end(&self, start: Instant) -> anyhow::Result<()> {
        let Self {
            cases,
            checks,
            failed,
            blessed,
            ..
        } = self;
        let written = match blessed {
            0 => String::new(),
            number => format!(", {number} expectations written"),
        };
        println!(
            "{cases} cases, {checks} conformance checks: {failed} failed{written} ({:.1} s)",
            start.elapsed().as_secs_f64()
        );
        match failed {
            0 => Ok(()),
            number => Err(anyhow!("{number} failed")),
        }
    }
}
