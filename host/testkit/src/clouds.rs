//! Token services and the storage behind them: Google Cloud's and Azure's, as far as signed requests need them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::http1::Recorded;
use crate::reply::Reply;
use crate::vendor::{FakeVendor, Judgement};

/// A key that was made for these tests and opens nothing.
pub(crate) const PRIVATE_KEY: &str = include_str!("clouds/test-key.pem");
const EMAIL: &str = "writer@project.iam.gserviceaccount.com";
/// The token that every token service here gives.
const TOKEN: &str = "issued-token-31337";

/// What the service account may ask for.
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/devstorage.read_write",
];

/// Clouds with a token service each, and objects that need a token or an account's key.
pub async fn fake_clouds() -> FakeVendor {
    FakeVendor::start(judge).await
}

/// The key file of the service account that the cloud at this address knows.
pub fn service_account(origin: &str) -> String {
    json!({
        "type": "service_account", "client_email": EMAIL, "private_key_id": "key-1", "private_key": PRIVATE_KEY,
        "token_uri": format!("{origin}/token"),
    })
    .to_string()
}

/// Secret of the application `app-1` in the tenant `tenant-1`.
pub const AZURE_SECRET: &str = "app secret+1";
/// Name and key of the storage account.
pub const AZURE_ACCOUNT: (&str, &str) = ("account1", "c3RvcmFnZS1hY2NvdW50LWtleQ==");

/// What the IAM of the cloud gives as a token of `REDIS_ACCOUNT`.
pub const REDIS_TOKEN: &str = "redis-token-of-iam-4242";
/// An account that others may make tokens of.
pub const REDIS_ACCOUNT: &str = "redis@project.iam.gserviceaccount.com";

/// Whether a request may come in, and the token services.
pub(crate) fn judge(request: &Recorded) -> Judgement {
    let token = || {
        let answer = json!({"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"});
        Ok((
            Reply::json(200, &answer),
            vec![json!({"token": request.path()})],
        ))
    };
    let form = String::from_utf8_lossy(&request.body).into_owned();
    match request.path() {
        "/token" => {
            let prefix =
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
            let assertion = form.strip_prefix(prefix).ok_or((400, form.clone()))?;
            let host = request.header("host").unwrap_or_default();
            verify(assertion, &format!("http://{host}/token")).map_err(|why| (400, why))?;
            token()
        }
        "/computeMetadata/v1/instance/service-accounts/default/token" => {
            match request.header("metadata-flavor") {
                Some("Google") => token(),
                _ => Err((403, "Missing Metadata-Flavor:Google header.".to_owned())),
            }
        }
        path if path.ends_with(":generateAccessToken") => {
            let own = format!("/v1/projects/-/serviceAccounts/{REDIS_ACCOUNT}:generateAccessToken");
            let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let scope = &asked["scope"][0];
            let given = request.header("authorization");
            let is_ours = path == own && given == Some(format!("Bearer {TOKEN}").as_str());
            if !is_ours || SCOPES.iter().all(|one| scope != one) {
                return Err((
                    403,
                    json!({"error": {"status": "PERMISSION_DENIED"}}).to_string(),
                ));
            }
            let answer = json!({"accessToken": REDIS_TOKEN, "expireTime": "2030-01-01T00:00:00Z"});
            Ok((Reply::json(200, &answer), vec![json!({"iam": path})]))
        }
        "/tenant-1/oauth2/v2.0/token" => {
            let expected = "grant_type=client_credentials&client_id=app-1&client_secret=app%20secret%2B1\
                            &scope=https%3A%2F%2Fstorage.azure.com%2F.default";
            match form == expected {
                true => token(),
                false => Err((401, json!({"error": "invalid_client"}).to_string())),
            }
        }
        _ => {
            let given = request.header("authorization").unwrap_or_default();
            let good = given == format!("Bearer {TOKEN}") || given == shared_key(request);
            match good {
                true => Ok((
                    Reply::status(200, &[], ""),
                    vec![json!({"object": request.target, "body": form})],
                )),
                false => Err((403, format!("authorization is {given}"))),
            }
        }
    }
}

/// Checks a JSON Web Token with the account's public key.
fn verify(assertion: &str, audience: &str) -> Result<(), String> {
    let (signed, signature) = assertion.rsplit_once('.').ok_or("no token")?;
    let decode = |text: &str| {
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| error.to_string())
    };
    let der: String = PRIVATE_KEY
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = STANDARD.decode(der).map_err(|error| error.to_string())?;
    let pair = RsaKeyPair::from_pkcs8(&der).map_err(|error| error.to_string())?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key())
        .verify(signed.as_bytes(), &decode(signature)?)
        .map_err(|_| "the signature is wrong".to_owned())?;
    let (header, claims) = signed.split_once('.').ok_or("no claims")?;
    let read = |text: &str| -> Result<Value, String> {
        serde_json::from_slice(&decode(text)?).map_err(|error| error.to_string())
    };
    let (header, claims) = (read(header)?, read(claims)?);
    let life = claims["exp"]
        .as_i64()
        .zip(claims["iat"].as_i64())
        .map(|(end, start)| end - start);
    let good = header == json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"})
        && claims["iss"] == EMAIL
        && claims["sub"] == EMAIL
        && claims["aud"] == audience
        && SCOPES.iter().any(|scope| claims["scope"] == *scope)
        && life == Some(3600);
    good.then_some(()).ok_or(format!("{header} {claims}"))
}

/// The steps of Azure's shared key for a request with a body, a type, `x-ms-date` and `x-ms-version`.
fn shared_key(request: &Recorded) -> String {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let text = format!(
        "{}\n\n\n{}\n\n{}\n\n\n\n\n\n\nx-ms-date:{}\nx-ms-version:{}\n/{}{}",
        request.method,
        request.body.len(),
        header("content-type"),
        header("x-ms-date"),
        header("x-ms-version"),
        AZURE_ACCOUNT.0,
        request.path(),
    );
    let key = STANDARD.decode(AZURE_ACCOUNT.1).expect("Base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any key");
    mac.update(text.as_bytes());
    format!(
        "SharedKey {}:{}",
        AZURE_ACCOUNT.0,
        STANDARD.encode(mac.finalize().into_bytes())
    )
}
