use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Checked, check};
use crate::ports::{Round, SharedHealth};
use crate::testing::{Script, Setup, World};

fn info(value: Value) -> Setup {
    Setup::new().with(|_, target| target.info = (json!({"api_key": "hidden", "rpm": 7}), value))
}

async fn entry(world: &World) -> (bool, Value) {
    let snapshot = world.gateway.snapshot.load_full();
    let mut found = check(&world.gateway, &snapshot, |_, _| true).await;
    assert_eq!(found.len(), 1);
    let found = found.remove(0);
    (found.is_healthy, found.entry)
}

#[tokio::test(start_paused = true)]
async fn an_entry_tells_what_may_be_shown_and_nothing_else() {
    let world = info(json!({"mode": "chat", "id": "d0", "owner": "me"})).build();
    let answer = Script::json(200, &json!({"choices": []}))
        .header("x-ratelimit-remaining-tokens", "9")
        .header("x-secret", "s");
    world.upstream.then(answer);
    let (is_healthy, shown) = entry(&world).await;
    assert!(is_healthy);
    assert_eq!(
        shown,
        json!({
            "model": "openai/gpt-4o-mini", "model_id": "d0", "mode": "chat", "rpm": 7,
            "api_base": "http://upstream.test/v1", "x-ratelimit-remaining-tokens": "9",
        })
    );
    let body = world.upstream.body(0);
    assert_eq!(
        (&body["model"], &body["max_tokens"]),
        (&json!("gpt-4o-mini"), &json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn a_sick_deployment_says_why_and_only_its_name_without_details() {
    for (details, status) in [(true, json!(401)), (false, Value::Null)] {
        let world = info(json!({}))
            .settings(|s| s.health.details = details)
            .build();
        world.upstream.then(Script::error(401, "who"));
        let (is_healthy, shown) = entry(&world).await;
        assert!(!is_healthy);
        assert_eq!(shown["exception_status"], status);
        assert_eq!(shown.as_object().unwrap().len() == 1, !details, "{shown}");
    }
}

/// `model_info`, the deployment's model; URL's end, member of the body, its value.
#[tokio::test(start_paused = true)]
async fn every_mode_has_its_own_call() {
    let cases = [
        (
            json!({"mode": "chat", "health_check_max_tokens": 5}),
            "openai/m",
            "/chat/completions",
            "max_tokens",
            json!(5),
        ),
        (
            json!({}),
            "openai/m",
            "/chat/completions",
            "max_tokens",
            json!(1),
        ),
        (
            json!({"mode": "embedding"}),
            "openai/m",
            "/embeddings",
            "input",
            json!(["test from litellm"]),
        ),
        (
            json!({"mode": "completion"}),
            "openai/m",
            "/completions",
            "prompt",
            json!("test from litellm"),
        ),
        (
            json!({"health_check_model": "openai/x"}),
            "openai/*",
            "/chat/completions",
            "model",
            json!("x"),
        ),
        (
            json!({"health_check_model": "openai/x"}),
            "openai/*",
            "/chat/completions",
            "max_tokens",
            json!(10),
        ),
    ];
    for (info, model, url, member, value) in cases {
        let world = Setup::empty()
            .deployment(model, model)
            .with(|_, target| target.info = (json!({}), info))
            .build();
        entry(&world).await;
        assert_eq!(world.upstream.body(0)[member], value);
        assert!(world.upstream.sent.lock().unwrap()[0].0.ends_with(url));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wildcard_without_a_model_is_asked_for_cheap_ones() {
    let world = Setup::empty().deployment("openai/*", "openai/*").build();
    world.upstream.then(Script::error(404, "not this one"));
    assert!(entry(&world).await.0);
    let models = world.upstream.models();
    assert_eq!(models.len(), 2);
    assert!(
        models[0] != models[1] && !models[0].starts_with("openai/"),
        "{models:?}"
    );
    let world = Setup::empty().deployment("nobody/*", "nobody/*").build();
    let (is_healthy, shown) = entry(&world).await;
    assert!(
        !is_healthy
            && shown["error"]
                .as_str()
                .unwrap()
                .contains("health_check_model")
    );
}

/// Mode and `model_info`; URL's end, a part of the body.
#[tokio::test(start_paused = true)]
async fn modes_without_a_route_are_called_by_hand() {
    for (info, url, part) in [
        (
            json!({"mode": "image_generation"}),
            "/v1/images/generations",
            r#""prompt":"test from litellm""#,
        ),
        (
            json!({"mode": "audio_speech"}),
            "/v1/audio/speech",
            r#""voice":"alloy""#,
        ),
        (
            json!({"mode": "audio_speech", "health_check_voice": "onyx"}),
            "/v1/audio/speech",
            r#""voice":"onyx""#,
        ),
        (
            json!({"mode": "audio_speech"}),
            "/v1/audio/speech",
            r#""model":"gpt-4o-mini""#,
        ),
        (
            json!({"mode": "moderation"}),
            "/v1/moderations",
            r#""input":"test from litellm""#,
        ),
        (
            json!({"mode": "rerank"}),
            "/v1/rerank",
            r#""documents":["test from litellm"]"#,
        ),
        (
            json!({"mode": "responses"}),
            "/v1/responses",
            r#""input":"test from litellm""#,
        ),
        (
            json!({"mode": "ocr"}),
            "/v1/ocr",
            r#""image_url":"data:image/png;base64,"#,
        ),
        (json!({"mode": "batch"}), "/v1/batches?limit=1", ""),
        (
            json!({"mode": "video_generation"}),
            "/v1/videos?limit=1",
            "",
        ),
        (
            json!({"mode": "realtime"}),
            "/v1/realtime?model=gpt-4o-mini",
            "",
        ),
    ] {
        let world = self::info(info.clone()).build();
        let is_socket = info["mode"] == "realtime";
        let status = if is_socket { 101 } else { 200 };
        world.upstream.then(Script::json(status, &json!({})));
        assert!(entry(&world).await.0, "{info}");
        {
            let sent = world.upstream.sent.lock().unwrap();
            assert!(sent[0].0.ends_with(url), "{}", sent[0].0);
            assert!(sent[0].2.contains(part), "{}", sent[0].2);
        }
        let world = self::info(info.clone()).build();
        world.upstream.then(Script::error(503, "away"));
        let (is_healthy, shown) = entry(&world).await;
        assert!(!is_healthy, "{info}");
        assert_eq!(shown["exception_status"], 503);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_cannot_be_called_is_not_healthy() {
    let world = info(json!({"mode": "vector_store"})).build();
    let (is_healthy, shown) = entry(&world).await;
    assert!(!is_healthy);
    assert!(shown["error"].as_str().unwrap().contains("vector_store"));
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_check_ends_after_its_own_timeout() {
    for (own, seconds) in [(json!({"health_check_timeout": 2}), 2), (json!({}), 60)] {
        let world = info(own).build();
        world.upstream.then(Script::silent());
        let begun = tokio::time::Instant::now();
        assert!(!entry(&world).await.0);
        assert_eq!(begun.elapsed(), Duration::from_secs(seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_in_the_background_leave_out_those_that_do_not_want_it() {
    let world = Setup::new()
        .deployment("b", "openai/b")
        .with(|_, target| target.info.1 = json!({"disable_background_health_check": true}))
        .settings(|s| {
            s.health.background = true;
            s.health.interval = Duration::from_secs(10);
        })
        .build();
    let stop = tokio::time::sleep(Duration::from_secs(25));
    super::keep_checking(world.gateway.clone(), stop).await;
    let last = world.gateway.health.last().unwrap();
    assert_eq!(last.len(), 1);
    assert_eq!(world.upstream.calls(), 3, "at 0, 10 and 20 s");
}

/// Whose turn it is, from round to round; what is told to the others.
struct Turns(Mutex<VecDeque<Round>>, Mutex<Vec<Vec<Checked>>>);

#[async_trait]
impl SharedHealth for Turns {
    async fn round(&self, _: jiff::Timestamp) -> Round {
        let mut rounds = self.0.lock().unwrap();
        rounds.pop_front().unwrap_or(Round::Others)
    }

    async fn found(&self, found: &[Checked], _: jiff::Timestamp) {
        self.1.lock().unwrap().push(found.to_vec());
    }

    async fn status(&self, _: jiff::Timestamp) -> Value {
        Value::Null
    }
}

fn of_others(id: &str, is_healthy: bool) -> Checked {
    Checked {
        id: id.to_owned(),
        group: "gpt-4o".to_owned(),
        model: "openai/gpt-4o-mini".to_owned(),
        is_healthy,
        response_time_ms: 3.0,
        entry: json!({"model": "openai/gpt-4o-mini", "error": "theirs"}),
    }
}

/// One round that begins so: calls made here, rounds told to the others, the second in which it ended.
async fn one_round(rounds: Vec<Round>) -> (World, usize, usize, u64) {
    let turns = Arc::new(Turns(Mutex::new(rounds.into()), Mutex::default()));
    let mut setup = Setup::new().settings(|s| {
        s.health.background = true;
        s.health.interval = Duration::from_secs(1000);
    });
    setup.shared_health = Some(turns.clone());
    let world = setup.build();
    let begun = tokio::time::Instant::now();
    let mut took = 0;
    let watch = async {
        while world.gateway.health.last().is_none() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        took = begun.elapsed().as_secs();
    };
    super::keep_checking(world.gateway.clone(), watch).await;
    let (calls, told) = (world.upstream.calls(), turns.1.lock().unwrap().len());
    (world, calls, told, took)
}

#[tokio::test(start_paused = true)]
async fn a_round_of_another_gateway_is_taken_over() {
    let theirs = vec![of_others("d0", false), of_others("not here", false)];
    let (world, calls, told, _) = one_round(vec![Round::Found(theirs)]).await;
    assert_eq!((calls, told), (0, 0));
    let last = world.gateway.health.last().unwrap();
    assert_eq!(last.len(), 1, "a deployment that is not ours is left out");
    assert!(!last[0].is_healthy);
    assert_eq!(world.gateway.health.latest()[0].model_id, "d0");
}

#[tokio::test(start_paused = true)]
async fn the_gateway_whose_turn_it_is_checks_and_tells() {
    let (_, calls, told, _) = one_round(vec![Round::Ours]).await;
    assert_eq!((calls, told), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_ask_the_others_checks_for_itself() {
    let (_, calls, told, _) = one_round(vec![Round::Unknown]).await;
    assert_eq!((calls, told), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn another_gateways_round_is_waited_for_as_long_as_its_lock_lives() {
    let rounds = vec![
        Round::Others,
        Round::Others,
        Round::Found(vec![of_others("d0", true)]),
    ];
    let (_, calls, _, took) = one_round(rounds).await;
    assert_eq!((calls, took), (0, 10));
    let (_, calls, told, took) = one_round(Vec::new()).await;
    assert_eq!((calls, told, took), (1, 0, 60));
}

#[tokio::test(start_paused = true)]
async fn a_failed_check_counts_for_two_rounds_or_as_told() {
    for (own, seconds) in [(None, 2000), (Some(Duration::from_secs(90)), 90)] {
        let world = Setup::new()
            .with(|spec, _| spec.weight = Some(1e9))
            .routing(|r| r.health_routing = true)
            .deployment("gpt-4o", "openai/other")
            .settings(|s| {
                s.health.background = true;
                s.health.interval = Duration::from_secs(1000);
                s.health.counts_for = own;
            })
            .build();
        // The first is sick; only one round is made.
        world.upstream.then(Script::error(500, "sick"));
        let stop = tokio::time::sleep(Duration::from_secs(1));
        super::keep_checking(world.gateway.clone(), stop).await;
        let models = async |world: &World| {
            for _ in 0..20 {
                let chat = crate::testing::chat(json!({}));
                assert_eq!(world.send(chat).await.status, 200);
            }
            let all = world.upstream.models();
            all[all.len() - 20..]
                .iter()
                .filter(|m| *m == "gpt-4o-mini")
                .count()
        };
        assert_eq!(models(&world).await, 0, "the sick one gets no traffic");
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        assert_eq!(
            models(&world).await,
            20,
            "it is not known to be sick any more"
        );
    }
}
