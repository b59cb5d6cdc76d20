//! What the operator sets: LiteLLM's `s3_callback_params`.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::sign::Role;

/// The settings that are no secrets.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// The bucket.
    pub s3_bucket_name: String,
    /// Its region.
    pub s3_region_name: String,
    /// A store other than AWS.
    pub s3_endpoint_url: Option<String>,
    /// Whether that has the bucket in its host.
    #[serde(default)]
    pub s3_use_virtual_hosted_style: bool,
    /// What all keys begin with.
    pub s3_path: Option<String>,
    /// Whether the team is a folder.
    #[serde(default)]
    pub s3_use_team_prefix: bool,
    /// Whether the virtual key is a folder.
    #[serde(default)]
    pub s3_use_key_prefix: bool,
    /// Folders a day or an hour.
    #[serde(default)]
    pub s3_partition_granularity: Partition,
    /// Id of the sink's own access key.
    pub s3_aws_access_key_id: Option<String>,
    /// Id of the environment's.
    pub aws_access_key_id: Option<String>,
    /// ARN of a role.
    pub s3_aws_role_name: Option<String>,
    /// Name of its session.
    pub s3_aws_session_name: Option<String>,
    /// Where it is assumed.
    pub s3_aws_sts_endpoint: Option<String>,
    /// Encryption of the objects.
    pub s3_server_side_encryption: Option<String>,
    /// Key of that.
    pub s3_sse_kms_key_id: Option<String>,
    /// Must not be false.
    pub s3_verify: Option<bool>,
    /// Must not be set.
    pub s3_aws_profile_name: Option<String>,
}

/// Folders by time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// `2025-01-31/`
    #[default]
    Day,
    /// `2025-01-31/23/`
    Hour,
}

impl Settings {
    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), Error> {
        let bucket = &self.s3_bucket_name;
        let name = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
        if bucket.is_empty() || !bucket.bytes().all(name) {
            return Err(Error::settings(format!(
                "`s3_bucket_name` is {bucket:?}; a bucket's name has letters, digits, `-` and `.`"
            )));
        }
        if filled(&self.s3_aws_profile_name).is_some() {
            return Err(Error::settings(
                "`s3_aws_profile_name` is not supported, profiles are not read; set `s3_aws_access_key_id` and `s3_aws_secret_access_key`",
            ));
        }
        if self.s3_verify == Some(false) {
            return Err(Error::settings(
                "`s3_verify: false` is not supported; let `litellm_settings.ssl_verify` name the authority of the store's certificate",
            ));
        }
        Ok(())
    }

    /// Address of the bucket, without a slash at its end.
    pub fn bucket_url(&self) -> Result<String, Error> {
        let (bucket, region) = (&self.s3_bucket_name, &self.s3_region_name);
        let Some(endpoint) = filled(&self.s3_endpoint_url) else {
            // The certificate is for one label in front of the domain.
            return Ok(match bucket.contains('.') {
                true => format!("https://s3.{region}.amazonaws.com/{bucket}"),
                false => format!("https://{bucket}.s3.{region}.amazonaws.com"),
            });
        };
        let endpoint = endpoint.trim_end_matches('/');
        if !self.s3_use_virtual_hosted_style {
            return Ok(format!("{endpoint}/{bucket}"));
        }
        let host = endpoint
            .split_once("://")
            .map_or(endpoint, |(_, host)| host);
        match host.starts_with(&format!("{bucket}.")) {
            true => Ok(endpoint.to_owned()),
            false => Err(Error::settings(format!(
                "with `s3_use_virtual_hosted_style`, `s3_endpoint_url` begins with the bucket: https://{bucket}.{host}"
            ))),
        }
    }

    /// Id of the sink's own access key.
    pub fn own_key(&self) -> Option<&str> {
        filled(&self.s3_aws_access_key_id)
    }

    /// Id of the environment's.
    pub fn environment_key(&self) -> Option<&str> {
        filled(&self.aws_access_key_id)
    }

    /// The role to assume.
    pub fn role(&self) -> Option<Role> {
        let arn = filled(&self.s3_aws_role_name)?;
        let regional = || format!("https://sts.{}.amazonaws.com", self.s3_region_name);
        Some(Role {
            arn: arn.to_owned(),
            session_name: filled(&self.s3_aws_session_name)
                .unwrap_or("witgate")
                .to_owned(),
            sts_endpoint: filled(&self.s3_aws_sts_endpoint).map_or_else(regional, str::to_owned),
        })
    }

    /// Headers about the encryption of objects.
    pub fn encryption(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            (
                "x-amz-server-side-encryption",
                filled(&self.s3_server_side_encryption),
            ),
            (
                "x-amz-server-side-encryption-aws-kms-key-id",
                filled(&self.s3_sse_kms_key_id),
            ),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}
