//! What is a secret, and what only looks like one. Tokens are put together here, so that no scanner of
//! repositories finds one in this file.

mod tokens;

use hide_secrets::config::{Detectors, Settings};
use hide_secrets::mask::{Counts, MASK, whole};
use hide_secrets::rules::{RULES, tail};
use tokens::random;

fn settings(json: &str) -> Detectors {
    let settings: Settings = serde_json::from_str(json).expect("settings");
    Detectors::new(&settings).expect("detectors")
}

fn mask(text: &str) -> (String, Counts) {
    mask_with(&settings("{}"), text)
}

fn mask_with(detectors: &Detectors, text: &str) -> (String, Counts) {
    let mut counts = Counts::new();
    let masked = whole(detectors, text, &mut counts).unwrap_or_else(|| text.to_owned());
    (masked, counts)
}

#[track_caller]
fn expect(text: &str, kind: &str, secret: &str) {
    let (masked, counts) = mask(text);
    assert_eq!(masked, text.replace(secret, MASK), "in {text:?}");
    assert_eq!(
        counts.keys().copied().collect::<Vec<_>>(),
        [kind],
        "in {text:?}"
    );
}

#[test]
fn every_rule_finds_its_token_wherever_it_stands() {
    for (index, rule) in RULES.iter().enumerate() {
        for length in [rule.min, rule.max.min(300)] {
            let token = format!("{}{}", rule.prefix, random(index as u64, rule.tail, length));
            for text in [
                token.clone(),
                format!("use {token} now"),
                format!("\"{token}\""),
                format!("see ({token}), please"),
                format!("url?x={token}&y=1"),
                format!("line\\n{token}\\nline"),
                format!("日本{token}語"),
            ] {
                let (masked, counts) = mask(&text);
                assert!(
                    !masked.contains(&token[rule.prefix.len()..]),
                    "{} in {text:?} → {masked:?}",
                    rule.kind
                );
                assert!(counts.values().sum::<u32>() == 1, "{counts:?} in {text:?}");
            }
        }
    }
}

#[test]
fn a_tail_of_the_wrong_length_or_within_a_word_is_no_token() {
    for (index, rule) in RULES.iter().enumerate() {
        if rule.tail & tail::ALNUM != tail::ALNUM || rule.min != rule.max {
            continue;
        }
        let token = format!(
            "{}{}",
            rule.prefix,
            random(index as u64, tail::ALNUM, rule.min + 1)
        );
        assert_eq!(mask(&token).0, token, "one too long");
        let token = format!(
            "{}{}",
            rule.prefix,
            random(index as u64, tail::ALNUM, rule.min)
        );
        let within = format!("x{token}");
        assert_eq!(mask(&within).0, within, "within a word");
    }
}

#[test]
fn tokens_with_parts() {
    let part = |length| random(7, tail::ALNUM, length);
    let jwt = format!("eyJ{}.eyJ{}.{}", part(30), part(40), part(43));
    expect(&format!("Authorization: Bearer {jwt}"), "jwt", &jwt);
    let discord = format!("M{}.{}.{}", part(23), part(6), part(27));
    expect(&format!("bot {discord}"), "discord_bot_token", &discord);
    let telegram = format!("{}:AA{}", random(1, tail::DIGIT, 9), part(33));
    expect(&format!("bot {telegram}!"), "telegram_bot_token", &telegram);
    let mailchimp = format!("{}-us12", random(3, tail::HEX, 32));
    expect(&format!("call {mailchimp}"), "mailchimp_key", &mailchimp);
    let terraform = format!("{}.atlasv1.{}", part(14), part(67));
    expect(&format!("use {terraform}"), "terraform_token", &terraform);
}

#[test]
fn assignments_by_the_name_before_them() {
    let secret = format!("{}-{}", random(5, tail::LOW, 8), random(6, tail::ALNUM, 4));
    for text in [
        "API_KEY = '{}'",
        "api-key: {}",
        "apiKey=\"{}\"",
        "\"password\": \"{}\"",
        "'db_password':'{}'",
        "PASSWORD={}",
        "set client_secret to: client_secret = {}.",
        "x?access_token={}&y=1",
        "{\\\"token\\\": \\\"{}\\\"}",
        "passwd := \"{}\"",
        "export AWS_SECRET_ACCESS_KEY={}",
        "AccountKey={};EndpointSuffix=core",
        "//registry.example.com/:_authToken={}",
        "secret   =   `{}`",
        "the pwd: {}, ok?",
        // As many blanks as there may be.
        "password        = {}",
    ] {
        expect(&text.replace("{}", &secret), "keyword", &secret);
    }
}

#[test]
fn the_example_of_the_reference() {
    let token = format!("sk_{}", random(9, tail::ALNUM, 24));
    assert_eq!(
        mask(&format!("API_KEY = '{token}'")).0,
        "API_KEY = '[REDACTED]'"
    );
}

