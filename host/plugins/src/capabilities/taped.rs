//! HTTP exchanges as a recording has them: what the plugin gave and got, secrets by their names.

use serde_json::{Map, Value, json};
use wasmtime::component::Resource;

use super::secrets::SecretHandle;
use super::state::State;
use crate::bindings::witgate::host::http as wit;
use crate::bindings::witgate::host::sign;
use crate::record::{bytes_of, value_of_bytes};

/// What an exchange answers.
pub(super) type Answer = Result<wit::Response, wit::HttpError>;

/// A request, and what goes with it.
pub(super) fn request(request: &wit::Request, with: Map<String, Value>) -> Value {
    let mut all = Map::new();
    let value = json!({
        "method": request.method,
        "url": request.url,
        "headers": request.headers,
        "body": value_of_bytes(&request.body),
        "timeout_ms": request.timeout_ms,
    });
    all.insert("request".to_owned(), value);
    all.extend(with);
    all.into()
}

/// An answer as the recording has it.
pub(super) fn answer(answer: &Answer) -> Value {
    match answer {
        Ok(response) => json!({
            "status": response.status,
            "headers": response.headers,
            "body": value_of_bytes(&response.body),
        }),
        Err(error) => json!({"error": match error {
            wit::HttpError::Denied(text) => json!({"denied": text}),
            wit::HttpError::Timeout => json!("timeout"),
            wit::HttpError::Connection(text) => json!({"connection": text}),
            wit::HttpError::TooLarge(max) => json!({"too_large": max}),
            wit::HttpError::Invalid(text) => json!({"invalid": text}),
        }}),
    }
}

/// The way back; `None` for what [`answer`] never makes.
pub(super) fn answered(value: &Value) -> Option<Answer> {
    let Some(error) = value.get("error") else {
        let headers = value.get("headers")?.clone();
        return Some(Ok(wit::Response {
            status: u16::try_from(value.get("status")?.as_u64()?).ok()?,
            headers: serde_json::from_value(headers).ok()?,
            body: bytes_of(value.get("body")?),
        }));
    };
    if error == "timeout" {
        return Some(Err(wit::HttpError::Timeout));
    }
    let (kind, what) = error.as_object()?.iter().next()?;
    let text = what.as_str().unwrap_or_default().to_owned();
    Some(Err(match kind.as_str() {
        "denied" => wit::HttpError::Denied(text),
        "connection" => wit::HttpError::Connection(text),
        "too_large" => wit::HttpError::TooLarge(what.as_u64()?),
        "invalid" => wit::HttpError::Invalid(text),
        _ => return None,
    }))
}

impl State {
    /// What a request is authorised with.
    pub(super) fn shown_auth(&self, auth: Option<&wit::Auth>) -> Map<String, Value> {
        let auth = match auth {
            None => return Map::new(),
            Some(wit::Auth::Bearer(secret)) => json!({"bearer": self.named(secret)}),
            Some(wit::Auth::Basic((user, secret))) => {
                json!({"basic": [user, self.named(secret)]})
            }
            Some(wit::Auth::Header((name, secret))) => {
                json!({"header": [name, self.named(secret)]})
            }
        };
        Map::from_iter([("auth".to_owned(), auth)])
    }

    /// Secrets that are headers.
    pub(super) fn shown_headers(
        &self,
        headers: &[(String, Resource<SecretHandle>)],
    ) -> Map<String, Value> {
        let each = headers.iter();
        let each = each.map(|(name, secret)| json!([name, self.named(secret)]));
        Map::from_iter([("secret_headers".to_owned(), each.collect())])
    }

    /// What a request is signed with for AWS.
    pub(super) fn shown_aws(&self, signer: &sign::AwsSigner) -> Map<String, Value> {
        let token = signer.key.session_token.as_ref();
        let role = signer.role.as_ref();
        let shown = json!({
            "access_key_id": signer.key.access_key_id,
            "secret_access_key": self.named(&signer.key.secret_access_key),
            "session_token": token.map(|token| self.named(token)),
            "role": role.map(|role| json!([role.arn, role.session_name, role.sts_endpoint])),
            "region": signer.region,
            "service": signer.service,
        });
        Map::from_iter([("aws".to_owned(), shown)])
    }

    /// The name of a secret that the plugin holds.
    pub(super) fn named(&self, handle: &Resource<SecretHandle>) -> String {
        let secret = self.table.get(handle);
        secret.map_or_else(|_| String::new(), |secret| secret.name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_as_they_were() {
        let response = wit::Response {
            status: 404,
            headers: vec![("x".to_owned(), "1".to_owned()); 2],
            body: vec![0xff, 1],
        };
        let errors = [
            wit::HttpError::Denied("d".to_owned()),
            wit::HttpError::Timeout,
            wit::HttpError::Connection("c".to_owned()),
            wit::HttpError::TooLarge(7),
            wit::HttpError::Invalid("i".to_owned()),
        ];
        for one in std::iter::once(Ok(response)).chain(errors.map(Err)) {
            let value = answer(&one);
            let back = answered(&value).expect("an answer");
            assert_eq!(answer(&back), value);
        }
    }
}
