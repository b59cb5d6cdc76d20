//! Which tokens are good, and how far they get: an issuer with one key, and a database with a few rows.

mod others;
mod reach;
mod tokens;

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use witgate_identity::{Caller, Named, Role, VirtualKey};

use super::*;
use crate::ports::{Answer, Claimed, Fault, Request};
use crate::{Federation, Introspection, Proxy};

const NOW_S: u64 = 1_800_000_000;
const URL: &str = "https://idp.example/keys";
const ISSUER: &str = "https://idp.example";

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An identity provider: its keys, and what its other endpoint answers.
struct Provider {
    pair: EcdsaKeyPair,
    answer: Mutex<(u16, Value)>,
    asked: AtomicUsize,
}

impl Provider {
    fn new() -> Arc<Self> {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).unwrap();
        Arc::new(Self {
            pair,
            answer: Mutex::new((200, json!({}))),
            asked: AtomicUsize::new(0),
        })
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let text = [header, claims].map(|part| encode(part.to_string().as_bytes()));
        let text = text.join(".");
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes());
        format!("{text}.{}", encode(signature.unwrap().as_ref()))
    }
}

#[async_trait]
impl Fetch for Provider {
    async fn fetch(&self, request: Request) -> Result<Answer, String> {
        let (status, body) = match request.url.as_str() {
            URL => {
                let point = self.pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                let key = json!({"kty": "EC", "crv": "P-256", "kid": "e1", "x": x, "y": y});
                (200, json!({"keys": [key]}))
            }
            _ => {
                self.asked.fetch_add(1, Ordering::AcqRel);
                self.answer.lock().clone()
            }
        };
        let body = body.to_string().into_bytes();
        Ok(Answer { status, body })
    }
}

/// Users `ann` (of the team `red`), `two` (of `red` and `blue`), `root` (an administrator) and `gone` (deactivated), teams `red`, `blue` and `shut` (blocked).
/// What is done to it is noted.
#[derive(Default)]
struct Rows {
    done: Mutex<Vec<String>>,
}

impl Rows {
    fn note(&self, text: String) -> Result<(), Fault> {
        self.done.lock().push(text);
        Ok(())
    }

    fn is_made(&self, text: &str) -> bool {
        self.done.lock().iter().any(|done| done == text)
    }
}

#[async_trait]
impl Directory for Rows {
    async fn caller(&self, named: &Named) -> Result<Arc<Caller>, Fault> {
        let user = named.user.as_deref().filter(|user| {
            ["ann", "two", "root", "gone"].contains(user) || self.is_made(&format!("made {user}"))
        });
        let team = named
            .team
            .as_deref()
            .or(named.team_alias.as_ref().map(|_| "red"))
            .filter(|team| ["red", "blue", "shut"].contains(team));
        let principal = Principal {
            user_id: user.map(str::to_owned),
            team_id: team.map(str::to_owned),
            role: Some(match user {
                Some("root") => Role::ProxyAdmin,
                _ => Role::InternalUser,
            }),
            ..Principal::default()
        };
        Ok(Arc::new(Caller {
            as_key: VirtualKey {
                principal: Arc::new(principal),
                blocked: user == Some("gone"),
                team_blocked: team == Some("shut"),
                expires: None,
            },
            has_user: user.is_some(),
            has_team: team.is_some(),
            has_organization: false,
            is_member: user == Some("ann") && team == Some("red"),
            user_role: None,
            teams: match user {
                Some("ann") => vec!["red".to_owned()],
                Some("two") => vec!["red".to_owned(), "blue".to_owned()],
                _ => Vec::new(),
            },
        }))
    }

    async fn make_user(&self, id: &str, _: Option<&str>) -> Result<(), Fault> {
        self.note(format!("made {id}"))
    }

    async fn make_team(&self, id: &str) -> Result<(), Fault> {
        self.note(format!("made team {id}"))
    }

    async fn join(&self, team: &str, user: &str) -> Result<(), Fault> {
        self.note(format!("{user} joined {team}"))
    }

    async fn leave(&self, team: &str, user: &str) -> Result<(), Fault> {
        self.note(format!("{user} left {team}"))
    }

    async fn set_role(&self, user: &str, role: &str) -> Result<(), Fault> {
        self.note(format!("{user} is {role}"))
    }

