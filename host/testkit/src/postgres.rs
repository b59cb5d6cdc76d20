//! A real PostgreSQL server of its own: gone when dropped.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, Command};

use crate::journal::PATIENCE;

/// A `postgres` on a free loopback port, with a database `litellm` and a superuser `postgres` without password.
#[derive(Debug)]
pub struct PostgresServer {
    process: Child,
    folder: TempDir,
    /// Where it listens.
    pub port: u16,
}

/// A session whose transaction is open; dropped, it is over, and what it did never was.
#[derive(Debug)]
pub struct HeldLocks {
    _session: Child,
    _input: ChildStdin,
}

impl PostgresServer {
    /// Starts an empty one.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("pg")
            .tempdir()
            .expect("a folder");
        let data = folder.path().join("data");
        if let Some(user) = unprivileged() {
            let owner = Command::new("chown").arg(user).arg(folder.path()).status();
            assert!(owner.await.expect("run chown").success(), "chown {user}");
        }
        let made = server_command("initdb")
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .output()
            .await
            .expect("run initdb: Debian's package postgresql has it");
        assert!(
            made.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        // PostgreSQL takes no port 0, and a free port may be taken by another meanwhile: then another is tried.
        for _ in 0..20 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            drop(listener);
            if let Some(process) = run(&data, folder.path(), port).await {
                let server = Self {
                    process,
                    folder,
                    port,
                };
                server.sql("postgres", "CREATE DATABASE litellm").await;
                return server;
            }
        }
        panic!("postgres does not start");
    }

    /// `postgresql://postgres@127.0.0.1:PORT/litellm`
    pub fn url(&self) -> String {
        self.url_of("litellm")
    }

    /// The address of a database.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// What `psql` prints for statements, unaligned and without headers.
    pub async fn sql(&self, database: &str, statements: &str) -> String {
        let output = Command::new("psql")
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                statements,
            ])
            .arg(self.url_of(database))
            .output()
            .await
            .expect("run psql: Debian's package postgresql-client has it");
        assert!(
            output.status.success(),
            "psql: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs statements and holds the locks they took until what is given back is dropped.
    pub async fn hold(&self, database: &str, statements: &str) -> HeldLocks {
        let mut session = Command::new("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1"])
            .arg(self.url_of(database))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run psql: Debian's package postgresql-client has it");
        let mut input = session.stdin.take().expect("a pipe");
        let text = format!("BEGIN; {statements};\n\\echo held\n");
        input.write_all(text.as_bytes()).await.expect("psql reads");
        let output = session.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(output).lines();
        loop {
            let line = lines.next_line().await.expect("a line");
            if line.expect("psql runs the statements") == "held" {
                return HeldLocks {
                    _session: session,
                    _input: input,
                };
            }
        }
    }

    /// SIGKILL of the postmaster, and waits for the end.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("kill postgres");
    }

    /// Starts it again on its port, with its data, after it was killed.
    pub async fn start_again(&mut self) {
        let data = self.folder.path().join("data");
        let _ = tokio::fs::remove_file(data.join("postmaster.pid")).await;
        // What the killed one left of its children ends by itself; until then the data is in use.
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(process) = run(&data, self.folder.path(), self.port).await {
                self.process = process;
                return;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "postgres does not start again"
            );
        }
    }

    /// SIGSTOP of every process of the server: connections stay and say nothing.
    pub async fn pause(&self) {
        self.signal("STOP").await;
    }

    /// SIGCONT
    pub async fn resume(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let pid = self.process.id().expect("postgres runs");
        let script = format!("kill -{name} {pid} $(cat /proc/{pid}/task/{pid}/children)");
        let status = Command::new("sh").args(["-c", &script]).status().await;
        assert!(status.expect("run sh").success(), "kill -{name} failed");
    }
}

/// Starts the server; `None` when the port is taken or the data in use.
async fn run(data: &Path, sockets: &Path, port: u16) -> Option<Child> {
    let mut process = server_command("postgres")
        .arg("-D")
        .arg(data)
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"])
        .arg(sockets)
        .args([
            "-c",
            "fsync=off",
            "-c",
            "log_min_messages=log",
            "-c",
            "log_line_prefix=",
        ])
        .args(["-c", "max_connections=60"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run postgres: Debian's package postgresql has it");
    let stderr = process.stderr.take()?;
    let mut lines = BufReader::new(stderr).lines();
    let ready = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("database system is ready to accept connections") {
                return true;
            }
        }
        false
    };
    let ready = tokio::time::timeout(PATIENCE, ready).await.unwrap_or(false);
    if !ready {
        let _ = process.kill().await;
        return None;
    }
    // Whatever it says later must not block it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(process)
}

/// A program of the server's package; as another user when this one is root, whom PostgreSQL refuses.
fn server_command(program: &str) -> Command {
    let path = find(program);
    match unprivileged() {
        None => Command::new(path),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={user}"))
                .args(["--regid=nogroup", "--clear-groups", "--"])
                .arg(path);
            command
        }
    }
}

/// Debian keeps the server's programs out of the path.
fn find(program: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .map(|version| version.path().join("bin").join(program))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(program))
}

fn unprivileged() -> Option<&'static str> {
    let me = std::fs::metadata("/proc/self").ok()?;
    (std::os::unix::fs::MetadataExt::uid(&me) == 0).then_some("nobody")
}
