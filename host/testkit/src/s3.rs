//! A store that takes objects as S3 does, and computes each request's signature anew.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::http1::Recorded;
use crate::reply::Reply;
use crate::vendor::{FakeVendor, Judgement};

/// The access key that the store knows.
#[derive(Clone, Debug)]
pub struct S3Key {
    /// Its id.
    pub id: &'static str,
    /// Its secret.
    pub secret: &'static str,
    /// The session token that must come with it.
    pub token: Option<&'static str>,
    /// The region that signatures are for.
    pub region: &'static str,
}

/// A store that takes each `PUT` which is signed with this key, and keeps `{key, body}`.
pub async fn fake_s3(bucket: &str, key: S3Key) -> FakeVendor {
    let folder = format!("/{bucket}/");
    FakeVendor::start(move |request| judge(request, &folder, &key)).await
}

fn judge(request: &Recorded, folder: &str, key: &S3Key) -> Judgement {
    let signature = signature(request, key).map_err(|why| (403, error("AccessDenied", &why)))?;
    let given = request.header("authorization").unwrap_or_default();
    if given != signature {
        let why = format!("given {given}, computed {signature}");
        return Err((403, error("SignatureDoesNotMatch", &why)));
    }
    let Some(name) = request.path().strip_prefix(folder) else {
        return Err((404, error("NoSuchBucket", request.path())));
    };
    if request.method == "HEAD" && name.is_empty() {
        return Ok((Reply::status(200, &[], ""), Vec::new()));
    }
    let file_name = name.rsplit('/').next().unwrap_or_default();
    let clock = file_name.strip_prefix("time-").unwrap_or_default();
    let disposition = request.header("content-disposition").unwrap_or_default();
    let md5 = STANDARD.encode(Md5::digest(&request.body));
    let checks = [
        ("method", request.method == "PUT"),
        (
            "content-type",
            request.header("content-type") == Some("application/json"),
        ),
        (
            "content-md5",
            request.header("content-md5") == Some(md5.as_str()),
        ),
        (
            "content-language",
            request.header("content-language") == Some("en"),
        ),
        (
            "content-disposition",
            disposition.starts_with("inline; filename=\"time-") && disposition.contains(clock),
        ),
        (
            "cache-control",
            request.header("cache-control")
                == Some("private, immutable, max-age=31536000, s-maxage=0"),
        ),
    ];
    if let Some((wrong, _)) = checks.iter().find(|(_, good)| !good) {
        return Err((400, error("InvalidArgument", wrong)));
    }
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let object = json!({"key": name, "body": body, "encryption": request.header("x-amz-server-side-encryption")});
    Ok((Reply::status(200, &[("etag", "\"0\"")], ""), vec![object]))
}

fn error(code: &str, why: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{why}</Message></Error>")
}

/// The header `authorization` that the request should have: the steps of Signature Version 4 for the names that it says
/// are signed. Everything that begins with `x-amz-` must be.
fn signature(request: &Recorded, key: &S3Key) -> Result<String, String> {
    let header = |name: &str| request.header(name).ok_or(format!("no {name}"));
    let (date, payload) = (header("x-amz-date")?, header("x-amz-content-sha256")?);
    if payload != hex::encode(Sha256::digest(&request.body)) {
        return Err("x-amz-content-sha256 is not the body's".into());
    }
    if request.header("x-amz-security-token") != key.token {
        return Err("the session token".into());
    }
    let given = header("authorization")?;
    let names = given
        .split("SignedHeaders=")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .ok_or("no SignedHeaders")?;
    let signed: Vec<&str> = names.split(';').collect();
    let must = request.headers.iter().map(|(name, _)| name.to_lowercase());
    let must = must.filter(|name| {
        name.starts_with("x-amz-") || name == "host" || name.starts_with("content-")
    });
    if let Some(name) = must
        .filter(|name| name != "content-length")
        .find(|name| !signed.contains(&name.as_str()))
    {
        return Err(format!("{name} is not signed"));
    }
    let mut canonical = format!("{}\n{}\n\n", request.method, request.path());
    for name in &signed {
        canonical.push_str(&format!("{name}:{}\n", header(name)?.trim()));
    }
    canonical.push_str(&format!("\n{names}\n{payload}"));
    let day = date.get(..8).ok_or("x-amz-date")?;
    let scope = format!("{day}/{}/s3/aws4_request", key.region);
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex::encode(Sha256::digest(&canonical))
    );
    let mut chain = format!("AWS4{}", key.secret).into_bytes();
    for part in [day, key.region, "s3", "aws4_request", &text] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&chain).expect("any key");
        mac.update(part.as_bytes());
        chain = mac.finalize().into_bytes().to_vec();
    }
    Ok(format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        key.id,
        hex::encode(chain)
    ))
}
