//! Signing in, as a configuration and its variables say: which plugins, which rules, and the users' table behind them.

use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use witgate_config::{Config, Env, Loaded};
use witgate_identity::{Role, Signer};
use witgate_login as login;
use witgate_login::{AccessMode, Fault, NewUser, Password, Provider, Rules};
use witgate_management::{Changed, ControlPlane, NotTaken, Refusal};
use witgate_plugins as host;
use witgate_plugins::{LoadError, Registry};
use witgate_store::UserRow;
use zeroize::Zeroizing;

/// Names of the plugins among all; the keys of the configuration, and for the provider a word of its own.
pub(super) const PROVIDER: &str = "sso";
const MAPPING: &str = "custom_sso";
const SIGN_IN: &str = "custom_ui_sso_sign_in_handler";

/// Which variable chooses which component, the first that is set counts: LiteLLM's order.
const BY_VARIABLE: [(&str, &str); 4] = [
    ("GOOGLE_CLIENT_ID", "google-sso"),
    ("MICROSOFT_CLIENT_ID", "microsoft-sso"),
    ("GENERIC_CLIENT_ID", "generic-sso"),
    ("OPENID_CLIENT_ID", "generic-sso"),
];

/// The plugins that sign in: name and component.
pub(super) fn plugins(loaded: &Loaded) -> Vec<(&'static str, &str)> {
    let general = &loaded.config.general;
    let all = [
        (PROVIDER, provider(loaded)),
        (MAPPING, general.custom_sso.as_deref()),
        (SIGN_IN, general.custom_ui_sso_sign_in_handler.as_deref()),
    ];
    all.into_iter()
        .filter_map(|(name, component)| Some((name, component?)))
        .collect()
}

/// Where a provider tells of groups: `ui_access_mode.sso_group_jwt_field`, else `litellm_jwtauth.team_ids_jwt_field`.
pub(super) fn team_ids_attribute(config: &Config) -> Option<String> {
    let general = config.raw.get("general_settings")?;
    let mut fields = [
        "/ui_access_mode/sso_group_jwt_field",
        "/litellm_jwtauth/team_ids_jwt_field",
    ]
    .into_iter();
    fields.find_map(|field| general.pointer(field)?.as_str().map(str::to_owned))
}

pub(super) fn provider(loaded: &Loaded) -> Option<&str> {
    let chosen = BY_VARIABLE
        .iter()
        .find(|(variable, _)| loaded.environment.non_empty(variable).is_some())
        .map(|(_, component)| *component);
    loaded.config.general.sso_provider.as_deref().or(chosen)
}

/// A provider that the configuration names must load. One that only a variable chose may have been meant for something else:
/// the gateway serves without it, and whoever signs in is told what is missing.
pub(super) fn apart(loaded: &Loaded, mut errors: Vec<LoadError>) -> Vec<LoadError> {
    if loaded.config.general.sso_provider.is_none() {
        errors.retain(|error| {
            let own = error.plugin == PROVIDER;
            if own {
                let reason = &error.reason;
                tracing::warn!("nobody can sign in with an identity provider: {reason}");
            }
            !own
        });
    }
    errors
}

/// Why the provider was not loaded, as the registry tells it.
fn not_loaded(registry: &Registry) -> Option<String> {
    let mut rows = registry.describe().into_iter();
    let row = rows.find(|row| row.name == PROVIDER && row.kind == host::Kind::Sso.as_str())?;
    let reason = row.state.strip_prefix("failed: ").unwrap_or(&row.state);
    Some(reason.to_owned())
}

