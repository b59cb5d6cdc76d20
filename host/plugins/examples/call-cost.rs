//! Measures what a plugin call costs, host wrapper included: the numbers that the README quotes.
//!
//! `cargo run --release -p witgate-plugins --example call-cost`, after `make plugins`. With arguments, guardrails
//! without settings as `FILE.wasm`, it measures those: one made by `witgate plugin new` in each language, for instance.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring tool: it stops where it fails, and prints"
)]

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use witgate_plugins::{
    BodyView, Call, Guardrail, Host, HostOptions, Isolation, Kind, Metrics, Phase, PluginSpec,
    Principal, Sources, StreamVerdict, Text,
};

const ROUNDS: usize = 5_000;

#[tokio::main]
async fn main() {
    let data_dir = std::env::temp_dir().join("witgate-call-cost");
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins/target");
    let sources = Sources {
        config_dir: Some(built.join("fixtures")),
        plugin_dir: Some(built.join("components")),
        ..Sources::default()
    };
    println!("resident before anything: {} MB", resident_mb());
    let mut metrics = prometheus_client::registry::Registry::default();
    let start = Instant::now();
    let host = Host::start(
        HostOptions::new(Some(data_dir)),
        Metrics::register(&mut metrics),
    )
    .unwrap();
    println!("engine: {:?}", start.elapsed());
    let specs = || {
        let isolated = |mut spec: PluginSpec| {
            spec.isolation = Isolation::Call;
            spec
        };
        vec![
            guardrail("ok", "hostile-ok"),
            isolated(guardrail("ok isolated", "hostile-ok")),
            guardrail("hide-secrets", "hide-secrets"),
            isolated(guardrail("hide-secrets isolated", "hide-secrets")),
        ]
    };
    for state in ["first", "again, from the cache"] {
        let start = Instant::now();
        let (_, errors) = host.load(specs(), &sources, None).await;
        assert!(errors.is_empty(), "{errors:?}");
        println!("4 plugins of 2 components, {state}: {:?}", start.elapsed());
    }
    let files: Vec<String> = std::env::args().skip(1).collect();
    if !files.is_empty() {
        return compare(&host, &files).await;
    }
    let (registry, _) = host.load(specs(), &sources, None).await;
    println!("resident with plugins: {} MB", resident_mb());
    for name in ["ok", "ok isolated", "hide-secrets", "hide-secrets isolated"] {
        let guardrail = registry.guardrail(name).unwrap();
        for kilobytes in [2, 20] {
            let body = Arc::new(Body::of(kilobytes * 1024));
            println!(
                "{name}, {kilobytes} KB: {}",
                check(&guardrail, &body, Pace::Busy).await
            );
        }
        let body = Arc::new(Body::of(2048));
        println!(
            "{name}, 2 KB, with pauses: {}",
            check(&guardrail, &body, Pace::Calm).await
        );
    }
    stream(&registry.guardrail("hide-secrets").unwrap()).await;
    println!("resident after the calls: {} MB", resident_mb());
}

/// The same guardrail in several languages: size, first load, load from the cache, calls.
async fn compare(host: &Arc<Host>, files: &[String]) {
    for file in files {
        let size = std::fs::metadata(file).unwrap().len();
        println!("{file}: {} KB", size.div_ceil(1024));
        let spec = |isolation| {
            let mut spec = guardrail("measured", file);
            spec.isolation = isolation;
            vec![spec]
        };
        for state in ["first load", "load from the cache"] {
            let start = Instant::now();
            let (_, errors) = host
                .load(spec(Isolation::Warm), &Sources::default(), None)
                .await;
            assert!(errors.is_empty(), "{errors:?}");
            println!("  {state}: {:?}", start.elapsed());
        }
        let before = resident_mb();
        let (registry, _) = host
            .load(spec(Isolation::Warm), &Sources::default(), None)
            .await;
        let warm = registry.guardrail("measured").unwrap();
        for kilobytes in [2, 20] {
            let body = Arc::new(Body::of(kilobytes * 1024));
            let cost = check(&warm, &body, Pace::Busy).await;
            println!("  {kilobytes} KB, warm: {cost}");
        }
        println!("  resident: +{} MB", resident_mb().saturating_sub(before));
        let (registry, _) = host
            .load(spec(Isolation::Call), &Sources::default(), None)
            .await;
        let fresh = registry.guardrail("measured").unwrap();
        let body = Arc::new(Body::of(2048));
        let cost = check(&fresh, &body, Pace::Calm).await;
        println!("  2 KB, an instance per call: {cost}");
    }
}

/// Calls one after the other, or with time in between.
#[derive(Clone, Copy, PartialEq)]
enum Pace {
    Busy,
    Calm,
}

async fn check(guardrail: &Guardrail, body: &Arc<Body>, pace: Pace) -> String {
    let rounds = if pace == Pace::Busy { ROUNDS } else { 300 };
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let (call, body) = (call(), body.clone());
        let start = Instant::now();
        guardrail.check(call, body).await.unwrap();
        times.push(start.elapsed());
        if pace == Pace::Calm {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    summary(times)
}

async fn stream(guardrail: &Guardrail) {
    let mut stream = guardrail.open_stream(call()).await.unwrap().unwrap();
    let mut times = Vec::with_capacity(ROUNDS);
    for number in 0..ROUNDS {
        let piece = format!("word{number} ");
        let start = Instant::now();
        let verdict = stream.push(0, &piece).await.unwrap();
        times.push(start.elapsed());
        assert!(matches!(verdict, StreamVerdict::Release(_)));
    }
    println!("hide-secrets, a stream's piece: {}", summary(times));
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_nanos() as f64 / 1000.0;
    format!(
        "median {:.1} µs, p90 {:.1} µs, p99 {:.1} µs",
        at(0.5),
        at(0.9),
        at(0.99)
    )
}

fn guardrail(name: &str, component: &str) -> PluginSpec {
    PluginSpec::new(name, component, Kind::Guardrail, Arc::new(|_: &str| None))
}

fn call() -> Call {
    Call {
        id: "chatcmpl-0123456789".to_owned(),
        phase: Phase::PreCall,
        call_type: "acompletion".to_owned(),
        model: "gpt-4o".to_owned(),
        principal: Principal::default(),
        params: "{}".to_owned(),
        request: None,
    }
}

/// Ordinary prose in one message.
struct Body {
    json: String,
    text: String,
}

impl Body {
    fn of(bytes: usize) -> Self {
        let mut text = "The quick brown fox jumps over the lazy dog and asks the model why. "
            .repeat(bytes / 68 + 1);
        text.truncate(bytes);
        let json = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]});
        Self {
            json: json.to_string(),
            text,
        }
    }
}

impl BodyView for Body {
    fn raw(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.json)
    }

    fn size(&self) -> u64 {
        self.json.len() as u64
    }

    fn field(&self, _: &str) -> Option<String> {
        None
    }

    fn texts(&self) -> Vec<Text> {
        vec![Text {
            pointer: "/messages/0/content".to_owned(),
            role: Some("user".to_owned()),
            text: self.text.clone(),
        }]
    }
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}
