//! The command line. Flags of `serve` are LiteLLM's own, in its spelling and with a hyphen.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// An LLM gateway: a LiteLLM config, one binary, every integration a sandboxed WASM component.
#[derive(Debug, Parser)]
#[command(name = "witgate", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the gateway.
    Serve(Box<Serve>),
    /// Check a configuration: one line per problem, exit 1 when it cannot be served.
    Check(Check),
    /// Explain how the gateway works.
    Explain {
        /// What to explain.
        #[command(subcommand)]
        what: Explain,
    },
    /// Make, build, test, list, inspect, sign and ship plugins.
    Plugin {
        /// What to do with plugins.
        #[command(subcommand)]
        what: Plugin,
    },
    /// The configuration reference.
    Config {
        /// What to print.
        #[command(subcommand)]
        what: Config,
    },
    /// Print the version.
    Version,
}

/// `witgate serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file (LiteLLM's `config.yaml`); `CONFIG_FILE_PATH` when absent.
    #[arg(long, short)]
    pub config: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, env = "HOST")]
    pub host: Option<std::net::IpAddr>,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, env = "PORT", default_value_t = 4000)]
    pub port: u16,
    /// Threads that serve connections; the number of processors when absent.
    #[arg(long, alias = "num_workers", env = "NUM_WORKERS")]
    pub num_workers: Option<usize>,
    /// Listen on other addresses than loopback although no master key and no custom auth is configured.
    #[arg(long)]
    pub allow_unauthenticated: bool,
    /// Private key (PEM) for TLS.
    #[arg(long, alias = "ssl_keyfile_path", env = "SSL_KEYFILE_PATH")]
    pub ssl_keyfile_path: Option<PathBuf>,
    /// Certificate chain (PEM) for TLS.
    #[arg(long, alias = "ssl_certfile_path", env = "SSL_CERTFILE_PATH")]
    pub ssl_certfile_path: Option<PathBuf>,
    /// Seconds an idle connection is kept.
    #[arg(long, alias = "keepalive_timeout", env = "KEEPALIVE_TIMEOUT")]
    pub keepalive_timeout: Option<u64>,
    /// Calls at a time; more are answered 503.
    #[arg(long, alias = "limit_concurrency", env = "LIMIT_CONCURRENCY")]
    pub limit_concurrency: Option<usize>,
    /// Log level INFO.
    #[arg(long)]
    pub debug: bool,
    /// Log level DEBUG.
    #[arg(long, alias = "detailed_debug")]
    pub detailed_debug: bool,
    /// `text` or `json`.
    #[arg(long, alias = "log_format")]
    pub log_format: Option<String>,
    /// Unknown configuration keys are errors.
    #[arg(long, alias = "strict_config")]
    pub strict_config: bool,
    /// Data directory: database, compiled plugins.
    #[arg(long, alias = "data_dir", env = "WITGATE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// What `witgate plugin record` wants besides.
    #[arg(skip)]
    pub record: Option<Recorded>,
    /// Flags of the `litellm` command that choose its Python server or database tool: accepted, without effect.
    #[command(flatten)]
    pub ignored: Ignored,
}

/// A plugin whose calls are recorded.
#[derive(Debug, Clone, Args)]
pub struct Recorded {
    /// The plugin, by its name in the configuration.
    #[arg(value_name = "PLUGIN")]
    pub name: String,
    /// Folder for the recordings, a file per call.
    #[arg(long)]
    pub out: PathBuf,
    /// Calls that are recorded; then it is over.
    #[arg(long, default_value_t = 100)]
    pub count: u64,
    /// Size of all recordings, MiB.
    #[arg(long, default_value_t = 64)]
    pub mb: u64,
}

/// `witgate plugin record`
#[derive(Debug, Args)]
pub struct Record {
    /// What is recorded.
    #[command(flatten)]
    pub recorded: Recorded,
    /// How it is served meanwhile.
    #[command(flatten)]
    pub serve: Serve,
}

/// `witgate plugin replay`
#[derive(Debug, Args)]
pub struct Replay {
    /// Recordings.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The component to play them with; absent: the one that was recorded, as it is now.
    #[arg(long)]
    pub component: Option<PathBuf>,
    /// Write the recording as a case of `witgate plugin test` into this folder, and play nothing.
    #[arg(long, value_name = "FOLDER", conflicts_with = "component")]
    pub as_case: Option<PathBuf>,
}

/// Flags that tune Python's runtime: a start script that has them keeps working.
#[derive(Debug, Args)]
pub struct Ignored {
    #[arg(long, alias = "run_gunicorn", hide = true)]
    pub run_gunicorn: bool,
    #[arg(long, alias = "run_hypercorn", hide = true)]
    pub run_hypercorn: bool,
    #[arg(long, alias = "run_granian", hide = true)]
    pub run_granian: bool,
    #[arg(long, alias = "use_queue", hide = true)]
    pub use_queue: bool,
    #[arg(long, alias = "use_prisma_migrate", hide = true)]
    pub use_prisma_migrate: bool,
    #[arg(long, alias = "use_prisma_db_push", hide = true)]
    pub use_prisma_db_push: bool,
    #[arg(long, hide = true)]
    pub local: bool,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    pub telemetry: Option<String>,
    #[arg(long, alias = "log_config", hide = true)]
    pub log_config: Option<PathBuf>,
}

