//! An issuer of tokens that says whatever it is told to say, also what no issuer should: for everything that a well-behaved
//! provider never does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::http1::Recorded;
use crate::reply::Reply;
use crate::vendor::{FakeVendor, Judgement};

/// An issuer of tokens.
#[derive(Debug)]
pub struct FakeIssuer {
    vendor: FakeVendor,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    pair: EcdsaKeyPair,
    generation: u32,
    /// What is said of opaque tokens.
    known: HashMap<String, Value>,
}

/// How a token is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoilt {
    /// Signed with a key that was never published, under the id of one that was.
    Forged,
    /// Under a key id that was never published.
    ForeignKey,
    /// Without a signature, and saying so.
    Unsigned,
    /// With the public key as a shared secret.
    Confused,
    /// With other claims than those that were signed.
    Changed,
}

impl FakeIssuer {
    /// Every way to spoil a token.
    pub const SPOILT: [Spoilt; 5] = [
        Spoilt::Forged,
        Spoilt::ForeignKey,
        Spoilt::Unsigned,
        Spoilt::Confused,
        Spoilt::Changed,
    ];

    /// Starts it.
    pub async fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            pair: pair(),
            generation: 1,
            known: HashMap::new(),
        }));
        let own = shared.clone();
        let vendor = FakeVendor::start(move |request| judge(&own.lock(), request)).await;
        Self { vendor, shared }
    }

    /// Its issuer, where its discovery document is.
    pub fn issuer(&self) -> String {
        self.vendor.origin()
    }

    /// Where its keys are.
    pub fn keys_url(&self) -> String {
        format!("{}/keys", self.vendor.origin())
    }

    /// How often its keys were asked for.
    pub fn key_requests(&self) -> usize {
        let all = self.vendor.requests().all();
        all.iter()
            .filter(|request| request.path() == "/keys")
            .count()
    }

    /// The server, to script its answers.
    pub fn vendor(&self) -> &FakeVendor {
        &self.vendor
    }

    /// Signs with another key from now on, and publishes only that.
    pub fn rotate(&self) {
        let mut shared = self.shared.lock();
        shared.pair = pair();
        shared.generation += 1;
    }

    /// Knows an opaque token from now on; null forgets it.
    pub fn knows(&self, token: &str, claims: Value) -> &Self {
        self.shared.lock().known.insert(token.to_owned(), claims);
        self
    }

    /// A token with these claims. It ends in ten minutes unless they say otherwise; null takes a claim away.
    pub fn token(&self, claims: Value) -> String {
        let shared = self.shared.lock();
        let header = json!({"alg": "ES256", "kid": shared.kid()});
        sign(&shared.pair, &header, &self.claims(claims))
    }

    /// The same, spoilt.
    pub fn spoilt(&self, how: Spoilt, claims: Value) -> String {
        let good = self.token(claims.clone());
        let shared = self.shared.lock();
        let claims = self.claims(claims);
        let with = |alg: &str| json!({"alg": alg, "kid": shared.kid()});
        match how {
            Spoilt::Forged => sign(&pair(), &with("ES256"), &claims),
            Spoilt::ForeignKey => sign(
                &shared.pair,
                &json!({"alg": "ES256", "kid": "another"}),
                &claims,
            ),
            Spoilt::Unsigned => format!("{}.", unsigned(&with("none"), &claims)),
            Spoilt::Confused => {
                let text = unsigned(&with("HS256"), &claims);
                let secret = shared.pair.public_key().as_ref();
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                let tag = hmac::sign(&key, text.as_bytes());
                format!("{text}.{}", encode(tag.as_ref()))
            }
            Spoilt::Changed => {
                let mut pieces: Vec<&str> = good.split('.').collect();
                let mut claims = claims;
                claims["user_id"] = json!("eve");
                let other = encode(claims.to_string().as_bytes());
                pieces[1] = &other;
                pieces.join(".")
            }
        }
    }

    fn claims(&self, claims: Value) -> Value {
        let mut all = json!({"iss": self.issuer(), "exp": now_s() + 600});
        let members = all.as_object_mut().expect("an object");
        let Value::Object(claims) = claims else {
            panic!("not an object: {claims}")
        };
        members.extend(claims);
        members.retain(|_, value| !value.is_null());
        all
    }
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

impl Shared {
    fn kid(&self) -> String {
        format!("key-{}", self.generation)
    }
}

fn judge(shared: &Shared, request: &Recorded) -> Judgement {
    let origin = format!("http://{}", request.header("host").unwrap_or_default());
    let bearer = request.header("authorization").unwrap_or_default();
    let bearer = bearer.strip_prefix("Bearer ").unwrap_or_default();
    match (request.method.as_str(), request.path()) {
        ("GET", "/.well-known/openid-configuration") => answer(&json!({
            "issuer": origin, "jwks_uri": format!("{origin}/keys"),
        })),
        ("GET", "/keys") => {
            let point = shared.pair.public_key().as_ref();
            answer(&json!({"keys": [{
                "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": shared.kid(),
                "x": encode(&point[1..33]), "y": encode(&point[33..]),
            }]}))
        }
        ("GET", "/userinfo" | "/tokeninfo") => match shared.known.get(bearer) {
            Some(known) if !known.is_null() => answer(known),
            _ => Err((401, "an unknown token".to_owned())),
        },
        other => Err((404, format!("{other:?}"))),
    }
}

fn answer(value: &Value) -> Judgement {
    let headers = [("content-type", "application/json")];
    Ok((Reply::status(200, &headers, value.to_string()), Vec::new()))
}

fn pair() -> EcdsaKeyPair {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key")
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| encode(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn sign(pair: &EcdsaKeyPair, header: &Value, claims: &Value) -> String {
    let text = unsigned(header, claims);
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes());
    format!("{text}.{}", encode(signature.expect("signed").as_ref()))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
