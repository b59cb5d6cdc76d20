//! The routes of signing in: what a browser asks for, what it is sent.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use witgate_identity::{Guesses, Role, Session, Signer};

use crate::admit::{admit, admit_admin, admit_known, broken};
use crate::page;
use crate::pending::{self, Pending};
use crate::ports::{
    Callback, Login, OpenId, Plugin, ProxyRequest, Refusal, Taken, User, Users, Who,
};
use crate::rules::{Provider, Rules};

/// How long a session lasts, seconds.
const SESSION_S: u64 = 24 * 60 * 60;
/// How long the page of an invitation has to ask for a password, seconds.
const INVITED_S: u64 = 60 * 60;
/// The cookie of a session, LiteLLM's.
const TOKEN: &str = "token";

/// What a browser asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `GET /sso/key/generate`: begins a login.
    Begin,
    /// `GET /sso/callback`: comes back from the identity provider.
    Callback,
    /// `GET /sso/debug/login`
    DebugBegin,
    /// `GET /sso/debug/callback`
    DebugCallback,
    /// `GET /fallback/login`: the form, whatever else there is.
    Form,
    /// `POST /login`: name and password.
    Password,
    /// `POST /v2/login`: the same as JSON, for a UI that is a program.
    PasswordJson,
    /// `GET /.well-known/litellm-ui-config`: what a UI must know before anybody signs in.
    UiConfig,
    /// `GET /onboarding/get_token`: whom an invitation is for.
    Invited,
    /// `POST /onboarding/claim_token`: takes it.
    TakeInvitation,
    /// `GET /ui/`: who is signed in.
    Ui,
    /// `POST /ui/logout`
    SignOut,
}

/// A request for one of these routes.
pub struct Visit {
    /// Which.
    pub step: Step,
    /// HTTP method.
    pub method: String,
    /// Path without the root path.
    pub path: String,
    /// Query.
    pub query: Option<String>,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// A form, `application/x-www-form-urlencoded`.
    pub body: Vec<u8>,
    /// `http://host:port` or `https://…` as the browser sees it, when nothing says otherwise.
    pub origin: String,
    /// Address of the caller.
    pub client_ip: Option<String>,
}

/// What it is sent.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type.
    pub media_type: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: String,
}

/// What a desk works with.
pub struct DeskParts {
    /// The users' table.
    pub users: Arc<dyn Users>,
    /// Now, seconds since the epoch.
    pub now_s: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Randomness that nobody can guess.
    pub random: Arc<dyn Fn() -> [u8; 32] + Send + Sync>,
}

/// Lets people in.
pub struct Desk {
    parts: DeskParts,
    rules: ArcSwap<Rules>,
    guesses: Guesses,
}

impl Desk {
    /// Works by these rules until there are others.
    #[must_use]
    pub fn new(parts: DeskParts, rules: Rules) -> Self {
        Self {
            parts,
            rules: ArcSwap::from_pointee(rules),
            guesses: Guesses::default(),
        }
    }

