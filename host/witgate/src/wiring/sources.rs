//! Where plugins are looked for, whose signatures count, how registries are reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use witgate_bundles::{
    Credentials, Installed, PublicKey, Pulled, Registries, RegistryOptions, Trust, TrustedKey,
    read_bounded,
};
use witgate_config::{Config, Env, Loaded};
use witgate_plugins::Sources;
use zeroize::Zeroizing;

use super::Paths;

/// A public key is one line.
const KEY_FILE_MAX: u64 = 4 << 10;

/// The places where a configuration's plugins are looked for, or everything that is wrong with them. What the
/// configuration names in registries is got from there: what a plugin is decides what it is used as.
///
/// # Errors
/// One line per problem: a key that cannot be read, an installed bundle that is damaged.
pub async fn sources(paths: &Paths, loaded: &Loaded) -> Result<Sources, Vec<String>> {
    let (installed, errors) = Installed::below(&paths.data_dir).list();
    // A damaged bundle is no reason to take the built-in component of the same name in its place.
    let mut problems: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let trust = trust(&loaded.config, paths.config_dir.as_deref());
    let trust = trust.unwrap_or_else(|error| {
        problems.push(error);
        Trust::default()
    });
    let registries = registries(&loaded.config, &loaded.environment);
    let registries = registries.unwrap_or_else(|error| {
        problems.push(error);
        Registries::default()
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut sources = Sources {
        config_dir: paths.config_dir.clone(),
        plugin_dir: paths.plugin_dir.clone(),
        installed,
        trust,
        registries,
        pulled: Some(Pulled::below(&paths.data_dir)),
        ..Sources::default()
    };
    let entries = loaded.config.plugins.values();
    let places = entries.filter_map(|entry| entry.source.clone()).collect();
    sources.fetch(places).await;
    Ok(sources)
}

/// The keys of `plugin_trust`; paths are relative to the configuration file.
///
/// # Errors
/// Names the first key that cannot be read.
pub fn trust(config: &Config, config_dir: Option<&Path>) -> Result<Trust, String> {
    let mut keys = Vec::new();
    for (name, text) in &config.plugin_trust.keys {
        let fail = |error: &dyn std::fmt::Display| format!("plugin_trust.keys.{name}: {error}");
        let key = match text.trim_start().starts_with("ed25519:") {
            true => text.parse::<PublicKey>().map_err(|error| fail(&error))?,
            false => {
                let path = config_dir.unwrap_or(Path::new(".")).join(text);
                let bytes = read_bounded(&path, KEY_FILE_MAX).map_err(|error| {
                    let path = path.display();
                    fail(&format!("{path}: {error}; give the path of a .pub file, or the key itself, `ed25519:…`"))
                })?;
                PublicKey::from_file(&String::from_utf8_lossy(&bytes))
                    .map_err(|error| fail(&error))?
            }
        };
        keys.push(TrustedKey {
            name: name.clone(),
            key,
        });
    }
    Ok(Trust::new(keys))
}

/// How the registries are reached: as configured, else with docker's credentials.
///
/// # Errors
/// Names the first registry whose section means nothing.
pub fn registries(config: &Config, env: &Env) -> Result<Registries, String> {
    let mut options = BTreeMap::new();
    for (host, own) in &config.plugin_registries {
        if host.contains('/') {
            return Err(format!(
                "plugin_registries.{host}: is no host; write it as in references, without scheme and path"
            ));
        }
        let password = own.password.as_ref().map(|one| one.reveal().to_owned());
        let credentials = match (own.username.clone(), password) {
            (Some(username), Some(password)) => Some(Credentials {
                username,
                password: Zeroizing::new(password),
            }),
            (None, None) => None,
            _ => {
                return Err(format!(
                    "plugin_registries.{host}: username and password mean something only together"
                ));
            }
        };
        let own = RegistryOptions {
            credentials,
            plain_http: own.plain_http,
        };
        options.insert(host.to_ascii_lowercase(), own);
    }
    let folder = env.non_empty("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(env.non_empty("HOME")?).join(".docker")));
    Ok(Registries {
        options,
        docker_config: folder.map(|folder| folder.join("config.json")),
        ..Registries::default()
    })
}