impl Ignored {
    /// Names of the flags that were given.
    pub fn given(&self) -> Vec<&'static str> {
        let flags = [
            (self.run_gunicorn, "--run_gunicorn"),
            (self.run_hypercorn, "--run_hypercorn"),
            (self.run_granian, "--run_granian"),
            (self.use_queue, "--use_queue"),
            (self.use_prisma_migrate, "--use_prisma_migrate"),
            (self.use_prisma_db_push, "--use_prisma_db_push"),
            (self.local, "--local"),
            (self.telemetry.is_some(), "--telemetry"),
            (self.log_config.is_some(), "--log_config"),
        ];
        flags
            .into_iter()
            .filter_map(|(given, name)| given.then_some(name))
            .collect()
    }
}

/// `witgate check`
#[derive(Debug, Args)]
pub struct Check {
    /// Configuration file; `CONFIG_FILE_PATH` when absent.
    #[arg(long, short)]
    pub config: Option<PathBuf>,
    /// Problems as a JSON array.
    #[arg(long)]
    pub json: bool,
    /// Also tell which keys and variables have no effect here, and why.
    #[arg(long, short)]
    pub verbose: bool,
    /// Unknown keys are errors.
    #[arg(long, alias = "strict_config")]
    pub strict_config: bool,
}

/// `witgate explain`
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// The stages of a call, in order, and why each stands where it does.
    Pipeline,
}

