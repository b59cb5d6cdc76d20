//! Roles of AWS: temporary credentials from the token service (STS), kept until shortly before they expire.

use http::{Method, Request, Uri};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;
use witgate_outbound::Body;
use witgate_signing::escape;
use zeroize::Zeroizing;

use super::{Credentials, Scope, now, put, sign};
use crate::bindings::witgate::host::http::HttpError;
use crate::bindings::witgate::host::sign::AwsRole;
use crate::capabilities::Context;
use crate::capabilities::http::exchange;

/// Different roles of one plugin that are kept.
const ROLES_MAX: usize = 32;
/// How long before their end credentials are renewed.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// The credentials of the roles that one plugin assumed.
#[derive(Default)]
pub(crate) struct Roles {
    /// Held during the request for a role, so that many calls at once make one request.
    known: Mutex<HashMap<[String; 4], (Credentials, Timestamp)>>,
}

impl Roles {
    /// The role's credentials.
    pub(super) async fn assume(
        &self,
        context: &Context,
        own: Credentials,
        role: &AwsRole,
        region: &str,
    ) -> Result<Credentials, HttpError> {
        let key = [
            own.access_key_id.clone(),
            role.arn.clone(),
            role.session_name.clone(),
            role.sts_endpoint.clone(),
        ];
        let mut known = self.known.lock().await;
        let now = now(context);
        if let Some((credentials, end)) = known.get(&key)
            && now + MARGIN < *end
        {
            return Ok(credentials.clone());
        }
        let fresh = ask(context, &own, role, region).await?;
        known.retain(|_, (_, end)| now < *end);
        if known.len() < ROLES_MAX {
            known.insert(key, fresh.clone());
        }
        Ok(fresh.0)
    }
}

async fn ask(
    context: &Context,
    own: &Credentials,
    role: &AwsRole,
    region: &str,
) -> Result<(Credentials, Timestamp), HttpError> {
    let invalid = |what: &str| HttpError::Invalid(format!("the role {}: {what}", role.arn));
    let body = format!(
        "Action=AssumeRole&Version=2011-06-15&RoleArn={}&RoleSessionName={}",
        escape(role.arn.as_bytes()),
        escape(role.session_name.as_bytes())
    );
    let payload = hex::encode(Sha256::digest(&body));
    let uri = Uri::try_from(format!("{}/", role.sts_endpoint.trim_end_matches('/')));
    let uri = uri.map_err(|_| invalid("the endpoint of the token service is no URL"))?;
    let mut request = Request::new(Body::from(body.into_bytes()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    put(
        &mut request,
        "content-type",
        "application/x-www-form-urlencoded; charset=utf-8",
    )?;
    let scope = Scope::at(now(context), region, "sts");
    sign(&mut request, &payload, own, &scope)?;
    let response = exchange(context, request, false).await?;
    let text = Zeroizing::new(String::from_utf8_lossy(&response.body).into_owned());
    if response.status != 200 {
        let code = element(&text, "Code").unwrap_or("no reason given");
        let told = format!("the token service answers {}: {code}", response.status);
        return Err(match response.status {
            429 | 500..=599 => HttpError::Connection(told),
            _ => invalid(&told),
        });
    }
    read(&text).ok_or_else(|| invalid("the answer of the token service has no credentials"))
}

fn read(xml: &str) -> Option<(Credentials, Timestamp)> {
    let secret = |name: &str| Some(Arc::new(Zeroizing::new(element(xml, name)?.to_owned())));
    let credentials = Credentials {
        access_key_id: element(xml, "AccessKeyId")?.to_owned(),
        secret_access_key: secret("SecretAccessKey")?,
        session_token: Some(secret("SessionToken")?),
    };
    Some((credentials, element(xml, "Expiration")?.parse().ok()?))
}

/// The text of the first element of this name. None of those that are read has markup in it.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_the_token_service_is_read() {
        let xml = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
            <SecretAccessKey>s/e+c</SecretAccessKey><SessionToken>t==</SessionToken>\
            <Expiration>2030-01-02T03:04:05Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let (credentials, end) = read(xml).expect("credentials");
        assert_eq!(credentials.access_key_id, "ASIA1");
        assert_eq!(credentials.secret_access_key.as_str(), "s/e+c");
        assert_eq!(
            credentials.session_token.as_deref().map(|t| t.as_str()),
            Some("t==")
        );
        assert_eq!(end.to_string(), "2030-01-02T03:04:05Z");
        assert!(read("<Error><Code>AccessDenied</Code></Error>").is_none());
    }
}
