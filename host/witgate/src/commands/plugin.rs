//! `witgate plugin`: new, build, list, inspect; the others are in [`mod@test`], [`replay`], [`ship`] and, of a running
//! gateway, in [`remote`].

mod dev;
mod remote;
mod replay;
mod ship;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use witgate_bundles::Bundle;
use witgate_config::{Draft, Loaded, Source};
use witgate_plugins::{Description, Host, HostOptions, Kind, Metrics, Sources};
use witgate_toolkit::{BuildRequest, NewPlugin, TemplateLanguage, Tools};

use super::{fail, print_rows};
use crate::cli::Plugin;
use crate::wiring::{self, Paths, Read, Secrets};

pub(super) fn plugin(what: Plugin) -> ExitCode {
    let done = match what {
        Plugin::New { name, kind, lang } => new(name, kind, lang),
        Plugin::Build { paths, out } => build(paths, out),
        Plugin::Test {
            paths,
            bless,
            case,
            built,
            verbose,
        } => test::test(&test::Wanted {
            paths,
            bless,
            case,
            built,
            verbose,
        }),
        Plugin::Dev { path, out, config } => dev::dev(&path, out, config.as_deref()),
        Plugin::Record(what) => return super::serve::record(*what),
        Plugin::Replay(what) => replay::replay(&what),
        Plugin::Run { path, network } => test::run(&path, network),
        Plugin::Check { files } => test::check(&files),
        Plugin::List { config, json } => list(config.as_deref(), json),
        Plugin::Inspect { file, json } => inspect(&file, json),
        Plugin::Status {
            name,
            json,
            gateway,
        } => remote::status(&gateway, name.as_deref(), json),
        Plugin::Reload(plugin) => remote::change(&plugin, "reload"),
        Plugin::Rollback(plugin) => remote::change(&plugin, "rollback"),
        Plugin::Enable(plugin) => remote::change(&plugin, "enable"),
        Plugin::Disable {
            plugin,
            force: false,
        } => remote::change(&plugin, "disable"),
        Plugin::Disable {
            plugin,
            force: true,
        } => remote::change(&plugin, "disable?force=true"),
        Plugin::Shadow(plugin) => remote::shadow(&plugin),
        Plugin::Logs {
            plugin,
            limit,
            follow,
        } => remote::logs(&plugin, limit, follow),
        Plugin::Keygen { name } => ship::keygen(&name),
        Plugin::Bundle {
            paths,
            name,
            version,
            out,
            key,
        } => {
            let request = witgate_toolkit::BundleRequest {
                paths,
                name,
                version,
            };
            ship::bundle(request, out, key.as_deref())
        }
        Plugin::Sign { file, key } => ship::sign(&file, &key),
        Plugin::Verify { file, trust } => ship::verify(&file, &trust),
        Plugin::Install {
            source,
            trust,
            data_dir,
        } => ship::install(&source, &trust, data_dir.as_deref()),
        Plugin::Uninstall {
            name,
            version,
            data_dir,
        } => ship::uninstall(&name, version.as_deref(), data_dir.as_deref()),
        Plugin::Push {
            file,
            reference,
            config,
        } => ship::push(&file, &reference, config.as_deref()),
        Plugin::Pull {
            reference,
            out,
            trust,
        } => ship::pull(&reference, out, &trust),
    };
    done.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn new(folder: PathBuf, kind: Kind, language: TemplateLanguage) -> anyhow::Result<()> {
    let plugin = NewPlugin {
        folder,
        kind,
        language,
    };
    for file in witgate_toolkit::new(&plugin)? {
        println!("{}", file.display());
    }
    let folder = plugin.folder.display();
    eprintln!("next: witgate plugin build {folder}; witgate plugin test {folder}");
    Ok(())
}

fn build(paths: Vec<PathBuf>, out: Option<PathBuf>) -> anyhow::Result<()> {
    let mut progress = |step: witgate_toolkit::Progress<'_>| eprintln!("{step}");
    let built = witgate_toolkit::build(BuildRequest {
        paths,
        out,
        tools: tools(),
        progress: &mut progress,
    })?;
    for component in built {
        println!(
            "{}  {}  {}",
            component.path.display(),
            component.kind,
            component.digest
        );
    }
    Ok(())
}

/// Where the builders of plugins in Python, JavaScript, C and Go are: `WITGATE_TOOLS_DIR`, else `tools` in the data directory.
fn tools() -> Tools {
    let env = crate::environment::environment();
    let given = env.non_empty("WITGATE_TOOLS_DIR").map(PathBuf::from);
    Tools::new(
        given.unwrap_or_else(|| Paths::of(&Source::Empty, None, &env).data_dir.join("tools")),
    )
}

fn inspect(file: &Path, json: bool) -> anyhow::Result<()> {
    let inspection = witgate_toolkit::inspect(file)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        print!("{inspection}");
    }
    Ok(())
}

