//! The stages of a call, in the one place that names their order.
//!
//! [`STAGES`] is what runs, what `witgate explain pipeline` prints and what ARCHITECTURE.md shows.

pub(crate) mod admit;
pub(crate) mod authorize;
mod auto_route;
mod cache;
pub(crate) mod call;
mod guard_in;
mod guard_out;
mod hook_in;
mod hook_out;
mod hook_route;
pub(crate) mod identify;
mod keep;
pub(crate) mod parse;
mod prompt;
mod record;
mod respond;
pub(crate) mod route;
mod settle;

use futures_util::future::BoxFuture;

use witgate_events::{ServiceError, ServiceEvent};

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::gateway::{Finish, Gateway};
use crate::reply::Reply;

pub use auto_route::AutoParts;
pub(crate) use auto_route::lead;
pub use identify::{AuthInput, enter, principal};
pub use parse::body_failure;
pub(crate) use settle::cost_of;

/// What a stage decides, besides failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The next stage.
    Continue,
    /// The answer is there; the stages up to `respond` are skipped.
    Respond,
}

/// A stage of the pipeline.
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Why it stands at this place.
    pub why_here: &'static str,
    run: Run,
}

enum Run {
    /// Waits for nobody.
    Now(fn(&Gateway, &mut Exchange) -> Result<Flow, Failure>),
    /// Asks a plugin or an upstream.
    Waits(for<'a> fn(&'a Gateway, &'a mut Exchange) -> BoxFuture<'a, Result<Flow, Failure>>),
    /// Asks request hooks; skipped when there are none.
    Hooks(for<'a> fn(&'a Gateway, &'a mut Exchange) -> BoxFuture<'a, Result<Flow, Failure>>),
    /// Asks automatic routers; skipped when there are none.
    Auto(for<'a> fn(&'a Gateway, &'a mut Exchange) -> BoxFuture<'a, Result<Flow, Failure>>),
    /// Looks into the cache of answers; skipped when there is none.
    Cache(for<'a> fn(&'a Gateway, &'a mut Exchange) -> BoxFuture<'a, Result<Flow, Failure>>),
    /// Driven from outside: `accept` and `respond` touch the client's connection, `settle` and `record` run
    /// when the last byte has left.
    Outside,
}

/// Every stage, in order.
pub const STAGES: &[Stage] = &[
    Stage {
        name: "accept",
        what: "reads the request within the limits on headers, body and time; fixes the configuration, the call id and the clock of the call",
        why_here: "nothing may be known of a call before its bounds hold",
        run: Run::Outside,
    },
    Stage {
        name: "parse",
        what: "checks that the body is JSON, indexes its members in place, finds the model and the tags",
        why_here: "every later stage needs the model or the body; one pass finds both",
        run: Run::Now(parse::parse),
    },
    Stage {
        name: "identify",
        what: "finds out who is calling: custom_auth first, then identity providers, the master key, a session of the UI",
        why_here: "before anything is spent on the call or told to it",
        run: Run::Waits(|g, x| Box::pin(identify::identify(g, x))),
    },
    Stage {
        name: "authorize",
        what: "refuses models the caller may not use and parameters only the operator may set",
        why_here: "before any plugin or upstream sees the body",
        run: Run::Now(authorize::authorize),
    },
    Stage {
        name: "admit",
        what: "takes a slot, and of every limit and budget of the caller what the call may need; all of it is given back on any exit",
        why_here: "after the caller is known, before work is done for them",
        run: Run::Waits(|g, x| Box::pin(admit::admit(g, x))),
    },
    Stage {
        name: "prompt",
        what: "fills in the prompt that the request or its deployment names",
        why_here: "before guardrails, which must judge the text that goes upstream",
        run: Run::Waits(|g, x| Box::pin(prompt::prompt(g, x))),
    },
    Stage {
        name: "hook in",
        what: "request hooks edit the request, or answer in its place",
        why_here: "before the guardrails: they judge what will be sent, also what a hook has put in",
        run: Run::Hooks(|g, x| Box::pin(hook_in::hook_in(g, x))),
    },
    Stage {
        name: "guard in",
        what: "pre_call guardrails judge the request and may edit it",
        why_here: "no cache and no upstream may see what a guardrail would have removed",
        run: Run::Waits(|g, x| Box::pin(guard_in::guard_in(g, x))),
    },
    Stage {
        name: "hook route",
        what: "a request hook may lead the call to another model",
        why_here: "the last word on the model before it is looked up",
        run: Run::Hooks(|g, x| Box::pin(hook_route::hook_route(g, x))),
    },
    Stage {
        name: "auto route",
        what: "an automatic router chooses the model by what the request says",
        why_here: "after the last who may change the words or the model; before the model is looked up",
        run: Run::Auto(|g, x| Box::pin(auto_route::auto_route(g, x))),
    },
    Stage {
        name: "route",
        what: "resolves the model name to deployments: ids, aliases, groups, wildcards",
        why_here: "after prompts, guardrails and hooks, which may change the model; before the call, which only picks among what is found here",
        run: Run::Now(route::route),
    },
    Stage {
        name: "cache",
        what: "answers with what was kept of an equal call, or waits for one that is under way",
        why_here: "after everything that decides whether the caller may ask, and what; before an upstream is paid for it",
        run: Run::Cache(|g, x| Box::pin(cache::cache(g, x))),
    },
    Stage {
        name: "call",
        what: "calls an upstream unless there is an answer, with during_call guardrails beside it; retries, fallbacks and the hooks of a try live here and nowhere else",
        why_here: "the first frame of a stream is read here, so that an error still has its own status",
        run: Run::Waits(|g, x| Box::pin(call::call(g, x))),
    },
    Stage {
        name: "keep",
        what: "keeps the answer for equal calls; of a stream, when it is complete",
        why_here: "as the upstream gave it: what guardrails and hooks make of it is worked out anew for each caller",
        run: Run::Now(keep::keep),
    },
    Stage {
        name: "guard out",
        what: "post_call guardrails judge the answer and may edit it; a stream is judged piece by piece as it passes",
        why_here: "the client must not see a byte that has not been judged",
        run: Run::Waits(|g, x| Box::pin(guard_out::guard_out(g, x))),
    },
    Stage {
        name: "hook out",
        what: "request hooks edit the answer, of a stream each chunk as it passes",
        why_here: "after the guardrails: a hook sees what the client would",
        run: Run::Hooks(|g, x| Box::pin(hook_out::hook_out(g, x))),
    },
    Stage {
        name: "respond",
        what: "sends status, headers (also those that request hooks add) and body; frames of a stream leave as they arrive",
        why_here: "everything that can still change the status has happened",
        run: Run::Outside,
    },
    Stage {
        name: "settle",
        what: "counts tokens and money against limits and budgets, also of calls that failed or that the client left",
        why_here: "only now is the usage final",
        run: Run::Outside,
    },
    Stage {
        name: "record",
        what: "hands the finished call to log sinks and the spend ledger, without waiting for either",
        why_here: "last: it reports all of the above",
        run: Run::Outside,
    },
];