    /// Works by other rules from now on. Logins under way finish by them.
    pub fn replace(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Answers a request.
    pub async fn answer(&self, visit: &Visit) -> Answer {
        let rules = self.rules.load_full();
        if visit.step == Step::UiConfig {
            return ui_config(&rules);
        }
        if rules.ui_disabled {
            let text = "The admin UI is disabled (`DISABLE_ADMIN_UI`).";
            return html(200, page::message("Admin UI is disabled", text));
        }
        let Some(signer) = &rules.signer else {
            let text = "Signing in needs a master key: set general_settings.master_key or LITELLM_MASTER_KEY.";
            return refuse(
                visit,
                Refusal {
                    status: 500,
                    message: text.to_owned(),
                },
            );
        };
        let called = Called {
            desk: self,
            rules: &rules,
            signer,
            visit,
        };
        let answered = match visit.step {
            Step::Begin => called.begin(false).await,
            Step::Callback => called.callback(false).await,
            Step::DebugBegin | Step::DebugCallback if !rules.debug => Err(Refusal {
                status: 404,
                message: "Set ENABLE_SSO_DEBUG=true to see what the identity provider says."
                    .to_owned(),
            }),
            Step::DebugBegin => called.begin(true).await,
            Step::DebugCallback => called.callback(true).await,
            Step::Form => Ok(html(200, page::form(&rules.root_path))),
            Step::Password => called.password().await,
            Step::PasswordJson => called.password_json().await,
            Step::UiConfig => Ok(ui_config(&rules)),
            Step::Invited => called.invited().await,
            Step::TakeInvitation => called.take_invitation().await,
            Step::Ui => Ok(called.ui()),
            Step::SignOut => Ok(called.sign_out()),
        };
        answered.unwrap_or_else(|refusal| refuse(visit, refusal))
    }

    /// LiteLLM's `GET /sso/readiness`: whether logins can work. Status and body.
    #[must_use]
    pub fn readiness(&self) -> (u16, Value) {
        match &self.rules.load().provider {
            Provider::None => (
                200,
                json!({"status": "healthy", "sso_configured": false, "message": "No SSO provider configured"}),
            ),
            Provider::Ready { name, .. } => (
                200,
                json!({
                    "status": "healthy", "sso_configured": true, "provider": name,
                    "message": format!("{name} is configured"),
                }),
            ),
            Provider::Broken { name, reason } => (
                503,
                json!({"status": "unhealthy", "sso_configured": true, "provider": name, "message": reason}),
            ),
        }
    }
}

/// One request under one set of rules.
struct Called<'a> {
    desk: &'a Desk,
    rules: &'a Rules,
    signer: &'a Signer,
    visit: &'a Visit,
}