/// The rules for the desk.
pub(super) fn rules(loaded: &Loaded, registry: &Registry, problems: &mut Vec<String>) -> Rules {
    let general = &loaded.config.general;
    let env = &loaded.environment;
    let mut plugin = |name: &str, role: &str| {
        let plugin = registry.sso(name)?;
        let roles = &plugin.manifest().roles;
        if !roles.iter().any(|own| own == role) {
            problems.push(format!(
                "{name}: the plugin {} has the roles {}, but not `{role}`",
                plugin.manifest().name,
                roles.join(", ")
            ));
        }
        Some(Arc::new(Plugin(plugin)) as Arc<dyn login::Plugin>)
    };
    let name = || provider(loaded).unwrap_or_default().to_owned();
    let provider = match (plugin(PROVIDER, "provider"), not_loaded(registry)) {
        (Some(plugin), _) => Provider::Ready {
            name: name(),
            plugin,
        },
        (None, Some(reason)) => Provider::Broken {
            name: name(),
            reason,
        },
        (None, None) => Provider::None,
    };
    let mapping = plugin(MAPPING, "mapping");
    let sign_in = plugin(SIGN_IN, "sign-in");
    let master = general.master_key.as_ref().map(|key| key.reveal());
    let password = env.non_empty("UI_PASSWORD").or(master);
    let text = |name: &str| env.non_empty(name).map(str::to_owned);
    let url = |name: &str| text(name).map(|url| url.trim_end_matches('/').to_owned());
    let flag = |name: &str| env.flag(name).unwrap_or(false);
    let raw = loaded.config.raw.get("general_settings");
    let raw = |key: &str| raw.and_then(|settings| settings.get(key));
    Rules {
        signer: master.and_then(Signer::new),
        provider,
        mapping,
        sign_in,
        base_url: url("PROXY_BASE_URL"),
        root_path: url("SERVER_ROOT_PATH").unwrap_or_default(),
        logout_url: text("PROXY_LOGOUT_URL"),
        email_domains: domains(env),
        access: access(raw("ui_access_mode"), problems),
        admin_id: text("PROXY_ADMIN_ID"),
        new_user: new_user(&loaded.config, problems),
        password: password.map(|password| {
            Password::new(env.non_empty("UI_USERNAME").unwrap_or("admin"), password)
        }),
        ui_disabled: flag("DISABLE_ADMIN_UI"),
        debug: flag("ENABLE_SSO_DEBUG"),
        key_header: raw("litellm_key_header_name")
            .and_then(Value::as_str)
            .unwrap_or("Authorization")
            .to_owned(),
    }
}

fn domains(env: &Env) -> Vec<String> {
    let listed = env.non_empty("ALLOWED_EMAIL_DOMAINS").unwrap_or_default();
    let domains = listed.split(',').map(|domain| domain.trim().to_lowercase());
    domains.filter(|domain| !domain.is_empty()).collect()
}

/// A word that is not known lets nobody in who should not be: it is refused, not read as `all`.
fn access(mode: Option<&Value>, problems: &mut Vec<String>) -> AccessMode {
    match mode {
        None | Some(Value::Null) => AccessMode::All,
        Some(Value::String(word)) if word == "all" => AccessMode::All,
        Some(Value::String(word)) if word == "admin_only" => AccessMode::AdminOnly,
        Some(mode) => {
            let group = mode.get("restricted_sso_group").and_then(Value::as_str);
            let kind = mode.get("type").and_then(Value::as_str);
            match (kind, group) {
                (Some("restricted_sso_group"), Some(group)) => AccessMode::Group(group.to_owned()),
                _ => {
                    problems.push(
                        "general_settings.ui_access_mode: it is all, admin_only, or {type: restricted_sso_group, restricted_sso_group: NAME}"
                            .to_owned(),
                    );
                    AccessMode::AdminOnly
                }
            }
        }
    }
}

