//! Sessions of the UI: what a browser holds after its user signed in, all of it signed with the master key.
//!
//! Two things are made of a session. The cookie `token` is a JWT with LiteLLM's claims, signed as LiteLLM signs it (HS256 with
//! the master key). Its claim `key` is what a UI presents to the API; until there are virtual keys it is a statement of who the
//! user is, `sk-session-…`, signed for that purpose alone and good until it ends. Nothing of either is stored, so a session
//! cannot be ended early: it ends by itself, or when the master key changes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::{KeyHash, Principal, Role};

/// How the key of a session begins.
const PREFIX: &str = "sk-session-";
/// Bytes of a signed text that is looked at.
const SIGNED_MAX: usize = 16 << 10;

/// A user who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// LiteLLM's `user_id`.
    pub user_id: String,
    /// LiteLLM's `user_email`.
    pub user_email: Option<String>,
    /// LiteLLM's `user_role`.
    pub role: Role,
    /// Model groups that the user may call; empty allows all.
    pub models: Vec<String>,
    /// When it ends, seconds since the epoch.
    pub ends_s: u64,
}

/// Signs and checks what the gateway gives out, with the master key.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// Signs with this key.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        // HMAC takes keys of any length.
        Hmac::new_from_slice(key.as_bytes()).ok().map(Self)
    }

    /// The JWT of a session, for LiteLLM's cookie `token`. `more` are claims beside those of the session.
    #[must_use]
    pub fn token(&self, session: &Session, more: Map<String, Value>) -> String {
        let claims = json!({
            "user_id": session.user_id,
            "key": self.session_key(session),
            "user_email": session.user_email,
            "user_role": session.role.as_str(),
            "exp": session.ends_s,
        });
        let mut claims = claims.as_object().cloned().unwrap_or_default();
        claims.extend(more);
        self.jwt(&claims)
    }

    /// A JWT of these claims. What it opens is for whoever checks them to say.
    #[must_use]
    pub fn jwt(&self, claims: &Map<String, Value>) -> String {
        let head = encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = Value::from(claims.clone()).to_string();
        let signed = format!("{head}.{}", encode(claims.as_bytes()));
        let signature = encode(&self.mac(&[signed.as_bytes()]));
        format!("{signed}.{signature}")
    }

    /// The claims of a JWT that this signer made and that has not ended.
    #[must_use]
    pub fn check_token(&self, token: &str, now_s: u64) -> Option<Map<String, Value>> {
        if token.len() > SIGNED_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        self.verify(&[signed.as_bytes()], signature)?;
        let (head, claims) = signed.split_once('.')?;
        let head: Value = serde_json::from_slice(&decode(head)?).ok()?;
        let claims: Map<String, Value> = serde_json::from_slice(&decode(claims)?).ok()?;
        let ends = claims.get("exp").and_then(Value::as_u64)?;
        (head.get("alg")? == "HS256" && now_s < ends).then_some(claims)
    }

    /// The key of a session, for the API.
    #[must_use]
    pub fn session_key(&self, session: &Session) -> String {
        let facts = json!({
            "u": session.user_id, "m": session.user_email, "r": session.role.as_str(), "g": session.models,
            "e": session.ends_s,
        });
        format!(
            "{PREFIX}{}",
            self.seal("session key", facts.to_string().as_bytes())
        )
    }

    /// Who holds this key of a session, when it is one that has not ended.
    #[must_use]
    pub fn check_session_key(&self, key: &str, now_s: u64) -> Option<Principal> {
        let facts = self.open("session key", key.strip_prefix(PREFIX)?)?;
        let facts: Map<String, Value> = serde_json::from_slice(&facts).ok()?;
        let text = |name: &str| facts.get(name).and_then(Value::as_str).map(str::to_owned);
        if now_s >= facts.get("e").and_then(Value::as_u64)? {
            return None;
        }
        let models = facts.get("g").and_then(Value::as_array)?;
        Some(Principal {
            key_hash: Some(KeyHash::of(key)),
            user_id: Some(text("u")?),
            user_email: text("m"),
            team_id: Some("litellm-dashboard".to_owned()),
            role: Some(Role::parse(&text("r")?)?),
            models: models
                .iter()
                .filter_map(|model| model.as_str().map(str::to_owned))
                .collect(),
            session: true,
            ..Principal::default()
        })
    }

    /// Text that only this signer can have made for this purpose. Whoever holds it can read it.
    #[must_use]
    pub fn seal(&self, purpose: &str, content: &[u8]) -> String {
        let mac = self.mac(&[b"witgate ", purpose.as_bytes(), b"\n", content]);
        format!("{}.{}", encode(content), encode(&mac))
    }

    /// What was sealed for this purpose.
    #[must_use]
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        if sealed.len() > SIGNED_MAX {
            return None;
        }
        let (content, signature) = sealed.split_once('.')?;
        let content = decode(content)?;
        self.verify(
            &[b"witgate ", purpose.as_bytes(), b"\n", &content],
            signature,
        )?;
        Some(content)
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.fed(parts).finalize().into_bytes().into()
    }

    /// In constant time.
    fn verify(&self, parts: &[&[u8]], signature: &str) -> Option<()> {
        self.fed(parts).verify_slice(&decode(signature)?).ok()
    }

    fn fed(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(***)")
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_767_323_045;

    fn session() -> Session {
        Session {
            user_id: "ann".to_owned(),
            user_email: Some("ann@example.com".to_owned()),
            role: Role::InternalUser,
            models: vec!["gpt-4o".to_owned()],
            ends_s: NOW_S + 60,
        }
    }

    fn signer(key: &str) -> Signer {
        Signer::new(key).expect("any key")
    }

    #[test]
    fn tokens_are_jwts_as_litellm_signs_them() {
        // From PyJWT: jwt.encode({"exp": 4102444800}, "sk-1234", algorithm="HS256"), with `alg` before `typ`.
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDB9";
        let mac = signer("sk-1234").mac(&[token.as_bytes()]);
        assert_eq!(encode(&mac), "qK0SLIg-K_X7NqR2B4h8TGbe_pDoLVsUJNE8zioZcyE");
    }

    #[test]
    fn a_token_is_good_until_it_ends_and_only_unchanged() {
        let signer = signer("sk-1234");
        let more = json!({"login_method": "sso"}).as_object().cloned();
        let token = signer.token(&session(), more.unwrap_or_default());
        let claims = signer.check_token(&token, NOW_S).expect("good");
        assert_eq!(claims["user_id"], "ann");
        assert_eq!(claims["user_role"], "internal_user");
        assert_eq!(claims["login_method"], "sso");
        assert!(
            claims["key"]
                .as_str()
                .is_some_and(|key| key.starts_with(PREFIX))
        );
        assert!(signer.check_token(&token, NOW_S + 60).is_none());
        assert!(
            self::signer("sk-12345")
                .check_token(&token, NOW_S)
                .is_none()
        );
        let unsigned = format!(
            "{}.{}.",
            encode(br#"{"alg":"none"}"#),
            token.split('.').nth(1).unwrap_or_default()
        );
        for wrong in [
            "",
            "..",
            &token[..token.len() - 2],
            &unsigned,
            &format!("x{token}"),
        ] {
            assert!(signer.check_token(wrong, NOW_S).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_session_key_says_who_holds_it_and_that_it_is_a_session() {
        let signer = signer("sk-1234");
        let key = signer.session_key(&session());
        let who = signer.check_session_key(&key, NOW_S).expect("good");
        assert_eq!(who.user_id.as_deref(), Some("ann"));
        assert_eq!(who.role, Some(Role::InternalUser));
        assert_eq!(who.models, ["gpt-4o"]);
        assert!(who.session && !who.is_admin());
        assert!(signer.check_session_key(&key, NOW_S + 60).is_none());
        // What was sealed for something else is no key.
        let other = signer.seal(
            "login",
            br#"{"u":"eve","r":"proxy_admin","g":[],"e":9999999999}"#,
        );
        assert!(
            signer
                .check_session_key(&format!("{PREFIX}{other}"), NOW_S)
                .is_none()
        );
        assert!(
            self::signer("other")
                .check_session_key(&key, NOW_S)
                .is_none()
        );
    }

    #[test]
    fn what_is_sealed_for_one_purpose_opens_for_no_other() {
        let signer = signer("sk-1234");
        let sealed = signer.seal("login", b"content");
        assert_eq!(
            signer.open("login", &sealed).as_deref(),
            Some(&b"content"[..])
        );
        assert_eq!(signer.open("session key", &sealed), None);
        assert_eq!(signer.open("login", &sealed.replace('.', "A.")), None);
        assert_eq!(signer.open("login", "no seal"), None);
        assert!(!format!("{signer:?}").contains("sk-1234"));
    }

    #[test]
    fn what_is_too_long_is_not_looked_at() {
        let signer = signer("sk-1234");
        let token = |length: usize| {
            let claims = json!({"exp": NOW_S + 60, "more": "x".repeat(length)});
            signer.jwt(claims.as_object().unwrap())
        };
        assert!(signer.check_token(&token(10_000), NOW_S).is_some());
        assert!(signer.check_token(&token(20_000), NOW_S).is_none());
        for (length, is_opened) in [(10_000, true), (20_000, false)] {
            let sealed = signer.seal("login", &vec![b'x'; length]);
            assert_eq!(signer.open("login", &sealed).is_some(), is_opened);
        }
    }
}
