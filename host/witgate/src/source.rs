//! Which configuration a command reads, and a reload again: an object in a bucket, else a file.

use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};
use witgate_caching::Bucket;
use witgate_config::{ConfigObject, Env, Problem, Source};
use witgate_outbound::collect_limited;

use crate::wiring;

/// How long the store may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// As of a file.
const BYTES_MAX: usize = 16 << 20;

/// Where a configuration is: as it was read last, and what a reload reads anew.
#[derive(Debug, Clone)]
pub struct Place {
    /// The files, or the text that the object had.
    pub source: Source,
    /// The object in a bucket that the text is of.
    object: Option<ConfigObject>,
}

impl Place {
    /// The object of `LITELLM_CONFIG_BUCKET_NAME`, which is read, else what [`Source::choose`] says.
    ///
    /// # Errors
    /// When the object is named by half, or cannot be read.
    pub fn choose(
        config_flag: Option<&Path>,
        env: &Env,
    ) -> Result<(Self, Option<Problem>), Problem> {
        let Some(object) = ConfigObject::wanted(env)? else {
            let (source, warning) = Source::choose(config_flag, env);
            let place = Self {
                source,
                object: None,
            };
            return Ok((place, warning));
        };
        // Nothing runs yet that could be waited in.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| object.problem(&error.to_string()))?;
        let proxies = wiring::proxies(env).map_err(|why| object.problem(&why))?;
        witgate_outbound::use_proxies(proxies);
        let source = runtime.block_on(fetched(&object, env))?;
        let object = Some(object);
        Ok((Self { source, object }, None))
    }

    /// The same place as it is now. What a file holds is read with it; an object is fetched.
    ///
    /// # Errors
    /// When the object cannot be read.
    pub async fn anew(&self, env: &Env) -> Result<Self, Problem> {
        let mut place = self.clone();
        if let Some(object) = &self.object {
            place.source = fetched(object, env).await?;
        }
        Ok(place)
    }
}

/// The text of the object.
async fn fetched(object: &ConfigObject, env: &Env) -> Result<Source, Problem> {
    let reading = async {
        let bucket = wiring::config_bucket(object, env)?;
        read(bucket.as_ref(), &object.key).await
    };
    let content = tokio::time::timeout(TIMEOUT, reading).await;
    let content = content.unwrap_or_else(|_| Err("the store does not answer in time".to_owned()));
    object.source(content.map_err(|why| object.problem(&why))?)
}

async fn read(bucket: &dyn Bucket, key: &str) -> Result<Vec<u8>, String> {
    let http = wiring::bucket_client()?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let request = bucket.request(&http, Method::GET, key, None, now_ms).await;
    let request = request.map_err(|trouble| trouble.0)?;
    let answer = http.0.send(request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err("there is no such object".to_owned()),
        StatusCode::FORBIDDEN => {
            return Err("status 403: the key may not read it, or is wrong".to_owned());
        }
        other => return Err(format!("the store answers {other}")),
    }
    let content = collect_limited(answer.into_body(), BYTES_MAX).await;
    let content = content.map_err(|error| error.to_string())?;
    Ok(content.to_vec())
}
