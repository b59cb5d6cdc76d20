//! Budgets that gateways on one Redis hold together: a call is let in when what all of them have spent and may still spend leaves room.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use witgate_testkit::{FakeUpstream, Gate, Gateway, RedisServer, Reply, Signal, openai};

use crate::support::{Client, MASTER_KEY, UPSTREAM_KEY, chat, eventually};

/// Three gateways on one Redis and one database. A call costs a dollar a token of its answer.
struct Fleet {
    members: Vec<Gateway>,
    upstream: FakeUpstream,
    redis: RedisServer,
    _folder: TempDir,
}

/// What a call costs, with an answer of the fake upstream's.
const COST: u64 = openai::COMPLETION_TOKENS;

impl Fleet {
    async fn start() -> Fleet {
        let (upstream, redis) = (FakeUpstream::start().await, RedisServer::start().await);
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}, input_cost_per_token: 0, output_cost_per_token: 1}}\ngeneral_settings: {{master_key: {MASTER_KEY}, database_url: 'sqlite:{}'}}\nrouter_settings: {{num_retries: 0, redis_url: '{}'}}\n",
            upstream.api_base(),
            folder.path().join("shared.db").display(),
            redis.url()
        );
        let member = async |_| {
            let builder = Gateway::builder(config.clone()).env("REDIS_SOCKET_TIMEOUT", "20");
            builder.start().await
        };
        Fleet {
            members: join_all((0..3).map(member)).await,
            upstream,
            redis,
            _folder: folder,
        }
    }

    /// Clients of the gateways that hold a new key.
    async fn key(&self, body: Value) -> (Vec<Client>, String) {
        let admin = Client::of(&self.members[0]).key(MASTER_KEY);
        let made = admin.post("/key/generate", &body).await.ok();
        let key = made["key"].as_str().unwrap();
        let clients = self.members.iter().map(|one| Client::of(one).key(key));
        (
            clients.collect(),
            made["token"].as_str().unwrap().to_owned(),
        )
    }
}

/// A call that may cost so much.
fn call(dollars: u64) -> Value {
    let mut body = chat("gpt-4o");
    body["max_tokens"] = json!(dollars);
    body
}

/// Sixty calls at a time over three gateways, each as dear as was reserved: those that are let in before the budget is full are served,
/// and no other reaches the upstream.
#[tokio::test]
async fn a_burst_over_three_gateways_passes_a_budget_by_less_than_a_call() {
    const BUDGET: u64 = 40;
    let fleet = Fleet::start().await;
    let (clients, token) = fleet.key(json!({"max_budget": BUDGET})).await;
    let gate = Gate::new();
    fleet.upstream.always(Reply::openai().behind(&gate));
    let calls = (0..60).map(|n: usize| {
        let client = clients[n % 3].clone();
        tokio::spawn(async move { client.chat(&call(COST)).await })
    });
    let calls: Vec<_> = calls.collect();
    let room = usize::try_from(BUDGET.div_ceil(COST)).unwrap();
    gate.reached(room).await;
    eventually("the others are refused", async || {
        let refused = calls.iter().filter(|call| call.is_finished()).count();
        (refused == 60 - room).then_some(())
    })
    .await;
    gate.open();
    let answers = join_all(calls).await.into_iter().map(Result::unwrap);
    let (served, refused): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 200);
    assert_eq!(
        (served.len(), fleet.upstream.requests().len()),
        (room, room)
    );
    for answer in refused {
        let error = answer.error(400);
        assert_eq!(error["type"], "budget_exceeded");
    }
    // All of them know, and the database has it. What the one asked before seems to hold for an instant may be in the words.
    for client in &clients {
        let error = client.chat(&call(1)).await.error(400);
        let text = error["message"].as_str().unwrap();
        assert!(text.ends_with(".0, Max budget: 40.0"), "{text}");
    }
    let admin = Client::of(&fleet.members[1]).key(MASTER_KEY);
    eventually("the spend is in the database", async || {
        let info = admin.get(&format!("/key/info?key={token}")).await.ok();
        (info["info"]["spend"].as_f64() == Some(42.0)).then_some(())
    })
    .await;
    // Nothing is held any more: the sum is all there is.
    let account = format!("witgate:spend:api_key:{token}");
    let there = ["GET", &account];
    let is_settled = |text: &str| {
        let mut words = text.split(' ');
        words.next() == Some("0:42000000000:0") && words.all(|held| held.ends_with(",0"))
    };
    fleet.redis.cli_until(&there, is_settled).await;
}

/// What was reserved is given back on every end of a call, at whatever gateway it was: by what it has cost, when it failed, and when its
/// client left.
#[tokio::test]
async fn what_a_call_reserved_others_have_when_it_has_ended() {
    let fleet = Fleet::start().await;
    let (clients, _) = fleet.key(json!({"max_budget": 100})).await;
    let others = &clients[1];
    for end in ["it has cost little", "it failed", "its client left"] {
        let gate = Gate::new();
        fleet.upstream.next(match end {
            "it failed" => Reply::error(500, "server_error", None, "no").behind(&gate),
            _ => Reply::openai().behind(&gate),
        });
        let client = clients[0].clone();
        let held = tokio::spawn(async move { client.try_chat(&call(100)).await });
        gate.reached(1).await;
        others.chat(&call(1)).await.error(400);
        match end {
            "its client left" => held.abort(),
            _ => gate.open(),
        }
        eventually(end, async || {
            (others.chat(&call(1)).await.status == 200).then_some(())
        })
        .await;
    }
}

