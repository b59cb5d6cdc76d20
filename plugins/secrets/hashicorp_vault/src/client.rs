//! Logging in, and asking with the token. A token of a login is kept, for all instances, until shortly before its lease ends.

use serde_json::{Value, json};
use witgate_plugin::Error;
use witgate_plugin::encode::url_path;
use witgate_plugin::http::{Request, Response};
use witgate_plugin::kv;
use witgate_plugin::secrets::{self, Secret};

use crate::answer::lease_in;
use crate::place::Settings;

/// Where the token of the login is kept.
const TOKEN: &str = "token";
/// The header with the token.
const TOKEN_HEADER: &str = "x-vault-token";

/// Who we are to the Vault.
pub(crate) struct Client {
    settings: Settings,
    login: Login,
    /// Certificate and key, shown on every connection.
    certificate: Option<(Secret, Secret)>,
}

/// How a token is got, in the order of LiteLLM.
enum Login {
    AppRole { role_id: String },
    Certificate,
    Token(Secret),
}

/// A token in use.
enum Token {
    /// Of a login before this call.
    Kept(String),
    /// Of a login just now.
    New(String),
    /// The operator's.
    Given,
}

impl Client {
    /// Settles how to log in.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let certificate = match (secrets::get("client_cert")?, secrets::get("client_key")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(alone("client_cert", "client_key", "HCP_VAULT_CLIENT_KEY"));
            }
            (None, Some(_)) => {
                return Err(alone("client_key", "client_cert", "HCP_VAULT_CLIENT_CERT"));
            }
        };
        let secret_id = secrets::get("approle_secret_id")?;
        let role_id = settings.approle_role_id.clone().filter(|id| !id.is_empty());
        let login = match (role_id, secret_id, &certificate, secrets::get("token")?) {
            (Some(role_id), Some(_), ..) => Login::AppRole { role_id },
            (Some(_), None, ..) => {
                return Err(alone(
                    "approle_role_id",
                    "approle_secret_id",
                    "HCP_VAULT_APPROLE_SECRET_ID",
                ));
            }
            (None, Some(_), ..) => {
                return Err(alone(
                    "approle_secret_id",
                    "approle_role_id",
                    "HCP_VAULT_APPROLE_ROLE_ID",
                ));
            }
            (None, None, Some(_), _) => Login::Certificate,
            (None, None, None, Some(token)) => Login::Token(token),
            (None, None, None, None) => {
                return Err(Error::settings(
                    "there is no way to log in: set HCP_VAULT_TOKEN, or HCP_VAULT_APPROLE_ROLE_ID and HCP_VAULT_APPROLE_SECRET_ID, or HCP_VAULT_CLIENT_CERT and HCP_VAULT_CLIENT_KEY",
                ));
            }
        };
        Ok(Self {
            settings: settings.clone(),
            login,
            certificate,
        })
    }

    /// Asks for something below `/v1`.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, Error> {
        let url = self.settings.url(path);
        self.with_token(|| {
            let request = Request::new(method, &url);
            match body {
                Some(body) => request.json(body),
                None => Ok(request),
            }
        })
    }

    /// Asks where the login happens.
    pub(crate) fn ask_of_login(&self, path: &str) -> Result<Response, Error> {
        let url = self.settings.url(path);
        self.with_token(|| Ok(self.in_login_namespace(Request::new("GET", &url))))
    }

    /// Sends with a token. One that was kept may have been revoked: then once more, with a new one.
    fn with_token<'a>(
        &'a self,
        request: impl Fn() -> Result<Request<'a>, Error>,
    ) -> Result<Response, Error> {
        let token = self.token()?;
        let response = self.send(request()?, &token)?;
        match (response.status(), token) {
            (403, Token::Kept(_)) => {
                kv::PLUGIN.delete(TOKEN);
                let token = self.log_in()?;
                self.send(request()?, &token)
            }
            _ => Ok(response),
        }
    }

    fn send<'a>(&'a self, request: Request<'a>, token: &Token) -> Result<Response, Error> {
        let request = match (token, &self.login) {
            (Token::Kept(token) | Token::New(token), _) => request.header(TOKEN_HEADER, token),
            (Token::Given, Login::Token(secret)) => request.secret_header(TOKEN_HEADER, secret),
            (Token::Given, _) => request,
        };
        self.carry(request)
    }

    /// Over a connection that shows the certificate, when there is one.
    fn carry<'a>(&'a self, request: Request<'a>) -> Result<Response, Error> {
        let request = match &self.certificate {
            Some((certificate, key)) => request.identity(certificate, key),
            None => request,
        };
        request.send().map_err(|error| {
            let address = &self.settings.address;
            match Error::from(error) {
                Error::Unavailable(text) => {
                    Error::Unavailable(format!("Vault at {address}: {text}"))
                }
                Error::Failed(text) => Error::Failed(format!("Vault at {address}: {text}")),
                other => other,
            }
        })
    }

    fn token(&self) -> Result<Token, Error> {
        if let Login::Token(_) = &self.login {
            return Ok(Token::Given);
        }
        let kept = kv::PLUGIN
            .get(TOKEN)
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match kept {
            Some(token) => Ok(Token::Kept(token)),
            None => self.log_in(),
        }
    }

    fn log_in(&self) -> Result<Token, Error> {
        let (path, body) = match &self.login {
            Login::Token(_) => return Ok(Token::Given),
            Login::AppRole { role_id } => {
                let secret_id = secrets::reveal("approle_secret_id")?;
                let mount = url_path(self.settings.approle_mount_path.trim_matches('/'));
                let body = json!({"role_id": role_id, "secret_id": secret_id});
                (format!("auth/{mount}/login"), body)
            }
            Login::Certificate => {
                let role = self
                    .settings
                    .cert_role
                    .as_ref()
                    .filter(|role| !role.is_empty());
                let body = role.map_or_else(|| json!({}), |role| json!({ "name": role }));
                ("auth/cert/login".to_owned(), body)
            }
        };
        let request = Request::new("POST", self.settings.url(&path)).json(&body)?;
        let response = self.carry(self.in_login_namespace(request))?;
        let lease = lease_in(&response, &path)?;
        // A tenth of the lease is for the requests that are made with it.
        let ttl_ms = Some(lease.lease_duration.saturating_mul(900)).filter(|ms| *ms > 0);
        kv::PLUGIN.set(TOKEN, lease.client_token.as_bytes(), ttl_ms)?;
        Ok(Token::New(lease.client_token))
    }

    fn in_login_namespace<'a>(&self, request: Request<'a>) -> Request<'a> {
        match self.settings.namespace_of_login() {
            Some(namespace) => request.header("x-vault-namespace", namespace),
            None => request,
        }
    }
}

/// One of two settings that make sense together only.
fn alone(given: &str, missing: &str, variable: &str) -> Error {
    Error::settings(format!(
        "`{given}` is set and `{missing}` is not: set {variable}, too"
    ))
}
