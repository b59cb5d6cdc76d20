//! What three gateways on one PostgreSQL and one Redis do by themselves is done once, also when the one that does it is killed in
//! the middle.
//!
//! The middle is a trigger of the database that waits for a lock which the test has: a gateway that comes to that row stands still.

use futures_util::future::join_all;
use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, HeldLocks, PostgresServer, RedisServer, Signal};

use crate::support::mail::{MailServer, line};
use crate::support::{Client, MASTER_KEY, base_config, chat, eventually};

/// The lock that the triggers wait for.
const LOCK: &str = "SELECT pg_advisory_xact_lock(42)";
const WAIT: &str = "CREATE OR REPLACE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN COALESCE(NEW, OLD); END $$";
const KEYS: &str = r#""LiteLLM_VerificationToken""#;
const CALLS: &str = r#""LiteLLM_SpendLogs""#;
const AUDIT: &str = r#""LiteLLM_AuditLog""#;

struct Three {
    postgres: PostgresServer,
    _redis: RedisServer,
    _upstream: FakeUpstream,
    mail: MailServer,
    members: Vec<Gateway>,
    /// The ends of those that were killed, for what they had said.
    dead: Vec<Gateway>,
}

impl Three {
    /// With further lines of `general_settings`, and variables. Each has its own name in the database.
    async fn start(general: &str, variables: &[(&str, &str)]) -> Self {
        let (postgres, redis) = (PostgresServer::start().await, RedisServer::start().await);
        let (upstream, mail) = (
            FakeUpstream::start().await,
            MailServer::start("plain", false).await,
        );
        let config = base_config(&upstream.api_base())
            .replace(
                "general_settings:\n",
                &format!("general_settings:\n  alerting: [email]\n{general}"),
            )
            .replace(
                "router_settings:\n",
                &format!("router_settings:\n  redis_url: '{}'\n", redis.url()),
            )
            + "callback_settings: {email: {flush_interval: 0.01}}\nlitellm_settings: {store_audit_logs: true}\n";
        let mut members = Vec::new();
        for n in 0..3 {
            let role = format!("CREATE ROLE g{n} SUPERUSER LOGIN");
            postgres.sql("litellm", &role).await;
            let url = postgres.url().replace("postgres@", &format!("g{n}@"));
            let mut builder = Gateway::builder(&config)
                .env("DATABASE_URL", url)
                .env("SMTP_HOST", "localhost")
                .env("SMTP_PORT", mail.port.to_string())
                .env("SMTP_SENDER_EMAIL", "gateway@example.com")
                .env("SMTP_TLS", "False");
            for (name, value) in variables {
                builder = builder.env(name, *value);
            }
            members.push(builder.start().await);
        }
        let all = Self {
            postgres,
            _redis: redis,
            _upstream: upstream,
            mail,
            members,
            dead: Vec::new(),
        };
        let ann =
            json!({"user_id": "ann", "user_email": "ann@example.com", "auto_create_key": false});
        all.admin(0).post("/user/new", &ann).await.ok();
        all
    }

    fn client(&self, member: usize, key: &str) -> Client {
        Client::of(&self.members[member]).key(key)
    }

    fn admin(&self, member: usize) -> Client {
        self.client(member, MASTER_KEY)
    }

    /// A key of ann's; its text.
    async fn key(&self, mut body: Value) -> String {
        body["user_id"] = json!("ann");
        let made = self.admin(0).post("/key/generate", &body).await.ok();
        made["key"].as_str().expect("a key").to_owned()
    }

    async fn sql(&self, statement: &str) -> String {
        self.postgres.sql("litellm", statement).await
    }

    async fn count(&self, of: &str) -> usize {
        let count = self.sql(&format!("SELECT count(*) FROM {of}")).await;
        count.parse().expect("a number")
    }

    /// From now on whoever comes to such a row stands still there, until what is given back is dropped.
    async fn stand_still(&self, table: &str, deed: &str, row: &str) -> HeldLocks {
        let held = self.postgres.hold("litellm", LOCK).await;
        self.sql(WAIT).await;
        self.sql(&format!(
            "CREATE TRIGGER stand_still BEFORE {deed} ON {table} FOR EACH ROW WHEN ({row}) EXECUTE FUNCTION stand_still()"
        ))
        .await;
        held
    }

    /// Who stands still, by the lock they wait for.
    async fn standing(&self, lock: &str) -> Vec<usize> {
        let names = self
            .sql(&format!(
                "SELECT usename FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event ~ '^({lock})$' ORDER BY 1"
            ))
            .await;
        let number = |name: &str| name.strip_prefix('g')?.parse().ok();
        names.lines().filter_map(number).collect()
    }

    /// The one that is in the middle of a job.
    async fn in_the_middle(&self) -> usize {
        eventually("one of them is in the middle", async || {
            let standing = self.standing("advisory").await;
            (standing.len() == 1).then(|| standing[0])
        })
        .await
    }

