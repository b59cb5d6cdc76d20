//! AWS's own examples: the Signature Version 4 test suite, the S3 reference's and the signing guide's.

use http::Request;
use sha2::{Digest, Sha256};

use super::*;

/// Key and secret of the test suite and of the signing guide.
const SUITE: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
/// Those of the S3 reference.
const S3: (&str, &str) = (
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
);

struct Case<'a> {
    name: &'a str,
    key: (&'a str, &'a str),
    scope: (&'a str, &'a str),
    method: &'a str,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a str,
    signed: &'a str,
    signature: &'a str,
}

const SUITE_DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");
const S3_DATE: (&str, &str) = ("x-amz-date", "20130524T000000Z");
const EMPTY_HASH: (&str, &str) = (
    "x-amz-content-sha256",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
);

fn check(case: &Case<'_>) {
    let mut request = Request::builder().method(case.method).uri(case.url);
    for (name, value) in case.headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let at = case.headers.iter().find(|(name, _)| *name == "x-amz-date");
    let scope = Scope {
        at: at.expect("a date").1.to_owned(),
        region: case.scope.0,
        service: case.scope.1,
    };
    let payload = hex::encode(Sha256::digest(case.body));
    let given = authorization(&request, &payload, case.key.0, case.key.1, &scope);
    let expected = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}/{}/{}/aws4_request, SignedHeaders={}, Signature={}",
        case.key.0,
        &scope.at[..8],
        case.scope.0,
        case.scope.1,
        case.signed,
        case.signature
    );
    assert_eq!(given, expected, "{}", case.name);
}

#[test]
fn the_test_suite() {
    let rows = include_str!("suite.tsv").lines();
    let mut cases = 0;
    for row in rows.filter(|row| !row.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let &[name, method, path, headers, body, signed, signature] = columns.as_slice() else {
            panic!("{row}");
        };
        let own = headers
            .split('|')
            .filter_map(|header| header.split_once('='));
        let headers: Vec<(&str, &str)> = own.chain([SUITE_DATE]).collect();
        check(&Case {
            name,
            key: SUITE,
            scope: ("us-east-1", "service"),
            method,
            url: &format!("https://example.amazonaws.com{path}"),
            headers: &headers,
            body,
            signed,
            signature,
        });
        cases += 1;
    }
    assert_eq!(cases, 14);
}

#[test]
fn the_example_of_the_signing_guide() {
    check(&Case {
        name: "iam",
        key: SUITE,
        scope: ("us-east-1", "iam"),
        method: "GET",
        url: "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        headers: &[
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
            SUITE_DATE,
        ],
        body: "",
        signed: "content-type;host;x-amz-date",
        signature: "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    });
}

#[test]
fn the_examples_of_s3() {
    let s3 = |method, url, headers, body, signed, signature| {
        check(&Case {
            name: url,
            key: S3,
            scope: ("us-east-1", "s3"),
            method,
            url,
            headers,
            body,
            signed,
            signature,
        });
    };
    s3(
        "GET",
        "https://examplebucket.s3.amazonaws.com/test.txt",
        &[("range", "bytes=0-9"), S3_DATE, EMPTY_HASH],
        "",
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    s3(
        "PUT",
        "https://examplebucket.s3.amazonaws.com/test%24file.text",
        &[
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            S3_DATE,
            (
                "x-amz-content-sha256",
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            ),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
        "Welcome to Amazon S3.",
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    s3(
        "GET",
        "https://examplebucket.s3.amazonaws.com/?lifecycle",
        &[S3_DATE, EMPTY_HASH],
        "",
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    );
    s3(
        "GET",
        "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
        &[S3_DATE, EMPTY_HASH],
        "",
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    );
}

#[test]
fn a_path_is_escaped_once_for_s3_and_twice_for_others() {
    assert_eq!(canonical_path("/a%20b/c:d", "s3"), "/a%20b/c%3Ad");
    assert_eq!(canonical_path("/a%20b/c", "sqs"), "/a%2520b/c");
    assert_eq!(canonical_path("", "s3"), "/");
}

#[test]
fn queries_are_sorted_and_escaped_once() {
    assert_eq!(canonical_query("b=2&a=%7e&a=1&c"), "a=1&a=~&b=2&c=");
    assert_eq!(
        canonical_query("list-type=2&prefix=a%2Fb"),
        "list-type=2&prefix=a%2Fb"
    );
}

#[test]
fn urls_that_carry_their_signature() {
    let credentials = |(id, secret): (&str, &str), token: Option<&str>| Credentials {
        access_key_id: id.to_owned(),
        secret_access_key: Arc::new(Zeroizing::new(secret.to_owned())),
        session_token: token.map(|token| Arc::new(Zeroizing::new(token.to_owned()))),
    };
    // The S3 reference's example.
    let url = http::Uri::from_static("https://examplebucket.s3.amazonaws.com/test.txt");
    let scope = Scope {
        at: "20130524T000000Z".to_owned(),
        region: "us-east-1",
        service: "s3",
    };
    let key = credentials(S3, None);
    let query = presigned_query(&url, "UNSIGNED-PAYLOAD", &key, &scope, 86_400);
    let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    assert!(query.ends_with(signature), "{}", *query);
    // What botocore makes for the same moment.
    let now = "2015-08-30T12:36:00Z".parse().expect("a time");
    let host = "db.cluster-x.eu-central-1.rds.amazonaws.com";
    for (token, part, signature) in [
        (
            None,
            "",
            "e5555e73a55718c666faba447e1c9c109c0ed0c5cc05863cd3e962b2d4b54c10",
        ),
        (
            Some("AQoDYXdzEPT//////////wEXAMPLE=="),
            "&X-Amz-Security-Token=AQoDYXdzEPT%2F%2F%2F%2F%2F%2F%2F%2F%2F%2FwEXAMPLE%3D%3D",
            "055af5f7dfb58e22a0caef1d8b0b1065bb139db8d9cf106218a6ffe4e61c7f24",
        ),
    ] {
        let key = credentials(SUITE, token);
        let password = database_password(host, 5433, "wit gate", &key, "eu-central-1", now);
        assert_eq!(
            password.expect("a host").as_str(),
            format!(
                "{host}:5433/?Action=connect&DBUser=wit%20gate&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Feu-central-1%2Frds-db%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=900{part}&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
            )
        );
    }
    let key = credentials(SUITE, None);
    assert!(database_password("no host", 1, "u", &key, "r", now).is_err());
}
