//! An S3 server for every scenario that needs one.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use witgate_testkit::workspace_root;

use super::{eventually, venv};

/// A real S3 server: moto, with signatures and rights checked.
pub struct Moto {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    own: Value,
}

impl Moto {
    /// Starts it.
    pub async fn start() -> Self {
        let mut process = Command::new(venv("python"))
            .arg(workspace_root().join("tests/vendors/s3.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run the S3 server");
        let input = process.stdin.take().expect("a pipe");
        let output = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let mut moto = Self {
            _process: process,
            input,
            output,
            own: Value::Null,
        };
        moto.own = moto.line().await;
        moto
    }

    async fn line(&mut self) -> Value {
        let line = self.output.next_line().await.expect("a line");
        serde_json::from_str(&line.expect("the S3 server lives")).expect("JSON")
    }

    /// Everything that is in its bucket.
    pub async fn objects(&mut self) -> Vec<Value> {
        self.put("").await
    }

    /// Puts an object of this name there, unless it is empty, and gives everything that is in its bucket.
    pub async fn put(&mut self, name: &str) -> Vec<Value> {
        self.input
            .write_all(format!("{name}\n").as_bytes())
            .await
            .expect("the S3 server lives");
        self.line().await.as_array().cloned().unwrap_or_default()
    }

    /// The same with this text in it.
    pub async fn put_text(&mut self, name: &str, text: &str) -> Vec<Value> {
        let text = Value::from(text).to_string();
        self.put(&format!("{name}\t{text}")).await
    }

    /// Waits until there are so many objects.
    pub async fn wait_for(&mut self, count: usize) -> Vec<Value> {
        eventually("objects in the bucket", async || {
            let objects = self.objects().await;
            (objects.len() >= count).then_some(objects)
        })
        .await
    }

    /// What it says of itself, such as its `endpoint`.
    pub fn own(&self, name: &str) -> String {
        self.own[name].as_str().expect("text").to_owned()
    }
}
