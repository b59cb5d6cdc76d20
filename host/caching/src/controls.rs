//! What a request says about the cache.

use std::time::Duration;

use witgate_wire::{Raw, RequestView};

/// A request's `cache` object, `caching` flag and `Cache-Control` header.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Controls {
    /// `caching: false` or `no-cache`: no entry is read.
    pub no_cache: bool,
    /// `no-store`: the answer is not kept.
    pub no_store: bool,
    /// `use-cache`: opts in where caching is off by default.
    pub use_cache: bool,
    /// `ttl` of the new entry.
    pub ttl: Option<Duration>,
    /// `s-maxage` of the header: `ttl` where neither the request nor the configuration has one.
    pub header_ttl: Option<Duration>,
    /// `s-maxage`: how old an entry may be, seconds.
    pub max_age: Option<f64>,
    /// `namespace`
    pub namespace: Option<String>,
}

impl Controls {
    /// Reads them. What has no sense is as good as absent, as with LiteLLM. `allowed` are the controls that the key may
    /// set (empty: all); the body was refused for others already, and the header, which programs set on their own, is not
    /// heard there.
    #[must_use]
    pub fn of(request: &RequestView, cache_control: Option<&str>, allowed: &[String]) -> Self {
        let may = |name: &str| allowed.is_empty() || allowed.iter().any(|one| one == name);
        let cache = request.field("cache");
        let given = |name: &str| cache.and_then(|c| c.get(name)).filter(|raw| !raw.is_null());
        let flag = |name: &str| given(name).and_then(Raw::as_bool) == Some(true);
        let namespace = given("namespace")
            .or_else(|| request.metadata()?.get("redis_namespace"))
            .and_then(Raw::as_str);
        let mut this = Self {
            no_cache: flag("no-cache")
                || request.field("caching").and_then(Raw::as_bool) == Some(false),
            no_store: flag("no-store"),
            use_cache: flag("use-cache"),
            ttl: given("ttl").and_then(Raw::as_f64).and_then(seconds),
            header_ttl: None,
            max_age: given("s-maxage")
                .or_else(|| given("s-max-age"))
                .and_then(Raw::as_f64),
            namespace: namespace.map(|n| n.into_owned()).filter(|n| !n.is_empty()),
        };
        for directive in cache_control.unwrap_or_default().split(',').map(str::trim) {
            match directive.split_once('=') {
                None if directive.eq_ignore_ascii_case("no-cache") => {
                    this.no_cache |= may("no-cache");
                }
                None if directive.eq_ignore_ascii_case("no-store") => {
                    this.no_store |= may("no-store");
                }
                Some((name, value)) if name.eq_ignore_ascii_case("s-maxage") && may("ttl") => {
                    this.header_ttl = value.parse().ok().and_then(seconds);
                }
                _ => {}
            }
        }
        this
    }
}

/// A time to live. Not longer than a thousand years: clocks have bounds.
fn seconds(s: f64) -> Option<Duration> {
    (s.is_finite() && s > 0.0).then(|| Duration::from_secs_f64(s.min(3e10)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use witgate_wire::Endpoint;

    use super::*;

    fn of(body: &'static str, header: Option<&str>) -> Controls {
        let body = Bytes::from_static(body.as_bytes());
        Controls::of(
            &RequestView::parse(Endpoint::ChatCompletions, body).unwrap(),
            header,
            &[],
        )
    }

    #[test]
    fn the_body_says_what_it_wants() {
        let said = of(
            r#"{"cache":{"no-cache":true,"ttl":"20","s-maxage":5,"namespace":"n","use-cache":false,"no-store":null}}"#,
            None,
        );
        let wanted = Controls {
            no_cache: true,
            ttl: Some(Duration::from_secs(20)),
            max_age: Some(5.0),
            namespace: Some("n".to_owned()),
            ..Controls::default()
        };
        assert_eq!(said, wanted);
        for none in ["0", "-1", "\"inf\"", "1e999", "\"soon\""] {
            let body: &'static str = format!(r#"{{"cache":{{"ttl":{none}}}}}"#).leak();
            assert_eq!(of(body, None).ttl, None, "{none}");
        }
        assert!(of(r#"{"caching":false}"#, None).no_cache);
        assert_eq!(
            of(r#"{"caching":true,"cache":null}"#, None),
            Controls::default()
        );
        assert_eq!(of(r#"{"cache":{"s-max-age":0}}"#, None).max_age, Some(0.0));
        let metadata = r#"{"metadata":{"redis_namespace":"m"}}"#;
        assert_eq!(of(metadata, None).namespace.as_deref(), Some("m"));
    }

    #[test]
    fn the_header_may_say_it_too() {
        let said = of("{}", Some("no-cache, No-Store, s-maxage=7, max-age=9"));
        assert!(said.no_cache && said.no_store);
        assert_eq!(
            (said.header_ttl, said.ttl),
            (Some(Duration::from_secs(7)), None)
        );
        assert_eq!(of("{}", Some("s-maxage=x, ,=")), Controls::default());
    }

    #[test]
    fn a_key_that_may_not_set_a_control_is_not_heard_by_header_either() {
        let request = RequestView::parse(Endpoint::ChatCompletions, Bytes::from_static(b"{}"));
        let header = Some("no-cache, no-store, s-maxage=7");
        let said = Controls::of(&request.unwrap(), header, &["no-store".to_owned()]);
        assert!(said.no_store && !said.no_cache && said.header_ttl.is_none());
    }
}
