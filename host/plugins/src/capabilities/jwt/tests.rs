//! Which claims are good: every one of them wrong in turn.

use serde_json::json;

use super::*;

const NOW_S: f64 = 1_767_323_045.0;

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
