//! Where the configuration comes from: which file, and its text.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::env::Env;
use crate::node::Position;
use crate::problem::{Problem, ProblemKind};

/// Largest configuration file that is read. The largest known in use have some thousands of
/// models and stay below 2 MiB; a larger file is a mistake (a log, a model) and is not loaded
/// into memory to find that out.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where a configuration is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file and what it includes.
    File(PathBuf),
    /// A text that is already at hand; the name stands for the file in messages, and relative
    /// `include`s are taken from the working directory.
    Text {
        /// Shown as the file's name.
        name: String,
        /// YAML or JSON.
        text: String,
    },
    /// No configuration: no models, every setting at its default.
    Empty,
}

impl Source {
    /// Chooses the source as LiteLLM's start does: the command line's `--config`, then
    /// `CONFIG_FILE_PATH`, then `WORKER_CONFIG` (a path, or LiteLLM's JSON object of command-line
    /// options). Also returns a warning when two of them disagree.
    ///
    /// # Errors
    /// A configuration in a bucket (`LITELLM_CONFIG_BUCKET_NAME`) is refused rather than passed
    /// over: the operator asked for a configuration that would not be the one served.
    pub fn choose(
        config_flag: Option<&Path>,
        env: &Env,
    ) -> Result<(Self, Option<Problem>), Problem> {
        if env.non_empty("LITELLM_CONFIG_BUCKET_NAME").is_some() {
            return Err(bucket_problem(env));
        }
        let variable = env.non_empty("CONFIG_FILE_PATH").map(PathBuf::from);
        let worker = || env.non_empty("WORKER_CONFIG").and_then(worker_path);
        let Some(flag) = config_flag else {
            return Ok((
                variable.or_else(worker).map_or(Self::Empty, Self::File),
                None,
            ));
        };
        let overruled = variable.filter(|path| path != flag).map(|path| {
            Problem::warning(
                ProblemKind::Variable,
                &Position::default(),
                "CONFIG_FILE_PATH",
                format!(
                    "names {}, but --config names {}, which is used",
                    path.display(),
                    flag.display()
                ),
            )
        });
        Ok((Self::File(flag.to_owned()), overruled))
    }
}

/// Reads a configuration file as text; `name` is how messages call it.
pub(crate) fn read(path: &Path, name: &Arc<str>) -> Result<String, Problem> {
    let at = Position::of_file(name);
    let problem = |message: String| Problem::error(ProblemKind::File, &at, "", message);
    let file = fs::File::open(path)
        .map_err(|error| problem(format!("the configuration cannot be opened: {error}")))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| problem(format!("the configuration cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(problem(format!(
            "is larger than {} MiB",
            FILE_BYTES_MAX / (1024 * 1024)
        ))
        .fix("is this the configuration file?"));
    }
    String::from_utf8(bytes).map_err(|error| {
        problem(format!(
            "is not UTF-8 at byte {}",
            error.utf8_error().valid_up_to()
        ))
    })
}

fn bucket_problem(env: &Env) -> Problem {
    let at = Position::default();
    if env.non_empty("LITELLM_CONFIG_BUCKET_OBJECT_KEY").is_none() {
        return Problem::error(
            ProblemKind::Variable,
            &at,
            "LITELLM_CONFIG_BUCKET_OBJECT_KEY",
            "is not set, but LITELLM_CONFIG_BUCKET_NAME asks for a configuration from a bucket",
        )
        .fix("set both, or neither");
    }
    Problem::error(
        ProblemKind::Variable,
        &at,
        "LITELLM_CONFIG_BUCKET_NAME",
        "a configuration cannot be read from a bucket yet",
    )
    .fix("unset it and give the file with --config")
}

/// The path in `WORKER_CONFIG`: the text itself, or the `config` option of a JSON object.
fn worker_path(text: &str) -> Option<PathBuf> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(options)) => options
            .get("config")
            .and_then(Value::as_str)
            .map(PathBuf::from),
        _ => Some(PathBuf::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(flag: Option<&str>, env: &[(&str, &str)]) -> (Source, bool) {
        let (source, warning) =
            Source::choose(flag.map(Path::new), &Env::new(env.iter().copied())).expect("a source");
        (source, warning.is_some())
    }

    #[test]
    fn the_flag_wins_then_the_variables() {
        let file = |path: &str| Source::File(PathBuf::from(path));
        assert_eq!(chosen(None, &[]), (Source::Empty, false));
        assert_eq!(
            chosen(Some("a.yaml"), &[("CONFIG_FILE_PATH", "b.yaml")]),
            (file("a.yaml"), true)
        );
        assert_eq!(
            chosen(Some("a.yaml"), &[("CONFIG_FILE_PATH", "a.yaml")]),
            (file("a.yaml"), false)
        );
        assert_eq!(
            chosen(None, &[("CONFIG_FILE_PATH", "b.yaml")]),
            (file("b.yaml"), false)
        );
        assert_eq!(
            chosen(None, &[("WORKER_CONFIG", "c.yaml")]),
            (file("c.yaml"), false)
        );
        assert_eq!(
            chosen(
                None,
                &[("WORKER_CONFIG", r#"{"config": "d.yaml", "port": 1}"#)]
            ),
            (file("d.yaml"), false)
        );
        assert_eq!(
            chosen(None, &[("WORKER_CONFIG", r#"{"port": 1}"#)]),
            (Source::Empty, false)
        );
    }

    #[test]
    fn a_bucket_is_refused_not_passed_over() {
        let refused = |env: &[(&str, &str)]| {
            Source::choose(Some(Path::new("a.yaml")), &Env::new(env.iter().copied()))
                .expect_err("refused")
        };
        let without_key = refused(&[("LITELLM_CONFIG_BUCKET_NAME", "b")]);
        assert_eq!(without_key.path, "LITELLM_CONFIG_BUCKET_OBJECT_KEY");
        let complete = refused(&[
            ("LITELLM_CONFIG_BUCKET_NAME", "b"),
            ("LITELLM_CONFIG_BUCKET_OBJECT_KEY", "k"),
        ]);
        assert_eq!(complete.path, "LITELLM_CONFIG_BUCKET_NAME");
    }

    #[test]
    fn unreadable_files_are_problems() {
        let folder = tempfile::tempdir().expect("a folder");
        let name: Arc<str> = "x.yaml".into();
        let path = folder.path().join("x.yaml");
        assert!(
            read(&path, &name)
                .expect_err("missing")
                .to_string()
                .starts_with("x.yaml: the configuration cannot be opened")
        );
        fs::write(&path, [b'a', 0xff]).expect("written");
        assert_eq!(
            read(&path, &name).expect_err("not text").to_string(),
            "x.yaml: is not UTF-8 at byte 1"
        );
        fs::write(&path, "a: 1").expect("written");
        assert_eq!(read(&path, &name).expect("read"), "a: 1");
    }
}
