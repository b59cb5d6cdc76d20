//! A mail server for every scenario that needs one.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use witgate_testkit::workspace_root;

use super::venv;

/// What it lets `gateway` in with.
pub const PASSWORD: &str = "mail-password-0123456789";

/// A mail server with a certificate for `localhost`.
pub struct MailServer {
    /// The server.
    pub process: Child,
    _input: ChildStdin,
    /// What happened there, a JSON object a line.
    pub output: Lines<BufReader<ChildStdout>>,
    /// Where it listens, at `localhost`.
    pub port: u64,
    /// Has its certificate, `mail.pem`.
    pub folder: TempDir,
}

impl MailServer {
    /// Starts it: `plain`, with `starttls`, or within `tls`; with a login for [`PASSWORD`] or without.
    pub async fn start(mode: &str, with_login: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        certify(folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let mut command = Command::new(venv("python"));
        command
            .arg(workspace_root().join("tests/vendors/mail.py"))
            .args([mode, &file("mail.pem"), &file("mail.key")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if with_login {
            command.args(["gateway", PASSWORD]);
        }
        let mut process = command.spawn().expect("run the mail server");
        let input = process.stdin.take().expect("a pipe");
        let output = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut server = Self {
            process,
            _input: input,
            output,
            port: 0,
            folder,
        };
        server.port = server.next().await["port"].as_u64().expect("a port");
        server
    }

    /// The next thing that happened there.
    pub async fn next(&mut self) -> Value {
        let line = self.output.next_line().await.expect("a line");
        serde_json::from_str(&line.expect("the mail server lives")).expect("JSON")
    }
}

/// `mail.pem` and `mail.key`, for `localhost`.
fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("signed");
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).expect("written");
    };
    write("mail.pem", made.cert.pem());
    write("mail.key", made.signing_key.serialize_pem());
}

/// The value of a line of a letter.
pub fn line(mail: &Value, name: &str) -> String {
    let text = mail["text"].as_str().unwrap_or_default();
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found
        .unwrap_or_else(|| panic!("no {name} in {mail}"))
        .to_owned()
}
