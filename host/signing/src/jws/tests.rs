//! Signatures of every kind of key, and tokens that are none.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let signature = sign(text.as_bytes());
    format!("{text}.{}", encode(&signature))
}

fn elliptic() -> (EcdsaKeyPair, Jwk) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
        .unwrap();
    let point = pair.public_key().as_ref();
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "e1", "x": encode(&point[1..33]), "y": encode(&point[33..])});
    (pair, serde_json::from_value(key).unwrap())
}

#[test]
fn signatures_are_verified_and_only_with_the_key_they_are_for() {
    let random = SystemRandom::new();
    let (pair, key) = elliptic();
    let sign = |text: &[u8]| pair.sign(&random, text).unwrap().as_ref().to_vec();
    let token = signed(
        &json!({"alg": "ES256", "kid": "e1"}),
        &json!({"sub": "ann"}),
        sign,
    );
    let parts = Parts::of(&token).unwrap();
    assert!(key.fits(&parts.header) && key.verifies(&parts));
    let (_, other) = elliptic();
    assert!(other.fits(&parts.header) && !other.verifies(&parts));

    let edwards = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let point = encode(edwards.public_key().as_ref());
    let key: Jwk =
        serde_json::from_value(json!({"kty": "OKP", "crv": "Ed25519", "x": point})).unwrap();
    let sign = |text: &[u8]| edwards.sign(text).as_ref().to_vec();
    let token = signed(&json!({"alg": "EdDSA"}), &json!({"sub": "ann"}), sign);
    let parts = Parts::of(&token).unwrap();
    assert!(key.fits(&parts.header) && key.verifies(&parts));

    // One claim changed under the same signature.
    let (head, rest) = token.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let forged = format!("{head}.{}.{signature}", encode(br#"{"sub":"eve"}"#));
    assert!(!key.verifies(&Parts::of(&forged).unwrap()));
}

/// P-521 is another library's than the rest.
#[test]
fn es512_is_verified_with_its_own_curve_only() {
    use p521::ecdsa::signature::Signer as _;
    // A scalar of 521 bits: its first byte is 0 or 1.
    let mut bytes = [7; 66];
    bytes[0] = 0;
    let secret = p521::ecdsa::SigningKey::from_slice(&bytes).unwrap();
    let point = secret.verifying_key().to_sec1_point(false);
    let (x, y) = (
        encode(&point.x().unwrap()[..]),
        encode(&point.y().unwrap()[..]),
    );
    let key = json!({"kty": "EC", "crv": "P-521", "kid": "e5", "x": x, "y": y});
    let key: Jwk = serde_json::from_value(key).unwrap();
    let sign = |text: &[u8]| {
        let signature: p521::ecdsa::Signature = secret.sign(text);
        signature.to_bytes().to_vec()
    };
    let header = json!({"alg": "ES512", "kid": "e5"});
    let token = signed(&header, &json!({"sub": "ann"}), sign);
    let parts = Parts::of(&token).unwrap();
    assert!(key.fits(&parts.header) && key.verifies(&parts));
    let forged = signed(&header, &json!({"sub": "ann"}), |_| vec![7; 132]);
    assert!(!key.verifies(&Parts::of(&forged).unwrap()));
    let (_, other) = elliptic();
    assert!(!other.fits(&parts.header));
}

#[test]
fn sets_are_lists_or_one_key_and_unknown_kinds_do_no_harm() {
    let count = |set: Value| Jwk::set(set.to_string().as_bytes()).map(|keys| keys.len());
    let key = || json!({"kty": "RSA", "kid": "a"});
    assert_eq!(count(json!({"keys": [key(), {"kty": 7}, key()]})), Some(2));
    assert_eq!(count(json!([key()])), Some(1));
    assert_eq!(count(key()), Some(1));
    for none in [json!({"jwks_uri": "x"}), json!({"keys": 1}), json!("x")] {
        assert_eq!(count(none), None);
    }
    assert!(Jwk::set(b"<html>").is_none());
}

#[test]
fn the_key_says_what_it_is_for_not_the_token() {
    let key = |more: Value| -> Jwk {
        let mut all = json!({"kty": "RSA", "kid": "a"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    };
    let header = |alg: &str, kid: Option<&str>| Header {
        alg: alg.to_owned(),
        kid: kid.map(str::to_owned),
        crit: None,
    };
    for (key, header, fits) in [
        (key(json!({})), header("RS256", Some("a")), true),
        (key(json!({})), header("RS256", None), true),
        (key(json!({})), header("RS256", Some("b")), false),
        (key(json!({})), header("HS256", Some("a")), false),
        (key(json!({})), header("none", Some("a")), false),
        (key(json!({})), header("ES256", Some("a")), false),
        (
            key(json!({"alg": "RS256"})),
            header("RS512", Some("a")),
            false,
        ),
        (
            key(json!({"use": "enc"})),
            header("RS256", Some("a")),
            false,
        ),
        (
            key(json!({"kty": "oct", "k": "c2VjcmV0"})),
            header("HS256", Some("a")),
            false,
        ),
    ] {
        assert_eq!(key.fits(&header), fits, "{key:?} {}", header.alg);
    }
}

/// Claims, the grace, and what is wrong with them at the second 1000.
#[test]
fn a_token_has_a_beginning_and_an_end() {
    use NotNow::{Endless, Expired, NotYet};
    for (claims, grace, wanted) in [
        (json!({"exp": 1001}), 0.0, Ok(())),
        (json!({"exp": 1000.5, "nbf": 999.5}), 0.0, Ok(())),
        (json!({"exp": 1001, "nbf": 1000}), 0.0, Ok(())),
        (json!({"exp": 1000}), 0.0, Err(Expired)),
        (json!({"exp": 1000}), 5.0, Ok(())),
        (json!({"exp": 995}), 5.0, Err(Expired)),
        (json!({}), 5.0, Err(Endless)),
        (json!({"exp": null}), 0.0, Err(Endless)),
        (json!({"exp": "1001"}), 0.0, Err(Endless)),
        (json!({"exp": 1001, "nbf": 1001}), 0.0, Err(NotYet)),
        (json!({"exp": 1001, "nbf": 1005}), 5.0, Ok(())),
        (json!({"exp": 1001, "nbf": 1005.5}), 5.0, Err(NotYet)),
        (json!({"exp": 1001, "nbf": null}), 0.0, Err(NotYet)),
        (json!({"exp": 1001, "nbf": "999"}), 0.0, Err(NotYet)),
    ] {
        let is = check_time(claims.as_object().unwrap(), 1000.0, grace);
        assert_eq!(is, wanted, "{claims} {grace}");
    }
}

#[test]
fn a_key_is_of_one_kind_and_one_curve_and_has_an_id() {
    let fits = |key: Value, alg: &str| {
        let key: Jwk = serde_json::from_value(key).unwrap();
        let header = json!({"alg": alg, "kid": "a"});
        key.fits(&serde_json::from_value(header).unwrap())
    };
    for (alg, kty, crv) in [
        ("ES256", "EC", "P-256"),
        ("ES384", "EC", "P-384"),
        ("ES512", "EC", "P-521"),
        ("EdDSA", "OKP", "Ed25519"),
    ] {
        assert!(fits(json!({"kty": kty, "crv": crv, "kid": "a"}), alg));
        assert!(!fits(json!({"kty": kty, "crv": "P-0", "kid": "a"}), alg));
        assert!(!fits(json!({"kty": "RSA", "crv": crv, "kid": "a"}), alg));
        assert!(
            !fits(json!({"kty": kty, "crv": crv}), alg),
            "a set names its keys"
        );
    }
}

#[test]
fn a_set_has_a_bound() {
    let keys = vec![json!({"kty": "RSA"}); KEYS_MAX + 1];
    let set = json!({"keys": keys}).to_string();
    assert_eq!(Jwk::set(set.as_bytes()).unwrap().len(), KEYS_MAX);
}

#[test]
fn what_is_no_token_is_told_so() {
    let header = encode(br#"{"alg":"RS256"}"#);
    for (token, why) in [
        (String::new(), "three parts"),
        (format!("{header}.e30"), "three parts"),
        (format!("{header}.e30.x.y"), "three parts"),
        (format!("{header}.e30.!"), "base64url"),
        (format!("e30.e30.x{}", encode(b"x")), "header"),
        (format!("{header}.{}.eA", encode(b"[]")), "JSON object"),
        (
            format!("{}.e30.eA", encode(br#"{"alg":"RS256","crit":["x"]}"#)),
            "crit",
        ),
        ("x".repeat(TOKEN_MAX + 1), "64 KiB"),
    ] {
        let error = Parts::of(&token).err().unwrap_or("nothing");
        assert!(error.contains(why), "{error} is not about {why}");
    }
}

/// A key of a P-256 pair in PEM: the head of its SubjectPublicKeyInfo is the same for all of them.
fn armoured(pair: &EcdsaKeyPair) -> String {
    const HEAD: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let der = [&HEAD[..], pair.public_key().as_ref()].concat();
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n")
}

#[test]
fn keys_in_pem_verify_what_they_signed() {
    let random = SystemRandom::new();
    let (pair, _) = elliptic();
    let (other, _) = elliptic();
    let sign = |text: &[u8]| pair.sign(&random, text).unwrap().as_ref().to_vec();
    let header = json!({"alg": "ES256", "kid": "any"});
    let token = signed(&header, &json!({"sub": "ann"}), sign);
    let parts = Parts::of(&token).unwrap();
    let verified = |body: &str| {
        let keys = Jwk::set(body.as_bytes()).unwrap_or_default();
        let mut fitting = keys.iter().filter(|key| key.fits(&parts.header));
        fitting.any(|key| key.verifies(&parts))
    };
    let own = armoured(&pair);
    assert!(verified(&own) && verified(&format!("\n{}{own}", armoured(&other))));
    assert!(!verified(&armoured(&other)));
    let by_id = |id: &str, key: &str| json!({ id: key }).to_string();
    assert!(verified(&by_id("any", &own)));
    assert!(!verified(&by_id("another", &own)), "of another id");
    for broken in [
        "",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ] {
        assert!(Jwk::set(broken.as_bytes()).is_none(), "{broken}");
    }
    // Cut anywhere, it is no key, and nothing breaks.
    let der: String = own.lines().filter(|line| !line.starts_with('-')).collect();
    for end in (0..der.len()).step_by(4) {
        let cut = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----",
            &der[..end]
        );
        assert!(!verified(&cut), "{end}");
    }
}

/// Made with OpenSSL: `openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=issuer`, and a token signed with its key.
#[test]
fn the_key_of_a_certificate_is_read() {
    let certificate = include_str!("../../testdata/issuer.pem");
    let token = include_str!("../../testdata/token.jwt").trim();
    let keys = Jwk::set(certificate.as_bytes()).unwrap();
    let parts = Parts::of(token).unwrap();
    assert_eq!(keys.len(), 1);
    assert!(keys[0].fits(&parts.header) && keys[0].verifies(&parts));
}
