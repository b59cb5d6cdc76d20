//! Which configuration a command reads: an object in a bucket, else a file.

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

/// The object of `LITELLM_CONFIG_BUCKET_NAME`, else what [`Source::choose`] says. Read once: a reload has the same text.
pub fn choose(config_flag: Option<&Path>, env: &Env) -> Result<(Source, Option<Problem>), Problem> {
    let Some(object) = ConfigObject::wanted(env)? else {
        return Ok(Source::choose(config_flag, env));
    };
    let content = fetched(&object, env).map_err(|why| object.problem(&why))?;
    Ok((object.source(content)?, None))
}

/// The content of the object. Nothing runs yet that could be waited in.
fn fetched(object: &ConfigObject, env: &Env) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    witgate_outbound::use_proxies(wiring::proxies(env)?);
    let bucket = wiring::config_bucket(object, env)?;
    runtime.block_on(async {
        let reading = tokio::time::timeout(TIMEOUT, read(bucket.as_ref(), &object.key));
        let read = reading.await;
        read.unwrap_or_else(|_| Err("the store does not answer in time".to_owned()))
    })
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
