//! Writes each event as an object to S3, or to a store that speaks its API. The host signs.

pub mod config;
pub mod object;
pub mod outcome;

use witgate_plugin::delivery::Fates;
use witgate_plugin::encode::{content_md5, url_path};
use witgate_plugin::http::{HttpError, Request, Response};
use witgate_plugin::log_sink::{Event, LogSink, Outcome};
use witgate_plugin::secrets::{self, Secret};
use witgate_plugin::sign::Aws;
use witgate_plugin::{Error, clock};

use config::Settings;
use object::Object;

/// How long a delivery writes. What is not written by then waits for the next one: a call has an end.
const WRITING_MAX_NS: u64 = 20_000_000_000;

/// The log sink.
pub struct S3 {
    settings: Settings,
    /// Address of the bucket, without a slash at its end.
    bucket: String,
    aws: Aws,
}

impl LogSink for S3 {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        if secrets::get("s3_aws_web_identity_token")?.is_some() {
            return Err(Error::settings(
                "`s3_aws_web_identity_token` is not supported; set an access key, and `s3_aws_role_name` for a role",
            ));
        }
        Ok(Self {
            bucket: settings.bucket_url()?,
            aws: aws(&settings)?,
            settings,
        })
    }

    fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        let mut fates = Fates::new(batch.len());
        let start = clock::monotonic_ns();
        let mut wait = None;
        for (index, event) in batch.iter().enumerate() {
            if let Some(reason) = &wait {
                fates.retry(index, String::clone(reason));
                continue;
            }
            match Object::new(&self.settings, &event.payload) {
                Ok(object) => {
                    let written = self.put(&object, &event.payload);
                    wait = outcome::read(&mut fates, index, written)?;
                }
                Err(error) => fates.reject(index, format!("the event is no JSON: {error}")),
            }
            if clock::monotonic_ns().saturating_sub(start) > WRITING_MAX_NS {
                wait = Some("the store was too slow for all events".to_owned());
            }
        }
        Ok(fates.outcome())
    }

    fn health_check(&self) -> Result<(), Error> {
        let response = self
            .aws
            .send(Request::new("HEAD", format!("{}/", self.bucket)))?;
        match response.status() {
            200..=299 => Ok(()),
            301 | 307 => Err(Error::failed(
                "the bucket is in another region; check s3_region_name",
            )),
            403 => Err(Error::failed(
                "status 403; check the access key and what it may do",
            )),
            404 => Err(Error::failed(
                "there is no such bucket; check s3_bucket_name",
            )),
            _ => Err(Error::unavailable(response.summary())),
        }
    }
}

impl S3 {
    fn put(&self, object: &Object, body: &str) -> Result<Response, HttpError> {
        let url = format!("{}/{}", self.bucket, url_path(&object.key));
        let mut request = Request::new("PUT", url)
            .header("content-type", "application/json")
            .header("content-md5", content_md5(body.as_bytes()))
            .header("content-language", "en")
            .header(
                "content-disposition",
                format!("inline; filename=\"{}\"", object.file_name),
            )
            .header(
                "cache-control",
                "private, immutable, max-age=31536000, s-maxage=0",
            );
        for (name, value) in self.settings.encryption() {
            request = request.header(name, value);
        }
        self.aws.send(request.body(body))
    }
}

/// The key in the sink's own settings, else the environment's: never a mixture of both.
fn aws(settings: &Settings) -> Result<Aws, Error> {
    let own = settings.own_key();
    let (id, secret, token) = match own {
        Some(id) => (id, "s3_aws_secret_access_key", "s3_aws_session_token"),
        None => {
            let id = settings.environment_key().ok_or_else(|| {
                Error::settings(
                    "there is no access key: set `s3_aws_access_key_id` and `s3_aws_secret_access_key`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                )
            })?;
            (id, "aws_secret_access_key", "aws_session_token")
        }
    };
    let secret: Secret = secrets::require(secret)?;
    Ok(Aws {
        access_key_id: id.to_owned(),
        secret_access_key: secret,
        session_token: secrets::get(token)?,
        role: settings.role(),
        region: settings.s3_region_name.clone(),
        service: "s3",
    })
}

witgate_plugin::export_log_sink!(S3);
