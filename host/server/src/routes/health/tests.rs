use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use witgate_pipeline::{Checked, Clock, Health, Principal, ReplyBody};

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

#[test]
fn the_newest_check_is_told_by_litellms_names() {
    let (_, told) = told(records::latest(&health()));
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
#[test]
fn earlier_checks_are_filtered_and_cut() {
    for (query, expected) in [
        ("", vec!["a unhealthy", "b healthy", "a healthy"]),
        ("model=group-a", vec!["a unhealthy", "a healthy"]),
        ("status_filter=healthy", vec!["b healthy", "a healthy"]),
        ("limit=1", vec!["a unhealthy"]),
        ("limit=1&offset=2", vec!["a healthy"]),
        ("offset=9", vec![]),
    ] {
        let (status, told) = told(records::history(&health(), Some(query)));
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
        let (status, told) = told(records::history(&health(), Some(query)));
        assert_eq!(status, 400, "{query}");
        assert!(
            told["detail"].as_str().unwrap().starts_with(wrong),
            "{told}"
        );
    }
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
