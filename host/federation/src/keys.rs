//! The keys that issuers publish (JWKS), kept and fetched anew.
//!
//! A set is good for `public_key_ttl`. A key id that is not in it makes one further look, at most once in a while: signers
//! change their keys. Everybody who needs a set at a time waits for one request. While the issuer cannot be reached, the last
//! set serves for `public_key_stale_ttl` more.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use witgate_signing::jws::{Header, Jwk, SET_MAX};

use crate::ports::{Fetch, Request};

/// Between two further looks for key ids that are not known.
const LOOK_AGAIN_MS: u64 = 10_000;
/// A request that everybody who waited for it has left is not taken up again after this.
const FLIGHT_MS: u64 = 15_000;
/// After a failure nobody asks for so long.
const REST_MS: u64 = 5_000;
/// Sets that are kept: one for each URL that the operator wrote, and those of configurations that are gone.
const SETS_MAX: usize = 64;

/// How long a set serves.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// `public_key_ttl`
    pub fresh_ms: u64,
    /// `public_key_stale_ttl`, on top of that.
    pub stale_ms: u64,
}

/// The sets of all issuers. It outlives configurations.
#[derive(Default)]
pub struct KeySets {
    slots: Mutex<HashMap<String, Slot>>,
}

/// An issuer's keys.
pub type Keys = Arc<Vec<Jwk>>;

type Flight = Shared<BoxFuture<'static, Result<Keys, Arc<str>>>>;

#[derive(Default)]
struct Slot {
    keys: Option<(u64, Keys)>,
    flight: Option<Begun>,
    flights: u64,
    failed: Option<(u64, Arc<str>)>,
    looked_again_ms: Option<u64>,
}

/// A request that is under way.
struct Begun {
    number: u64,
    since_ms: u64,
    flight: Flight,
}

/// What a slot says to somebody who needs its keys.
enum Turn {
    Have(Keys),
    Wait(u64, Flight),
    Rest(Arc<str>),
}

impl KeySets {
    /// The keys at a URL that a token with this header may be signed with.
    ///
    /// # Errors
    /// Why the issuer's keys are not there.
    pub async fn fitting(
        &self,
        fetch: &Arc<dyn Fetch>,
        url: &str,
        header: &Header,
        ages: Ages,
        now_ms: u64,
    ) -> Result<Keys, Arc<str>> {
        let keys = self.get(fetch, url, ages, now_ms, false).await?;
        if keys.iter().any(|key| key.fits(header)) || !self.may_look_again(url, now_ms) {
            return Ok(keys);
        }
        // What is there already still counts when the issuer is away just now.
        Ok(self
            .get(fetch, url, ages, now_ms, true)
            .await
            .unwrap_or(keys))
    }

    fn may_look_again(&self, url: &str, now_ms: u64) -> bool {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(url) else {
            return true;
        };
        let again = slot.looked_again_ms;
        let may = again.is_none_or(|then| now_ms >= then.saturating_add(LOOK_AGAIN_MS));
        if may {
            slot.looked_again_ms = Some(now_ms);
        }
        may
    }

    async fn get(
        &self,
        fetch: &Arc<dyn Fetch>,
        url: &str,
        ages: Ages,
        now_ms: u64,
        anew: bool,
    ) -> Result<Keys, Arc<str>> {
        let told = match self.turn(fetch, url, ages, now_ms, anew) {
            Turn::Have(keys) => return Ok(keys),
            Turn::Rest(why) => Err(why),
            Turn::Wait(number, flight) => {
                let told = flight.await;
                self.landed(url, number, now_ms, &told);
                told
            }
        };
        told.or_else(|why| self.stale(url, ages, now_ms).ok_or(why))
    }

    /// Fresh keys, or the request that is under way, which is begun when there is none.
    fn turn(&self, fetch: &Arc<dyn Fetch>, url: &str, ages: Ages, now_ms: u64, anew: bool) -> Turn {
        let mut slots = self.slots.lock();
        if !slots.contains_key(url) && slots.len() >= SETS_MAX {
            slots.clear();
        }
        let slot = slots.entry(url.to_owned()).or_default();
        if let Some((since, keys)) = &slot.keys
            && !anew
            && now_ms < since.saturating_add(ages.fresh_ms)
        {
            return Turn::Have(keys.clone());
        }
        if let Some(begun) = &slot.flight
            && now_ms < begun.since_ms.saturating_add(FLIGHT_MS)
        {
            return Turn::Wait(begun.number, begun.flight.clone());
        }
        if let Some((then, why)) = &slot.failed
            && now_ms < then.saturating_add(REST_MS)
        {
            return Turn::Rest(why.clone());
        }
        let (fetch, at) = (fetch.clone(), url.to_owned());
        let flight: BoxFuture<'static, _> =
            Box::pin(async move { look(&*fetch, &at).await.map_err(Arc::from) });
        let flight = flight.shared();
        slot.flights += 1;
        slot.flight = Some(Begun {
            number: slot.flights,
            since_ms: now_ms,
            flight: flight.clone(),
        });
        Turn::Wait(slot.flights, flight)
    }

    /// The first of those who waited notes what came.
    fn landed(&self, url: &str, number: u64, now_ms: u64, told: &Result<Keys, Arc<str>>) {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(url) else {
            return;
        };
        if slot.flight.as_ref().map(|begun| begun.number) != Some(number) {
            return;
        }
        slot.flight = None;
        match told {
            Ok(keys) => {
                slot.keys = Some((now_ms, keys.clone()));
                slot.failed = None;
            }
            Err(why) => {
                tracing::warn!(url = shown(url), "the keys of an identity provider: {why}");
                slot.failed = Some((now_ms, why.clone()));
            }
        }
    }

    fn stale(&self, url: &str, ages: Ages, now_ms: u64) -> Option<Keys> {
        let slots = self.slots.lock();
        let (since, keys) = slots.get(url)?.keys.as_ref()?;
        let until = since
            .saturating_add(ages.fresh_ms)
            .saturating_add(ages.stale_ms);
        (now_ms < until).then(|| keys.clone())
    }
}

/// The keys at a URL, or where the discovery document there leads.
async fn look(fetch: &dyn Fetch, url: &str) -> Result<Keys, String> {
    let body = body(fetch, url).await?;
    if let Some(keys) = Jwk::set(&body) {
        return Ok(Arc::new(keys));
    }
    let document: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let next = document
        .as_ref()
        .and_then(|document| document.get("jwks_uri")?.as_str());
    let next = next.ok_or("the answer is neither a JWK Set nor a discovery document")?;
    let is_safe =
        next.starts_with("https://") || next.starts_with("http://") && !url.starts_with("https://");
    if !is_safe {
        return Err("`jwks_uri` of the discovery document leads away from https".to_owned());
    }
    let body = self::body(fetch, next).await?;
    let keys = Jwk::set(&body).ok_or("what `jwks_uri` leads to is no JWK Set")?;
    Ok(Arc::new(keys))
}

async fn body(fetch: &dyn Fetch, url: &str) -> Result<Vec<u8>, String> {
    let answer = fetch.fetch(Request::get(url)).await?;
    if !answer.is_success() || answer.body.len() > SET_MAX {
        let (status, bytes) = (answer.status, answer.body.len());
        return Err(format!("status {status} with {bytes} bytes"));
    }
    Ok(answer.body)
}

/// A URL without what may be secret in it.
pub(crate) fn shown(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
        Err(_) => "(no URL)".to_owned(),
    }
}