fn list(config: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let env = crate::environment::environment();
    let source = config.map_or(Source::Empty, |path| Source::File(path.to_owned()));
    let refused =
        |lines: &[String]| anyhow!("the configuration cannot be loaded:\n{}", lines.join("\n"));
    let draft = Draft::read(&source, &env);
    let early = draft.early().map_err(|_| {
        let problems = witgate_config::check(&source, &env);
        refused(&problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    })?;
    let paths = Paths::of(&source, None, &early.loaded.environment);
    let host = host(&paths)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start a runtime")?;
    let sources = runtime
        .block_on(wiring::sources(&paths, &early.loaded))
        .map_err(|lines| refused(&lines))?;
    let secrets = Secrets::default();
    let fetched = secrets.load(draft, &early, &host, &sources, Read::Due);
    let (loaded, secrets) = runtime.block_on(fetched).map_err(|lines| refused(&lines))?;
    let sources = runtime
        .block_on(wiring::sources(&paths, &loaded))
        .map_err(|lines| refused(&lines))?;
    let specs = wiring::plugin_specs(&loaded, &sources)?;
    let (plugins, errors) = runtime.block_on(host.load(specs, &sources, None));
    let mut rows = secrets.describe();
    rows.extend(plugins.describe());
    rows.extend(unused_installed(&sources, &rows));
    rows.extend(unused_built_ins(&sources, &rows));
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print_table(&rows);
    }
    for error in &errors {
        eprintln!("{error}");
    }
    runtime.block_on(host.shutdown());
    if errors.is_empty() {
        Ok(())
    } else {
        Err(anyhow!("{} plugin(s) cannot be loaded", errors.len()))
    }
}

/// A configuration, or an empty one, and where things lie.
fn load(config: Option<&Path>, data_dir: Option<&Path>) -> anyhow::Result<(Loaded, Paths)> {
    let env = crate::environment::environment();
    let source = config.map_or(Source::Empty, |path| Source::File(path.to_owned()));
    let loaded = witgate_config::load(&source, &env).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("the configuration cannot be loaded:\n{}", lines.join("\n"))
    })?;
    let paths = Paths::of(&source, data_dir, &loaded.environment);
    Ok((loaded, paths))
}

/// The plugin host, outside of a gateway.
fn host(paths: &Paths) -> anyhow::Result<Arc<Host>> {
    let mut options = HostOptions::new(Some(paths.data_dir.clone()));
    options.on_progress = wiring::progress_on_stderr();
    let mut registry = prometheus_client::registry::Registry::default();
    Ok(Host::start(options, Metrics::register(&mut registry))?)
}

/// The components of installed bundles that the configuration does not use. Whether their signatures hold is
/// checked when they are loaded.
fn unused_installed(sources: &Sources, used: &[Description]) -> Vec<Description> {
    let mut rows = Vec::new();
    for bundle in &sources.installed {
        let title = bundle.index.title();
        let signers = Bundle::read(&bundle.path).map(|read| read.signatures.signers());
        let (signer, state) = match &signers {
            Ok(signers) => (sources.trust.signer(signers), "not used".to_owned()),
            Err(error) => (None, format!("failed: {error}")),
        };
        for one in &bundle.index.components {
            let digest = one.component.digest.hex();
            if used
                .iter()
                .any(|row| row.digest == digest && row.bundle == title)
            {
                continue;
            }
            rows.push(Description {
                name: one.name.clone(),
                component: one.name.clone(),
                kind: one.kind.clone(),
                version: one.version.clone(),
                source: format!("installed ({})", bundle.path.display()),
                digest,
                bundle: title.clone(),
                signer: signer.unwrap_or_default().to_owned(),
                state: state.clone(),
                ..Description::default()
            });
        }
    }
    rows
}

/// The built-in components that the configuration does not use.
fn unused_built_ins(sources: &Sources, used: &[Description]) -> Vec<Description> {
    let names = sources.built_in().into_iter();
    let is_used = |name: &str| {
        let mut rows = used.iter().filter(|row| row.source.starts_with("built-in"));
        rows.any(|row| row.component == name)
    };
    let unused = names.filter(|name| !is_used(name));
    unused
        .filter_map(|name| {
            let source = sources.built_in_named(&name)?;
            let (manifest, digest, _) = source.examine().ok()?;
            Some(Description {
                component: name.clone(),
                kind: manifest.kind.to_string(),
                version: manifest.version.clone(),
                source: source.to_string(),
                digest,
                state: "not used".to_owned(),
                name,
                ..Description::default()
            })
        })
        .collect()
}

fn print_table(rows: &[Description]) {
    let or_dash = |items: &[String]| {
        if items.is_empty() {
            "-".to_owned()
        } else {
            items.join(",")
        }
    };
    let digest = |text: &str| {
        text.trim_start_matches("sha256:")
            .chars()
            .take(12)
            .collect::<String>()
    };
    let mut table = vec![
        [
            "NAME", "KIND", "VERSION", "DIGEST", "BUNDLE", "SIGNER", "STATE", "EGRESS", "ENV",
            "SECRETS", "FILES", "METRICS", "MODELS", "SOURCE",
        ]
        .map(str::to_owned),
    ];
    for row in rows {
        table.push([
            row.name.clone(),
            row.kind.clone(),
            row.version.clone(),
            digest(&row.digest),
            or_dash(non_empty(&row.bundle)),
            or_dash(non_empty(&row.signer)),
            row.state.clone(),
            or_dash(&row.egress),
            or_dash(&row.env),
            or_dash(&row.secrets),
            or_dash(&row.files),
            or_dash(&row.metrics),
            or_dash(&row.llm),
            row.source.clone(),
        ]);
    }
    print_rows(&table);
}

/// A list of the text, or of nothing when it is empty.
fn non_empty(text: &String) -> &[String] {
    match text.is_empty() {
        true => &[],
        false => std::slice::from_ref(text),
    }
}
