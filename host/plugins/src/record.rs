//! Recordings: live calls of a plugin with everything that went in and out, and their replay.
//!
//! A recording is the life of one instance: `init`, then one call, or one stream. While a plugin is
//! recorded every call has an instance of its own, so nothing in its memory comes from before.
//! What its imports answered is on a [`tape`]; a replay answers from there, with the recording's
//! settings and without network, and makes a recording of its own to compare with. Secrets never
//! reach the file: imports take them as handles, which are written by name, and wherever a value
//! itself turns up a placeholder takes its place ([`mask`]); so it is with those that a call brings ([`hush`]): codes and tokens
//! of a login, what a secret manager reads. A replay runs on the placeholders.

mod folder;
mod hush;
mod mask;
pub(crate) mod tape;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::spec::{Grants, Limits};
use crate::{Kind, Manifest, PluginSpec};

use folder::Folder;
pub(crate) use mask::Masks;
pub(crate) use tape::{Find, Take, Tape};
pub(crate) use value::{bytes_of, value_of_bytes};

/// The version of the format that this gateway writes and reads.
pub const FORMAT: u32 = 1;

/// One recorded instance, as it is in its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// [`FORMAT`].
    pub witgate_recording: u32,
    /// When it ended, milliseconds since 1970-01-01T00:00:00Z.
    pub recorded_at_ms: u64,
    /// Version of the gateway.
    pub gateway: String,
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// What it did.
    pub kind: Kind,
    /// Where the component came from.
    pub source: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// What the component says about itself.
    pub manifest: Manifest,
    /// Its settings from wherever they came; placeholders for secrets.
    pub settings: Map<String, Value>,
    /// The granted variables that it may read; placeholders for those that look like secrets.
    pub env: BTreeMap<String, String>,
    /// What the operator let it touch.
    pub grants: RecordedGrants,
    /// What the operator let it use.
    pub limits: Limits,
    /// `init`, then what was called on the instance, in order.
    pub calls: Vec<RecordedCall>,
}

/// [`Grants`] without the paths of this machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "as in `Grants`")]
pub struct RecordedGrants {
    pub egress: Option<Vec<String>>,
    pub private_network: Vec<String>,
    pub env: Option<Vec<String>>,
    pub secrets: Option<Vec<String>>,
    pub files: Vec<String>,
    pub llm: Vec<String>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCall {
    /// The function, as in the kind's WIT.
    pub function: String,
    /// What it got.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// What it asked of the host, in order, and what it got.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
    /// `{"ok": …}`, `{"error": {kind: text}}` from the plugin itself, or `{"fault": text}`: it was stopped or crashed.
    pub result: Value,
}

/// One use of an import.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Interface and function, such as `http.send`.
    pub import: String,
    /// What the plugin gave.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
    /// What it got.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub answer: Value,
}

/// Where recordings go, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOptions {
    /// The folder.
    pub dir: PathBuf,
    /// Recordings; then it is over.
    pub count: u64,
    /// Bytes of all together.
    pub bytes: u64,
}

/// Makes recordings of one plugin, or plays one.
pub struct Recorder(Mode);

enum Mode {
    Folder(Folder),
    Replay {
        recording: Arc<Recording>,
        done: UnboundedSender<Recording>,
    },
}

/// A plugin under recording: what is the same in each of its recordings.
pub(crate) struct Session {
    recorder: Arc<Recorder>,
    head: Recording,
    masks: Masks,
}

impl Recorder {
    /// Recordings of live calls, a file each. The folder is made with the first.
    #[must_use]
    pub fn to_folder(options: RecordOptions) -> Self {
        Self(Mode::Folder(Folder::new(options)))
    }

    /// Plays a recording: imports are answered from it. What comes of it is sent on.
    #[must_use]
    pub fn replaying(recording: Arc<Recording>) -> (Self, UnboundedReceiver<Recording>) {
        let (done, played) = unbounded_channel();
        (Self(Mode::Replay { recording, done }), played)
    }

    /// Tells the operator what is about to be written.
    pub(crate) fn warn_of(&self, plugin: &str) {
        if let Mode::Folder(folder) = &self.0 {
            let RecordOptions { dir, count, bytes } = folder.options();
            tracing::warn!(
                plugin,
                dir = %dir.display(),
                count,
                bytes,
                "RECORDING: calls of this plugin are written to files with all that goes in and out: prompts, answers, clients' headers, who signs in, and for an authenticator their credentials; the plugin's own secrets, codes and tokens of logins and the values of a secret manager are left out. Remove `record` when you have what you need"
            );
        }
    }