    /// Kills one, and begins it anew when the others are to have gone on.
    async fn kill(&mut self, member: usize) {
        self.members[member].signal(Signal::Kill).await;
        self.members[member].ended().await;
    }

    async fn begin_again(&mut self, member: usize) {
        let again = self.members[member].start_again().await;
        let dead = std::mem::replace(&mut self.members[member], again);
        self.dead.push(dead);
    }

    /// The sum of a number in the log lines of all of them that have these words.
    fn told(&self, words: &str, name: &str) -> usize {
        let all = self.members.iter().chain(&self.dead);
        let lines = all.flat_map(|member| member.logs().all());
        let of_line = |line: String| {
            let number = line.split(&format!("{name}=")).nth(1)?;
            let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<usize>().ok()
        };
        let lines = lines.filter(|line| line.contains(words));
        lines.filter_map(of_line).sum()
    }
}

/// Every key gets one new text, which one mail tells; the audit log has it once; the old one is good for its grace and no longer.
#[tokio::test]
async fn keys_are_rotated_once_when_the_gateway_that_does_it_is_killed() {
    let mut all = Three::start(
        "",
        &[
            ("LITELLM_KEY_ROTATION_ENABLED", "true"),
            ("LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS", "1"),
            ("LITELLM_KEY_ROTATION_LOCK_TTL_SECONDS", "3"),
            ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "20s"),
        ],
    )
    .await;
    let mut old = Vec::new();
    for n in 0..8 {
        let body =
            json!({"key_alias": format!("k{n}"), "auto_rotate": true, "rotation_interval": "30d"});
        old.push(all.key(body).await);
    }
    let held = all
        .stand_still(
            KEYS,
            "UPDATE",
            "OLD.key_alias = 'k4' AND OLD.token <> NEW.token",
        )
        .await;
    all.sql(&format!(
        "UPDATE {KEYS} SET key_rotation_at = now() - interval '3 hours' + right(key_alias, 1)::int * interval '1 minute' WHERE auto_rotate"
    ))
    .await;
    let mut new = Vec::new();
    let mut told = async |all: &mut Three| {
        let mail = all.mail.next().await;
        assert_eq!(mail["subject"], "LiteLLM: API Key Rotated", "{mail}");
        new.push(line(&mail, "Key"));
    };
    for _ in 0..4 {
        told(&mut all).await;
    }
    let first = all.in_the_middle().await;
    for member in 0..3 {
        // Both are known everywhere, and the one that is being rotated has the old one only.
        for key in [&old[0], &old[4]] {
            all.client(member, key).chat(&chat("gpt-4o")).await.ok();
        }
    }
    all.kill(first).await;
    drop(held);
    for _ in 4..8 {
        told(&mut all).await;
    }
    all.begin_again(first).await;
    new.sort();
    new.dedup();
    assert_eq!(new.len(), 8, "each text is told once");
    for key in &new {
        for member in 0..3 {
            all.client(member, key).chat(&chat("gpt-4o")).await.ok();
        }
    }
    let once = format!("{KEYS} WHERE auto_rotate AND rotation_count = 1");
    assert_eq!(all.count(&once).await, 8);
    let noted = "WHERE action = 'rotated'";
    assert_eq!(all.count(&format!("{AUDIT} {noted}")).await, 8);
    let different = format!("(SELECT DISTINCT object_id FROM {AUDIT} {noted}) t");
    assert_eq!(all.count(&different).await, 8);
    for key in &old {
        for member in 0..3 {
            eventually("the grace is over", async || {
                let answer = all.client(member, key).chat(&chat("gpt-4o")).await;
                (answer.status == 401).then_some(())
            })
            .await;
        }
    }
    for key in old.iter().chain(&new) {
        let all = all.members.iter().chain(&all.dead);
        assert!(!all.into_iter().any(|member| member.printed(key)));
    }
}

/// A key that is due is asked for at all three in the same moment: of the four who would give it another text one does.
#[tokio::test]
async fn a_key_that_is_due_and_asked_for_at_once_gets_one_new_text() {
    let mut all = Three::start(
        "",
        &[
            ("LITELLM_KEY_ROTATION_ENABLED", "true"),
            ("LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS", "1"),
            ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "5s"),
        ],
    )
    .await;
    let mut old = Vec::new();
    for n in 0..6 {
        let alias = format!("k{n}");
        let body = json!({"key_alias": alias, "auto_rotate": true, "rotation_interval": "30d"});
        let key = all.key(body).await;
        all.sql(&format!(
            "UPDATE {KEYS} SET key_rotation_at = now() - interval '1 hour' WHERE key_alias = '{alias}'"
        ))
        .await;
        let named = json!({"key": key, "grace_period": "5s"});
        let clients: Vec<Client> = (0..3).map(|member| all.admin(member)).collect();
        let asked = clients
            .iter()
            .map(|client| client.post("/key/regenerate", &named));
        let asked = join_all(asked).await;
        let mut won: Vec<String> = Vec::new();
        for answer in asked {
            match answer.status {
                200 => won.push(answer.ok()["key"].as_str().expect("a key").to_owned()),
                404 => {}
                other => panic!("{other}: {}", answer.text()),
            }
        }
        // The gateways were first, by themselves.
        if won.is_empty() {
            won.push(line(&all.mail.next().await, "Key"));
        }
        assert_eq!(won.len(), 1, "{alias}");
        for member in 0..3 {
            let client = all.client(member, &won[0]);
            client.chat(&chat("gpt-4o")).await.ok();
        }
        old.push(key);
    }
    let once = format!("{KEYS} WHERE auto_rotate AND rotation_count = 1");
    assert_eq!(all.count(&once).await, 6);
    let noted = format!("{AUDIT} WHERE action = 'rotated'");
    assert_eq!(all.count(&noted).await, 6);
    for key in &old {
        for member in 0..3 {
            eventually("the grace is over", async || {
                let answer = all.client(member, key).chat(&chat("gpt-4o")).await;
                (answer.status == 401).then_some(())
            })
            .await;
        }
    }
}

