//! Every call that was answered has its row and is counted once, whatever dies meanwhile: gateways, PostgreSQL, Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use witgate_testkit::{FakeUpstream, Gateway, PostgresServer, RedisCluster, RedisServer, Signal};

use crate::support::{
    Client, MASTER_KEY, UPSTREAM_KEY, base_config, chat, chat_stream, eventually,
};

/// Callers that go on until somebody stops them, and how many of their calls were answered to the end.
struct Load {
    callers: Vec<JoinHandle<()>>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    /// Calls of one client, some of them streams.
    fn on(client: &Client, callers: usize) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let caller = |_| {
            let (client, answered) = (client.clone(), answered.clone());
            tokio::spawn(async move {
                for body in [chat("gpt-4o"), chat_stream("gpt-4o")].iter().cycle() {
                    // A call that is cut, or refused for good, is this caller's last.
                    let Some(answer) = client.try_chat(body).await else {
                        return;
                    };
                    match answer.status {
                        200 => _ = answered.fetch_add(1, Ordering::Relaxed),
                        429 => tokio::task::yield_now().await,
                        _ => return,
                    }
                }
            })
        };
        let callers = (0..callers).map(caller).collect();
        Self { callers, answered }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more are answered.
    async fn go_on(&self, more: usize) {
        let target = self.answered() + more;
        eventually("calls are answered", async || {
            (self.answered() >= target).then_some(())
        })
        .await;
    }

    /// Ends the callers between two calls or in one.
    fn stop(self) -> usize {
        for caller in &self.callers {
            caller.abort();
        }
        self.answered()
    }
}

/// A gateway is killed at random moments under load. What its clients got to the end is in the ledger and in the totals, and
/// nothing is held of the calls that were cut.
#[tokio::test]
async fn a_killed_gateway_has_a_row_for_every_answer() {
    const KILLS: usize = 12;
    let upstream = FakeUpstream::start().await;
    let mut gateway = Gateway::start(base_config(&upstream.api_base())).await;
    let admin = Client::of(&gateway).key(MASTER_KEY);
    let body = json!({"max_parallel_requests": 8, "max_budget": 1000, "user_id": "ann"});
    let made = admin.post("/key/generate", &body).await.ok();
    let key = made["key"].as_str().unwrap().to_owned();
    let mut answered = 0;
    for kill in 0..KILLS {
        let load = Load::on(&Client::of(&gateway).key(&key), 8);
        load.go_on((kill * 37) % 50).await;
        gateway.signal(Signal::Kill).await;
        gateway.ended().await;
        answered += load.stop();
        gateway = gateway.start_again().await;
    }
    // All eight places are free, and the calls that were cut hold no money.
    let client = Client::of(&gateway).key(&key);
    let body = chat("gpt-4o");
    let calls = join_all((0..8).map(|_| client.chat(&body))).await;
    for call in calls {
        call.ok();
    }
    answered += 8;
    let rows = gateway.wait_for_spend_rows(answered).await;
    let served = rows.iter().filter(|row| row["api_key"] == made["token"]);
    let served: Vec<_> = served.collect();
    assert!(served.len() >= answered, "{} of {answered}", served.len());
    let sum: f64 = served
        .iter()
        .map(|row| row["spend"].as_f64().unwrap())
        .sum();
    let info = admin_of(&gateway)
        .get(&format!("/key/info?key={key}"))
        .await
        .ok();
    let total = info["info"]["spend"].as_f64().unwrap();
    assert!((total - sum).abs() < 1e-9, "{total} is not {sum}");
}

fn admin_of(gateway: &Gateway) -> Client {
    Client::of(gateway).key(MASTER_KEY)
}

