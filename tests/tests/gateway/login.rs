//! Signing in: a browser, an identity provider that checks everything, and what the gateway lets in.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use witgate_testkit::{FakeIdp, FakeUpstream, Gateway, GatewayBuilder, Token};

use crate::support::{Client, MASTER_KEY, base_config, chat, http_client};

/// A browser: it keeps cookies, shows pages, and follows redirects one by one.
pub(crate) struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// What it was sent.
pub(crate) struct Page {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self {
            http: http_client(|builder| builder.redirect(reqwest::redirect::Policy::none())),
            cookies: BTreeMap::new(),
        }
    }

    async fn get(&mut self, url: &str) -> Page {
        let request = self.http.get(url).header("accept", "text/html");
        self.send(request).await
    }

    async fn post(&mut self, url: &str, form: &[(&str, &str)]) -> Page {
        let pairs: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = self
            .http
            .post(url)
            .header("accept", "text/html")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(pairs.join("&"));
        self.send(request).await
    }

    async fn send(&mut self, mut request: reqwest::RequestBuilder) -> Page {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            let pair = cookie
                .to_str()
                .expect("text")
                .split(';')
                .next()
                .unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie");
            match value.is_empty() {
                true => drop(self.cookies.remove(name)),
                false => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        let text = response.text().await.expect("a body");
        Page {
            status,
            headers,
            text,
        }
    }

    /// Begins a login and goes to the provider; the URL it sends back to, and where the login was sent.
    async fn goes_to_provider(&mut self, gateway: &Gateway) -> (String, String) {
        let begun = self
            .get(&format!("{}/sso/key/generate", gateway.base_url()))
            .await;
        let to = begun.location();
        let back = self.get(&to).await;
        (back.location(), to)
    }

    /// A whole login.
    pub(crate) async fn login(&mut self, gateway: &Gateway) -> Page {
        let (back, _) = self.goes_to_provider(gateway).await;
        self.get(&back).await
    }

    pub(crate) fn claims(&self) -> Value {
        claims(self.cookies.get("token").expect("a session"))
    }
}

impl Page {
    #[track_caller]
    pub(crate) fn location(&self) -> String {
        assert!(
            matches!(self.status, 302 | 303),
            "{} {}",
            self.status,
            self.text
        );
        let location = self.headers.get("location").expect("a location");
        location.to_str().expect("text").to_owned()
    }

    #[track_caller]
    fn refused(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(
            self.text.contains(part),
            "not about {part:?}: {}",
            self.text
        );
        let set = self.headers.get_all("set-cookie").iter();
        let session = set.filter(|cookie| cookie.as_bytes().starts_with(b"token="));
        assert_eq!(session.count(), 0, "somebody is signed in");
    }
}

/// The claims of a JWT, whose signature must be the master key's.
fn claims(token: &str) -> Value {
    let (signed, signature) = token.rsplit_once('.').expect("a JWT");
    assert_eq!(
        hmac(MASTER_KEY, signed),
        base64url(signature),
        "the signature"
    );
    let claims = signed.split_once('.').expect("claims").1;
    serde_json::from_slice(&base64url(claims)).expect("JSON")
}

