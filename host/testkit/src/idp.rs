//! An OpenID provider: it checks every parameter of a login, PKCE and the client, signs ID tokens, and spoils them when told to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clouds::PRIVATE_KEY;
use crate::http1::Recorded;
use crate::journal::Journal;
use crate::reply::Reply;
use crate::vendor::{FakeVendor, Judgement};

/// An OpenID provider.
#[derive(Debug)]
pub struct FakeIdp {
    vendor: FakeVendor,
    shared: Arc<Mutex<Shared>>,
}

/// What the next ID tokens are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Token {
    /// As they should be.
    #[default]
    Good,
    /// For another login.
    OtherNonce,
    /// For another client.
    OtherAudience,
    /// Of another issuer.
    OtherIssuer,
    /// Over since two minutes.
    Expired,
    /// With a signature that is somebody else's.
    Forged,
    /// Without a signature, and saying so.
    Unsigned,
}

#[derive(Debug, Default)]
struct Shared {
    /// What userinfo and ID token say of whoever signs in.
    user: Value,
    token: Token,
    /// By code: challenge, nonce and redirect URI of its login.
    codes: HashMap<String, Begun>,
    /// Errors that `authorize` sends back in place of a code.
    refusal: Option<String>,
}

#[derive(Debug)]
struct Begun {
    challenge: Option<String>,
    nonce: String,
    redirect_uri: String,
}

impl FakeIdp {
    /// The gateway's id here.
    pub const CLIENT_ID: &str = "gateway-client";
    /// And its secret.
    pub const CLIENT_SECRET: &str = "idp-client-secret-4711";

    /// Starts it.
    pub async fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            user: json!({
                "sub": "u-1", "preferred_username": "ann", "email": "ann@example.com", "email_verified": true,
                "first_name": "Ann", "last_name": "Ash",
            }),
            ..Shared::default()
        }));
        let own = shared.clone();
        let vendor = FakeVendor::start(move |request| judge(&mut own.lock(), request)).await;
        Self { vendor, shared }
    }

    /// Its issuer.
    pub fn issuer(&self) -> String {
        self.vendor.origin()
    }

    /// Says this of whoever signs in, beside what it says already; null takes a member away.
    pub fn says(&self, more: Value) -> &Self {
        let mut shared = self.shared.lock();
        let Value::Object(more) = more else {
            panic!("not an object: {more}")
        };
        for (name, value) in more {
            match value {
                Value::Null => drop(
                    shared
                        .user
                        .as_object_mut()
                        .expect("an object")
                        .remove(&name),
                ),
                value => shared.user[name] = value,
            }
        }
        self
    }

    /// Gives ID tokens of this kind from now on.
    pub fn gives(&self, token: Token) -> &Self {
        self.shared.lock().token = token;
        self
    }

    /// Sends people back with this error from now on.
    pub fn refuses(&self, error: &str) -> &Self {
        self.shared.lock().refusal = Some(error.to_owned());
        self
    }

    /// Every request seen.
    pub fn requests(&self) -> &Journal<Recorded> {
        self.vendor.requests()
    }

    /// Panics when it refused a request by itself.
    pub fn refused_nothing(&self) {
        self.vendor.refused_nothing();
    }
}

fn judge(shared: &mut Shared, request: &Recorded) -> Judgement {
    let origin = format!("http://{}", request.header("host").unwrap_or_default());
    match (request.method.as_str(), request.path()) {
        ("GET", "/.well-known/openid-configuration") => {
            let at = |path: &str| format!("{origin}{path}");
            answer(&json!({
                "issuer": origin, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
                "userinfo_endpoint": at("/userinfo"), "jwks_uri": at("/keys"),
            }))
        }
        ("GET", "/authorize") => authorize(shared, request),
        ("POST", "/token") => token(shared, request, &origin),
        ("GET", "/userinfo") => match request.header("authorization") {
            Some("Bearer access-token-1") => answer(&shared.user),
            other => Err((401, format!("authorization is {other:?}"))),
        },
        ("GET", "/keys") => {
            let key: PublicKeyComponents<Vec<u8>> = pair().public().into();
            answer(&json!({"keys": [{
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "key-1", "n": encode(&key.n), "e": encode(&key.e),
            }]}))
        }
        other => Err((404, format!("{other:?}"))),
    }
}

