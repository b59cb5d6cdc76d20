//! The real binary under test: started on an ephemeral port, watched, signalled, killed.

mod database;
mod environment;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::journal::{Journal, PATIENCE};
use crate::metrics::Metrics;
use crate::raw::{RawConnection, RawResponse};

pub use database::SpendRow;
pub use environment::{fixture_dir, plugin_dir, workspace_root};

/// A debug build compiles plugins slowly on a loaded machine; a start that takes longer than
/// this is hung.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at something only pollable (a database, a metrics page).
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How to start a gateway. Its folder (config, data) lives as long as any clone of it.
#[derive(Clone, Debug)]
pub struct GatewayBuilder {
    config: String,
    command: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    home: Arc<TempDir>,
    config_file: Option<PathBuf>,
    host: String,
    port: u16,
}

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    base_url: String,
    stdout: Journal<String>,
    logs: Journal<String>,
    builder: GatewayBuilder,
}

/// A start that was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything it printed, standard output first.
    pub output: String,
}

/// A signal the gateway reacts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Drain and end.
    Terminate,
    /// Load the config again.
    HangUp,
    /// What control-C sends.
    Interrupt,
    /// Die at once.
    Kill,
}

impl Gateway {
    /// A builder with this YAML as the config file.
    pub fn builder(config: impl Into<String>) -> GatewayBuilder {
        GatewayBuilder {
            config: config.into(),
            command: vec!["serve".into()],
            args: Vec::new(),
            env: Vec::new(),
            home: Arc::new(tempfile::tempdir().expect("make a folder for the gateway")),
            config_file: None,
            host: "127.0.0.1".to_owned(),
            port: 0,
        }
    }

    /// Starts with this YAML and nothing else set.
    pub async fn start(config: impl Into<String>) -> Self {
        Self::builder(config).start().await
    }

    /// Where it listens, `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Where it listens, `127.0.0.1:PORT`.
    pub fn authority(&self) -> &str {
        self.base_url.rsplit('/').next().unwrap_or_default()
    }

