//! Python files that were written for LiteLLM: what they are is read from their source, without running it.
//!
//! The shim in `sdk/python/litellm_shim` stands for LiteLLM, FastAPI and the HTTP clients when the component runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use witgate_plugins::Kind;

use crate::assets;

/// What such a file is, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Litellm {
    /// What it is to the gateway.
    pub kind: Kind,
    /// The function, instance or class that a configuration would name.
    pub name: String,
    /// First line of its documentation.
    #[serde(default)]
    pub description: String,
    /// Modules it imports.
    #[serde(default)]
    pub imports: Vec<String>,
    /// Environment variables it reads.
    #[serde(default)]
    pub env: Vec<String>,
    /// Hosts it calls.
    #[serde(default)]
    pub egress: Vec<String>,
    /// Models it calls.
    #[serde(default)]
    pub llm: Vec<String>,
    /// A logger's: which events it has hooks for.
    #[serde(default)]
    pub events: Vec<String>,
    /// A guardrail's: when it has something to say.
    #[serde(default)]
    pub phases: Vec<String>,
    /// What the author should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Why a file cannot be a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LitellmError {
    /// There is no Python to read it with.
    #[error("cannot run python3 ({0}); install Python 3.10 or newer")]
    NoPython(std::io::Error),
    /// It has what cannot work in a component.
    #[error("{path} cannot become a plugin:{}", Problems(problems))]
    Refused {
        /// The file.
        path: PathBuf,
        /// All there is.
        problems: Vec<Problem>,
    },
    /// The inspection itself failed.
    #[error("{path}: {text}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What it said.
        text: String,
    },
}

/// Something that cannot work.
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    /// The line; 0 for the file as a whole.
    pub line: u32,
    /// What and why.
    pub text: String,
}

struct Problems<'a>(&'a [Problem]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Problem { line, text } in self.0 {
            match line {
                0 => write!(f, "\n  {text}")?,
                line => write!(f, "\n  line {line}: {text}")?,
            }
        }
        Ok(())
    }
}

/// `FILE.py` or `FILE.py:NAME`, when the path is one: the file, and the name.
pub(crate) fn split(path: &Path) -> Option<(PathBuf, Option<String>)> {
    let text = path.to_str()?;
    let (file, name) = match text.rsplit_once(':') {
        Some((file, name)) if file.ends_with(".py") => (file, Some(name.to_owned())),
        _ => (text, None),
    };
    file.ends_with(".py").then(|| (PathBuf::from(file), name))
}