    /// Whether imports are answered from a recording.
    pub(crate) fn is_replay(&self) -> bool {
        matches!(self.0, Mode::Replay { .. })
    }

    /// Changes when a reload asks for something else.
    pub(crate) fn identity(&self) -> String {
        match &self.0 {
            Mode::Folder(folder) => format!("{:?}", folder.options()),
            Mode::Replay { .. } => "replay".to_owned(),
        }
    }

    fn script(&self) -> Option<&Arc<Recording>> {
        match &self.0 {
            Mode::Folder(_) => None,
            Mode::Replay { recording, .. } => Some(recording),
        }
    }

    /// Bytes of one recording that are kept in memory.
    fn bytes_max(&self) -> u64 {
        match &self.0 {
            Mode::Folder(folder) => folder.options().bytes,
            Mode::Replay { .. } => u64::MAX,
        }
    }

    fn wants_more(&self) -> bool {
        match &self.0 {
            Mode::Folder(folder) => folder.wants_more(),
            Mode::Replay { .. } => true,
        }
    }

    fn take_in(&self, recording: Recording) {
        match &self.0 {
            Mode::Folder(folder) => folder.write(recording),
            // Nobody waits for it any more.
            Mode::Replay { done, .. } => drop(done.send(recording)),
        }
    }
}

impl Session {
    /// `settings` are the resolved ones with placeholders, `masks` their secrets.
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        manifest: &Manifest,
        spec: &PluginSpec,
        (source, digest): (&str, &str),
        (settings, mut masks): (Map<String, Value>, Masks),
    ) -> Self {
        let asked = manifest.env.iter().filter(|name| {
            let granted = spec.grants.env.as_ref();
            granted.is_none_or(|list| list.contains(*name))
        });
        let mut env = BTreeMap::new();
        for name in asked {
            if let Some(value) = (spec.env)(name) {
                env.insert(name.clone(), masks.variable(name, value));
            }
        }
        Self {
            head: Recording {
                witgate_recording: FORMAT,
                recorded_at_ms: 0,
                gateway: env!("CARGO_PKG_VERSION").to_owned(),
                plugin: spec.name.clone(),
                kind: spec.kind,
                source: source.to_owned(),
                digest: format!("sha256:{digest}"),
                manifest: manifest.clone(),
                settings,
                env,
                grants: RecordedGrants::from(&spec.grants),
                limits: spec.limits,
                calls: Vec::new(),
            },
            masks,
            recorder,
        }
    }

    /// A tape for a new instance; `None` when enough was recorded.
    pub(crate) fn tape(self: &Arc<Self>) -> Option<Arc<Tape>> {
        let wanted = self.recorder.wants_more();
        wanted.then(|| Arc::new(Tape::new(self.clone())))
    }

    /// An instance is gone: what was on its tape becomes a recording.
    fn finish(&self, calls: Vec<RecordedCall>) {
        let mut recording = self.head.clone();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        recording.recorded_at_ms = now
            .ok()
            .and_then(|now| u64::try_from(now.as_millis()).ok())
            .unwrap_or_default();
        recording.calls = calls;
        for call in &mut recording.calls {
            self.masks.apply(&mut call.input);
            self.masks.apply(&mut call.result);
            for import in &mut call.imports {
                self.masks.apply(&mut import.args);
                self.masks.apply(&mut import.answer);
            }
        }
        let known = serde_json::to_string(&(&recording.settings, &recording.env));
        hush::hush(
            recording.kind,
            &mut recording.calls,
            &known.unwrap_or_default(),
        );
        self.recorder.take_in(recording);
    }
}

impl From<&Grants> for RecordedGrants {
    fn from(from: &Grants) -> Self {
        Self {
            egress: from.egress.clone(),
            private_network: from.private_network.clone(),
            env: from.env.clone(),
            secrets: from.secrets.clone(),
            files: from.files.keys().cloned().collect(),
            llm: from.llm.clone(),
        }
    }
}

impl From<&RecordedGrants> for Grants {
    fn from(from: &RecordedGrants) -> Self {
        let file = |name: &String| (name.clone(), PathBuf::from(name));
        Self {
            egress: from.egress.clone(),
            private_network: from.private_network.clone(),
            env: from.env.clone(),
            secrets: from.secrets.clone(),
            files: from.files.iter().map(file).collect(),
            llm: from.llm.clone(),
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Recorder").field(&self.identity()).finish()
    }
}
