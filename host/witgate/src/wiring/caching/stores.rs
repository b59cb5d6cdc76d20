//! `type: s3`, `gcs` and `azure-blob`: an object per answer in somebody's store.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use witgate_caching::{
    AzureBlob, AzureLogin, Bucket, Gcs, Http, Manners, NowMs, Objects, Place, S3,
};
use witgate_config::{ConfigObject, Env};
use witgate_outbound::{Client, ClientOptions, Egress, Roots, TlsOptions};
use witgate_signing::aws::Credentials;
use witgate_signing::gcp::Account;
use zeroize::Zeroizing;

/// What a place is made from.
pub(super) struct Wanted<'a> {
    pub params: &'a Value,
    pub env: &'a Env,
    pub ttl: Option<Duration>,
    pub now_ms: NowMs,
}

type Made = Result<(Arc<dyn Place>, Manners), String>;

impl Wanted<'_> {
    /// A text of `cache_params`.
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = self.params.get(name)?.as_str()?;
        Some(text).filter(|text| !text.is_empty())
    }

    /// The same, else the first of these variables that is set.
    pub fn text_or(&self, name: &str, variables: &[&str]) -> Option<String> {
        let variable = || variables.iter().find_map(|name| self.env.non_empty(name));
        self.text(name).or_else(variable).map(str::to_owned)
    }

    fn needed(&self, name: &str) -> Result<&str, String> {
        self.text(name).ok_or_else(|| format!("{name} is missing"))
    }

    pub fn s3(&self) -> Made {
        let bucket = self.s3_bucket()?;
        let http = client(self.params.get("s3_verify"))?;
        let place = Objects::new(bucket, http, self.text("s3_path"), self.now_ms.clone());
        Ok((Arc::new(place), Manners::default()))
    }

    fn s3_bucket(&self) -> Result<S3, String> {
        let bucket = self.needed("s3_bucket_name")?;
        let id = self.text("s3_aws_access_key_id");
        // A token in the environment belongs to the key there, not to one of the configuration.
        let (id, token) = match id {
            Some(id) => (Some(id), self.text("s3_aws_session_token")),
            None => (
                self.env.non_empty("AWS_ACCESS_KEY_ID"),
                self.env.non_empty("AWS_SESSION_TOKEN"),
            ),
        };
        let secret = self.text_or("s3_aws_secret_access_key", &["AWS_SECRET_ACCESS_KEY"]);
        let (Some(id), Some(secret)) = (id, secret) else {
            return Err(
                "type s3 needs a key: s3_aws_access_key_id and s3_aws_secret_access_key, or the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned(),
            );
        };
        let regions = ["AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"];
        let region = self.text_or("s3_region_name", &regions);
        Ok(S3::new(
            bucket,
            region.as_deref().unwrap_or("us-east-1"),
            self.text("s3_endpoint_url"),
            self.params.get("s3_use_ssl").and_then(Value::as_bool) != Some(false),
            Credentials {
                access_key_id: id.to_owned(),
                secret_access_key: Arc::new(Zeroizing::new(secret)),
                session_token: token.map(|token| Arc::new(Zeroizing::new(token.to_owned()))),
            },
        ))
    }

    pub fn gcs(&self) -> Made {
        let place = Objects::new(
            self.gcs_bucket()?,
            client(None)?,
            self.text("gcs_path"),
            self.now_ms.clone(),
        );
        Ok((Arc::new(place.aged(self.ttl)), Manners::default()))
    }

    fn gcs_bucket(&self) -> Result<Gcs, String> {
        let variables = ["GCS_BUCKET_NAME"];
        let bucket = self.text_or("gcs_bucket_name", &variables);
        let bucket = bucket.ok_or("gcs_bucket_name is missing")?;
        let variables = ["GCS_PATH_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"];
        let file = self.text_or("gcs_path_service_account", &variables);
        let file = file.ok_or(
            "type gcs needs the key file of a service account: gcs_path_service_account, or the variable GCS_PATH_SERVICE_ACCOUNT",
        )?;
        let json = match file.trim_start().starts_with('{') {
            true => Zeroizing::new(file),
            false => {
                let read = std::fs::read_to_string(&file);
                let read =
                    read.map_err(|error| format!("gcs_path_service_account: {file}: {error}"));
                Zeroizing::new(read?)
            }
        };
        let account =
            Account::read(&json).map_err(|error| format!("gcs_path_service_account: {error}"))?;
        Ok(Gcs::new(&bucket, account, self.text("gcs_endpoint_url")))
    }

    pub fn azure_blob(&self) -> Made {
        let url = self.needed("azure_account_url")?;
        let container = self.needed("azure_blob_container")?;
        let variable = |name: &str| self.env.non_empty(name).map(str::to_owned);
        let app = || {
            Some(AzureLogin::App {
                authority: variable("AZURE_AUTHORITY_HOST")
                    .unwrap_or_else(|| "https://login.microsoftonline.com".to_owned()),
                tenant_id: variable("AZURE_TENANT_ID")?,
                client_id: variable("AZURE_CLIENT_ID")?,
                client_secret: Zeroizing::new(variable("AZURE_CLIENT_SECRET")?),
            })
        };
        let key = || {
            Some(AzureLogin::Key {
                account: variable("AZURE_STORAGE_ACCOUNT_NAME")?,
                key: Zeroizing::new(variable("AZURE_STORAGE_ACCOUNT_KEY")?),
            })
        };
        let login = app().or_else(key).ok_or(
            "type azure-blob needs an application (the variables AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET) or an account's key (AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY)",
        )?;
        let bucket = AzureBlob::new(url, container, login);
        let place = Objects::new(bucket, client(None)?, None, self.now_ms.clone());
        Ok((Arc::new(place.aged(self.ttl)), Manners::default()))
    }
}

/// The bucket of the configuration, with the keys of the environment. The endpoints are those that the clouds' own clients read.
pub fn config_bucket(object: &ConfigObject, env: &Env) -> Result<Box<dyn Bucket>, String> {
    let endpoint = |variables: &[&str]| {
        let set = variables.iter().find_map(|name| env.non_empty(name));
        set.map(|at| match at.contains("://") {
            true => at.to_owned(),
            false => format!("http://{at}"),
        })
    };
    let params = match object.is_gcs {
        true => json!({
            "gcs_bucket_name": object.bucket,
            "gcs_endpoint_url": endpoint(&["STORAGE_EMULATOR_HOST"]),
        }),
        false => json!({
            "s3_bucket_name": object.bucket,
            "s3_endpoint_url": endpoint(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
        }),
    };
    let wanted = Wanted {
        params: &params,
        env,
        ttl: None,
        now_ms: Arc::new(|| jiff::Timestamp::now().as_millisecond()),
    };
    Ok(match object.is_gcs {
        true => Box::new(wanted.gcs_bucket()?),
        false => Box::new(wanted.s3_bucket()?),
    })
}

/// A client for that bucket.
pub fn bucket_client() -> Result<Http, String> {
    client(None)
}

/// A client that trusts as `verify` says. The operator wrote the addresses, so it may go to all of them.
pub(super) fn client(verify: Option<&Value>) -> Result<Http, String> {
    let mut options = ClientOptions::new(Egress::Unrestricted);
    options.tls = TlsOptions {
        roots: match verify {
            Some(Value::Bool(false)) => Roots::Unverified,
            Some(Value::String(path)) => Roots::Bundle(path.into()),
            _ => Roots::System,
        },
        certificate: None,
    };
    let client = Client::new(options);
    client.map(Http).map_err(|error| error.to_string())
}
