//! Where the binary and the plugins are, and what the binary sees of the environment.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The root of the workspace.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("host/testkit is two folders below the root")
        .to_owned()
}

/// The folder of the built built-in components: `WITGATE_PLUGIN_DIR` or the build's default.
pub fn plugin_dir() -> PathBuf {
    std::env::var_os("WITGATE_PLUGIN_DIR").map_or_else(
        || workspace_root().join("plugins/target/components"),
        PathBuf::from,
    )
}

/// The folder of the components that are not ours: the examples' and the tests' own.
pub fn fixture_dir() -> PathBuf {
    workspace_root().join("plugins/target/fixtures")
}

/// Makes every fixture findable by its name beside a config in `folder`, as a user's own are.
pub(super) fn link_fixtures(folder: &Path) {
    let Ok(fixtures) = std::fs::read_dir(fixture_dir()) else {
        return;
    };
    for fixture in fixtures.flatten() {
        let link = folder.join(fixture.file_name());
        if !link.exists() {
            std::os::unix::fs::symlink(fixture.path(), link).expect("link a fixture");
        }
    }
}

/// Lets a gateway with this data directory keep its compiled components where the tests share them.
pub(super) fn share_plugin_cache(data_dir: &Path) {
    let shared = workspace_root().join("plugins/target/cache/plugins");
    std::fs::create_dir_all(&shared).expect("make the shared folder");
    std::fs::create_dir_all(data_dir).expect("make the data folder");
    std::os::unix::fs::symlink(shared, data_dir.join("plugins")).expect("link the shared folder");
}

/// The binary under test: `WITGATE_BIN`, or the one built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("WITGATE_BIN") {
        return PathBuf::from(path);
    }
    // A test runs as <target>/<profile>/deps/NAME-HASH.
    let own = std::env::current_exe().expect("a test knows its own path");
    let beside = own.ancestors().nth(2).map(|folder| folder.join("witgate"));
    match beside {
        Some(path) if path.exists() => path,
        _ => panic!(
            "no witgate binary beside {}: run `cargo build -p witgate` or set WITGATE_BIN",
            own.display()
        ),
    }
}

/// The binary with a clean environment: nothing of the developer's own variables reaches it.
pub(super) fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(binary());
    command.env_clear();
    for inherited in ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(inherited) {
            command.env(inherited, value);
        }
    }
    command.env("WITGATE_DATA_DIR", data_dir);
    command.env("WITGATE_PLUGIN_DIR", plugin_dir());
    // The builders of other languages are there already: `make plugins` used them.
    command.env(
        "WITGATE_TOOLS_DIR",
        workspace_root().join("plugins/target/tools"),
    );
    command
}

impl super::Gateway {
    /// Runs another subcommand of the binary to its end in `folder`; standard output, standard
    /// error and the exit code.
    pub async fn run(folder: &Path, args: &[&str]) -> (String, String, Option<i32>) {
        run(folder, args, "").await
    }

    /// The same with something on standard input, in a folder of the test's own: compiled components are shared
    /// with other tests.
    pub async fn run_with_input(
        folder: &Path,
        args: &[&str],
        input: &str,
    ) -> (String, String, Option<i32>) {
        let data = folder.join("data");
        if !data.join("plugins").exists() {
            share_plugin_cache(&data);
        }
        run(folder, args, input).await
    }
}

async fn run(folder: &Path, args: &[&str], input: &str) -> (String, String, Option<i32>) {
    let mut child = command(&folder.join("data"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("run the binary");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A command that reads nothing closes the pipe, which is its right.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.expect("run the binary");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.status.code(),
    )
}