/// `witgate plugin`
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Make a plugin folder that builds and passes its tests as it is.
    New {
        /// The folder; its name is the plugin's.
        name: PathBuf,
        /// What it is to do: log-sink, guardrail, request-hook, authenticator, key-policy, router, prompt-manager, sso,
        /// secret-manager, alerter or provider. Not every language has a template of each.
        #[arg(long, value_parser = kind)]
        kind: witgate_plugins::Kind,
        /// What it is to be written in: rust, python, javascript, c or go.
        #[arg(long, default_value = "rust", value_parser = language)]
        lang: witgate_toolkit::TemplateLanguage,
    },
    /// Compile plugins (folders with a `plugin.toml`) into components.
    Build {
        /// Plugin folders.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Folder for the components.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Run a plugin's cases, and what every plugin of its kind must do, in the real host without network.
    Test {
        /// Plugin folders, or folders with plugin folders below them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Take what comes as what is expected: writes each case's expected.yaml.
        #[arg(long)]
        bless: bool,
        /// Only the case of this name, and no conformance suite.
        #[arg(long)]
        case: Option<String>,
        /// Folder of components that are built already, in place of building.
        #[arg(long)]
        built: Option<PathBuf>,
        /// Also show what the plugin logged.
        #[arg(long, short)]
        verbose: bool,
    },
    /// Build and test a plugin each time one of its files is saved.
    Dev {
        /// A plugin folder, or a Python file of LiteLLM's.
        path: PathBuf,
        /// Folder for the component.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Serve this configuration beside, and load it again after each good build.
        #[arg(long, short)]
        config: Option<PathBuf>,
    },
    /// Call a plugin once: reads a case (`{settings, input, http}`) from standard input, prints what comes of it.
    Run {
        /// A plugin folder, or a component.
        path: PathBuf,
        /// Let its requests really go out, under the same policy as in the gateway.
        #[arg(long)]
        network: bool,
    },
    /// Run components through the conformance suite of their kind.
    Check {
        /// Components.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Serve a configuration and record what one of its plugins is called with, asks and answers; takes all flags of `serve`.
    Record(Box<Record>),
    /// Play recordings without network; exit 1 when anything comes out differently.
    Replay(Replay),
    /// List the plugins a configuration loads, and the built-in ones.
    List {
        /// Configuration file; without one only the built-in plugins are listed.
        #[arg(long, short)]
        config: Option<PathBuf>,
        /// As a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// How the plugins of a running gateway do: state, breaker, load, counters.
    Status {
        /// One plugin, in full; all of them without.
        name: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Which gateway.
        #[command(flatten)]
        gateway: RunningGateway,
    },
    /// Read a plugin's component anew in a running gateway; the old one serves on when the new one cannot.
    Reload(OnePlugin),
    /// Go back to the component that served before, in a running gateway.
    Rollback(OnePlugin),
    /// Use a plugin again that was disabled.
    Enable(OnePlugin),
    /// Do not use a plugin any more, until it is enabled or the gateway starts anew.
    Disable {
        /// Which.
        #[command(flatten)]
        plugin: OnePlugin,
        /// Also when calls then pass without its judgement, or fail.
        #[arg(long)]
        force: bool,
    },
    /// The last lines of a plugin's log in a running gateway.
    Logs {
        /// Which.
        #[command(flatten)]
        plugin: OnePlugin,
        /// Lines at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Go on with lines as they are written.
        #[arg(long, short)]
        follow: bool,
    },
    /// Make a key to sign plugins with: NAME.key, to be kept secret, and NAME.pub, to be given away.
    Keygen {
        /// The files, without their endings.
        name: PathBuf,
    },
    /// Put components into one file that can be signed, installed and pushed.
    Bundle {
        /// Components, or folders of them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Name of the bundle; the component's when there is only one.
        #[arg(long)]
        name: Option<String>,
        /// Its version; the component's when there is only one.
        #[arg(long)]
        version: Option<String>,
        /// The file; NAME-VERSION.bundle when absent.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Sign it with this private key, too.
        #[arg(long)]
        key: Option<PathBuf>,
    },
    /// Sign a bundle (in the file) or a component (in FILE.sig).
    Sign {
        /// The bundle or component.
        file: PathBuf,
        /// The private key.
        #[arg(long)]
        key: PathBuf,
    },
    /// Check a bundle or component: every byte, and that a trusted key signed it.
    Verify {
        /// The bundle or component.
        file: PathBuf,
        /// Trusted keys and registries.
        #[command(flatten)]
        trust: TrustArgs,
    },
    /// Install a bundle for all gateways of this data directory.
    Install {
        /// A bundle, or oci://host/repository:tag@sha256:…
        source: String,
        /// Trusted keys, pins and registries.
        #[command(flatten)]
        trust: TrustArgs,
        /// Data directory.
        #[arg(long, alias = "data_dir", env = "WITGATE_DATA_DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Remove an installed bundle, or one version of it.
    Uninstall {
        /// Name of the bundle.
        name: String,
        /// Only this version, which must not be the one that counts.
        #[arg(long)]
        version: Option<String>,
        /// Data directory.
        #[arg(long, alias = "data_dir", env = "WITGATE_DATA_DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Send a component or bundle, with its signatures, to an OCI registry.
    Push {
        /// The component or bundle.
        file: PathBuf,
        /// oci://host/repository:tag
        reference: String,
        /// Configuration with the registry's credentials; docker's own are used without.
        #[arg(long, short)]
        config: Option<PathBuf>,
    },
    /// Fetch a component or bundle, with its signatures, from an OCI registry.
    Pull {
        /// oci://host/repository:tag, and @sha256:… to pin it.
        reference: String,
        /// The file; named after what is in it when absent.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Trusted keys and registries.
        #[command(flatten)]
        trust: TrustArgs,
    },
    /// What a version in shadow judges otherwise than the plugin that serves, in a running gateway; as JSON.
    Shadow(OnePlugin),
    /// Show what a component is and what it asks for.
    Inspect {
        /// The component.
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A gateway that runs somewhere, and the right to change it.
#[derive(Debug, Args)]
pub struct RunningGateway {
    /// Where it listens.
    #[arg(long, env = "WITGATE_URL", default_value = "http://127.0.0.1:4000")]
    pub url: String,
    /// Its master key.
    #[arg(long, env = "LITELLM_MASTER_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// The plugin's kind, where one name means several.
    #[arg(long)]
    pub kind: Option<String>,
}

/// A plugin of a running gateway.
#[derive(Debug, Args)]
pub struct OnePlugin {
    /// Its name in the configuration.
    pub name: String,
    /// Which gateway.
    #[command(flatten)]
    pub gateway: RunningGateway,
}

/// Whose signatures count.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// A trusted public key (file); may be given several times.
    #[arg(long)]
    pub key: Vec<PathBuf>,
    /// Configuration whose `plugin_trust`, `plugin_registries` and pins hold.
    #[arg(long, short)]
    pub config: Option<PathBuf>,
}

/// `witgate config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Every key and variable, as Markdown.
    Reference,
    /// The JSON Schema of the configuration, for editors.
    Schema,
}

/// Reads the command line; prints help or a usage error (exit 2) itself.
pub fn parse() -> Cli {
    Cli::parse()
}

fn kind(text: &str) -> Result<witgate_plugins::Kind, String> {
    let all = witgate_plugins::Kind::ALL;
    let found = all.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| format!("it is one of {}", all.map(|kind| kind.as_str()).join(", ")))
}

fn language(text: &str) -> Result<witgate_toolkit::TemplateLanguage, String> {
    let all = witgate_toolkit::TemplateLanguage::ALL;
    let found = all.into_iter().find(|language| language.as_str() == text);
    found.ok_or_else(|| {
        let names = all.map(witgate_toolkit::TemplateLanguage::as_str);
        format!("it is one of {}", names.join(", "))
    })
}
