//! Which database a configuration means, and how it is opened.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use witgate_config::{Env, Loaded};
use witgate_signing::aws::{self, Credentials, DATABASE_PASSWORD_S};
use witgate_store::{Passwords, Store, StoreOptions};
use zeroize::Zeroizing;

use crate::wiring::Paths;

/// Says that passwords are RDS's tokens.
const IAM: &str = "IAM_TOKEN_DB_AUTH";

/// How long before a token is too old there is another: as long as LiteLLM.
const TOKEN_MARGIN_S: u32 = 180;

/// Opens the database of a configuration.
pub async fn open_store(loaded: &Loaded, paths: &Paths) -> anyhow::Result<Store> {
    let url = loaded.config.general.database_url.as_ref();
    let url = url.map(|url| url.reveal().to_owned());
    let url = url.or_else(|| variables(&loaded.environment));
    let url = url.unwrap_or_else(|| {
        let file = paths.data_dir.join("witgate.db");
        file.to_string_lossy().into_owned()
    });
    let options = store_options(loaded)?;
    let store = Store::open(&url, &options).await?;
    if !store.is_postgres() {
        if options.passwords.is_some() {
            bail!(
                "{IAM} is for PostgreSQL, and the database is SQLite: set DATABASE_HOST, DATABASE_USER and DATABASE_NAME"
            );
        }
        if options.direct_url.is_some() {
            tracing::warn!(
                "DIRECT_URL has no effect: it is for PostgreSQL, the database is SQLite"
            );
        }
    }
    Ok(store)
}

/// `DATABASE_URL`, or an address of PostgreSQL made of `DATABASE_HOST` and its sisters.
fn variables(env: &Env) -> Option<String> {
    // LiteLLM makes the address anew for tokens, whatever `DATABASE_URL` says.
    let of_parts = env.flag(IAM) == Some(true) && env.non_empty("DATABASE_HOST").is_some();
    if let Some(url) = env.non_empty("DATABASE_URL").filter(|_| !of_parts) {
        return Some(url.to_owned());
    }
    let encoded = |text: &str| -> String {
        url::form_urlencoded::byte_serialize(text.as_bytes())
            .map(|piece| piece.replace('+', "%20"))
            .collect()
    };
    let host = env.non_empty("DATABASE_HOST")?;
    let name = env.non_empty("DATABASE_NAME")?;
    let user = env
        .non_empty("DATABASE_USERNAME")
        .or(env.non_empty("DATABASE_USER"))?;
    let password = env.non_empty("DATABASE_PASSWORD");
    let password = password.map(|password| format!(":{}", encoded(password)));
    let port = match host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => String::new(),
        _ => format!(":{}", env.non_empty("DATABASE_PORT").unwrap_or("5432")),
    };
    let schema = env.non_empty("DATABASE_SCHEMA");
    let schema = schema.map(|schema| format!("?schema={}", encoded(schema)));
    Some(format!(
        "postgresql://{}{}@{host}{port}/{}{}",
        encoded(user),
        password.unwrap_or_default(),
        encoded(name),
        schema.unwrap_or_default()
    ))
}

/// How the database is opened.
fn store_options(loaded: &Loaded) -> anyhow::Result<StoreOptions> {
    let general = loaded.config.raw.get("general_settings");
    let number = |key: &str| {
        let value = general.and_then(|general| general.get(key));
        value.and_then(serde_json::Value::as_f64)
    };
    let mut options = StoreOptions::default();
    if let Some(limit) = number("database_connection_pool_limit") {
        if !(1.0..=10_000.0).contains(&limit) {
            bail!(
                "general_settings.database_connection_pool_limit: expected 1 to 10000, not {limit}"
            );
        }
        options.connections = limit as u32;
    }
    let timeout =
        number("database_connection_timeout").or(number("database_connection_pool_timeout"));
    if let Some(seconds) = timeout {
        options.connect_timeout = Duration::try_from_secs_f64(seconds).with_context(|| {
            format!(
                "general_settings.database_connection_timeout: {seconds} is not a number of seconds"
            )
        })?;
    }
    let flag = general.and_then(|general| general.get("disable_prisma_schema_update"));
    let variable = loaded.environment.flag("DISABLE_SCHEMA_UPDATE");
    options.migrate = flag.and_then(serde_json::Value::as_bool).or(variable) != Some(true);
    let env = &loaded.environment;
    options.direct_url = env.non_empty("DIRECT_URL").map(str::to_owned);
    if env.flag(IAM) == Some(true) {
        options.passwords = Some(tokens(env)?);
    }
    Ok(options)
}

/// Tokens of RDS, signed with the AWS key of the environment.
fn tokens(env: &Env) -> anyhow::Result<Passwords> {
    let needed = |name: &str| {
        env.non_empty(name).map(str::to_owned).with_context(|| {
            format!("{IAM} signs tokens with an AWS key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN of a temporary one); {name} is missing")
        })
    };
    let credentials = Credentials {
        access_key_id: needed("AWS_ACCESS_KEY_ID")?,
        secret_access_key: Arc::new(Zeroizing::new(needed("AWS_SECRET_ACCESS_KEY")?)),
        session_token: env
            .non_empty("AWS_SESSION_TOKEN")
            .map(|token| Arc::new(Zeroizing::new(token.to_owned()))),
    };
    let regions = ["AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"];
    let region = regions.iter().find_map(|name| env.non_empty(name));
    let region = region.map(str::to_owned).with_context(|| {
        format!("{IAM} needs the AWS region of the database: set AWS_REGION_NAME")
    })?;
    let every = Duration::from_secs(u64::from(DATABASE_PASSWORD_S - TOKEN_MARGIN_S));
    Ok(Passwords::new(every, move |login| {
        let now = jiff::Timestamp::now();
        aws::database_password(
            login.host,
            login.port,
            login.user,
            &credentials,
            &region,
            now,
        )
        .map(|token| token.to_string())
        .map_err(|error| error.to_string())
    }))
}
