//! The settings, and from the name of a secret to its path in the Vault.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::encode::url_path;

/// The settings that are not secret.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Settings {
    /// Where the Vault is.
    pub address: String,
    /// The AppRole to log in as.
    pub approle_role_id: Option<String>,
    /// Where the AppRole method is mounted.
    #[serde(default = "approle")]
    pub approle_mount_path: String,
    /// The certificate role to log in as.
    pub cert_role: Option<String>,
    /// Namespace of login and secrets.
    pub namespace: Option<String>,
    /// Namespace of the login.
    pub login_namespace: Option<String>,
    /// Namespace of the secrets.
    pub secret_namespace: Option<String>,
    /// Where the KV engine is mounted.
    #[serde(default = "secret")]
    pub mount_name: String,
    /// What stands before every name.
    pub path_prefix: Option<String>,
    /// Seconds a secret is kept.
    pub refresh_interval: Option<u32>,
}

/// Where one secret lies, as far as it is not where the settings say: LiteLLM's `secret_manager_settings`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Place {
    /// Its namespace.
    pub namespace: Option<String>,
    /// Where its KV engine is mounted.
    pub mount: Option<String>,
    /// What stands before its name.
    pub path_prefix: Option<String>,
    /// The field of the secret with the value.
    pub data: Option<String>,
}

impl Settings {
    /// The address without slashes at its end, and the path below `/v1`.
    pub fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.address.trim_end_matches('/'))
    }

    /// `[namespace/]mount/data/[prefix/]name`, ready for a URL.
    pub fn path(&self, name: &str, place: &Place) -> Result<String, Error> {
        let namespace = [&place.namespace, &self.secret_namespace, &self.namespace];
        let namespace = namespace.into_iter().flatten().next();
        let prefix = place.path_prefix.as_ref().or(self.path_prefix.as_ref());
        let mount = place.mount.as_ref().unwrap_or(&self.mount_name);
        let parts = [
            namespace.map(String::as_str),
            Some(mount.as_str()),
            Some("data"),
            prefix.map(String::as_str),
            Some(name),
        ];
        let mut segments = Vec::new();
        for part in parts.into_iter().flatten() {
            for segment in part.split('/').filter(|segment| !segment.is_empty()) {
                if segment == "." || segment == ".." {
                    return Err(Error::failed(format!(
                        "{part:?} has a segment {segment:?}, which leads out of the place where secrets are"
                    )));
                }
                segments.push(url_path(segment));
            }
        }
        Ok(segments.join("/"))
    }

    /// The namespace that a login happens in, without slashes around it.
    pub fn namespace_of_login(&self) -> Option<&str> {
        let namespace = self.login_namespace.as_ref().or(self.namespace.as_ref())?;
        Some(namespace.trim_matches('/')).filter(|namespace| !namespace.is_empty())
    }
}

impl Place {
    /// The field of the secret with the value.
    pub fn field(&self) -> &str {
        self.data.as_deref().unwrap_or("key")
    }
}

fn approle() -> String {
    "approle".to_owned()
}

fn secret() -> String {
    "secret".to_owned()
}
