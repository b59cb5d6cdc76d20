//! Guardrails whose judge is a service: sending, retrying, and what it means when the service gives no verdict.

use serde::Deserialize;

use crate::guardrail::{Block, Finding, Verdict};
use crate::http::{HttpError, Request, Response};
use crate::{Error, metrics, warn};

/// LiteLLM's settings of every guardrail that asks a service. Flatten it into the plugin's own settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Remote {
    /// Seconds for one exchange.
    timeout: Option<f64>,
    /// Exchanges repeated at once when the service cannot be reached; 5 at most.
    #[serde(default)]
    num_retries: u32,
    /// What it means when the service cannot be reached.
    #[serde(default)]
    unreachable_fallback: Fallback,
    /// Whether any other failure of the service ends the call.
    #[serde(default = "yes")]
    fail_on_error: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fallback {
    #[default]
    FailClosed,
    FailOpen,
}

/// Why the service gave no verdict.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// Timeout, no connection, or 502, 503, 504.
    Unreachable(String),
    /// It answered, but not with a verdict.
    Failed(String),
    /// The host refused the exchange.
    Refused(String),
}

const RETRIES_MAX: u32 = 5;

impl Default for Remote {
    fn default() -> Self {
        Self {
            timeout: None,
            num_retries: 0,
            unreachable_fallback: Fallback::default(),
            fail_on_error: true,
        }
    }
}

impl Remote {
    /// Asks the service; `request` is called once per try. An answer is one of status 2xx.
    pub fn ask<'a>(&self, request: impl Fn() -> Request<'a>) -> Result<Response, Trouble> {
        let mut tries = 0;
        loop {
            match read(self.timed(request()).send()) {
                Err(Trouble::Unreachable(why)) if tries < self.num_retries.min(RETRIES_MAX) => {
                    tries += 1;
                    warn!("the guardrail's service cannot be reached, asking again"; "reason" = why);
                }
                answer => return answer,
            }
        }
    }

    /// Asks several questions side by side. The first trouble ends all; what cannot be reached is asked again.
    pub fn ask_all<'a>(
        &self,
        count: usize,
        request: impl Fn(usize) -> Request<'a>,
    ) -> Result<Vec<Response>, Trouble> {
        let requests = (0..count).map(|index| self.timed(request(index)));
        let answers = crate::http::send_all(requests.collect());
        let read_or_retry = |(index, answer)| match read(answer) {
            Err(Trouble::Unreachable(_)) if self.num_retries > 0 => {
                let once_less = Self {
                    num_retries: self.num_retries.min(RETRIES_MAX) - 1,
                    ..self.clone()
                };
                once_less.ask(|| request(index))
            }
            answer => answer,
        };
        answers.into_iter().enumerate().map(read_or_retry).collect()
    }

    /// What no verdict means: [`Verdict::Allow`] where the operator wants it so, else the host decides.
    pub fn no_verdict(&self, trouble: Trouble) -> Result<Verdict, Error> {
        let (open, why) = match trouble {
            Trouble::Unreachable(why) => (
                self.unreachable_fallback == Fallback::FailOpen || !self.fail_on_error,
                why,
            ),
            Trouble::Failed(why) => (!self.fail_on_error, why),
            Trouble::Refused(why) => return Err(Error::Denied(why)),
        };
        if open {
            metrics::add("failed_open", &[], 1);
            warn!("the guardrail's service gave no verdict, the call passes"; "reason" = why);
            return Ok(Verdict::Allow);
        }
        Ok(Verdict::CouldNotJudge(why))
    }

    fn timed<'a>(&self, request: Request<'a>) -> Request<'a> {
        match self.timeout {
            // The cast saturates; what is no time becomes 0, and so the shortest.
            Some(seconds) => request.timeout_ms(((seconds * 1000.0) as u32).max(1)),
            None => request,
        }
    }
}

impl Trouble {
    /// The service's answer is not what its interface promises.
    pub fn nonsense(what: impl std::fmt::Display) -> Self {
        Self::Failed(format!("its answer makes no sense: {what}"))
    }
}

/// A refusal with status 400. `detail` is more for the client, an object, without the offending text.
pub fn block(
    message: impl Into<String>,
    detail: Option<&serde_json::Value>,
    findings: Vec<Finding>,
) -> Verdict {
    Verdict::Block(Block {
        message: message.into(),
        status: 400,
        detail: detail.map(ToString::to_string),
        findings,
    })
}

/// One finding per kind, counted, in order of the names.
pub fn count(kinds: impl IntoIterator<Item = impl Into<String>>) -> Vec<Finding> {
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for kind in kinds {
        *counts.entry(kind.into()).or_default() += 1;
    }
    let finding = |(kind, count)| Finding { kind, count };
    counts.into_iter().map(finding).collect()
}

fn read(answer: Result<Response, HttpError>) -> Result<Response, Trouble> {
    match answer {
        Ok(response) if response.is_success() => Ok(response),
        Ok(response) => {
            // The body may repeat what was judged: the status is all that is told.
            let wait = response.retry_after_ms().map_or_else(String::new, |ms| {
                format!(", it asks to wait {} s", ms.div_ceil(1000))
            });
            let why = format!(
                "the service answered with status {}{wait}",
                response.status()
            );
            Err(match response.status() {
                502..=504 => Trouble::Unreachable(why),
                _ => Trouble::Failed(why),
            })
        }
        Err(HttpError::Denied(why)) => Err(Trouble::Refused(why)),
        Err(error @ (HttpError::Timeout | HttpError::Connection(_))) => {
            Err(Trouble::Unreachable(Error::from(error).text().to_owned()))
        }
        Err(error) => Err(Trouble::Failed(Error::from(error).text().to_owned())),
    }
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_into_verdicts_and_troubles() {
        let of = |status, headers| read(Ok(Response::new(status, headers, b"the text".to_vec())));
        assert!(of(200, vec![]).is_ok());
        for status in [502, 503, 504] {
            assert!(matches!(of(status, vec![]), Err(Trouble::Unreachable(_))));
        }
        let wait = vec![("retry-after".to_owned(), "7".to_owned())];
        let Err(Trouble::Failed(why)) = of(429, wait) else {
            panic!("429 is a failure");
        };
        assert_eq!(
            why,
            "the service answered with status 429, it asks to wait 7 s"
        );
        assert!(matches!(of(500, vec![]), Err(Trouble::Failed(why)) if !why.contains("text")));
        assert!(matches!(
            read(Err(HttpError::Timeout)),
            Err(Trouble::Unreachable(_))
        ));
        let denied = read(Err(HttpError::Denied("no".to_owned())));
        assert!(matches!(denied, Err(Trouble::Refused(_))));
    }

    #[test]
    fn closed_is_the_default() {
        let remote = Remote::default();
        let verdict = remote.no_verdict(Trouble::Unreachable("gone".to_owned()));
        assert!(matches!(verdict, Ok(Verdict::CouldNotJudge(why)) if why == "gone"));
        let verdict = remote.no_verdict(Trouble::Refused("egress".to_owned()));
        assert!(matches!(verdict, Err(Error::Denied(_))));
    }

    #[test]
    fn findings_are_counted_by_kind() {
        let found: Vec<_> = count(["b", "a", "b"])
            .into_iter()
            .map(|f| (f.kind, f.count))
            .collect();
        assert_eq!(found, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    }
}