/// HMAC-SHA256 (RFC 2104) of a key that is shorter than a block.
fn hmac(key: &str, text: &str) -> Vec<u8> {
    let pad = |with: u8| -> Vec<u8> {
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key.as_bytes());
        block.iter().map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([pad(0x36), text.as_bytes().to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

fn base64url(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = text
        .bytes()
        .map(|byte| DIGITS.iter().position(|d| *d == byte).expect("a digit"));
    let (mut bits, mut count, mut bytes) = (0usize, 0, Vec::new());
    for digit in digits {
        bits = bits << 6 | digit;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

/// A gateway without models, with a master key and these general settings, which signs in with an OpenID issuer.
pub(crate) fn gateway(idp: &FakeIdp, general: &str, more: &str) -> GatewayBuilder {
    let config = format!("general_settings:\n  master_key: {MASTER_KEY}\n{general}{more}");
    Gateway::builder(config)
        .env("OPENID_BASE_URL", idp.issuer())
        .env("OPENID_CLIENT_ID", FakeIdp::CLIENT_ID)
        .env("OPENID_CLIENT_SECRET", FakeIdp::CLIENT_SECRET)
}

async fn users(gateway: &Gateway) -> Vec<Value> {
    gateway.rows("LiteLLM_UserTable", "created_at").await
}

#[tokio::test]
async fn a_login_ends_with_a_user_and_a_session() {
    let idp = FakeIdp::start().await;
    let gateway = gateway(&idp, "", "").start().await;
    let mut browser = Browser::new();
    let begun = browser
        .get(&format!("{}/sso/key/generate", gateway.base_url()))
        .await;
    let cookie = begun.headers["set-cookie"]
        .to_str()
        .expect("text")
        .to_owned();
    for part in [
        "litellm_oauth_state=",
        "; HttpOnly",
        "; SameSite=Lax",
        "; Path=/sso",
        "; Max-Age=600",
    ] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    assert!(!cookie.contains("Secure"), "plain HTTP: {cookie}");
    let back = browser.get(&begun.location()).await.location();
    assert!(
        back.starts_with(&format!("{}/sso/callback?code=", gateway.base_url())),
        "{back}"
    );
    let done = browser.get(&back).await;
    assert_eq!(
        done.location(),
        format!("{}/ui/?login=success", gateway.base_url())
    );
    assert!(
        !browser.cookies.contains_key("litellm_oauth_state"),
        "the login is over"
    );
    idp.refused_nothing();

    let claims = browser.claims();
    for (name, value) in [
        ("user_id", json!("ann")),
        ("user_email", json!("ann@example.com")),
        ("user_role", json!("internal_user_viewer")),
        ("login_method", json!("sso")),
        ("auth_header_name", json!("Authorization")),
        ("premium_user", json!(true)),
        ("server_root_path", json!("")),
    ] {
        assert_eq!(claims[name], value, "{name}: {claims}");
    }
    let row = users(&gateway).await.remove(0);
    assert_eq!(row["user_id"], "ann");
    assert_eq!(row["sso_user_id"], "ann");
    assert_eq!(row["user_role"], "internal_user_viewer");
    assert_eq!(row["metadata"], r#"{"auth_provider":"generic"}"#);

    let page = browser.get(&done.location()).await;
    assert!(
        page.text.contains("ann@example.com") && page.text.contains("internal_user_viewer"),
        "{}",
        page.text
    );
    browser
        .post(&format!("{}/ui/logout", gateway.base_url()), &[])
        .await
        .location();
    assert!(!browser.cookies.contains_key("token"));
    let page = browser.get(&format!("{}/ui/", gateway.base_url())).await;
    assert!(page.text.contains("not signed in"), "{}", page.text);
    for secret in [FakeIdp::CLIENT_SECRET, "access-token-1", "code-1"] {
        assert!(!gateway.printed(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_session_looks_and_calls_no_model() {
    let (idp, upstream) = (FakeIdp::start().await, FakeUpstream::start().await);
    idp.says(json!({"role": "proxy_admin"}));
    let config = base_config(&upstream.api_base());
    let gateway = Gateway::builder(config)
        .env("OPENID_BASE_URL", idp.issuer())
        .env("OPENID_CLIENT_ID", FakeIdp::CLIENT_ID)
        .env("OPENID_CLIENT_SECRET", FakeIdp::CLIENT_SECRET)
        .start()
        .await;
    let mut browser = Browser::new();
    browser.login(&gateway).await.location();
    let key = browser.claims()["key"].as_str().expect("a key").to_owned();
    let client = Client::of(&gateway).key(&key);
    assert!(client.get("/v1/models").await.ok()["data"].is_array());
    let error = client.chat(&chat("gpt-4o")).await.error(403);
    assert!(error["message"].to_string().contains("session"), "{error}");
    assert!(upstream.requests().is_empty());
    client.post("/config/reload", &json!({})).await.ok();
    let ready = client.get("/sso/readiness").await.ok();
    assert_eq!(ready["provider"], "generic-sso", "{ready}");
    Client::of(&gateway).get("/sso/readiness").await.error(401);
    // One letter of what is signed, and it is nobody's.
    let forged = key.replacen("sk-session-e", "sk-session-f", 1);
    Client::of(&gateway)
        .key(&forged)
        .get("/v1/models")
        .await
        .error(401);
    // The cookie is no credential for the API.
    let token = browser.cookies["token"].clone();
    Client::of(&gateway)
        .header("cookie", &format!("token={token}"))
        .get("/v1/models")
        .await
        .error(401);
}

#[tokio::test]
async fn another_browser_cannot_finish_a_login_nor_can_it_be_finished_with_another_state() {
    let idp = FakeIdp::start().await;
    let gateway = gateway(&idp, "", "").start().await;
    let mut ann = Browser::new();
    let (back, _) = ann.goes_to_provider(&gateway).await;
    // Without the cookie, with the cookie of another login, with a forged one.
    let mut eve = Browser::new();
    eve.get(&back).await.refused(400, "not begun here");
    eve.goes_to_provider(&gateway).await;
    eve.get(&back).await.refused(400, "another login");
    eve.cookies
        .insert("litellm_oauth_state".to_owned(), "e30.AAAA".to_owned());
    eve.get(&back).await.refused(400, "not begun here");
    let (address, state) = back.rsplit_once('=').expect("a state");
    assert_eq!(state.len(), 43);
    ann.get(&format!("{address}=guessed"))
        .await
        .refused(400, "another login");
    // A failed try ends the login: the cookie is gone.
    ann.get(&back).await.refused(400, "not begun here");
    let (back, _) = ann.goes_to_provider(&gateway).await;
    ann.get(&back.replace("code=code", "code=other"))
        .await
        .refused(401, "does not take this code");
    let (back, _) = ann.goes_to_provider(&gateway).await;
    ann.get(&back.replace("code=", "none="))
        .await
        .refused(400, "no code");
    idp.refuses("access_denied");
    let page = ann.login(&gateway).await;
    page.refused(401, "access_denied");
    assert!(!page.text.contains("<script>"), "{}", page.text);
    assert!(users(&gateway).await.is_empty());
}

#[tokio::test]
async fn an_id_token_that_is_not_good_lets_nobody_in() {
    let idp = FakeIdp::start().await;
    let gateway = gateway(&idp, "", "").start().await;
    for (token, why) in [
        (Token::OtherNonce, "`nonce`"),
        (Token::OtherAudience, "`aud`"),
        (Token::OtherIssuer, "`iss`"),
        (Token::Expired, "`exp`"),
        (Token::Forged, "signature"),
        (Token::Unsigned, "no published key"),
    ] {
        idp.gives(token);
        let page = Browser::new().login(&gateway).await;
        page.refused(500, "log says why");
        assert!(!page.text.contains(why), "{}", page.text);
        gateway.wait_for_log(why).await;
    }
    assert!(users(&gateway).await.is_empty());
    idp.gives(Token::Good);
    Browser::new().login(&gateway).await.location();
}

#[tokio::test]
async fn litellms_variables_alone_are_enough() {
    let idp = FakeIdp::start().await;
    idp.says(json!({
        "who": {"id": "a-77", "mail": "Ann@Example.com"}, "realm": {"groups": ["staff", "ops"]}, "role": "internal_user_viewer",
    }));
    let at = |path: &str| format!("{}{path}", idp.issuer());
    let gateway = Gateway::builder(format!("general_settings:\n  master_key: {MASTER_KEY}\n"))
        .env("GENERIC_CLIENT_ID", FakeIdp::CLIENT_ID)
        .env("GENERIC_CLIENT_SECRET", FakeIdp::CLIENT_SECRET)
        .env("GENERIC_AUTHORIZATION_ENDPOINT", at("/authorize"))
        .env("GENERIC_TOKEN_ENDPOINT", at("/token"))
        .env("GENERIC_USERINFO_ENDPOINT", at("/userinfo"))
        .env("GENERIC_CLIENT_STATE", "okta-state")
        .env("GENERIC_INCLUDE_CLIENT_ID", "true")
        .env("GENERIC_SSO_HEADERS", "x-tenant=acme,x-sign=abc=def==")
        .env("GENERIC_USER_ID_ATTRIBUTE", "who.id")
        .env("GENERIC_USER_EMAIL_ATTRIBUTE", "who.mail")
        .env(
            "GENERIC_ROLE_MAPPINGS_ROLES",
            "{'internal_user': ['staff'], 'proxy_admin_viewer': ['ops']}",
        )
        .env("GENERIC_ROLE_MAPPINGS_GROUP_CLAIM", "realm.groups")
        .env("ALLOWED_EMAIL_DOMAINS", "other.org, example.com")
        .start()
        .await;
    let mut browser = Browser::new();
    let (back, to) = browser.goes_to_provider(&gateway).await;
    assert!(to.contains("&state=okta-state&"), "{to}");
    browser.get(&back).await.location();
    let claims = browser.claims();
    assert_eq!(claims["user_id"], "a-77", "{claims}");
    assert_eq!(claims["user_email"], "Ann@Example.com", "{claims}");
    assert_eq!(claims["user_role"], "proxy_admin_viewer", "{claims}");
    for request in idp.requests().all() {
        if matches!(request.path(), "/token" | "/userinfo") {
            assert_eq!(
                request.header("x-tenant"),
                Some("acme"),
                "{}",
                request.path()
            );
            assert_eq!(
                request.header("x-sign"),
                Some("abc=def=="),
                "{}",
                request.path()
            );
        }
        let form = String::from_utf8_lossy(&request.body).into_owned();
        assert_eq!(
            request.path() == "/token",
            form.contains("client_id=gateway-client"),
            "{form}"
        );
        assert!(!form.contains(FakeIdp::CLIENT_SECRET), "{form}");
    }
    // With a fixed state, PKCE and the cookie still tie a code to its browser.
    let (of_eve, _) = Browser::new().goes_to_provider(&gateway).await;
    browser.goes_to_provider(&gateway).await;
    browser
        .get(&of_eve)
        .await
        .refused(401, "does not take this code");
}

#[tokio::test]
async fn only_allowed_domains_and_verified_addresses_enter() {
    let idp = FakeIdp::start().await;
    let gateway = gateway(&idp, "", "")
        .env("ALLOWED_EMAIL_DOMAINS", "example.com")
        .start()
        .await;
    Browser::new().login(&gateway).await.location();
    for (email, verified) in [
        (json!("ann@example.com.evil.org"), true),
        (json!("ann@sub.example.com"), true),
        (json!("\"@example.com\"@evil.org"), true),
        (json!("ann@example.com"), false),
        (Value::Null, true),
    ] {
        idp.says(json!({"email": email, "email_verified": verified}));
        Browser::new()
            .login(&gateway)
            .await
            .refused(401, "allowed email domain");
    }
    // For programs it is LiteLLM's error.
    let (back, _) = Browser::new().goes_to_provider(&gateway).await;
    Client::of(&gateway)
        .get(back.strip_prefix(gateway.base_url()).expect("the gateway"))
        .await
        .error(400);
}

#[tokio::test]
async fn roles_come_from_the_provider_then_the_database_then_the_defaults() {
    let idp = FakeIdp::start().await;
    let defaults = "litellm_settings:\n  default_internal_user_params: {user_role: internal_user, models: [gpt-4o], max_budget: 12.5, budget_duration: 30d}\n";
    let gateway = gateway(&idp, "", defaults)
        .env("PROXY_ADMIN_ID", "boss")
        .start()
        .await;
    let role_of = async |more: Value| {
        idp.says(more);
        let mut browser = Browser::new();
        browser.login(&gateway).await.location();
        browser.claims()["user_role"].clone()
    };
    assert_eq!(role_of(json!({})).await, "internal_user");
    assert_eq!(
        role_of(json!({"role": "proxy_admin_viewer"})).await,
        "proxy_admin_viewer"
    );
    assert_eq!(
        role_of(json!({"role": null, "email": "new@example.com"})).await,
        "proxy_admin_viewer"
    );
    assert_eq!(role_of(json!({"role": "root"})).await, "proxy_admin_viewer");
    assert_eq!(role_of(json!({"preferred_username": "boss", "email": "boss@example.com", "role": "internal_user"})).await, "proxy_admin");
    let rows = users(&gateway).await;
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert_eq!(rows[0]["user_email"], "new@example.com");
    assert_eq!(rows[0]["models"], r#"["gpt-4o"]"#);
    assert_eq!(rows[0]["max_budget"], 12.5);
    assert_eq!(rows[0]["budget_duration"], "30d");
    assert_eq!(rows[1]["user_role"], "proxy_admin");
    // Whose row is linked to an id at the provider is taken over by no address.
    idp.says(json!({"preferred_username": "ann-2", "email": "NEW@example.com", "role": null}));
    let mut browser = Browser::new();
    browser.login(&gateway).await.location();
    assert_eq!(browser.claims()["user_id"], "ann-2");
}

#[tokio::test]
async fn the_ui_can_be_for_administrators_or_for_a_group() {
    let idp = FakeIdp::start().await;
    let admins = gateway(&idp, "  ui_access_mode: admin_only\n", "")
        .start()
        .await;
    Browser::new()
        .login(&admins)
        .await
        .refused(401, "not allowed to access proxy");
    assert!(users(&admins).await.is_empty());
    idp.says(json!({"role": "proxy_admin_viewer"}));
    Browser::new().login(&admins).await.location();

    let general = "  ui_access_mode: {type: restricted_sso_group, restricted_sso_group: gw}\n  litellm_jwtauth: {team_ids_jwt_field: groups}\n";
    let group = gateway(&idp, general, "").start().await;
    Browser::new()
        .login(&group)
        .await
        .refused(403, "members of the group");
    idp.says(json!({"groups": ["other", "gw"]}));
    Browser::new().login(&group).await.location();
}

#[tokio::test]
async fn behind_a_proxy_addresses_are_its_own_and_cookies_are_for_tls() {
    let idp = FakeIdp::start().await;
    let gateway = gateway(&idp, "", "")
        .env("PROXY_BASE_URL", "https://gw.example.com/")
        .env("SERVER_ROOT_PATH", "/llm")
        .start()
        .await;
    let mut browser = Browser::new();
    let begun = browser
        .get(&format!("{}/llm/sso/key/generate", gateway.base_url()))
        .await;
    let cookie = begun.headers["set-cookie"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(
        cookie.contains("; Path=/llm/sso") && cookie.contains("; Secure"),
        "{cookie}"
    );
    let back = browser.get(&begun.location()).await.location();
    let here = back.replace("https://gw.example.com", gateway.base_url());
    assert!(here.contains("/llm/sso/callback?"), "{back}");
    let done = browser.get(&here).await;
    assert_eq!(
        done.location(),
        "https://gw.example.com/llm/ui/?login=success"
    );
    let cookies: Vec<&str> = done
        .headers
        .get_all("set-cookie")
        .iter()
        .filter_map(|c| c.to_str().ok())
        .collect();
    assert!(
        cookies
            .iter()
            .all(|cookie| cookie.contains("; Secure") && cookie.contains("; HttpOnly")),
        "{cookies:?}"
    );
    assert_eq!(browser.claims()["server_root_path"], "/llm");
}

#[tokio::test]
async fn without_a_provider_there_is_a_form() {
    let gateway = Gateway::builder(format!("general_settings:\n  master_key: {MASTER_KEY}\n"))
        .env("UI_USERNAME", "operator")
        .env("PROXY_LOGOUT_URL", "https://idp.example.com/logout")
        .start()
        .await;
    let at = |path: &str| format!("{}{path}", gateway.base_url());
    let mut browser = Browser::new();
    for path in ["/sso/key/generate", "/fallback/login"] {
        let form = browser.get(&at(path)).await;
        assert!(form.text.contains(r#"action="/login""#), "{}", form.text);
    }
    for (name, password) in [("operator", "wrong"), ("admin", MASTER_KEY), ("", "")] {
        let form = [("username", name), ("password", password)];
        browser
            .post(&at("/login"), &form)
            .await
            .refused(401, "UI_USERNAME");
    }
    let form = [("username", "operator"), ("password", MASTER_KEY)];
    browser.post(&at("/login"), &form).await.location();
    let claims = browser.claims();
    assert_eq!(
        (&claims["login_method"], &claims["user_role"]),
        (&json!("username_password"), &json!("proxy_admin"))
    );
    assert_eq!(users(&gateway).await[0]["user_id"], "default_user_id");
    assert_eq!(
        browser.post(&at("/ui/logout"), &[]).await.location(),
        "https://idp.example.com/logout"
    );
    // Whoever guesses has to wait.
    for _ in 0..7 {
        browser
            .post(
                &at("/login"),
                &[("username", "operator"), ("password", "guess")],
            )
            .await
            .refused(401, "UI_PASSWORD");
    }
    let right = [("username", "operator"), ("password", MASTER_KEY)];
    browser
        .post(&at("/login"), &right)
        .await
        .refused(429, "Wait");
    assert!(!gateway.printed(MASTER_KEY));
}

#[tokio::test]
async fn the_ui_can_be_off_and_needs_a_master_key() {
    let config = format!("general_settings:\n  master_key: {MASTER_KEY}\n");
    let off = Gateway::builder(config)
        .env("DISABLE_ADMIN_UI", "true")
        .start()
        .await;
    for path in ["/sso/key/generate", "/fallback/login", "/ui/"] {
        let page = Browser::new()
            .get(&format!("{}{path}", off.base_url()))
            .await;
        assert!(page.text.contains("disabled"), "{path}: {}", page.text);
    }
    let open = Gateway::start("model_list: []\n").await;
    let page = Browser::new()
        .get(&format!("{}/sso/key/generate", open.base_url()))
        .await;
    page.refused(500, "master key");
}

#[tokio::test]
async fn a_provider_that_is_half_set_up_is_told_where_it_matters() {
    let config = format!("general_settings:\n  master_key: {MASTER_KEY}\n");
    let gateway = Gateway::builder(&config)
        .env("GENERIC_CLIENT_ID", "gw")
        .start()
        .await;
    let page = Browser::new()
        .get(&format!("{}/sso/key/generate", gateway.base_url()))
        .await;
    page.refused(500, "GENERIC_CLIENT_SECRET");
    let ready = Client::of(&gateway)
        .key(MASTER_KEY)
        .get("/sso/readiness")
        .await;
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert!(
        ready.text().contains("GENERIC_CLIENT_SECRET"),
        "{}",
        ready.text()
    );
    // Named in the configuration it must work.
    let named = config.clone() + "  sso_provider: generic-sso\n";
    let refusal = Gateway::builder(named).expect_refusal().await;
    assert!(
        refusal.output.contains("GENERIC_CLIENT_SECRET"),
        "{}",
        refusal.output
    );
    for (general, part) in [
        (
            "  sso_provider: custom-sso-groups\nplugins: {custom-sso-groups: {settings: {groups: {}}}}\n",
            "`provider`",
        ),
        (
            "  custom_sso: custom-auth\nplugins: {custom-auth: {settings: {teams: {}}}}\n",
            "authenticator",
        ),
        ("  ui_access_mode: {type: other}\n", "ui_access_mode"),
    ] {
        let refusal = Gateway::builder(config.clone() + general)
            .expect_refusal()
            .await;
        assert!(refusal.output.contains(part), "{part}: {}", refusal.output);
    }
}

#[tokio::test]
async fn whoever_sets_up_a_provider_can_see_what_it_says() {
    let idp = FakeIdp::start().await;
    idp.says(json!({"display": "x", "sub": "<b>u</b>"}));
    let closed = gateway(&idp, "", "").start().await;
    let page = Browser::new()
        .get(&format!("{}/sso/debug/login", closed.base_url()))
        .await;
    page.refused(404, "ENABLE_SSO_DEBUG");
    let open = gateway(&idp, "", "")
        .env("ENABLE_SSO_DEBUG", "true")
        .start()
        .await;
    let mut browser = Browser::new();
    let begun = browser
        .get(&format!("{}/sso/debug/login", open.base_url()))
        .await;
    let back = browser.get(&begun.location()).await.location();
    // Its answer signs nobody in, also not at the other door.
    let page = browser.get(&back).await;
    assert!(
        page.text.contains("ann@example.com") && page.text.contains("&lt;b&gt;u&lt;/b&gt;"),
        "{}",
        page.text
    );
    page.refused(200, "Nobody was signed in");
    let begun = browser
        .get(&format!("{}/sso/debug/login", open.base_url()))
        .await;
    let back = browser.get(&begun.location()).await.location();
    browser
        .get(&back.replace("/sso/debug/callback", "/sso/callback"))
        .await
        .refused(400, "another login");
    assert!(users(&open).await.is_empty());
}

#[tokio::test]
async fn a_plugin_of_ones_own_decides_what_users_are() {
    let idp = FakeIdp::start().await;
    idp.says(json!({"groups": ["staff"], "role": "proxy_admin"}));
    let plugins = "plugins:\n  generic-sso: {settings: {team_ids_attribute: groups}}\n  custom-sso-groups: {settings: {groups: {staff: {role: internal_user, models: [gpt-4o], max_budget: 10.5, budget_duration: 30d}}}}\n";
    let gateway = gateway(&idp, "  custom_sso: custom-sso-groups\n", plugins)
        .start()
        .await;
    let mut browser = Browser::new();
    browser.login(&gateway).await.location();
    assert_eq!(browser.claims()["user_role"], "internal_user");
    let row = users(&gateway).await.remove(0);
    assert_eq!(
        (&row["models"], &row["max_budget"]),
        (&json!(r#"["gpt-4o"]"#), &json!(10.5))
    );
    idp.says(json!({"groups": ["guests"]}));
    Browser::new()
        .login(&gateway)
        .await
        .refused(403, "none of the groups");
}

#[tokio::test]
async fn a_custom_sso_of_litellm_runs_unmodified() {
    let idp = FakeIdp::start().await;
    idp.says(json!({"groups": ["gateway-admins"]}));
    let more = "plugins:\n  generic-sso: {settings: {team_ids_attribute: groups}}\n";
    let gateway = gateway(&idp, "  custom_sso: custom_sso.my_handler\n", more)
        .env("SSO_DOMAIN", "example.com")
        .shared_plugin_cache()
        .start()
        .await;
    let mut browser = Browser::new();
    browser.login(&gateway).await.location();
    let claims = browser.claims();
    assert_eq!(
        (&claims["user_id"], &claims["user_role"]),
        (&json!("ann"), &json!("proxy_admin"))
    );
    gateway.wait_for_log("ann is new").await;
    let row = users(&gateway).await.remove(0);
    assert_eq!(
        (&row["models"], &row["max_budget"]),
        (&json!(r#"["gpt-4o"]"#), &json!(10.0))
    );
    Browser::new().login(&gateway).await.location();
    gateway.wait_for_log("ann comes back").await;
    idp.says(json!({"email": "eve@elsewhere.org"}));
    Browser::new()
        .login(&gateway)
        .await
        .refused(403, "only people of example.com");
}

#[tokio::test]
async fn a_hostile_plugin_sends_nobody_elsewhere_and_makes_nobody_what_there_is_not() {
    let idp = FakeIdp::start().await;
    let config = |behaviour: &str| {
        format!(
            "general_settings:\n  master_key: {MASTER_KEY}\n  sso_provider: hostile-sso\nplugins:\n  hostile-sso: {{settings: {{behaviour: {behaviour}, home: '{}'}}, limits: {{timeout_ms: 2000}}}}\n",
            idp.issuer()
        )
    };
    for (behaviour, why) in [
        ("elsewhere", "not among the granted hosts"),
        ("no-url", "no absolute URL"),
        ("script", "neither http nor https"),
        ("credentials", "credentials"),
        ("other-state", "`state`"),
        ("two-states", "`state`"),
        ("other-redirect", "`redirect_uri`"),
        ("loop", "cpu limit"),
    ] {
        let gateway = Gateway::builder(config(behaviour)).start().await;
        let page = Browser::new()
            .get(&format!("{}/sso/key/generate", gateway.base_url()))
            .await;
        page.refused(500, "log says why");
        assert!(page.headers.get("location").is_none(), "{behaviour}");
        gateway.wait_for_log(why).await;
        Client::of(&gateway)
            .key(MASTER_KEY)
            .get("/v1/models")
            .await
            .ok();
    }
    for (behaviour, status, why) in [
        ("no-id", 500, "without an id"),
        ("long-id", 500, "256 bytes"),
        ("no-json", 500, "not JSON"),
        ("odd-status", 403, ""),
    ] {
        let gateway = Gateway::builder(config(behaviour)).start().await;
        let page = Browser::new().login(&gateway).await;
        page.refused(status, "");
        if !why.is_empty() {
            gateway.wait_for_log(why).await;
        }
        assert!(users(&gateway).await.is_empty(), "{behaviour}");
    }
    // A role that there is not: of a provider it is nothing, of `custom_sso` an error.
    let gateway = Gateway::builder(config("root")).start().await;
    let mut browser = Browser::new();
    browser.login(&gateway).await.location();
    assert_eq!(browser.claims()["user_role"], "internal_user_viewer");
    let mapping = config("root").replace(
        "  sso_provider:",
        "  custom_sso: hostile-sso\n  sso_provider:",
    );
    let gateway = Gateway::builder(mapping).start().await;
    Browser::new()
        .login(&gateway)
        .await
        .refused(500, "custom_sso");
    gateway.wait_for_log("is none of proxy_admin").await;
    assert!(users(&gateway).await.is_empty());
}

#[tokio::test]
async fn a_proxy_in_front_can_say_who_signs_in() {
    let config = format!(
        "general_settings:\n  master_key: {MASTER_KEY}\n  custom_ui_sso_sign_in_handler: hostile-sso\nplugins:\n  hostile-sso: {{settings: {{behaviour: none, home: 'https://idp.example.com'}}}}\n"
    );
    let gateway = Gateway::builder(config).start().await;
    let mut browser = Browser::new();
    browser
        .cookies
        .insert("secret".to_owned(), "crumb".to_owned());
    let url = format!("{}/sso/key/generate", gateway.base_url());
    browser.get(&url).await.refused(401, "who are you");
    let request = browser.http.get(&url).header("x-forwarded-user", "ann");
    browser.send(request).await.location();
    assert_eq!(browser.claims()["user_id"], "ann");
}

#[tokio::test]
async fn a_reload_changes_who_may_enter() {
    let idp = FakeIdp::start().await;
    let gateway = gateway(&idp, "", "").start().await;
    Browser::new().login(&gateway).await.location();
    let config =
        format!("general_settings:\n  master_key: {MASTER_KEY}\n  ui_access_mode: admin_only\n");
    gateway.write_config(&config);
    Client::of(&gateway)
        .key(MASTER_KEY)
        .post("/config/reload", &json!({}))
        .await
        .ok();
    Browser::new()
        .login(&gateway)
        .await
        .refused(401, "not allowed to access proxy");
}

/// A session's bearer out of a cookie that was set.
fn bearer(answer: &crate::support::Answer) -> String {
    let cookie = answer.header("set-cookie").expect("a session");
    let token = cookie
        .strip_prefix("token=")
        .and_then(|rest| rest.split(';').next());
    let claims = claims(token.expect("a token"));
    claims["key"].as_str().expect("a bearer").to_owned()
}

#[tokio::test]
async fn whoever_is_invited_chooses_a_password_once_and_signs_in_with_it() {
    let stage = crate::support::Stage::plain().await;
    let admin = &stage.client;
    let ann = json!({"user_id": "ann", "user_email": "ann@example.com", "auto_create_key": false});
    admin.post("/user/new", &ann).await.ok();
    let made = admin
        .post("/invitation/new", &json!({"user_id": "ann"}))
        .await
        .ok();
    let link = made["id"].as_str().unwrap();
    let anybody = Client::of(&stage.gateway);
    let asked = format!("/onboarding/get_token?invite_link={link}");
    let told = anybody.get(&asked).await.ok();
    assert_eq!(told["user_email"], "ann@example.com");
    // The token tells whose invitation it is, and opens nothing.
    let token = told["token"].as_str().unwrap();
    assert_eq!(claims(token)["user_id"], "ann");
    Client::of(&stage.gateway)
        .key(token)
        .get("/key/info")
        .await
        .error(401);
    let take = |user: &str, password: &str| json!({"invitation_link": link, "user_id": user, "password": password});
    anybody
        .post("/onboarding/claim_token", &take("bob", "hunter2"))
        .await
        .error(401);
    anybody
        .post("/onboarding/claim_token", &take("ann", ""))
        .await
        .error(400);
    let done = anybody
        .post("/onboarding/claim_token", &take("ann", "hunter2"))
        .await;
    done.ok();
    let session = Client::of(&stage.gateway).key(&bearer(&done));
    assert_eq!(session.get("/user/info").await.ok()["user_id"], "ann");
    anybody
        .post("/onboarding/claim_token", &take("ann", "other"))
        .await
        .error(401);
    anybody.get(&asked).await.error(401);
    let sign_in = |name: &str, password: &str| json!({"username": name, "password": password});
    for (name, password) in [("ann@example.com", "other"), ("bob", "hunter2"), ("", "")] {
        anybody
            .post("/v2/login", &sign_in(name, password))
            .await
            .error(401);
    }
    let done = anybody
        .post("/v2/login", &sign_in("Ann@Example.com", "hunter2"))
        .await;
    let told = done.ok();
    assert!(
        told["redirect_url"]
            .as_str()
            .unwrap()
            .ends_with("/ui/?login=success"),
        "{told}"
    );
    let session = Client::of(&stage.gateway).key(&bearer(&done));
    session.get("/user/info").await.ok();
    session
        .post("/invitation/new", &json!({"user_id": "ann"}))
        .await
        .error(401);
    assert_eq!(
        anybody
            .post("/v2/login", &sign_in("admin", MASTER_KEY))
            .await
            .status,
        200
    );
    let config = anybody
        .get("/litellm/.well-known/litellm-ui-config")
        .await
        .ok();
    assert_eq!(
        (&config["server_root_path"], &config["admin_ui_disabled"]),
        (&json!("/"), &json!(false))
    );
    // Who is deactivated is out at once: the session, and the password.
    let off = json!({"Operations": [{"op": "replace", "value": {"active": false}}]});
    admin.patch("/scim/v2/Users/ann", &off).await.ok();
    session.get("/user/info").await.error(401);
    anybody
        .post("/v2/login", &sign_in("ann@example.com", "hunter2"))
        .await
        .error(401);
    assert!(!stage.gateway.printed("hunter2") && !stage.gateway.printed(link));
}

#[tokio::test]
async fn a_session_spends_its_budget_and_no_more() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        &format!("api_key: {}}}", crate::support::UPSTREAM_KEY),
        &format!(
            "api_key: {}, input_cost_per_token: 1, output_cost_per_token: 0}}",
            crate::support::UPSTREAM_KEY
        ),
    ) + "litellm_settings:\n  max_ui_session_budget: 0.5\n";
    let stage = crate::support::Stage::of(upstream, Gateway::builder(config)).await;
    let admin = json!({"username": "admin", "password": MASTER_KEY});
    let sign_in = async || {
        let done = Client::of(&stage.gateway).post("/v2/login", &admin).await;
        Client::of(&stage.gateway).key(&bearer(&done))
    };
    let session = sign_in().await;
    session.chat(&chat("gpt-4o")).await.ok();
    let told = session.chat(&chat("gpt-4o")).await;
    assert!(matches!(told.status, 400 | 429), "{}", told.text());
    assert!(told.text().contains("udget"), "{}", told.text());
    // It manages all the same, and what it makes is not bound by what it may spend.
    let made = session.post("/key/generate", &json!({})).await.ok();
    assert_eq!(made["max_budget"], Value::Null);
    let key = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    key.chat(&chat("gpt-4o")).await.ok();
}