/// Reads what a file is. `name` chooses among several things in it.
///
/// # Errors
/// When it is none, or has what cannot work; all of it is listed.
pub fn inspect(file: &Path, name: Option<&str>) -> Result<Litellm, LitellmError> {
    let failed = |text: String| LitellmError::Failed {
        path: file.to_owned(),
        text,
    };
    let script = assets::file("host/toolkit/assets/inspect_litellm.py").unwrap_or_default();
    let output = Command::new("python3")
        .args(["-I", "-c", &String::from_utf8_lossy(script)])
        .arg(file)
        .arg(name.unwrap_or_default())
        .arg(shim_modules().join(","))
        .output()
        .map_err(LitellmError::NoPython)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(failed(text.trim().to_owned()));
    }
    #[derive(Deserialize)]
    struct Found {
        problems: Vec<Problem>,
    }
    let found: Found =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    if !found.problems.is_empty() {
        return Err(LitellmError::Refused {
            path: file.to_owned(),
            problems: found.problems,
        });
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// The Python that starts the component: imports what the file imports, and runs the file when it is needed.
pub(crate) fn entry(litellm: &Litellm, module: &str, file: &Path) -> std::io::Result<String> {
    let source = std::fs::read_to_string(file)?;
    let kind = litellm.kind.as_str().replace('-', "_");
    let mut entry = format!("from witgate._export_{kind} import *\nimport witgate_litellm\n");
    for import in &litellm.imports {
        entry += &format!("import {import}\n");
    }
    // JSON's strings and lists of strings are Python's.
    let json = |value: serde_json::Value| value.to_string();
    entry += &format!(
        "single.use_factory(witgate_litellm.{kind}(module={}, path={}, source={}, name={}, env={}))\n",
        json(module.into()),
        json(
            file.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into()
        ),
        json(source.into()),
        json(litellm.name.clone().into()),
        json(litellm.env.clone().into()),
    );
    Ok(entry)
}

/// Modules that the shim has, by their dotted names.
fn shim_modules() -> Vec<String> {
    assets::below("sdk/python/litellm_shim")
        .filter_map(|(path, _)| {
            let path = path.strip_suffix(".py")?;
            let path = path.strip_suffix("/__init__").unwrap_or(path);
            Some(path.replace('/', "."))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Result<Litellm, LitellmError> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mine.py");
        std::fs::write(&file, source).expect("written");
        inspect(&file, None)
    }

    #[test]
    fn what_calls_models_asks_for_those_that_are_written_out() {
        let source = "import litellm\nfrom litellm import acompletion\nfrom litellm.integrations.custom_guardrail import CustomGuardrail\n\
             JUDGE = \"judge\"\nclass Mine(CustomGuardrail):\n    \
             async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):\n        \
             await acompletion(model=JUDGE, messages=[])\n        litellm.completion(self.model, [])\n";
        let found = read(source).expect("a guardrail");
        assert_eq!(found.llm, ["*", "judge"]);
        assert!(
            found.notes.iter().any(|note| note.contains("grants.llm")),
            "{:?}",
            found.notes
        );
    }

    #[test]
    fn an_instance_of_custom_prompt_management_is_a_prompt_manager() {
        let head = "from litellm.integrations.custom_prompt_management import CustomPromptManagement\nclass Mine(CustomPromptManagement):\n    ";
        let body = "def get_chat_completion_prompt(self, model, messages, non_default_params, prompt_id, prompt_variables, dynamic_callback_params):\n        return model, messages, non_default_params\nprompts = Mine()\n";
        let found = read(&format!("{head}{body}")).expect("a prompt manager");
        assert_eq!(
            (found.kind, found.name.as_str()),
            (Kind::PromptManager, "prompts")
        );
        let error = read(&format!("{head}pass\nprompts = Mine()\n")).expect_err("nothing in it");
        assert!(
            error.to_string().contains("get_chat_completion_prompt"),
            "{error}"
        );
    }

    #[test]
    fn a_function_of_request_and_key_is_an_authenticator() {
        let source = "\"\"\"Lets in.\"\"\"\nimport os\nimport httpx\nfrom fastapi import Request\n\
             from litellm.proxy._types import UserAPIKeyAuth\n\
             async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:\n    \
             key = os.environ[\"MY_KEY\"]\n    \
             httpx.get(f\"https://auth.example.com/{api_key}\")\n    return UserAPIKeyAuth(api_key=key)\n";
        let found = read(source).expect("an authenticator");
        assert_eq!(
            (found.kind, found.name.as_str()),
            (Kind::Authenticator, "user_api_key_auth")
        );
        assert_eq!(found.env, ["MY_KEY"]);
        assert_eq!(found.egress, ["https://auth.example.com"]);
        assert_eq!(found.description, "Lets in.");
    }

    #[test]
    fn an_instance_of_a_logger_is_a_log_sink_and_a_guardrail_class_a_guardrail() {
        let logger = "from litellm.integrations.custom_logger import CustomLogger\n\
             class Base(CustomLogger):\n    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time): pass\n\
             class Mine(Base):\n    pass\nhandler = Mine()\n";
        let found = read(logger).expect("a log sink");
        assert_eq!(
            (found.kind, found.name.as_str()),
            (Kind::LogSink, "handler")
        );
        assert_eq!(found.events, ["success"]);
        let guardrail = "from litellm.integrations.custom_guardrail import CustomGuardrail\n\
             class Mine(CustomGuardrail):\n    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type): return data\n    \
             async def async_post_call_success_hook(self, data, user_api_key_dict, response): pass\n";
        let found = read(guardrail).expect("a guardrail");
        assert_eq!((found.kind, found.name.as_str()), (Kind::Guardrail, "Mine"));
        assert_eq!(found.phases, ["pre_call", "post_call"]);
    }

    #[test]
    fn a_class_that_reads_secrets_is_a_secret_manager() {
        let source = "import os\nfrom litellm.integrations.custom_secret_manager import CustomSecretManager\n\
             class Keeper(CustomSecretManager):\n    def __init__(self, name=None):\n        super().__init__(secret_manager_name=name)\n        \
             self.url = os.environ[\"KEEPER_URL\"]\n    \
             def sync_read_secret(self, secret_name, optional_params=None, timeout=None): return None\n";
        let found = read(source).expect("a secret manager");
        let kind = Kind::SecretManager;
        assert_eq!((found.kind, found.name.as_str()), (kind, "Keeper"));
        assert_eq!(found.env, ["KEEPER_URL"]);
        let needs = source.replace("name=None", "name");
        let refusal = read(&needs).expect_err("refused").to_string();
        assert!(
            refusal.contains("line 4: Keeper() is made without arguments"),
            "{refusal}"
        );
        let mute = source.replace("sync_read_secret", "peek");
        let refusal = read(&mute).expect_err("refused").to_string();
        assert!(refusal.contains("it reads nothing"), "{refusal}");
    }

    #[test]
    fn what_cannot_work_is_refused_with_line_and_reason() {
        let source = "import numpy\nimport redis\nimport subprocess\nimport mystery\nfrom litellm import aembedding\n\
             async def auth(request, api_key):\n    open(\"x\")\n    return await request.json()\n";
        let refusal = read(source).expect_err("refused").to_string();
        for part in [
            "line 1: import numpy: it has native code",
            "line 2: import redis: it opens connections",
            "line 3: import subprocess: a plugin has no processes",
            "line 4: import mystery: it is not available",
            "line 5: litellm.aembedding: a plugin has litellm.completion and acompletion",
            "line 7: open()",
            "line 8: request.json()",
        ] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
        let nothing = read("x = 1\n").expect_err("refused").to_string();
        assert!(nothing.contains("it defines none of"), "{nothing}");
        let broken = read("def (\n").expect_err("refused").to_string();
        assert!(broken.contains("line 1: it is no Python"), "{broken}");
    }

    #[test]
    fn of_several_things_one_is_chosen_by_its_name() {
        let source = "async def one(request, api_key): return api_key\nasync def two(request, api_key): return api_key\n";
        let refusal = read(source).expect_err("refused").to_string();
        assert!(refusal.contains("FILE.py:NAME"), "{refusal}");
        assert_eq!(
            split(Path::new("a/b.py:two")),
            Some(("a/b.py".into(), Some("two".to_owned())))
        );
        assert_eq!(split(Path::new("a/b.py")), Some(("a/b.py".into(), None)));
        assert_eq!(split(Path::new("a/b")), None);
    }
}
