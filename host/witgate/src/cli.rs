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
    /// Make, build, test, list and inspect plugins.
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
    /// Flags of the `litellm` command that choose its Python server or database tool: accepted, without effect.
    #[command(flatten)]
    pub ignored: Ignored,
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
        /// What it is to do: log-sink, guardrail, authenticator, prompt-manager, alerter or provider. Not every language has
        /// a template of each.
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