#[test]
fn passwords_in_urls() {
    for (text, password) in [
        ("postgres://app:hunter@db:5432/x", "hunter"),
        ("see https://me:p%40ss@example.com/a@b", "p%40ss"),
        ("redis://:foo.bar@cache", "foo.bar"),
        ("amqp://u:a@b@host", "a@b"),
    ] {
        expect(text, "basic_auth", password);
    }
}

#[test]
fn private_keys_of_every_sort() {
    let line = |seed| random(seed, tail::B64 & !tail::EQUALS, 64);
    for label in [
        "RSA PRIVATE KEY",
        "PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "EC PRIVATE KEY",
    ] {
        for (separator, headers) in [
            ("\n", ""),
            ("\\n", ""),
            (
                "\n",
                "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\n",
            ),
        ] {
            let body = [line(1), line(2), "c2hvcnQ=".to_owned()].join(separator);
            let key = format!(
                "-----BEGIN {label}-----{separator}{headers}{body}{separator}-----END {label}-----"
            );
            expect(
                &format!("my key:\n{key}\nthanks, it is \"mine\""),
                "private_key",
                &key,
            );
        }
        // Cut off by the client: what is there is secret all the same.
        let key = format!("-----BEGIN {label}-----\n{}\n{}", line(3), line(4));
        expect(&key, "private_key", &key);
    }
}

#[test]
fn random_strings_in_quotes() {
    // Seeds of which the generated text is as mixed as random text normally is.
    for seed in 0..40 {
        let hex = random(seed, tail::HEX, 40);
        expect(&format!("x = \"{hex}\""), "hex_high_entropy", &hex);
        assert_eq!(
            mask(&format!("x = {hex}")).0,
            format!("x = {hex}"),
            "not in quotes"
        );
    }
    let found = (0..100)
        .filter(|seed| {
            mask(&format!("'{}'", random(*seed, tail::ALNUM, 32)))
                .1
                .len()
                == 1
        })
        .count();
    assert!(found >= 90, "{found} of 100 random base64 strings found");
}

#[test]
fn ordinary_text_is_left_alone() {
    let text = include_str!("cases/untouched.txt");
    for line in text.lines() {
        assert_eq!(mask(line), (line.to_owned(), Counts::new()));
    }
    assert_eq!(mask(text).0, text);
    let image = format!(
        "data:image/jpeg;base64,{}",
        random(4, tail::B64 & !tail::EQUALS, 200_000)
    );
    assert_eq!(mask(&image).0, image);
}

#[test]
fn a_secret_longer_than_a_group_is_masked_to_its_end() {
    let token = format!(
        "eyJ{}.eyJ{}.{}",
        random(1, tail::ALNUM, 40),
        random(2, tail::ALNUM, 6000),
        random(3, tail::ALNUM, 86)
    );
    assert_eq!(mask(&format!("a {token} b")).0, "a [REDACTED] b");
}

#[test]
fn detectors_can_be_chosen() {
    let aws = format!("AKIA{}", random(1, tail::UP, 16));
    let github = format!("ghp_{}", random(2, tail::ALNUM, 36));
    let text = format!("{aws} {github} postgres://a:b@c");
    let only = |config: &str| {
        mask_with(
            &settings(&format!("{{\"detect_secrets_config\":{config}}}")),
            &text,
        )
    };
    let kinds = |config: &str| only(config).1.into_keys().collect::<Vec<_>>();
    assert_eq!(
        kinds(r#"{"plugins_used":[{"name":"AWSKeyDetector"}]}"#),
        ["aws_access_key"]
    );
    assert_eq!(
        kinds(r#"{"plugins_used":[{"name":"GitHubTokenCustomDetector","path":"file://x"}]}"#),
        ["github_token"]
    );
    assert_eq!(
        kinds(r#"{"plugins_used":[{"name":"BasicAuthDetector"}]}"#),
        ["basic_auth"]
    );
    assert_eq!(kinds(r#"{"plugins_used":[]}"#), Vec::<&str>::new());
}

#[test]
fn limits_of_entropy_are_checked_and_used() {
    let hex = random(1, tail::HEX, 40);
    let text = format!("\"{hex}\"");
    let with = |limit: f32| {
        settings(&format!(
            r#"{{"detect_secrets_config":{{"plugins_used":[{{"name":"HexHighEntropyString","limit":{limit}}}]}}}}"#
        ))
    };
    assert_eq!(mask_with(&with(3.0), &text).1.len(), 1);
    assert_eq!(mask_with(&with(4.5), &text).1.len(), 0);
    let bad: Settings = serde_json::from_str(
        r#"{"detect_secrets_config":{"plugins_used":[{"name":"HexHighEntropyString","limit":30}]}}"#,
    )
    .expect("settings");
    let error = Detectors::new(&bad).expect_err("out of range");
    assert!(error.text().contains("between 0 and 8"), "{error}");
}