/// A gateway is killed in a call that holds all that is left. The others have it when its lease is over.
#[tokio::test]
async fn what_a_killed_gateway_held_is_free_in_the_end() {
    let fleet = Fleet::start().await;
    let (clients, _) = fleet.key(json!({"max_budget": 100})).await;
    let gate = Gate::new();
    fleet.upstream.next(Reply::openai().behind(&gate));
    let client = clients[0].clone();
    let held = tokio::spawn(async move { client.try_chat(&call(100)).await });
    gate.reached(1).await;
    clients[1].chat(&call(1)).await.error(400);
    fleet.members[0].signal(Signal::Kill).await;
    assert!(held.await.unwrap().is_none(), "it was cut");
    clients[2].chat(&call(1)).await.error(400);
    eventually("its lease is over", async || {
        (clients[2].chat(&call(1)).await.status == 200).then_some(())
    })
    .await;
}

/// Without Redis each gateway holds the budget for itself, and with it again all hold it together.
#[tokio::test]
async fn without_redis_each_gateway_holds_the_budget_itself() {
    let mut fleet = Fleet::start().await;
    let (clients, _) = fleet.key(json!({"max_budget": 100})).await;
    let gate = Gate::new();
    fleet.upstream.next(Reply::openai().behind(&gate));
    fleet.redis.kill().await;
    let client = clients[0].clone();
    let held = tokio::spawn(async move { client.try_chat(&call(100)).await });
    gate.reached(1).await;
    clients[0].chat(&call(1)).await.error(400);
    clients[1].chat(&call(1)).await.ok();
    fleet.redis.start_again().await;
    eventually("what is held is known again", async || {
        (clients[1].chat(&call(1)).await.status == 400).then_some(())
    })
    .await;
    gate.open();
    held.await.unwrap().unwrap().ok();
}

/// What is spent in the windows of a key's and a team's `budget_limits` is in the database: a gateway that is started again knows it, and one
/// that shares nothing else.
#[tokio::test]
async fn windows_outlive_a_gateway() {
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}, input_cost_per_token: 0, output_cost_per_token: 1}}\ngeneral_settings: {{master_key: {MASTER_KEY}, database_url: 'sqlite:{}'}}\nrouter_settings: {{num_retries: 0}}\n",
        upstream.api_base(),
        folder.path().join("shared.db").display(),
    );
    let mut gateway = Gateway::start(config.clone()).await;
    let admin = Client::of(&gateway).key(MASTER_KEY);
    let windows = |max: u64| json!([{"budget_duration": "1h", "max_budget": 1000}, {"budget_duration": "1d", "max_budget": max}]);
    let team = admin
        .post("/team/new", &json!({"budget_limits": windows(COST + 1)}))
        .await;
    let team = team.ok()["team_id"].as_str().unwrap().to_owned();
    let mut keys = Vec::new();
    for body in [
        json!({"budget_limits": windows(COST)}),
        json!({"team_id": team}),
    ] {
        let made = admin.post("/key/generate", &body).await.ok();
        keys.push(made["key"].as_str().unwrap().to_owned());
    }
    for key in &keys {
        Client::of(&gateway).key(key).chat(&call(COST)).await.ok();
    }
    // Written with the windows.
    eventually("both calls are in the database", async || {
        for key in &keys {
            let info = admin.get(&format!("/key/info?key={key}")).await.ok();
            if info["info"]["spend"].as_f64() != Some(COST as f64) {
                return None;
            }
        }
        Some(())
    })
    .await;
    let gateway = {
        gateway.signal(Signal::Kill).await;
        gateway.ended().await;
        gateway.start_again().await
    };
    let other = Gateway::start(config).await;
    let client = |gateway: &Gateway, key: &str| Client::of(gateway).key(key);
    for one in [&gateway, &other] {
        let error = client(one, &keys[0]).chat(&call(COST)).await.error(400);
        let text = error["message"].as_str().unwrap();
        let expected = format!("window=86400s Current cost: {COST}.0, Max budget: {COST}.0");
        assert!(text.contains(&expected), "{text}");
    }
    // A rotated key has spent what it had.
    let admin = Client::of(&gateway).key(MASTER_KEY);
    let rotated = admin
        .post("/key/regenerate", &json!({"key": keys[0]}))
        .await
        .ok();
    let rotated = rotated["key"].as_str().unwrap();
    client(&gateway, rotated).chat(&call(COST)).await.error(400);
    // The team has a dollar left, which one call may pass.
    client(&other, &keys[1]).chat(&call(COST)).await.ok();
    client(&other, &keys[1]).chat(&call(COST)).await.error(400);
}
