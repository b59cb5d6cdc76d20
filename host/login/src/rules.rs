//! What the operator says about signing in.

use std::sync::Arc;

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use witgate_identity::{Role, Signer};

use crate::ports::Plugin;

/// The rules of one configuration.
pub struct Rules {
    /// Signs sessions; none without a master key.
    pub signer: Option<Signer>,
    /// Who is asked.
    pub provider: Provider,
    /// `custom_sso`: decides what a user is.
    pub mapping: Option<Arc<dyn Plugin>>,
    /// `custom_ui_sso_sign_in_handler`: takes the place of the provider.
    pub sign_in: Option<Arc<dyn Plugin>>,
    /// `PROXY_BASE_URL`, without a slash at its end.
    pub base_url: Option<String>,
    /// `SERVER_ROOT_PATH`, without a slash at its end.
    pub root_path: String,
    /// `PROXY_LOGOUT_URL`
    pub logout_url: Option<String>,
    /// `ALLOWED_EMAIL_DOMAINS`, lower case; empty allows all.
    pub email_domains: Vec<String>,
    /// `ui_access_mode`
    pub access: AccessMode,
    /// `PROXY_ADMIN_ID`
    pub admin_id: Option<String>,
    /// What new users get.
    pub new_user: NewUser,
    /// Name and password of the built-in administrator.
    pub password: Option<Password>,
    /// `DISABLE_ADMIN_UI`
    pub ui_disabled: bool,
    /// `ENABLE_SSO_DEBUG`
    pub debug: bool,
    /// The header that keys are read from, as UIs are told.
    pub key_header: String,
}

/// The identity provider.
pub enum Provider {
    /// There is none; people sign in with name and password.
    None,
    /// This plugin speaks with it.
    Ready {
        /// Name of the plugin.
        name: String,
        /// The plugin.
        plugin: Arc<dyn Plugin>,
    },
    /// One is configured and does not work.
    Broken {
        /// Name of the plugin.
        name: String,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// Who may use the UI.
pub enum AccessMode {
    /// Everybody who can sign in.
    All,
    /// Administrators and those who may look at everything.
    AdminOnly,
    /// Members of this group at the identity provider.
    Group(String),
}

/// What new users get.
#[derive(Default)]
pub struct NewUser {
    /// `default_internal_user_params.user_role`
    pub role: Option<Role>,
    /// `default_internal_user_params.models`
    pub models: Vec<String>,
    /// `default_internal_user_params.max_budget`, else `max_internal_user_budget`.
    pub max_budget: Option<Decimal>,
    /// `default_internal_user_params.budget_duration`, else `internal_user_budget_duration`.
    pub budget_duration: Option<String>,
}

/// Name and password. Only digests are kept, and compared.
pub struct Password {
    name: [u8; 32],
    password: [u8; 32],
}

impl Password {
    /// `UI_USERNAME` and `UI_PASSWORD`.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: Sha256::digest(name).into(),
            password: Sha256::digest(password).into(),
        }
    }

    /// Whether both are right; the time it takes says nothing.
    #[must_use]
    pub fn check(&self, name: &str, password: &str) -> bool {
        let given = Self::new(name, password);
        bool::from(self.name.ct_eq(&given.name) & self.password.ct_eq(&given.password))
    }
}