fn new_user(config: &Config, problems: &mut Vec<String>) -> NewUser {
    let settings = config.raw.get("litellm_settings");
    let shared = |key: &str| settings.and_then(|settings| settings.get(key));
    let params = shared("default_internal_user_params");
    let own = |key: &str| params.and_then(|params| params.get(key));
    let place = "litellm_settings.default_internal_user_params";
    let role = own("user_role").and_then(Value::as_str).and_then(|word| {
        let role = Role::parse(word);
        if role.is_none() {
            problems.push(format!("{place}.user_role: {word:?} is no role"));
        }
        role
    });
    const ACTED_ON: [&str; 5] = [
        "user_role",
        "models",
        "max_budget",
        "budget_duration",
        "available_teams",
    ];
    let others: Vec<&str> = params
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
        .filter(|key| !ACTED_ON.contains(key))
        .collect();
    if !others.is_empty() {
        tracing::warn!(
            "{place}: without effect for those who sign in: {}",
            others.join(", ")
        );
    }
    let money = own("max_budget").or_else(|| shared("max_internal_user_budget"));
    let money = money.filter(|value| !value.is_null()).and_then(|value| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let money = Decimal::from_str(&text).or_else(|_| Decimal::from_scientific(&text));
        money
            .inspect_err(|_| {
                problems.push(format!("{place}.max_budget: it is no amount of dollars"))
            })
            .ok()
    });
    let models = own("models").and_then(Value::as_array);
    let models = models.into_iter().flatten().filter_map(Value::as_str);
    let duration = own("budget_duration").or_else(|| shared("internal_user_budget_duration"));
    NewUser {
        role,
        models: models.map(str::to_owned).collect(),
        max_budget: money,
        budget_duration: duration.and_then(Value::as_str).map(str::to_owned),
    }
}

/// A component as the desk's plugin.
struct Plugin(Arc<host::Sso>);

#[async_trait]
impl login::Plugin for Plugin {
    async fn authorize(&self, from: login::Login) -> Result<login::Authorization, Fault> {
        let told = self.0.authorize(host::Login {
            redirect_uri: from.redirect_uri,
            state: from.state,
            nonce: from.nonce,
            code_challenge: from.code_challenge,
        });
        let told = told.await.map_err(fault)?;
        Ok(login::Authorization {
            url: told.url,
            state: told.state,
        })
    }

    async fn exchange(&self, from: login::Callback) -> Result<login::Who, Fault> {
        let who = self.0.exchange(host::Callback {
            code: from.code,
            redirect_uri: from.redirect_uri,
            nonce: from.nonce,
            code_verifier: from.code_verifier,
        });
        who_of(who.await.map_err(fault)?)
    }

    async fn map_user(
        &self,
        user: login::OpenId,
        known: Option<Map<String, Value>>,
    ) -> Result<login::Mapped, Fault> {
        let user = host::OpenId {
            id: user.id,
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
            display_name: user.display_name,
            picture: user.picture,
            provider: user.provider,
            team_ids: user.team_ids,
            user_role: user.user_role,
            extra_fields: Value::Object(user.extra_fields).to_string(),
        };
        let known = known.map(|row| Value::Object(row).to_string());
        Ok(match self.0.map_user(user, known).await.map_err(fault)? {
            host::Mapped::Values(values) => login::Mapped::Values(login::Values {
                user_id: values.user_id,
                user_email: values.user_email,
                user_role: values.user_role,
                models: values.models,
                max_budget: values.max_budget,
                budget_duration: values.budget_duration,
            }),
            host::Mapped::Deny(refusal) => login::Mapped::Deny(refused(refusal)),
        })
    }

    async fn sign_in(&self, from: login::ProxyRequest) -> Result<login::Who, Fault> {
        let who = self.0.sign_in(host::SignInRequest {
            method: from.method,
            path: from.path,
            query: from.query,
            headers: from.headers,
            client_ip: from.client_ip,
        });
        who_of(who.await.map_err(fault)?)
    }
}

fn fault(error: host::CallError) -> Fault {
    Fault(error.to_string())
}

fn refused(from: host::Refusal) -> login::Refusal {
    login::Refusal {
        status: from.status,
        message: from.message,
    }
}

fn who_of(who: host::Who) -> Result<login::Who, Fault> {
    let user = match who {
        host::Who::Deny(refusal) => return Ok(login::Who::Deny(refused(refusal))),
        host::Who::User(user) => *user,
    };
    let extra = serde_json::from_str(&user.extra_fields)
        .map_err(|error| Fault(format!("extra_fields is no JSON object: {error}")))?;
    Ok(login::Who::User(Box::new(login::OpenId {
        id: user.id,
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
        display_name: user.display_name,
        picture: user.picture,
        provider: user.provider,
        team_ids: user.team_ids,
        user_role: user.user_role,
        extra_fields: extra,
    })))
}