/// Runs the stages between `accept` and `respond`.
pub(crate) async fn run(gateway: &Gateway, x: &mut Exchange) -> Result<(), Failure> {
    for stage in STAGES {
        let timed = match gateway.recorder.tells_services() {
            true => service_of(stage.name).map(|service| (service, gateway.clock.monotonic())),
            false => None,
        };
        let ended = match stage.run {
            Run::Now(run) => run(gateway, x),
            Run::Waits(run) => run(gateway, x).await,
            Run::Hooks(run) if !x.snapshot.hooks.is_empty() => run(gateway, x).await,
            Run::Auto(run) if !x.snapshot.auto.is_empty() => run(gateway, x).await,
            Run::Cache(run) if x.snapshot.cache.is_some() => run(gateway, x).await,
            Run::Hooks(_) | Run::Auto(_) | Run::Cache(_) | Run::Outside => Ok(Flow::Continue),
        };
        if let Some(((service, call_type), begun)) = timed {
            tell_service(gateway, service, call_type, begun, ended.as_ref().err());
        }
        let flow = ended?;
        if flow == Flow::Respond {
            break;
        }
    }
    Ok(())
}

/// LiteLLM's service and function that a stage stands for.
fn service_of(stage: &str) -> Option<(&'static str, &'static str)> {
    match stage {
        "identify" => Some(("auth", "user_api_key_auth")),
        "guard in" => Some(("proxy_pre_call", "pre_call_hook")),
        _ => None,
    }
}

/// Tells of something that the gateway did itself since `begun`.
pub(crate) fn tell_service(
    gateway: &Gateway,
    service: &'static str,
    call_type: &'static str,
    begun: std::time::Duration,
    failure: Option<&Failure>,
) {
    gateway.recorder.service(ServiceEvent {
        service,
        call_type: call_type.into(),
        end: gateway.clock.now(),
        took: gateway.clock.monotonic().saturating_sub(begun),
        error: failure.map(|failure| ServiceError {
            class: failure.class().into(),
            message: failure.message.clone().into_owned(),
        }),
        metadata: None,
    });
}

/// `respond`: the reply to a call that has an answer.
pub(crate) fn respond(finish: &mut Finish) -> Reply {
    respond::respond(finish)
}

/// `respond`: the reply to a call that failed.
pub(crate) fn rescued(call: Option<(&Gateway, &Exchange)>, failure: &Failure) -> Reply {
    respond::rescued(call, failure)
}

/// LiteLLM's headers of a call whose answer is still coming.
pub(crate) fn call_headers(gateway: &Gateway, x: &Exchange, headers: &mut http::HeaderMap) {
    respond::call_headers(gateway, x, headers, false);
}

/// `settle` and `record`: every call ends here, once.
pub(crate) fn end(gateway: &std::sync::Arc<Gateway>, x: Box<Exchange>) {
    settle::settle_then(gateway, x, record::record);
}

/// The stage list as text, for `witgate explain pipeline`.
#[must_use]
pub fn explain() -> String {
    let mut out = String::new();
    for (i, stage) in STAGES.iter().enumerate() {
        out.push_str(&format!(
            "{:>2}. {:<10} {}\n    {:<10} why here: {}\n",
            i + 1,
            stage.name,
            stage.what,
            "",
            stage.why_here
        ));
    }
    out
}