/// PostgreSQL is paused, restarted and out of connections under load: calls go on, and none is missing afterwards.
#[tokio::test]
async fn postgres_in_trouble_under_load() {
    let mut postgres = PostgresServer::start().await;
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  database_connection_timeout: 2\n  database_connection_pool_limit: 3\n",
    );
    let gateway = Gateway::builder(config)
        .env("DATABASE_URL", postgres.url())
        .start()
        .await;
    let made = admin_of(&gateway)
        .post("/key/generate", &json!({}))
        .await
        .ok();
    let client = Client::of(&gateway).key(made["key"].as_str().unwrap());
    let load = Load::on(&client, 4);
    load.go_on(20).await;
    postgres.pause().await;
    load.go_on(50).await;
    postgres.resume().await;
    load.go_on(20).await;
    postgres.kill().await;
    load.go_on(50).await;
    postgres.start_again().await;
    load.go_on(20).await;
    // Others take every connection there is, and go.
    postgres
        .sql("litellm", "ALTER SYSTEM SET max_connections = 100")
        .await;
    postgres
        .sql("litellm", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
        .await;
    postgres
        .sql("litellm", "ALTER DATABASE litellm CONNECTION LIMIT 0")
        .await;
    load.go_on(50).await;
    postgres
        .sql("postgres", "ALTER DATABASE litellm CONNECTION LIMIT -1")
        .await;
    load.go_on(20).await;
    let answered = load.stop();
    // Those that were cut by the stop have a row, too.
    eventually("every answer has its row", async || {
        let rows = postgres
            .sql("litellm", r#"SELECT count(*) FROM "LiteLLM_SpendLogs""#)
            .await;
        (rows.parse::<usize>().ok()? >= answered).then_some(())
    })
    .await;
    let told = gateway.metrics().await;
    assert_eq!(told.count("witgate_spend_rows_refused_total", &[]), 0.0);
    assert_eq!(told.count("witgate_spend_rows_dropped_total", &[]), 0.0);
}

/// Three gateways, one PostgreSQL, one Redis, mixed traffic of keys with limits and budgets; one of the gateways is killed in the
/// middle and comes back.
#[tokio::test]
async fn three_gateways_on_one_postgres_and_one_redis() {
    /// A call costs a dollar a token of its prompt.
    const BUDGET: f64 = 40.0;
    let (postgres, redis) = (PostgresServer::start().await, RedisServer::start().await);
    let upstream = FakeUpstream::start().await;
    let api_base = upstream.api_base();
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{api_base}', api_key: {UPSTREAM_KEY}, input_cost_per_token: 1, output_cost_per_token: 0}}\ngeneral_settings: {{master_key: {MASTER_KEY}, proxy_budget_rescheduler_min_time: 1, proxy_budget_rescheduler_max_time: 2}}\nrouter_settings: {{num_retries: 0, redis_url: '{}'}}\n",
        redis.url()
    );
    let member = async |_| {
        let builder = Gateway::builder(config.clone())
            .env("REDIS_SOCKET_TIMEOUT", "20")
            .env("DATABASE_URL", postgres.url());
        builder.start().await
    };
    let mut members: Vec<Gateway> = join_all((0..3).map(member)).await;
    let admin = admin_of(&members[0]);
    let make = async |body: serde_json::Value| {
        let made = admin.post("/key/generate", &body).await.ok();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("key"), text("token"))
    };
    let (bounded, bounded_hash) = make(json!({"max_budget": BUDGET})).await;
    let (slow, _) = make(json!({"rpm_limit": 12})).await;
    let (narrow, _) = make(json!({"max_parallel_requests": 2})).await;
    // Its budget begins anew every second or two, by whichever gateway is first.
    let (again, again_hash) = make(json!({"max_budget": 1e9, "budget_duration": "1s"})).await;
    let loads: Vec<Load> = members
        .iter()
        .flat_map(|member| {
            [&bounded, &narrow, &again].map(|key| Load::on(&Client::of(member).key(key), 2))
        })
        .collect();
    let called = |load: &[Load]| load.iter().map(Load::answered).sum::<usize>();
    eventually("the budget is used up", async || {
        let refused = Client::of(&members[1])
            .key(&bounded)
            .chat(&chat("gpt-4o"))
            .await;
        (refused.status == 400).then_some(())
    })
    .await;
    members[2].signal(Signal::Kill).await;
    members[2].ended().await;
    let before = called(&loads);
    eventually("the others go on", async || {
        (called(&loads) > before + 20).then_some(())
    })
    .await;
    members[2] = members[2].start_again().await;
    let calls = (0..60).map(|n: usize| Client::of(&members[n % 3]).key(&slow));
    let calls: Vec<Client> = calls.collect();
    let body = chat("gpt-4o");
    let answers = join_all(calls.iter().map(|client| client.chat(&body))).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 12, "calls of a minute over three gateways");
    for member in &members {
        // It came back, and knows that the budget is used up.
        let refused = Client::of(member).key(&bounded).chat(&chat("gpt-4o")).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
    let by_bounded: usize = loads
        .chunks(3)
        .map(|of_member| of_member[0].answered())
        .sum();
    let answered: usize = loads.into_iter().map(Load::stop).sum::<usize>() + served;
    eventually("every answer has its row", async || {
        let rows = postgres
            .sql(
                "litellm",
                r#"SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE status = 'success'"#,
            )
            .await;
        (rows.parse::<usize>().ok()? >= answered).then_some(())
    })
    .await;
    let number = async |sql: String| -> f64 {
        let text = postgres.sql("litellm", &sql).await;
        text.trim().parse().unwrap_or_default()
    };
    let spent = number(format!(
        r#"SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = '{bounded_hash}'"#
    ))
    .await;
    let rows = number(format!(
        r#"SELECT sum(spend) FROM "LiteLLM_SpendLogs" WHERE api_key = '{bounded_hash}'"#
    ))
    .await;
    assert!((spent - rows).abs() < 1e-6, "{spent} is not {rows}");
    // A call costs more than its estimate here, a prompt's tokens: the budget is passed by calls under way, six at a time, and by what the
    // killed gateway had not told yet.
    let of_one = rows / by_bounded.max(1) as f64;
    assert!(
        rows <= BUDGET + 8.0 * of_one,
        "{rows} of {BUDGET}, {of_one} a call"
    );
    // Nobody calls any more: the next look of any gateway sets it back.
    eventually("the budget began anew", async || {
        let left = number(format!(
            r#"SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = '{again_hash}'"#
        ))
        .await;
        let all = number(format!(
            r#"SELECT sum(spend) FROM "LiteLLM_SpendLogs" WHERE api_key = '{again_hash}'"#
        ))
        .await;
        (left < all).then_some(())
    })
    .await;
}

