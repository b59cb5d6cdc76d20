//! How long calls wait because a plugin is swapped: latencies of a gateway under traffic, without swaps and
//! with fifty of them. Measures, and asserts nothing.
//!
//! `cargo run -p witgate-tests --example swap-pause [CALLERS]`; `WITGATE_BIN` names another binary than the one built
//! beside it. Needs `make plugins`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for the terminal, which ends when something is wrong"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use witgate_testkit::{FakeUpstream, Gateway, Reply, fixture_dir};

const KEY: &str = "sk-master-1234";
const SWAPS: usize = 50;
/// Between two swaps, so that most calls meet none.
const PAUSE: Duration = Duration::from_millis(100);

/// One call: when it began, and how long it took.
type Call = (Instant, Duration);

#[tokio::main]
async fn main() {
    let callers = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(4);
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::says("All quiet on this front."));
    let config = format!(
        "model_list:\n  - {{model_name: m, litellm_params: {{model: openai/m, api_base: '{}', api_key: k}}}}\n\
         general_settings: {{master_key: {KEY}}}\n\
         guardrails:\n  - {{guardrail_name: guard, litellm_params: {{guardrail: guard, mode: [pre_call, post_call], default_on: true}}}}\n\
         plugins: {{guard: {{source: guard.wasm}}}}\n",
        upstream.api_base()
    );
    let versions = ["version-one", "version-two"].map(|name| {
        std::fs::read(fixture_dir().join(format!("{name}.wasm"))).expect("run `make plugins`")
    });
    let gateway = Gateway::builder(config)
        .file("guard.wasm", &versions[0])
        .start()
        .await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let reload = async |version: usize| {
        let new = gateway.home().join("guard.new");
        std::fs::write(&new, &versions[version % 2]).unwrap();
        std::fs::rename(&new, gateway.home().join("guard.wasm")).unwrap();
        let url = format!("{}/plugins/guard/reload", gateway.base_url());
        let begun = Instant::now();
        let answer = http.post(url).bearer_auth(KEY).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{}",
            answer.text().await.unwrap()
        );
        (begun, Instant::now())
    };
    // Each is compiled once before anything is measured.
    reload(1).await;
    reload(0).await;

    let quiet = traffic(&gateway, &http, callers, async || {
        tokio::time::sleep(PAUSE * SWAPS as u32).await;
    })
    .await;
    let mut swaps = Vec::with_capacity(SWAPS);
    let busy = traffic(&gateway, &http, callers, async || {
        for n in 1..=SWAPS {
            swaps.push(reload(n).await);
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;

    // The swap takes place just before its answer; what a call waits for it, it waits then.
    let meets = |(begun, took): &Call| {
        swaps
            .iter()
            .any(|(_, end)| begun <= end && *end <= *begun + *took)
    };
    let beside = |(begun, took): &Call| {
        swaps
            .iter()
            .any(|(start, end)| begun <= end && *start <= *begun + *took)
    };
    let (met, others): (Vec<Call>, Vec<Call>) = busy.iter().partition(|call| meets(call));
    let during: Vec<Call> = busy.iter().filter(|call| beside(call)).copied().collect();
    println!("{callers} callers, {SWAPS} swaps, all calls answered with 200\n");
    println!("| Calls | number | p50 ms | p99 ms | max ms |\n|---|---:|---:|---:|---:|");
    for (name, calls) in [
        ("without swaps", &quiet),
        ("with swaps, all", &busy),
        ("while a swap is prepared and made", &during),
        ("at the moment of a swap", &met),
        ("at any other moment", &others),
    ] {
        let row = [0.5, 0.99, 1.0].map(|share| format!("{:.2}", quantile(calls, share)));
        println!("| {name} | {} | {} |", calls.len(), row.join(" | "));
    }
    let reloads: Vec<Call> = swaps
        .iter()
        .map(|(start, end)| (*start, *end - *start))
        .collect();
    println!(
        "\npause at p99: {:.2} ms (calls at the moment of a swap, less those without swaps); a reload takes {:.1} ms (p50)",
        quantile(&met, 0.99) - quantile(&quiet, 0.99),
        quantile(&reloads, 0.5)
    );
}

/// Calls until the work is done; every one must be answered with 200.
async fn traffic(
    gateway: &Gateway,
    http: &reqwest::Client,
    callers: usize,
    work: impl AsyncFnOnce(),
) -> Vec<Call> {
    let done = Arc::new(AtomicBool::new(false));
    let url = format!("{}/v1/chat/completions", gateway.base_url());
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello!"}]});
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let request = http.post(&url).bearer_auth(KEY).json(&body);
            let done = done.clone();
            tokio::spawn(async move {
                let mut calls = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let answer = request.try_clone().unwrap().send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    let text = answer.text().await.unwrap();
                    assert!(
                        text.contains("[one] All") || text.contains("[two] All"),
                        "{text}"
                    );
                    calls.push((begun, begun.elapsed()));
                }
                calls
            })
        })
        .collect();
    work().await;
    done.store(true, Ordering::Relaxed);
    let mut calls = Vec::new();
    for caller in callers {
        calls.extend(caller.await.unwrap());
    }
    calls
}

fn quantile(calls: &[Call], share: f64) -> f64 {
    let mut times: Vec<f64> = calls
        .iter()
        .map(|(_, took)| took.as_secs_f64() * 1e3)
        .collect();
    times.sort_by(f64::total_cmp);
    let at = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
    times.get(at).copied().unwrap_or(0.0)
}