/// What a browser is sent here for.
fn authorize(shared: &mut Shared, request: &Recorded) -> Judgement {
    let query = pairs(request.target.split_once('?').unwrap_or_default().1);
    let get = |name: &str| query.get(name).map(String::as_str);
    let need = |name: &str| get(name).ok_or((400, format!("no {name}")));
    let (state, nonce) = (need("state")?, need("nonce")?);
    let redirect_uri = need("redirect_uri")?;
    if get("response_type") != Some("code") || get("client_id") != Some(FakeIdp::CLIENT_ID) {
        return Err((400, format!("another client or response type: {query:?}")));
    }
    if !need("scope")?.split(' ').any(|scope| scope == "openid") {
        return Err((400, "the scope `openid` is missing".to_owned()));
    }
    let challenge = get("code_challenge").map(str::to_owned);
    let good = challenge.as_ref().is_none_or(|challenge| {
        challenge.len() == 43 && get("code_challenge_method") == Some("S256")
    });
    if !good || state.len() < 8 || nonce.len() < 20 {
        return Err((400, format!("weak parameters: {query:?}")));
    }
    let back = match &shared.refusal {
        Some(error) => format!("error={error}&error_description=%3Cscript%3E"),
        None => {
            let code = format!("code-{}", shared.codes.len() + 1);
            let begun = Begun {
                challenge,
                nonce: nonce.to_owned(),
                redirect_uri: redirect_uri.to_owned(),
            };
            shared.codes.insert(code.clone(), begun);
            format!("code={code}")
        }
    };
    let location = format!("{redirect_uri}?{back}&state={state}");
    Ok((
        Reply::status(302, &[("location", &location)], ""),
        Vec::new(),
    ))
}

/// A code becomes tokens, once, for the client that began, who knows the verifier.
fn token(shared: &mut Shared, request: &Recorded, issuer: &str) -> Judgement {
    let form = pairs(&String::from_utf8_lossy(&request.body));
    let get = |name: &str| form.get(name).map(String::as_str);
    let client = format!("{}:{}", FakeIdp::CLIENT_ID, FakeIdp::CLIENT_SECRET);
    let basic = format!("Basic {}", STANDARD.encode(client));
    if request.header("authorization") != Some(&basic) {
        return Err((401, json!({"error": "invalid_client"}).to_string()));
    }
    if get("grant_type") != Some("authorization_code") {
        return Err((400, json!({"error": "unsupported_grant_type"}).to_string()));
    }
    let code = get("code").unwrap_or_default();
    let wrong = || (400, json!({"error": "invalid_grant"}).to_string());
    let begun = shared.codes.get_mut(code).ok_or_else(wrong)?;
    // A code is good once; it stays in the map so that numbers go on.
    let redirect_uri = std::mem::take(&mut begun.redirect_uri);
    let verified = begun.challenge.as_ref().is_none_or(|challenge| {
        let verifier = get("code_verifier").unwrap_or_default();
        encode(&Sha256::digest(verifier)) == *challenge
    });
    if redirect_uri.is_empty() || get("redirect_uri") != Some(&redirect_uri) || !verified {
        return Err(wrong());
    }
    let nonce = begun.nonce.clone();
    let id_token = id_token(shared, issuer, &nonce);
    answer(&json!({
        "access_token": "access-token-1", "token_type": "Bearer", "expires_in": 300, "id_token": id_token,
    }))
}

fn id_token(shared: &Shared, issuer: &str, nonce: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let pick = |spoilt: Token, value: &str| match shared.token == spoilt {
        true => format!("another-{value}"),
        false => value.to_owned(),
    };
    let end = if shared.token == Token::Expired {
        now - 120
    } else {
        now + 300
    };
    let mut claims = json!({
        "iss": pick(Token::OtherIssuer, issuer), "aud": pick(Token::OtherAudience, FakeIdp::CLIENT_ID),
        "nonce": pick(Token::OtherNonce, nonce), "exp": end, "iat": now,
    });
    let members = claims.as_object_mut().expect("an object");
    members.extend(shared.user.as_object().expect("an object").clone());
    let algorithm = if shared.token == Token::Unsigned {
        "none"
    } else {
        "RS256"
    };
    let header = json!({"alg": algorithm, "kid": "key-1"});
    let signed = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let pair = pair();
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .expect("signed");
    match shared.token {
        Token::Unsigned => signature.clear(),
        Token::Forged => signature[7] ^= 1,
        _ => {}
    }
    format!("{signed}.{}", encode(&signature))
}

fn pair() -> RsaKeyPair {
    let der: String = PRIVATE_KEY
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = STANDARD.decode(der).expect("Base64");
    RsaKeyPair::from_pkcs8(&der).expect("a key")
}

fn answer(value: &Value) -> Judgement {
    Ok((Reply::json(200, value), Vec::new()))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The pairs of a query or a form, decoded.
fn pairs(text: &str) -> HashMap<String, String> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'+' => bytes.push(b' '),
                b'%' => {
                    let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                    bytes.extend(hex::decode(digits).expect("hexadecimal"));
                }
                other => bytes.push(other),
            }
        }
        String::from_utf8(bytes).expect("UTF-8")
    };
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}