/// Gateways on one PostgreSQL and one Redis; spend goes through Redis to whichever of them writes.
struct Buffered<R = RedisServer> {
    postgres: PostgresServer,
    redis: R,
    members: Vec<Gateway>,
    key: String,
    hash: String,
    _upstream: FakeUpstream,
}

impl Buffered {
    async fn start(general: &str) -> Self {
        let redis = RedisServer::start().await;
        let router = format!("redis_url: '{}'", redis.url());
        Self::on(redis, &router, general).await
    }
}

impl<R> Buffered<R> {
    async fn on(redis: R, router: &str, general: &str) -> Self {
        let postgres = PostgresServer::start().await;
        let upstream = FakeUpstream::start().await;
        let config = base_config(&upstream.api_base()).replace(
            "general_settings:\n",
            &format!("general_settings:\n  use_redis_transaction_buffer: true\n{general}"),
        );
        let config = format!("{config}router_settings: {{{router}}}\n");
        let member = async |_| {
            let builder = Gateway::builder(config.clone())
                .env("REDIS_SOCKET_TIMEOUT", "1")
                .env("DATABASE_URL", postgres.url());
            builder.start().await
        };
        let members: Vec<Gateway> = join_all((0..2).map(member)).await;
        let made = admin_of(&members[0])
            .post("/key/generate", &json!({"user_id": "ann"}))
            .await
            .ok();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Self {
            key: text("key"),
            hash: text("token"),
            postgres,
            redis,
            members,
            _upstream: upstream,
        }
    }

    /// Callers of each member.
    fn load(&self) -> Vec<Load> {
        let on = |member| Load::on(&Client::of(member).key(&self.key), 3);
        self.members.iter().map(on).collect()
    }

    async fn number(&self, sql: &str) -> f64 {
        let text = self.postgres.sql("litellm", sql).await;
        text.trim().parse().unwrap_or_default()
    }