    async fn key_of(&self, claimed: &Claimed, _: u64) -> Result<Option<Arc<VirtualKey>>, Fault> {
        let key = |blocked| VirtualKey {
            principal: Arc::new(Principal {
                user_id: Some("keyed".to_owned()),
                allowed_routes: vec!["/chat/completions".to_owned()],
                ..Principal::default()
            }),
            blocked,
            team_blocked: false,
            expires: None,
        };
        Ok(match claimed.value.as_str() {
            "good" => Some(Arc::new(key(false))),
            "blocked" => Some(Arc::new(key(true))),
            _ => None,
        })
    }

    async fn register(
        &self,
        claimed: &Claimed,
        _: &Principal,
        _: bool,
    ) -> Result<Option<Arc<VirtualKey>>, Fault> {
        self.note(format!("registered {}", claimed.value))?;
        Ok(None)
    }
}

/// A request: what it carries, where it comes from, for what it asks.
struct Call<'a> {
    bearer: Option<&'a str>,
    headers: &'a [(&'a str, &'a str)],
    route: &'a str,
    model: &'a str,
    socket: &'a str,
    now_ms: u64,
}

const PLAIN: Call<'static> = Call {
    bearer: None,
    headers: &[],
    route: "/chat/completions",
    model: "m",
    socket: "10.0.0.1",
    now_ms: NOW_S * 1000,
};

struct World {
    provider: Arc<Provider>,
    rows: Arc<Rows>,
    federation: Federation,
}

impl World {
    fn new(settings: Value) -> Self {
        Self::with(settings, Verification::default(), Vec::new(), false)
    }

    fn with(
        settings: Value,
        verification: Verification,
        permissions: Vec<RolePermission>,
        needs_somebody: bool,
    ) -> Self {
        let (provider, rows) = (Provider::new(), Arc::new(Rows::default()));
        let verification = Verification {
            urls: vec![URL.to_owned()],
            ..verification
        };
        let settings = JwtSettings::read(&settings).unwrap();
        let jwt = Jwt::new(settings, verification, Arc::default(), None);
        let federation = Federation {
            jwt: Some(jwt.restricted(permissions, needs_somebody)),
            introspection: None,
            introspects_all: true,
            proxy: None,
            directory: rows.clone(),
            fetch: provider.clone(),
        };
        Self {
            provider,
            rows,
            federation,
        }
    }

    /// Who a request is of; why not, as status and message.
    async fn identify(&self, call: Call<'_>) -> Result<Option<Arc<Principal>>, (u16, String)> {
        let header = |name: &str| {
            let found = call.headers.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| *value)
        };
        let names = [call.route];
        let asked = Asked {
            bearer: call.bearer,
            header: &header,
            names: &names,
            is_llm_or_info: call.route != "/key/generate",
            socket: call.socket.parse().ok(),
            now_ms: call.now_ms,
            model: call.model,
            may_use: &|who: &Principal| {
                let lists = &who.model_lists;
                who.may_use(call.model)
                    && lists
                        .iter()
                        .all(|list| witgate_identity::allows(&list.models, call.model))
                    && who.team_id.as_deref() != Some("blue")
            },
        };
        match self.federation.identify(&asked).await {
            Ok(who) => Ok(who),
            Err(Problem::Refused(refusal)) => Err((refusal.status, refusal.message)),
            Err(Problem::Database(fault)) => panic!("{}", fault.0),
        }
    }

    /// Who a token with these claims stands for; what it does not say of its end is that it has an hour.
    async fn by(&self, claims: Value, call: Call<'_>) -> Result<Arc<Principal>, (u16, String)> {
        let mut claims = claims;
        let end = json!(NOW_S + 3600);
        claims.as_object_mut().unwrap().entry("exp").or_insert(end);
        let token = self
            .provider
            .token(&json!({"alg": "ES256", "kid": "e1"}), &claims);
        let bearer = Some(token.as_str());
        let found = self.identify(Call { bearer, ..call }).await;
        found.map(|who| who.expect("a token is for the provider's keys"))
    }

    async fn refused(&self, claims: Value, call: Call<'_>) -> (u16, String) {
        let told = claims.to_string();
        match self.by(claims, call).await {
            Ok(who) => panic!("{told}: {who:?}"),
            Err(refused) => refused,
        }
    }
}

fn ann() -> Value {
    json!({"user_id_jwt_field": "sub"})
}