    /// The process id; panics once it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the gateway is running")
    }

    /// The folder that holds `config.yaml`, and the data in `data/`.
    pub fn home(&self) -> &Path {
        self.builder.home.path()
    }

    /// Overwrites the config file; whether and when it is loaded is for the caller.
    pub fn write_config(&self, yaml: &str) {
        fs::write(self.home().join("config.yaml"), yaml).expect("write the config");
    }

    /// Lines of standard error so far: the log.
    pub fn logs(&self) -> &Journal<String> {
        &self.logs
    }

    /// Lines of standard output so far.
    pub fn stdout(&self) -> &Journal<String> {
        &self.stdout
    }

    /// Waits for a log line that contains `text`.
    pub async fn wait_for_log(&self, text: &str) -> String {
        let has = |line: &String| line.contains(text);
        let lines = self
            .logs
            .wait_until(&format!("a log line with {text:?}"), |lines| {
                lines.iter().any(has)
            })
            .await;
        lines.into_iter().find(has).unwrap_or_default()
    }

    /// True when any output line contains `text`: for secrets that must not be there.
    pub fn printed(&self, text: &str) -> bool {
        let has = |line: &String| line.contains(text);
        self.logs.all().iter().any(has) || self.stdout.all().iter().any(has)
    }

    /// Sends a signal.
    pub async fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::HangUp => "HUP",
            Signal::Interrupt => "INT",
            Signal::Kill => "KILL",
        };
        // The shell's own `kill`: present everywhere, and no unsafe code here.
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status()
            .await
            .expect("run sh");
        assert!(status.success(), "kill -{name} failed");
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap_or_else(|_| {
                panic!(
                    "the gateway does not end; its log:\n{}",
                    self.logs.all().join("\n")
                )
            })
            .expect("wait for the gateway")
    }

    /// SIGTERM, then waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::Terminate).await;
        self.ended().await
    }

    /// Starts it again in the same folder with the same settings, after it ended.
    pub async fn start_again(&self) -> Self {
        self.builder.clone().start().await
    }

    /// A bare connection to it.
    pub async fn connect(&self) -> RawConnection {
        RawConnection::open(self.authority()).await
    }

    /// A plain GET over its own connection.
    pub async fn get(&self, path: &str) -> RawResponse {
        let mut connection = self.connect().await;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.authority()
        );
        connection.send(request).await;
        connection
            .response()
            .await
            .unwrap_or_else(|| panic!("no answer to GET {path}"))
    }

    /// A scrape of `/metrics`.
    pub async fn metrics(&self) -> Metrics {
        Metrics::parse(self.get("/metrics").await.text())
    }

    /// Scrapes until `holds`; panics with the last page when it never does.
    pub async fn metrics_until(&self, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics().await;
            if holds(&metrics) {
                return metrics;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "never {what}:\n{}",
                metrics.text()
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The rows of `LiteLLM_SpendLogs`, oldest first.
    pub async fn spend_rows(&self) -> Vec<SpendRow> {
        self.rows("LiteLLM_SpendLogs", "startTime").await
    }

    /// The rows of a table, in the order of a column.
    pub async fn rows(&self, table: &str, order: &str) -> Vec<serde_json::Value> {
        database::rows(&self.home().join("data/witgate.db"), table, order).await
    }

    /// Waits until there are at least `count` spend rows.
    pub async fn wait_for_spend_rows(&self, count: usize) -> Vec<SpendRow> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let rows = self.spend_rows().await;
            if rows.len() >= count {
                return rows;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain for {count} spend rows, have {}: {rows:#?}\nlog:\n{}",
                rows.len(),
                self.logs.all().join("\n")
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl GatewayBuilder {
    /// Serves this file instead of the builder's own YAML (for the examples).
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_file = Some(path.into());
        self
    }

    /// Listens on this address instead of 127.0.0.1.
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Listens on this port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts it with another command that serves, in place of `serve`.
    pub fn command(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(Into::into).collect();
        self
    }

    /// Adds a command line argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable. The gateway sees these and a bare minimum, not the
    /// variables of whoever runs the tests.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Puts a file beside the config.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.home.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("make the folder");
        }
        fs::write(path, content).expect("write a file beside the config");
        self
    }

    /// Shares compiled components with other tests: those of Python and JavaScript take seconds to compile.
    #[must_use]
    pub fn shared_plugin_cache(self) -> Self {
        environment::share_plugin_cache(&self.home.path().join("data"));
        self
    }

    /// Where config, data and files are.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts and waits until it listens.
    pub async fn start(self) -> Gateway {
        match self.try_start().await {
            Ok(gateway) => gateway,
            Err(refusal) => panic!(
                "the gateway ended at start ({:?}):\n{}",
                refusal.code, refusal.output
            ),
        }
    }

    /// Starts what must not start.
    pub async fn expect_refusal(self) -> Refusal {
        match self.try_start().await {
            Ok(gateway) => panic!("the gateway started at {}", gateway.base_url),
            Err(refusal) => refusal,
        }
    }

    /// Starts and waits until it listens, or until it refuses to.
    pub async fn try_start(self) -> Result<Gateway, Refusal> {
        environment::link_fixtures(self.home.path());
        let config = self.config_file.clone().unwrap_or_else(|| {
            let path = self.home.path().join("config.yaml");
            if !path.exists() {
                fs::write(&path, &self.config).expect("write the config");
            }
            path
        });
        let mut child = environment::command(&self.home.path().join("data"))
            .args(&self.command)
            .arg("--config")
            .arg(config)
            .args(["--host", &self.host, "--port", &self.port.to_string()])
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("start the binary");
        let (stdout, stdout_read) = follow(child.stdout.take().expect("stdout is piped"));
        let (logs, logs_read) = follow(child.stderr.take().expect("stderr is piped"));
        let ready = stdout.wait_until("the ready line", |lines| {
            lines.iter().any(|line| line.starts_with("listening on "))
        });
        let started = tokio::select! {
            biased;
            started = tokio::time::timeout(START_LIMIT, ready) => Some(started),
            _ = child.wait() => None,
        };
        match started {
            Some(Ok(lines)) => {
                let ready = lines
                    .iter()
                    .find_map(|line| line.strip_prefix("listening on "));
                let base_url = ready
                    .unwrap_or_default()
                    .trim()
                    .trim_end_matches('/')
                    .to_owned();
                Ok(Gateway {
                    child,
                    base_url,
                    stdout,
                    logs,
                    builder: self,
                })
            }
            Some(Err(_)) => panic!(
                "not ready in {START_LIMIT:?}; log:\n{}",
                logs.all().join("\n")
            ),
            None => {
                let code = child.wait().await.expect("it has ended").code();
                let _ = tokio::join!(stdout_read, logs_read);
                let output = [stdout.all(), logs.all()].concat().join("\n");
                Err(Refusal { code, output })
            }
        }
    }
}

/// Collects the lines of a pipe as they come, until its end.
fn follow(
    pipe: impl AsyncRead + Unpin + Send + 'static,
) -> (Journal<String>, tokio::task::JoinHandle<()>) {
    let journal = Journal::default();
    let copy = journal.clone();
    let reading = tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            copy.push(line);
        }
    });
    (journal, reading)
}