    /// How many calls are in the totals of days.
    async fn counted(&self) -> f64 {
        let sql = r#"SELECT sum(api_requests) FROM "LiteLLM_DailyUserSpend" WHERE user_id = 'ann'"#;
        self.number(sql).await
    }

    async fn handed(&self) -> f64 {
        let told = self.members.iter().map(async |member| {
            let told = member.metrics().await;
            told.count("witgate_spend_rows_handed_total", &[])
        });
        join_all(told).await.into_iter().sum()
    }

    /// Every answer has its row, once, and the totals are those of the rows.
    async fn is_complete(&self, answered: usize) {
        let rows = r#"SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE "user" = 'ann'"#;
        eventually("every answer has its row", async || {
            (self.number(rows).await >= answered as f64).then_some(())
        })
        .await;
        // Also those that were cut: whatever has a row is counted once.
        eventually("rows and totals are the same", async || {
            let (rows, counted) = (self.number(rows).await, self.counted().await);
            (rows == counted).then_some(())
        })
        .await;
        let spent = format!(
            r#"SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = '{}'"#,
            self.hash
        );
        let sum = r#"SELECT sum(spend) FROM "LiteLLM_SpendLogs" WHERE "user" = 'ann'"#;
        let (spent, sum) = (self.number(&spent).await, self.number(sum).await);
        assert!((spent - sum).abs() < 1e-6, "{spent} is not {sum}");
        for member in &self.members {
            let told = member.metrics().await;
            assert_eq!(told.count("witgate_spend_rows_refused_total", &[]), 0.0);
            assert_eq!(told.count("witgate_spend_rows_dropped_total", &[]), 0.0);
        }
    }
}

async fn go_on(loads: &[Load], more: usize) {
    join_all(loads.iter().map(|load| load.go_on(more))).await;
}

/// A gateway that writes for all, or has handed its calls over, is killed wherever it is: nothing is lost, and nothing counted twice.
#[tokio::test]
async fn a_gateway_is_killed_while_spend_goes_through_redis() {
    let mut all = Buffered::start("").await;
    let mut answered = 0;
    for kill in 0..6 {
        let loads = all.load();
        go_on(&loads, 10 + kill * 13).await;
        let victim = kill % 2;
        all.members[victim].signal(Signal::Kill).await;
        all.members[victim].ended().await;
        loads[1 - victim].go_on(10).await;
        answered += loads.into_iter().map(Load::stop).sum::<usize>();
        all.members[victim] = all.members[victim].start_again().await;
    }
    all.is_complete(answered).await;
}

