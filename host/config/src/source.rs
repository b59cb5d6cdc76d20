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

/// An object in a bucket that holds the configuration (`LITELLM_CONFIG_BUCKET_NAME`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigObject {
    /// Whether it is Google's store; else one that speaks S3.
    pub is_gcs: bool,
    /// The bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
}

impl ConfigObject {
    /// The object that the variables name, if they name one.
    ///
    /// # Errors
    /// When only half of it is named.
    pub fn wanted(env: &Env) -> Result<Option<Self>, Problem> {
        let Some(bucket) = env.non_empty("LITELLM_CONFIG_BUCKET_NAME") else {
            return Ok(None);
        };
        let key = env.non_empty("LITELLM_CONFIG_BUCKET_OBJECT_KEY");
        let key = key.ok_or_else(|| {
            Problem::error(
                ProblemKind::Variable,
                &Position::default(),
                "LITELLM_CONFIG_BUCKET_OBJECT_KEY",
                "is not set, but LITELLM_CONFIG_BUCKET_NAME asks for a configuration from a bucket",
            )
            .fix("set both, or neither")
        })?;
        let kind = env.non_empty("LITELLM_CONFIG_BUCKET_TYPE");
        Ok(Some(Self {
            is_gcs: kind.is_some_and(|kind| kind.trim() == "gcs"),
            bucket: bucket.to_owned(),
            key: key.trim_start_matches('/').to_owned(),
        }))
    }

    /// As messages call it.
    #[must_use]
    pub fn name(&self) -> String {
        let scheme = if self.is_gcs { "gs" } else { "s3" };
        format!("{scheme}://{}/{}", self.bucket, self.key)
    }

    /// A problem with reading it.
    #[must_use]
    pub fn problem(&self, why: &str) -> Problem {
        let message = format!("the configuration {} cannot be read: {why}", self.name());
        let at = Position::default();
        Problem::error(
            ProblemKind::File,
            &at,
            "LITELLM_CONFIG_BUCKET_NAME",
            message,
        )
    }

    /// The source that its content is.
    ///
    /// # Errors
    /// When it is no text, or an empty one.
    pub fn source(&self, content: Vec<u8>) -> Result<Source, Problem> {
        match String::from_utf8(content) {
            Ok(text) if text.trim().is_empty() => Err(self.problem("it is empty")),
            Ok(text) => Ok(Source::Text {
                name: self.name(),
                text,
            }),
            Err(_) => Err(self.problem("it is not UTF-8")),
        }
    }
}

impl Source {
    /// Chooses the source as LiteLLM's start does: the command line's `--config`, then
    /// `CONFIG_FILE_PATH`, then `WORKER_CONFIG` (a path, or LiteLLM's JSON object of command-line
    /// options). Also returns a warning when two of them disagree. An object in a bucket ([`ConfigObject::wanted`]) comes before
    /// all of them; who reads it has its text.
    #[must_use]
    pub fn choose(config_flag: Option<&Path>, env: &Env) -> (Self, Option<Problem>) {
        let variable = env.non_empty("CONFIG_FILE_PATH").map(PathBuf::from);
        let worker = || env.non_empty("WORKER_CONFIG").and_then(worker_path);
        let Some(flag) = config_flag else {
            return (
                variable.or_else(worker).map_or(Self::Empty, Self::File),
                None,
            );
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
        (Self::File(flag.to_owned()), overruled)
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
        let (source, warning) = Source::choose(flag.map(Path::new), &Env::new(env.iter().copied()));
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
    fn a_bucket_is_named_wholly_or_not_at_all() {
        let wanted = |env: &[(&str, &str)]| ConfigObject::wanted(&Env::new(env.iter().copied()));
        assert_eq!(wanted(&[]), Ok(None));
        let name = ("LITELLM_CONFIG_BUCKET_NAME", "b");
        let key = ("LITELLM_CONFIG_BUCKET_OBJECT_KEY", "/k/c.yaml");
        let half = wanted(&[name]).expect_err("refused");
        assert_eq!(half.path, "LITELLM_CONFIG_BUCKET_OBJECT_KEY");
        for (kind, shown) in [("gcs", "gs://b/k/c.yaml"), ("s3", "s3://b/k/c.yaml")] {
            let whole = wanted(&[name, key, ("LITELLM_CONFIG_BUCKET_TYPE", kind)]);
            let object = whole.expect("good").expect("named");
            assert_eq!(object.name(), shown);
            assert!(object.source(b" \n".to_vec()).is_err());
        }
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