/// Budgets begin anew once, and calls that are older than they are kept go, a batch at a time.
#[tokio::test]
async fn budgets_begin_anew_and_old_calls_go_when_a_gateway_is_killed_in_the_middle() {
    let general = "  proxy_budget_rescheduler_min_time: 1\n  proxy_budget_rescheduler_max_time: 1\n  maximum_spend_logs_retention_period: 30d\n  maximum_spend_logs_retention_interval: 1s\n";
    let mut all = Three::start(
        general,
        &[
            ("DEFAULT_CRON_JOB_LOCK_TTL_SECONDS", "10"),
            ("SPEND_LOG_CLEANUP_BATCH_SIZE", "50"),
        ],
    )
    .await;
    let mut keys = Vec::new();
    for n in 0..6 {
        let body = json!({"key_alias": format!("b{n}"), "max_budget": 5, "budget_duration": "30d"});
        keys.push(all.key(body).await);
    }
    let held = all
        .stand_still(KEYS, "UPDATE", "OLD.key_alias = 'b3' AND NEW.spend = 0")
        .await;
    all.sql(&format!(
        "UPDATE {KEYS} SET spend = 5, budget_reset_at = now() - interval '1 minute' WHERE key_alias LIKE 'b%'"
    ))
    .await;
    // All of them look; one is in the middle, the others wait for it.
    eventually("all three want to", async || {
        let standing = all.standing("advisory|transactionid|tuple").await;
        (standing == [0, 1, 2]).then_some(())
    })
    .await;
    let first = all.in_the_middle().await;
    all.kill(first).await;
    drop(held);
    let anew = format!(
        "{KEYS} WHERE key_alias LIKE 'b%' AND spend = 0 AND budget_reset_at > now() + interval '1 day'"
    );
    eventually("budgets begin anew", async || {
        (all.count(&anew).await == 6).then_some(())
    })
    .await;
    all.begin_again(first).await;
    for key in &keys {
        for member in 0..3 {
            all.client(member, key).chat(&chat("gpt-4o")).await.ok();
        }
    }
    eventually("the log has said it", async || {
        (all.told("budgets begin anew", "own") >= 6).then_some(())
    })
    .await;
    assert_eq!(all.told("budgets begin anew", "own"), 6, "once each");

    all.sql(&format!("DROP TRIGGER stand_still ON {KEYS}"))
        .await;
    let held = all
        .stand_still(CALLS, "DELETE", "OLD.request_id = 'old-275'")
        .await;
    all.sql(&format!(
        r#"INSERT INTO {CALLS} (request_id, call_type, api_key, "startTime", "endTime")
           SELECT 'old-' || n, 'acompletion', '', t, t FROM (SELECT n, now() - interval '60 days' + n * interval '1 second' AS t FROM generate_series(1, 500) n) old"#
    ))
    .await;
    let first = all.in_the_middle().await;
    // What it has removed until then is gone, and nobody else does the same beside it.
    let old = format!("{CALLS} WHERE request_id LIKE 'old-%'");
    assert_eq!(all.count(&old).await, 250);
    let standing = all.standing("advisory|transactionid|tuple").await;
    assert_eq!(standing, [first]);
    all.kill(first).await;
    assert_eq!(all.count(&old).await, 250);
    drop(held);
    eventually("all old calls are gone", async || {
        (all.count(&old).await == 0).then_some(())
    })
    .await;
    all.begin_again(first).await;
    let words = "old rows of calls are removed";
    eventually("the log has said it", async || {
        (all.told(words, "removed") >= 250).then_some(())
    })
    .await;
    assert_eq!(all.told(words, "removed"), 250, "once each");
    // Those of today stay.
    eventually("today's calls", async || {
        let calls = all
            .count(&format!("{CALLS} WHERE status = 'success'"))
            .await;
        (calls == 18).then_some(())
    })
    .await;
}
