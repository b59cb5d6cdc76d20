//! Which tokens are good: signatures of every kind of key, and every claim wrong in turn.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

const NOW_S: f64 = 1_767_323_045.0;

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

#[test]
fn every_claim_is_checked() {
    let expected = wit::Expected {
        issuer: "https://idp.example.com".to_owned(),
        audience: Some("gw".to_owned()),
        nonce: Some("n1".to_owned()),
    };
    let good = json!({"iss": "https://idp.example.com", "aud": "gw", "nonce": "n1", "exp": NOW_S + 300.0, "iat": NOW_S});
    let check = |name: &str, value: Value| {
        let mut claims = good.as_object().unwrap().clone();
        match value {
            Value::Null => drop(claims.remove(name)),
            value => drop(claims.insert(name.to_owned(), value)),
        }
        check_claims(&claims, &expected, NOW_S)
    };
    for (name, value) in [
        ("exp", json!(NOW_S + 300.0)),
        ("exp", json!(NOW_S - 59.0)),
        ("nbf", json!(NOW_S + 59.0)),
        ("aud", json!(["gw"])),
    ] {
        assert_eq!(check(name, value.clone()), Ok(()), "{name}: {value}");
    }
    for (name, value) in [
        ("exp", json!(NOW_S - 60.0)),
        ("exp", json!("9999999999")),
        ("exp", Value::Null),
        ("nbf", json!(NOW_S + 61.0)),
        ("nbf", json!("0")),
        ("iss", json!("https://idp.example.com/")),
        ("iss", json!(["https://idp.example.com"])),
        ("iss", Value::Null),
        ("aud", json!("other")),
        ("aud", json!(["gw", "other"])),
        ("aud", Value::Null),
        ("nonce", json!("n2")),
        ("nonce", Value::Null),
    ] {
        assert!(check(name, value.clone()).is_err(), "{name}: {value}");
    }
    let mut claims = good.as_object().unwrap().clone();
    claims.insert("aud".to_owned(), json!(["gw", "other"]));
    claims.insert("azp".to_owned(), json!("gw"));
    assert_eq!(check_claims(&claims, &expected, NOW_S), Ok(()));
}

#[test]
fn a_tenant_in_the_issuer_is_the_tokens_own_and_a_uuid() {
    let expected = "https://login.example.com/{tenantid}/v2.0";
    let tenant = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let claims = |tid: &str| json!({"tid": tid}).as_object().unwrap().clone();
    assert_eq!(
        issuer(&claims(tenant), expected),
        Ok(format!("https://login.example.com/{tenant}/v2.0"))
    );
    assert!(issuer(&claims("../evil"), expected).is_err());
    assert!(issuer(&Map::new(), expected).is_err());
}
