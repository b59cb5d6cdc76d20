use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use witgate_pipeline::{Checked, Clock, Health, HealthRecord, Principal, ReplyBody};

use super::super::app::Earlier;
use super::*;

struct At(Mutex<i64>);

impl Clock for At {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(*self.0.lock()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(7)
    }

    fn random(&self) -> u64 {
        7
    }
}

fn checked(id: &str, is_healthy: bool) -> Checked {
    Checked {
        id: id.to_owned(),
        group: format!("group-{id}"),
        model: "m".to_owned(),
        is_healthy,
        response_time_ms: 2.5,
        entry: match is_healthy {
            true => json!({"model": "m"}),
            false => json!({"model": "m", "error": "broken"}),
        },
    }
}

/// A process that keeps these checks outside.
struct Process(Vec<HealthRecord>);

#[async_trait::async_trait]
impl Admin for Process {
    async fn reload(&self) -> Result<(), Vec<String>> {
        Ok(())
    }

    fn readiness(&self) -> (bool, Value) {
        (true, json!({}))
    }

    async fn test_service(&self, service: &str) -> Result<Value, ServiceFault> {
        Err(ServiceFault::Unknown(service.to_owned()))
    }

    fn memory(&self) -> Value {
        Value::Null
    }

    async fn test_connection(&self, _: TestConnection) -> Result<Checked, String> {
        Err("there is none".to_owned())
    }

    async fn earlier_checks(&self, wanted: &Earlier<'_>) -> Vec<HealthRecord> {
        let fits =
            |record: &&HealthRecord| wanted.status.is_none_or(|status| status == record.status());
        self.0
            .iter()
            .filter(fits)
            .take(wanted.most)
            .cloned()
            .collect()
    }
}

/// `a` is well, then sick; `b` is well.
fn health() -> Health {
    let (health, clock) = (Health::default(), At(Mutex::new(0)));
    health.note(&[checked("a", true), checked("b", true)], None, &clock);
    *clock.0.lock() = 60;
    health.note(&[checked("a", false)], Some("me"), &clock);
    health
}

fn told(reply: Reply) -> (u16, Value) {
    let ReplyBody::Full(body) = reply.body else {
        panic!("a whole answer");
    };
    (
        reply.status.as_u16(),
        serde_json::from_slice(&body).unwrap(),
    )
}

#[tokio::test]
async fn the_newest_check_is_told_by_litellms_names() {
    let (_, told) = told(records::latest(&health(), &Process(Vec::new())).await);
    assert_eq!(told["total_models"], 2);
    let expected = json!({
        "health_check_id": "00000000-0000-0000-0000-000000000007",
        "model_name": "group-a", "model_id": "a", "status": "unhealthy",
        "healthy_count": 0, "unhealthy_count": 1, "error_message": "broken",
        "response_time_ms": 2.5, "details": null, "checked_by": "me",
        "checked_at": "1970-01-01T00:01:00.000000+00:00",
        "created_at": "1970-01-01T00:01:00.000000+00:00",
    });
    assert_eq!(told["latest_health_checks"]["a"], expected);
    assert_eq!(told["latest_health_checks"]["b"]["status"], "healthy");
}

/// The query; ids and statuses, the newest first.
#[tokio::test]
async fn earlier_checks_are_filtered_and_cut() {
    for (query, expected) in [
        ("", vec!["a unhealthy", "b healthy", "a healthy"]),
        ("model=group-a", vec!["a unhealthy", "a healthy"]),
        ("status_filter=healthy", vec!["b healthy", "a healthy"]),
        ("limit=1", vec!["a unhealthy"]),
        ("limit=1&offset=2", vec!["a healthy"]),
        ("offset=9", vec![]),
    ] {
        let (status, told) =
            told(records::history(&health(), &Process(Vec::new()), Some(query)).await);
        assert_eq!(status, 200, "{query}");
        let text = |one: &Value| {
            let word = |name: &str| one[name].as_str().unwrap().to_owned();
            format!("{} {}", word("model_id"), word("status"))
        };
        let checks = told["health_checks"].as_array().unwrap();
        let found: Vec<String> = checks.iter().map(text).collect();
        assert_eq!(found, expected, "{query}");
        assert_eq!(told["total_records"], expected.len(), "{query}");
    }
    for (query, wrong) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("offset=-1", "offset"),
    ] {
        let (status, told) =
            told(records::history(&health(), &Process(Vec::new()), Some(query)).await);
        assert_eq!(status, 400, "{query}");
        assert!(
            told["detail"].as_str().unwrap().starts_with(wrong),
            "{told}"
        );
    }
}

/// Of an earlier process, of another gateway, and one that this process knows, too.
#[tokio::test]
async fn checks_that_are_kept_outside_are_told_once_beside_the_processs_own() {
    let (health, mut outside) = (health(), Vec::new());
    outside.extend(
        health
            .latest()
            .iter()
            .take(1)
            .map(|own| HealthRecord::clone(own)),
    );
    for (id, model_id, second) in [(8, "a", 30), (9, "c", 20)] {
        outside.push(HealthRecord {
            health_check_id: uuid::Uuid::from_u128(id),
            model_id: model_id.to_owned(),
            model_name: "other".to_owned(),
            checked_at: jiff::Timestamp::from_second(second).unwrap(),
            ..HealthRecord::clone(&health.latest()[0])
        });
    }
    let process = Process(outside);
    let (_, all) = told(records::history(&health, &process, None).await);
    let ids = all["health_checks"].as_array().unwrap().iter();
    let ids: Vec<&str> = ids.map(|one| one["model_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "a", "c", "b", "a"]);
    let (_, second) = told(records::history(&health, &process, Some("limit=1&offset=1")).await);
    assert_eq!(second["health_checks"][0]["model_name"], "other");
    let (_, newest) = told(records::latest(&health, &process).await);
    assert_eq!(newest["total_models"], 3);
    assert_eq!(newest["latest_health_checks"]["a"]["model_name"], "group-a");
    assert_eq!(newest["latest_health_checks"]["c"]["model_name"], "other");
}

/// Who may: administrator, who only views, a session, anybody.
#[test]
fn texts_of_errors_are_not_for_everybody() {
    let who = |role: Option<Role>, session| Principal {
        role,
        session,
        ..Principal::default()
    };
    let all = [
        who(Some(Role::ProxyAdmin), true),
        who(Some(Role::ProxyAdminViewer), true),
        who(Some(Role::InternalUser), true),
        who(None, false),
    ];
    for (route, expected) in [
        (HealthRoute::Check, [true, false, false, true]),
        (HealthRoute::Details, [true; 4]),
        (HealthRoute::Services, [true, false, false, false]),
        (HealthRoute::TestConnection, [true, false, false, false]),
        (HealthRoute::Latest, [true, true, false, false]),
        (HealthRoute::History, [true, true, false, false]),
        (HealthRoute::SharedStatus, [true, true, false, false]),
    ] {
        assert_eq!(
            all.each_ref().map(|one| may(route, one)),
            expected,
            "{route:?}"
        );
    }
}