/// One of the gateways writes for both; sums of calls that have no row in the database are told of, too.
#[tokio::test]
async fn one_gateway_writes_the_spend_of_all() {
    for general in ["", "  disable_spend_logs: true\n"] {
        let all = Buffered::start(general).await;
        let loads = all.load();
        go_on(&loads, 60).await;
        eventually("spend goes through Redis", async || {
            (all.handed().await > 50.0).then_some(())
        })
        .await;
        let answered = loads.into_iter().map(Load::stop).sum::<usize>() as f64;
        if general.is_empty() {
            all.is_complete(answered as usize).await;
            continue;
        }
        let callers = 6.0;
        eventually("every answer is counted", async || {
            (all.counted().await >= answered).then_some(())
        })
        .await;
        let counted = all.counted().await;
        assert!(counted <= answered + callers, "{counted} of {answered}");
        let rows = all
            .number(r#"SELECT count(*) FROM "LiteLLM_SpendLogs""#)
            .await;
        assert_eq!(rows, 0.0);
    }
}

async fn through_a_cluster() -> Buffered<RedisCluster> {
    let cluster = RedisCluster::start().await;
    let nodes = cluster.nodes.iter();
    let nodes = nodes.map(|node| format!("{{host: 127.0.0.1, port: '{}'}}", node.port));
    let nodes = nodes.collect::<Vec<_>>().join(", ");
    let router = format!("cache_kwargs: {{redis_startup_nodes: [{nodes}]}}");
    Buffered::on(cluster, &router, "").await
}

/// The list and its signs are in one place of the cluster, so that the scripts that move them reach all of them.
#[tokio::test]
async fn the_spend_of_all_goes_through_a_cluster() {
    let mut all = through_a_cluster().await;
    let loads = all.load();
    go_on(&loads, 60).await;
    eventually("spend goes through the cluster", async || {
        (all.handed().await > 50.0).then_some(())
    })
    .await;
    let mut answered = loads.into_iter().map(Load::stop).sum();
    for victim in 0..2 {
        let loads = all.load();
        go_on(&loads, 30).await;
        // Whoever writes now, the other one goes on; with the lock of the dead each writes its own for a while.
        all.members[victim].signal(Signal::Kill).await;
        all.members[victim].ended().await;
        loads[1 - victim].go_on(20).await;
        answered += loads.into_iter().map(Load::stop).sum::<usize>();
        all.members[victim] = all.members[victim].start_again().await;
    }
    all.is_complete(answered).await;
}

/// A node of the cluster dies with what it had, whichever has the list, and comes back empty: nothing is lost, nothing counted twice, and
/// spend goes through the cluster again.
#[tokio::test]
async fn a_node_of_the_cluster_dies_while_the_spend_of_all_goes_through_it() {
    let mut all = through_a_cluster().await;
    let mut answered = 0;
    for node in 0..all.redis.nodes.len() {
        let handed = all.handed().await;
        let loads = all.load();
        eventually("spend goes through the cluster", async || {
            (all.handed().await > handed + 30.0).then_some(())
        })
        .await;
        all.redis.nodes[node].kill().await;
        go_on(&loads, 40).await;
        all.redis.nodes[node].start_again().await;
        go_on(&loads, 20).await;
        answered += loads.into_iter().map(Load::stop).sum::<usize>();
    }
    let handed = all.handed().await;
    let loads = all.load();
    eventually("spend goes through the cluster again", async || {
        (all.handed().await > handed + 30.0).then_some(())
    })
    .await;
    answered += loads.into_iter().map(Load::stop).sum::<usize>();
    all.is_complete(answered).await;
}

/// Redis is paused, stopped, started again empty and out of connections under load: calls go on, each gateway writes for itself, and
/// nothing is missing afterwards.
#[tokio::test]
async fn redis_in_trouble_under_load() {
    let mut all = Buffered::start("").await;
    let loads = all.load();
    go_on(&loads, 20).await;
    all.redis.pause().await;
    go_on(&loads, 40).await;
    all.redis.resume().await;
    go_on(&loads, 20).await;
    all.redis.kill().await;
    go_on(&loads, 40).await;
    all.redis.start_again().await;
    go_on(&loads, 20).await;
    eventually("both are connected again", async || {
        connected(&all, 2).await
    })
    .await;
    // Somebody else has the last connection there is.
    let mut only = TcpStream::connect(("127.0.0.1", all.redis.port))
        .await
        .unwrap();
    let mut say = async |words: &str| {
        only.write_all(words.as_bytes()).await.unwrap();
        let mut told = [0; 256];
        let n = only.read(&mut told).await.unwrap();
        assert!(
            told[..n].starts_with(b"+OK"),
            "{:?}",
            String::from_utf8_lossy(&told[..n])
        );
    };
    say("CONFIG SET maxclients 1\r\nCLIENT KILL TYPE normal SKIPME yes\r\n").await;
    eventually("nobody gets in", async || connected(&all, 0).await).await;
    go_on(&loads, 40).await;
    say("CONFIG SET maxclients 1000\r\n").await;
    eventually("both are connected again", async || {
        connected(&all, 2).await
    })
    .await;
    go_on(&loads, 20).await;
    let answered = loads.into_iter().map(Load::stop).sum();
    all.is_complete(answered).await;
}

/// Whether so many members are connected to Redis.
async fn connected(all: &Buffered, members: usize) -> Option<()> {
    let mut connected = 0;
    for member in &all.members {
        let ready = Client::of(member).get("/health/readiness").await.ok();
        connected += usize::from(ready["redis"] == "connected");
    }
    (connected == members).then_some(())
}
