//! `case.yaml`: what a plugin is given, and what the world around it answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Time of a case that does not say: 2026-01-02T03:04:05Z.
const NOW_MS: u64 = 1_767_323_045_000;

/// One case.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Name of its folder.
    #[serde(skip)]
    pub name: String,
    /// Its folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// What it shows, in a sentence.
    #[serde(default)]
    pub about: String,
    /// What is called: `deliver`, `health_check`; `check`, `stream`; `authenticate`; `exchange`, `map_user`; `read`, `write`,
    /// `delete`, `rotate`, `health`; or `init`, which is also called
    /// before each of them. The kind's first when absent.
    pub call: Option<String>,
    /// The plugin's settings, as in the configuration. Those that the manifest marks secret, too.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// The gateway's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the function gets.
    #[serde(default)]
    pub input: Value,
    /// What the other side does, exchange by exchange.
    #[serde(default)]
    pub http: Vec<Exchange>,
    /// What models answer, call by call.
    #[serde(default)]
    pub llm: Vec<ModelTurn>,
    /// What mail servers say, message by message.
    #[serde(default)]
    pub mail: Vec<MailTurn>,
    /// The time, in milliseconds since 1970.
    #[serde(default = "now_ms")]
    pub now_ms: u64,
    /// Where randomness begins; the same seed gives the same bytes.
    #[serde(default)]
    pub seed: u64,
}

/// One exchange: which request is expected, and what is answered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The request that this answers; any when absent.
    pub request: Option<Wanted>,
    /// The response.
    pub respond: Option<Respond>,
    /// No response: `timeout`, or how the connection fails.
    pub fail: Option<String>,
}

/// Which request an exchange is for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Its method.
    pub method: Option<String>,
    /// Its URL; a `*` at the end stands for any rest.
    pub url: Option<String>,
}

/// A response.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// Its status.
    #[serde(default = "ok")]
    pub status: u16,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its body, as JSON.
    pub json: Option<Value>,
    /// Its body, as text.
    pub body: Option<String>,
}

/// One call of a model: its answer, or why there is none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTurn {
    /// The model that this answers for; any when absent.
    pub model: Option<String>,
    /// The text of a complete answer.
    pub say: Option<String>,
    /// A whole answer: OpenAI's chat completion.
    pub json: Option<Value>,
    /// US dollars, a decimal number.
    pub cost_usd: Option<String>,
    /// No answer.
    pub fail: Option<ModelFail>,
}

/// Why a model gives no answer: `timeout`, `unavailable`, or a call that failed.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ModelFail {
    /// A word.
    Word(ModelFailWord),
    /// A failure as a client would get it.
    Failed {
        /// HTTP status.
        status: u16,
        /// LiteLLM's `type` of the error.
        #[serde(default)]
        kind: String,
        /// What happened.
        #[serde(default)]
        message: String,
    },
}

/// See [`ModelFail`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelFailWord {
    /// Nothing came in time.
    Timeout,
    /// Nobody answers.
    Unavailable,
}

/// One message handed in: taken, unless it fails.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailTurn {
    /// The server that this answers for, `host:port`; any when absent.
    pub server: Option<String>,
    /// Not taken.
    pub fail: Option<MailFail>,
}

/// Why a message is not taken: `timeout`, how the connection fails, or the server's no.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum MailFail {
    /// `timeout`, or how the connection fails.
    Text(String),
    /// The server's no.
    Refused {
        /// SMTP's code.
        code: u16,
        /// The server's words.
        #[serde(default)]
        text: String,
    },
}

/// What is wrong with a case.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is no YAML of this shape.
    #[error("{path}: {text}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parser's report.
        text: String,
    },
}

impl Default for Respond {
    fn default() -> Self {
        Self {
            status: ok(),
            headers: BTreeMap::new(),
            json: None,
            body: None,
        }
    }
}

impl Case {
    /// Reads a case from text; JSON is YAML.
    ///
    /// # Errors
    /// When a key is unknown or of the wrong type; the text shows the place.
    pub fn parse(text: &str, path: &Path) -> Result<Self, CaseError> {
        let malformed = |text: String| CaseError::Malformed {
            path: path.to_owned(),
            text,
        };
        let case: Self =
            serde_yaml::from_str(text).map_err(|error| malformed(error.to_string()))?;
        for (index, exchange) in case.http.iter().enumerate() {
            if exchange.respond.is_some() == exchange.fail.is_some() {
                return Err(malformed(format!(
                    "http[{index}]: give either `respond` or `fail`"
                )));
            }
        }
        for (index, turn) in case.llm.iter().enumerate() {
            let given = [turn.say.is_some(), turn.json.is_some(), turn.fail.is_some()];
            if given.iter().filter(|given| **given).count() != 1 {
                return Err(malformed(format!(
                    "llm[{index}]: give one of `say`, `json` and `fail`"
                )));
            }
        }
        Ok(case)
    }
}

/// All cases of a plugin folder, by name.
pub(crate) fn read_all(folder: &Path) -> Result<Vec<Case>, CaseError> {
    let entries = std::fs::read_dir(folder.join("cases"))
        .into_iter()
        .flatten();
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("case.yaml").is_file())
        .collect();
    folders.sort();
    folders.into_iter().map(read).collect()
}

fn read(folder: PathBuf) -> Result<Case, CaseError> {
    let path = folder.join("case.yaml");
    let text = std::fs::read_to_string(&path).map_err(|error| CaseError::File {
        path: path.clone(),
        error,
    })?;
    let name = folder.file_name().unwrap_or_default();
    Ok(Case {
        name: name.to_string_lossy().into_owned(),
        folder: folder.clone(),
        ..Case::parse(&text, &path)?
    })
}

const fn now_ms() -> u64 {
    NOW_MS
}

const fn ok() -> u16 {
    200
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_says_what_is_wrong_with_it() {
        let problem = |text: &str| {
            Case::parse(text, Path::new("case.yaml"))
                .expect_err("wrong")
                .to_string()
        };
        assert!(problem("inputs: {}").contains("inputs"));
        assert!(problem("http: [{}]").contains("http[0]"));
        let both = problem("http: [{respond: {status: 200}, fail: timeout}]");
        assert!(both.contains("either"), "{both}");
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let case = Case::parse("http: [{respond: {}}]", Path::new("case.yaml")).expect("valid");
        assert_eq!(case.now_ms, NOW_MS);
        assert_eq!(
            case.http[0].respond.as_ref().map(|one| one.status),
            Some(200)
        );
    }
}