impl Called<'_> {
    async fn begin(&self, debug: bool) -> Result<Answer, Refusal> {
        if let Some(plugin) = self.rules.sign_in.as_ref().filter(|_| !debug) {
            return self.sign_in(plugin.as_ref()).await;
        }
        let plugin = match &self.rules.provider {
            Provider::None => return Ok(html(200, page::form(&self.rules.root_path))),
            Provider::Ready { plugin, .. } => plugin,
            Provider::Broken { name, reason } => {
                // What is missing are settings' and variables' names, never values.
                return Err(Refusal {
                    status: 500,
                    message: format!("Signing in with {name} is not set up: {reason}"),
                });
            }
        };
        let secret = || URL_SAFE_NO_PAD.encode((self.desk.parts.random)());
        let (state, nonce, verifier) = (secret(), secret(), secret());
        let path = if debug {
            "/sso/debug/callback"
        } else {
            "/sso/callback"
        };
        let redirect_uri = format!("{}{path}", self.base());
        let told = plugin.authorize(Login {
            redirect_uri: redirect_uri.clone(),
            state: state.clone(),
            nonce: nonce.clone(),
            code_challenge: URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier)),
        });
        let told = told
            .await
            .map_err(|fault| broken("the identity provider", &fault.0))?;
        let pending = Pending {
            state: told.state.unwrap_or(state),
            nonce,
            verifier,
            redirect_uri,
            debug,
            ends_s: (self.desk.parts.now_s)() + pending::LIFE_S,
        };
        let mut answer = redirect(&told.url);
        let cookie = self.state_cookie(&pending.seal(self.signer), pending::LIFE_S);
        answer.headers.push(("set-cookie", cookie));
        Ok(answer)
    }

    async fn callback(&self, debug: bool) -> Result<Answer, Refusal> {
        let answered = self.back(debug).await;
        let mut answer = answered.unwrap_or_else(|refusal| refuse(self.visit, refusal));
        // However it ended, this login is over.
        answer
            .headers
            .push(("set-cookie", self.state_cookie("", 0)));
        Ok(answer)
    }

    async fn back(&self, debug: bool) -> Result<Answer, Refusal> {
        let plugin = match &self.rules.provider {
            Provider::Ready { plugin, .. } => plugin,
            Provider::None | Provider::Broken { .. } => {
                return Err(bad("There is no identity provider. Sign in again."));
            }
        };
        let query = pairs(self.visit.query.as_deref().unwrap_or_default());
        let cookie = self.cookie(pending::COOKIE).unwrap_or_default();
        let state = query.get("state").map_or("", String::as_str);
        let now_s = (self.desk.parts.now_s)();
        let pending = Pending::open(self.signer, cookie, state, debug, now_s).map_err(bad)?;
        if let Some(word) = query.get("error") {
            let plain =
                word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let word = if plain { word.as_str() } else { "an error" };
            return Err(Refusal {
                status: 401,
                message: format!("The identity provider says: {word}. Sign in again."),
            });
        }
        let code = query.get("code").filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| bad("The identity provider sent no code. Sign in again."))?;
        let who = plugin.exchange(Callback {
            code: code.clone(),
            redirect_uri: pending.redirect_uri,
            nonce: pending.nonce,
            code_verifier: pending.verifier,
        });
        match who
            .await
            .map_err(|fault| broken("the identity provider", &fault.0))?
        {
            Who::Deny(refusal) => Err(refusal),
            Who::User(who) if debug => Ok(html(200, debug_page(&who))),
            Who::User(who) => self.enter(*who).await,
        }
    }

    /// A proxy in front has authenticated the request, and a plugin says who it is.
    async fn sign_in(&self, plugin: &dyn Plugin) -> Result<Answer, Refusal> {
        let visit = self.visit;
        let headers = visit.headers.iter().filter(|(name, _)| name != "cookie");
        let who = plugin.sign_in(ProxyRequest {
            method: visit.method.clone(),
            path: visit.path.clone(),
            query: visit.query.clone(),
            headers: headers.cloned().collect(),
            client_ip: visit.client_ip.clone(),
        });
        let fault = |fault: crate::Fault| broken("custom_ui_sso_sign_in_handler", &fault.0);
        match who.await.map_err(fault)? {
            Who::Deny(refusal) => Err(refusal),
            Who::User(who) => self.enter(*who).await,
        }
    }

    async fn enter(&self, who: OpenId) -> Result<Answer, Refusal> {
        let user = admit(self.rules, self.desk.parts.users.as_ref(), who).await?;
        Ok(self.session(user, "sso"))
    }

    async fn password(&self) -> Result<Answer, Refusal> {
        let form = pairs(&String::from_utf8_lossy(&self.visit.body));
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let user = self.who(field("username"), field("password")).await?;
        Ok(self.session(user, "username_password"))
    }

    /// LiteLLM's answer: where the UI goes; the session is in the cookie.
    async fn password_json(&self) -> Result<Answer, Refusal> {
        let body = self.json()?;
        let user = self
            .who(text(&body, "username"), text(&body, "password"))
            .await?;
        Ok(self.session_json(user, "username_password"))
    }

    /// The body, a JSON object.
    fn json(&self) -> Result<Map<String, Value>, Refusal> {
        let body = serde_json::from_slice(&self.visit.body);
        body.map_err(|_| bad("The body must be a JSON object."))
    }

    /// Who has this password: the built-in administrator, else a user of the table.
    async fn who(&self, name: &str, password: &str) -> Result<User, Refusal> {
        let caller = self.visit.client_ip.as_deref().unwrap_or_default();
        let guesses = &self.desk.guesses;
        if !guesses.take(caller, (self.desk.parts.now_s)()) {
            return Err(Refusal {
                status: 429,
                message: "Too many wrong passwords. Wait a minute.".to_owned(),
            });
        }
        let users = self.desk.parts.users.as_ref();
        let known = self.rules.password.as_ref();
        if known.is_some_and(|known| known.check(name, password)) {
            guesses.give_back(caller);
            return admit_admin(self.rules, users).await;
        }
        let found = users.by_password(name, password).await;
        match found.map_err(|fault| broken("the users' table", &fault.0))? {
            Some(user) => {
                guesses.give_back(caller);
                admit_known(self.rules, user)
            }
            None => Err(Refusal {
                status: 401,
                message: "Invalid credentials used to access UI. Check UI_USERNAME and UI_PASSWORD (by default `admin` and the master key), or the address and password of a user."
                    .to_owned(),
            }),
        }
    }

    /// Whom an invitation is for. The token says so to the page that asks for the password; it opens nothing.
    async fn invited(&self) -> Result<Answer, Refusal> {
        let query = pairs(self.visit.query.as_deref().unwrap_or_default());
        let link = query.get("invite_link").map_or("", String::as_str);
        let found = self.desk.parts.users.invited(link).await;
        let user = found.map_err(|fault| broken("the users' table", &fault.0))?;
        let user = user.ok_or_else(invalid)?;
        let now_s = (self.desk.parts.now_s)();
        let claims = json!({
            "user_id": user.user_id, "user_email": user.user_email, "key": "",
            "user_role": user.role.as_ref().map(Role::as_str), "login_method": "username_password",
            "server_root_path": self.rules.root_path, "exp": now_s + INVITED_S,
        });
        let claims = claims.as_object().cloned().unwrap_or_default();
        let answered = json!({
            "login_url": format!("{}/ui/", self.base()), "token": self.signer.jwt(&claims),
            "user_email": user.user_email,
        });
        Ok(answer(200, "application/json", answered.to_string()))
    }

    /// Takes an invitation: the user has a password, and is signed in.
    async fn take_invitation(&self) -> Result<Answer, Refusal> {
        let body = self.json()?;
        let (link, user_id) = (text(&body, "invitation_link"), text(&body, "user_id"));
        let users = self.desk.parts.users.as_ref();
        let broken = |fault: crate::Fault| broken("the users' table", &fault.0);
        let user = users.invited(link).await.map_err(broken)?;
        let user = user.filter(|user| user.user_id == user_id);
        let user = user.ok_or_else(invalid)?;
        // Who may not enter needs no password.
        let user = admit_known(self.rules, user)?;
        let taken = users.take_invitation(link, user_id, text(&body, "password"));
        match taken.await.map_err(broken)? {
            Taken::Yes => Ok(self.session_json(user, "username_password")),
            Taken::Invalid => Err(invalid()),
            Taken::BadPassword => Err(bad("A password has 1 to 1024 bytes.")),
        }
    }

    /// Sends the browser to the UI, with a session.
    fn session(&self, user: User, method: &str) -> Answer {
        let mut answer = redirect(&self.signed_in());
        answer.headers.push(self.session_cookie(user, method));
        answer
    }

    /// Tells a UI that is a program where to go, with a session.
    fn session_json(&self, user: User, method: &str) -> Answer {
        let told = json!({
            "redirect_url": self.signed_in(), "user_id": user.user_id, "user_email": user.user_email,
        });
        let mut answer = answer(200, "application/json", told.to_string());
        answer.headers.push(self.session_cookie(user, method));
        answer
    }

    fn signed_in(&self) -> String {
        format!("{}/ui/?login=success", self.base())
    }

    /// The header that keeps a new session in the browser.
    fn session_cookie(&self, user: User, method: &str) -> (&'static str, String) {
        let session = Session {
            user_id: user.user_id,
            user_email: user.user_email,
            role: user.role.unwrap_or(Role::InternalUserViewer),
            models: user.models,
            ends_s: (self.desk.parts.now_s)() + SESSION_S,
        };
        tracing::info!(
            user_id = session.user_id,
            role = session.role.as_str(),
            method,
            "signed in"
        );
        let more = json!({
            "login_method": method, "premium_user": true, "auth_header_name": self.rules.key_header,
            "disabled_non_admin_personal_key_creation": false, "server_root_path": self.rules.root_path,
        });
        let more = more.as_object().cloned().unwrap_or_default();
        let token = self.signer.token(&session, more);
        let cookie = self.set_cookie(TOKEN, &token, "/", SESSION_S);
        ("set-cookie", cookie)
    }

    fn ui(&self) -> Answer {
        let now_s = (self.desk.parts.now_s)();
        let token = self.cookie(TOKEN);
        let claims = token.and_then(|token| self.signer.check_token(token, now_s));
        // An invitation's token is no session.
        let claims = claims.filter(|claims| !text(claims, "key").is_empty());
        let root = &self.rules.root_path;
        let Some(claims) = claims else {
            return html(200, page::signed_out(root));
        };
        let said = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or("none");
        let facts = [
            ("User", said("user_id")),
            ("E-mail", said("user_email")),
            ("Role", said("user_role")),
            ("Signed in with", said("login_method")),
        ];
        html(200, page::signed_in(root, &facts))
    }

    fn sign_out(&self) -> Answer {
        let own = || format!("{}/ui/", self.base());
        let to = self.rules.logout_url.clone().unwrap_or_else(own);
        let mut answer = redirect(&to);
        let cookie = self.set_cookie(TOKEN, "", "/", 0);
        answer.headers.push(("set-cookie", cookie));
        answer
    }

    /// The gateway as the browser sees it: `PROXY_BASE_URL`, else as the request says, and the root path.
    fn base(&self) -> String {
        let origin = self.rules.base_url.as_ref().unwrap_or(&self.visit.origin);
        let root = &self.rules.root_path;
        // PROXY_BASE_URL may have the root path in it already.
        match origin.ends_with(root.as_str()) {
            true => origin.clone(),
            false => format!("{origin}{root}"),
        }
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.visit.headers.iter().filter(|(own, _)| own == "cookie");
        cookies
            .flat_map(|(_, value)| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(own, value)| (own == name).then_some(value))
    }

    fn state_cookie(&self, value: &str, life_s: u64) -> String {
        let path = format!("{}/sso", self.rules.root_path);
        self.set_cookie(pending::COOKIE, value, &path, life_s)
    }

    /// Not for scripts, not for other sites; over TLS only, where there is TLS.
    fn set_cookie(&self, name: &str, value: &str, path: &str, life_s: u64) -> String {
        let secure = if self.base().starts_with("https://") {
            "; Secure"
        } else {
            ""
        };
        format!("{name}={value}; Path={path}; Max-Age={life_s}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// LiteLLM's `UiDiscoveryEndpoints`.
fn ui_config(rules: &Rules) -> Answer {
    let told = json!({
        "server_root_path": match rules.root_path.as_str() {
            "" => "/",
            path => path,
        },
        "proxy_base_url": rules.base_url,
        "auto_redirect_to_sso": false,
        "admin_ui_disabled": rules.ui_disabled,
        "sso_configured": !matches!(rules.provider, Provider::None),
    });
    answer(200, "application/json", told.to_string())
}

/// A member of a body that is a text.
fn text<'a>(body: &'a Map<String, Value>, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Nobody can guess the id of an invitation, so wrong ones are not counted.
fn invalid() -> Refusal {
    let text = "Invalid invitation link: it does not exist, was used, or is older than 7 days.";
    Refusal {
        status: 401,
        message: text.to_owned(),
    }
}

fn bad(text: &str) -> Refusal {
    Refusal {
        status: 400,
        message: text.to_owned(),
    }
}

/// A page for people, LiteLLM's error for programs.
fn refuse(visit: &Visit, refusal: Refusal) -> Answer {
    let status = match refusal.status {
        status @ 400..=599 => status,
        _ => 403,
    };
    let accept = visit.headers.iter().find(|(name, _)| name == "accept");
    if accept.is_some_and(|(_, value)| value.contains("text/html")) {
        return html(status, page::message("Not signed in", &refusal.message));
    }
    let error = json!({"error": {
        "message": refusal.message, "type": "auth_error", "param": "None", "code": status.to_string(),
    }});
    answer(status, "application/json", error.to_string())
}

fn html(status: u16, body: String) -> Answer {
    answer(status, "text/html; charset=utf-8", body)
}

fn redirect(to: &str) -> Answer {
    let mut answer = html(303, String::new());
    answer.headers.push(("location", to.to_owned()));
    answer
}

fn answer(status: u16, media_type: &'static str, body: String) -> Answer {
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
    Answer {
        status,
        media_type,
        headers: vec![
            ("cache-control", "no-store".to_owned()),
            ("content-security-policy", policy.to_owned()),
            ("referrer-policy", "no-referrer".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ],
        body,
    }
}

/// The pairs of a query or a form; of several with one name the first counts.
fn pairs(text: &str) -> HashMap<String, String> {
    let mut pairs = HashMap::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        pairs.entry(name.into_owned()).or_insert(value.into_owned());
    }
    pairs
}

fn debug_page(who: &OpenId) -> String {
    let extra = Value::Object(Map::clone(&who.extra_fields)).to_string();
    let teams = who.team_ids.join(", ");
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let facts = [
        ("id", who.id.clone()),
        ("email", text(&who.email)),
        ("first_name", text(&who.first_name)),
        ("last_name", text(&who.last_name)),
        ("display_name", text(&who.display_name)),
        ("picture", text(&who.picture)),
        ("provider", text(&who.provider)),
        ("team_ids", teams),
        ("user_role", text(&who.user_role)),
        ("extra_fields", extra),
    ];
    let facts: Vec<(&str, &str)> = facts
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    page::debug(&facts)
}
