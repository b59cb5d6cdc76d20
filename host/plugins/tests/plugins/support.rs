//! One host for all tests, components by name, and short ways to say what a test is about.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::registry::Registry as MetricsRegistry;
use serde_json::{Value, json};
use witgate_plugins::{
    BodyView, Call, CallError, Guardrail, Host, HostOptions, Kind, LoadError, Metrics, Phase,
    PluginSpec, Principal, Registry, Sources, Text, Verdict,
};

/// The host and what it counts.
pub struct Stage {
    pub host: Arc<Host>,
    metrics: MetricsRegistry,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let mut metrics = MetricsRegistry::default();
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugins-cache");
    let options = HostOptions::new(Some(cache));
    let host = Host::start(options, Metrics::register(&mut metrics)).unwrap();
    Stage { host, metrics }
});

pub fn stage() -> &'static Stage {
    &STAGE
}

impl Stage {
    /// Sum of the series of a plugin that have these labels.
    pub fn count(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).unwrap();
        witgate_testkit::Metrics::parse(text).count(metric, labels)
    }
}

/// Where `make plugins` puts the components that ship.
pub fn components() -> PathBuf {
    built("components", "hide-secrets.wasm")
}

/// Where it puts the hostile ones and the examples'.
fn fixtures() -> PathBuf {
    built("fixtures", "hostile-ok.wasm")
}

fn built(folder: &str, file: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../plugins/target")
        .join(folder);
    assert!(
        folder.join(file).is_file(),
        "there is no {file} in {}: run `make plugins` first",
        folder.display()
    );
    folder
}

pub fn sources() -> Sources {
    Sources {
        config_dir: Some(fixtures()),
        plugin_dir: Some(components()),
        ..Sources::default()
    }
}

pub fn spec(name: &str, component: &str, kind: Kind, settings: Value) -> PluginSpec {
    let mut spec = PluginSpec::new(name, component, kind, Arc::new(|_: &str| None));
    spec.settings = settings.as_object().unwrap().clone();
    spec
}

/// Loads one plugin.
pub async fn load(spec: PluginSpec) -> Result<Registry, LoadError> {
    let (registry, errors) = stage().host.load(vec![spec], &sources(), None).await;
    match errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(registry),
    }
}

/// Lets other tasks run until something is so.
pub async fn until(mut so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < patience, "it never came true");
        tokio::task::yield_now().await;
    }
}

/// A guardrail of this name, changed before it is loaded.
pub async fn guardrail_with(
    name: &str,
    component: &str,
    settings: Value,
    change: impl FnOnce(&mut PluginSpec),
) -> Arc<Guardrail> {
    let mut spec = spec(name, component, Kind::Guardrail, settings);
    change(&mut spec);
    let registry = load(spec).await.unwrap();
    registry.guardrail(name).unwrap()
}

pub async fn guardrail(name: &str, component: &str, settings: Value) -> Arc<Guardrail> {
    guardrail_with(name, component, settings, |_| {}).await
}

pub async fn check(guardrail: &Guardrail, text: &str) -> Result<Verdict, CallError> {
    guardrail.check(call(Phase::PreCall), body(text)).await
}

pub fn call(phase: Phase) -> Call {
    Call {
        id: "call-1".to_owned(),
        phase,
        call_type: "acompletion".to_owned(),
        model: "gpt-4o".to_owned(),
        principal: Principal::default(),
        params: "{}".to_owned(),
        request: None,
    }
}

/// A chat request with one message, which remembers what was read of it.
pub struct Body {
    json: String,
    text: String,
    pub reads: Mutex<Vec<String>>,
}

pub fn body(text: &str) -> Arc<Body> {
    let json = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]});
    Arc::new(Body {
        json: json.to_string(),
        text: text.to_owned(),
        reads: Mutex::default(),
    })
}

impl BodyView for Body {
    fn raw(&self) -> Cow<'_, str> {
        self.reads.lock().push("raw".to_owned());
        Cow::Borrowed(&self.json)
    }

    fn size(&self) -> u64 {
        self.json.len() as u64
    }

    fn field(&self, pointer: &str) -> Option<String> {
        self.reads.lock().push(pointer.to_owned());
        let json: Value = serde_json::from_str(&self.json).unwrap();
        json.pointer(pointer).map(Value::to_string)
    }

    fn texts(&self) -> Vec<Text> {
        self.reads.lock().push("texts".to_owned());
        vec![Text {
            pointer: "/messages/0/content".to_owned(),
            role: Some("user".to_owned()),
            text: self.text.clone(),
        }]
    }
}
