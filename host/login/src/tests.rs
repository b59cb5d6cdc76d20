//! What needs a clock of the test's own: how long logins and sessions last. The rest is tested through the binary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde_json::{Map, Value};
use witgate_identity::Signer;

use super::*;

/// Says that it is this one.
struct Idp(&'static str);
struct Nobody;

#[async_trait]
impl Plugin for Idp {
    async fn authorize(&self, login: Login) -> Result<Authorization, Fault> {
        Ok(Authorization {
            url: format!("https://idp.example.com/?state={}", login.state),
            state: None,
        })
    }

    async fn exchange(&self, _callback: Callback) -> Result<Who, Fault> {
        Ok(Who::User(Box::new(OpenId {
            id: self.0.to_owned(),
            ..OpenId::default()
        })))
    }

    async fn map_user(&self, _: OpenId, _: Option<Map<String, Value>>) -> Result<Mapped, Fault> {
        Err(Fault("not asked".to_owned()))
    }

    async fn sign_in(&self, _request: ProxyRequest) -> Result<Who, Fault> {
        Err(Fault("not asked".to_owned()))
    }
}

#[async_trait]
impl Users for Nobody {
    async fn find(&self, _: &str, _: &str, _: Option<&str>) -> Result<Option<User>, Fault> {
        Ok(None)
    }

    async fn by_password(&self, _: &str, word: &str) -> Result<Option<User>, Fault> {
        tokio::task::yield_now().await;
        Ok((word == "right").then(|| User {
            user_id: "ann".to_owned(),
            sso_user_id: None,
            user_email: None,
            role: None,
            models: Vec::new(),
            max_budget: None,
            budget_duration: None,
            metadata: Map::new(),
        }))
    }

    async fn invited(&self, _: &str) -> Result<Option<User>, Fault> {
        Ok(None)
    }

    async fn take_invitation(&self, _: &str, _: &str, _: &str) -> Result<Taken, Fault> {
        Ok(Taken::Invalid)
    }

    async fn save(&self, _user: &User) -> Result<(), Fault> {
        Ok(())
    }
}

fn desk(now_s: &Arc<AtomicU64>, who: &'static str, admin: Option<&str>) -> Desk {
    let clock = now_s.clone();
    let parts = DeskParts {
        users: Arc::new(Nobody),
        now_s: Arc::new(move || clock.load(Ordering::Relaxed)),
        random: Arc::new(|| [7; 32]),
    };
    let rules = Rules {
        signer: Signer::new("sk-1234"),
        provider: Provider::Ready {
            name: "idp".to_owned(),
            plugin: Arc::new(Idp(who)),
        },
        mapping: None,
        sign_in: None,
        base_url: None,
        root_path: String::new(),
        logout_url: None,
        email_domains: Vec::new(),
        access: AccessMode::All,
        admin_id: admin.map(str::to_owned),
        new_user: NewUser::default(),
        password: None,
        ui_disabled: false,
        debug: false,
        key_header: "Authorization".to_owned(),
    };
    Desk::new(parts, rules)
}

fn visit(step: Step, query: &str, cookie: &str) -> Visit {
    Visit {
        step,
        method: "GET".to_owned(),
        path: String::new(),
        query: Some(query.to_owned()),
        headers: vec![("cookie".to_owned(), cookie.to_owned())],
        body: Vec::new(),
        origin: "http://gw.example.com".to_owned(),
        client_ip: None,
    }
}

/// The name and value of the first cookie that is set.
fn cookie(answer: &Answer) -> String {
    let set = answer
        .headers
        .iter()
        .find(|(name, _)| *name == "set-cookie");
    let (_, value) = set.expect("a cookie");
    value.split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_login_may_take_ten_minutes_and_a_session_lasts_a_day() {
    let now_s = Arc::new(AtomicU64::new(1_000_000));
    let desk = desk(&now_s, "ann", None);
    let begun = desk.answer(&visit(Step::Begin, "", "")).await;
    let state = cookie(&begun);
    let (_, to) = begun
        .headers
        .iter()
        .find(|(name, _)| *name == "location")
        .expect("a location");
    let query = format!("code=c&{}", to.split_once('?').expect("a query").1);
    now_s.store(1_000_600, Ordering::Relaxed);
    let late = desk.answer(&visit(Step::Callback, &query, &state)).await;
    assert_eq!(late.status, 400);
    assert!(late.body.contains("took too long"), "{}", late.body);
    now_s.store(1_000_599, Ordering::Relaxed);
    let done = desk.answer(&visit(Step::Callback, &query, &state)).await;
    assert_eq!(done.status, 303, "{}", done.body);
    let token = cookie(&done);
    now_s.store(1_000_599 + 86_399, Ordering::Relaxed);
    let page = desk.answer(&visit(Step::Ui, "", &token)).await;
    assert!(page.body.contains("ann"), "{}", page.body);
    now_s.store(1_000_599 + 86_400, Ordering::Relaxed);
    let page = desk.answer(&visit(Step::Ui, "", &token)).await;
    assert!(page.body.contains("not signed in"), "{}", page.body);
}

#[tokio::test]
async fn guesses_at_once_count_as_those_one_after_another() {
    let desk = desk(&Arc::new(AtomicU64::new(1_000_000)), "ann", None);
    let post = async |word: &str| {
        let mut visit = visit(Step::PasswordJson, "", "");
        visit.body = format!(r#"{{"username":"ann","password":"{word}"}}"#).into_bytes();
        desk.answer(&visit).await.status
    };
    for _ in 0..20 {
        assert_eq!(post("right").await, 200);
    }
    let all = futures_util::future::join_all((0..30).map(|_| post("wrong"))).await;
    let told = |status| all.iter().filter(|told| **told == status).count();
    assert_eq!((told(401), told(429)), (10, 20), "{all:?}");
    assert_eq!(post("right").await, 429);
}

#[tokio::test]
async fn nobody_signs_in_as_who_the_gateway_is() {
    for (who, admin, status) in [
        ("ann", None, 303),
        ("default_user_id", None, 403),
        ("litellm-proxy-budget", None, 403),
        ("default_user_id", Some("default_user_id"), 303),
    ] {
        let desk = desk(&Arc::new(AtomicU64::new(1_000_000)), who, admin);
        let begun = desk.answer(&visit(Step::Begin, "", "")).await;
        let to = begun.headers.iter().find(|(name, _)| *name == "location");
        let query = format!(
            "code=c&{}",
            to.expect("a location")
                .1
                .split_once('?')
                .expect("a query")
                .1
        );
        let done = desk
            .answer(&visit(Step::Callback, &query, &cookie(&begun)))
            .await;
        assert_eq!(done.status, status, "{who} {admin:?} {}", done.body);
    }
}
