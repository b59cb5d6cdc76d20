//! Who stays with a deployment: prompts, sessions, callers.

use super::*;
use witgate_identity::{KeyHash, Principal};
use witgate_routing::{Affinity, Strategy};

/// Two deployments of the group `a`, called `m0` and `m1` upstream; the one that has had fewer tokens
/// of this minute is asked, so that calls alternate unless somebody stays.
fn pair() -> Setup {
    let setup = Setup::empty().deployment("a", "openai/m0");
    setup
        .deployment("a", "openai/m1")
        .routing(|r| r.strategy = Strategy::UsageBased)
}

/// A chat whose first messages are marked for the provider's cache, `more` behind them.
fn marked(system: &str, more: &[&str]) -> crate::exchange::Arrival {
    let mark = json!({"type": "ephemeral"});
    let mut messages = vec![
        json!({"role": "system", "content": [{"type": "text", "text": system, "cache_control": mark}]}),
    ];
    messages.extend(
        more.iter()
            .map(|text| json!({"role": "user", "content": text})),
    );
    ask(json!({"messages": messages}))
}

fn cached_prompts(min: u64) -> Setup {
    pair().routing(|r| {
        r.prompt_caching = true;
        r.prompt_cache_min_tokens = min;
    })
}

#[tokio::test(start_paused = true)]
async fn a_longer_prompt_goes_where_its_marked_beginning_is_cached() {
    let world = cached_prompts(3).build();
    world
        .send(marked("a long beginning of a prompt", &["one"]))
        .await;
    world
        .send(marked("a long beginning of a prompt", &["one", "two"]))
        .await;
    assert_eq!(world.upstream.models(), ["m0", "m0"], "it stays");
    world.send(marked("another long beginning", &["one"])).await;
    assert_eq!(
        world.upstream.models()[2],
        "m1",
        "another prompt goes its own way"
    );
    tokio::time::advance(Duration::from_secs(301)).await;
    world.send(marked("another long beginning", &["one"])).await;
    assert_eq!(
        world.upstream.models()[3],
        "m0",
        "the provider has forgotten it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_short_prompt_and_an_unmarked_one_stay_nowhere() {
    for (min, mark) in [(1024, true), (0, false)] {
        let world = cached_prompts(min).build();
        for _ in 0..2 {
            let prompt = match mark {
                true => marked("short", &["one"]),
                false => ask(json!({})),
            };
            world.send(prompt).await;
        }
        assert_eq!(world.upstream.models(), ["m0", "m1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_leaves_a_deployment_that_fails() {
    let world = cached_prompts(3).routing(|r| r.num_retries = 1).build();
    let prompt = || marked("a long beginning of a prompt", &["one"]);
    world.send(prompt()).await;
    world.upstream.then(Script::error(500, "broken"));
    let answer = world.send(prompt()).await;
    assert_eq!(answer.status, 200);
    world.send(prompt()).await;
    assert_eq!(
        world.upstream.models(),
        ["m0", "m0", "m1", "m1"],
        "who served has it now"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_and_so_does_a_caller() {
    let session = |id: &str| with(ask(json!({})), &[("x-litellm-session-id", id)]);
    let on = Affinity {
        session: true,
        caller: false,
    };
    let world = pair().routing(|r| r.affinity = on).build();
    for arrival in [
        session("s"),
        session("s"),
        session("t"),
        ask(json!({"metadata": {"session_id": "t"}})),
    ] {
        world.send(arrival).await;
    }
    let models = world.upstream.models();
    assert_eq!(models[0], models[1]);
    assert_eq!(models[2], models[3]);
    assert_ne!(models[0], models[2]);

    let auth = || {
        let principal = Principal {
            key_hash: Some(KeyHash::of("sk-1")),
            ..Principal::default()
        };
        CustomAuth {
            plugin: Arc::new(FakeAuth::new(Ok(AuthDecision::Identity(Box::new(
                principal,
            ))))),
            auto: false,
            common_checks: false,
        }
    };
    for (affinity, expected) in [(true, "m0"), (false, "m1")] {
        let group = Affinity {
            session: false,
            caller: affinity,
        };
        let world = pair()
            .routing(|r| {
                r.affinity = Affinity {
                    session: false,
                    caller: true,
                };
                r.model_group_affinity = [("a".to_owned(), group)].into();
            })
            .access(|access| access.custom = Some(auth()))
            .build();
        world.send(ask(json!({}))).await;
        world.send(ask(json!({}))).await;
        assert_eq!(
            world.upstream.models(),
            ["m0", expected],
            "a group's own word counts"
        );
    }
}