/// The users' table of the database.
pub struct StoredUsers {
    plane: Arc<ControlPlane>,
    /// Where the database was opened: its connections must not live on a thread that serves.
    runtime: Handle,
}

impl StoredUsers {
    /// Must be called on the process's own runtime.
    pub fn new(plane: Arc<ControlPlane>) -> Self {
        Self {
            plane,
            runtime: Handle::current(),
        }
    }

    /// Asks the control plane, there.
    async fn ask<T, F>(&self, asking: impl FnOnce(Arc<ControlPlane>) -> F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let answer = self.runtime.spawn(asking(self.plane.clone())).await;
        let answer = answer.map_err(|error| Fault(error.to_string()))?;
        answer.map_err(|refusal| match refusal {
            Refusal::Unavailable(why) => Fault(why),
            other => Fault(other.message()),
        })
    }

    async fn user(&self, id: Option<String>) -> Result<Option<login::User>, Fault> {
        match id {
            Some(id) => login::Users::find(self, &id, &id, None).await,
            None => Ok(None),
        }
    }
}

fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now)
}

#[async_trait]
impl login::Users for StoredUsers {
    async fn find(
        &self,
        user_id: &str,
        sso_user_id: &str,
        email: Option<&str>,
    ) -> Result<Option<login::User>, Fault> {
        let (id, sso) = (user_id.to_owned(), sso_user_id.to_owned());
        let email = email.map(str::to_owned);
        let found = self.ask(|plane| async move {
            let found = plane.store.find_user(&id, &sso, email.as_deref()).await;
            found.map_err(Refusal::from)
        });
        Ok(found.await?.map(|row| login::User {
            user_id: row.user_id,
            sso_user_id: row.sso_user_id,
            user_email: row.user_email,
            role: row.user_role.as_deref().and_then(Role::parse),
            models: serde_json::from_str(&row.models).unwrap_or_default(),
            max_budget: row.max_budget,
            budget_duration: row.budget_duration,
            metadata: serde_json::from_str(&row.metadata).unwrap_or_default(),
        }))
    }

    async fn by_password(&self, name: &str, password: &str) -> Result<Option<login::User>, Fault> {
        let (name, password) = (name.to_owned(), Zeroizing::new(password.to_owned()));
        let found = self
            .ask(|plane| async move { plane.user_by_password(&name, &password).await })
            .await?;
        self.user(found).await
    }

    async fn invited(&self, invitation: &str) -> Result<Option<login::User>, Fault> {
        let id = invitation.to_owned();
        let found = self
            .ask(|plane| async move { plane.invited(&id, now()).await })
            .await?;
        self.user(found).await
    }

    async fn take_invitation(
        &self,
        invitation: &str,
        user_id: &str,
        password: &str,
    ) -> Result<login::Taken, Fault> {
        let (id, user) = (invitation.to_owned(), user_id.to_owned());
        let password = Zeroizing::new(password.to_owned());
        let taken = self.ask(|plane| async move {
            let taken = plane.take_invitation((&id, &user), &password, now());
            taken.await
        });
        Ok(match taken.await? {
            Ok(()) => login::Taken::Yes,
            Err(NotTaken::Invalid) => login::Taken::Invalid,
            Err(NotTaken::Password) => login::Taken::BadPassword,
        })
    }

    async fn save(&self, user: &login::User) -> Result<(), Fault> {
        let store = self.plane.store.clone();
        let row = UserRow {
            user_id: user.user_id.clone(),
            sso_user_id: user.sso_user_id.clone(),
            user_email: user.user_email.clone(),
            user_role: user.role.as_ref().map(|role| role.as_str().to_owned()),
            models: serde_json::json!(user.models).to_string(),
            max_budget: user.max_budget,
            budget_duration: user.budget_duration.clone(),
            metadata: Value::Object(user.metadata.clone()).to_string(),
        };
        let saving = self
            .runtime
            .spawn(async move { store.save_user(&row, jiff::Timestamp::now()).await });
        let saved = saving.await.map_err(|error| Fault(error.to_string()))?;
        saved.map_err(|error| Fault(error.to_string()))?;
        // A session is what its user's row is.
        self.plane.changed(Changed::Shared);
        Ok(())
    }
}
