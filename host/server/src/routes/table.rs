//! The routes, and how a path finds its own.

use std::sync::LazyLock;

use http::Method;
use witgate_login::Step;
use witgate_management::{Operation, operations};
use witgate_wire::Endpoint;

use super::cache::CacheRoute;
use super::health::HealthRoute;
use super::look::LookRoute;
use super::plugins::PluginRoute;

#[cfg(test)]
mod tests;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call to a model, through the pipeline.
    Call(Endpoint),
    /// `GET /models`
    Models,
    /// `GET /models/{model}`
    Model,
    /// `GET /model/info`
    ModelInfo,
    /// `GET /v2/model/info`
    ModelList,
    /// `GET /model_group/info`
    GroupInfo,
    /// `GET /utils/supported_openai_params`
    SupportedParams,
    /// `GET /public/model_hub`
    Hub,
    /// `GET /public/model_hub/info`
    HubInfo,
    /// `GET /get/litellm_model_cost_map`
    Prices,
    /// `GET /public/litellm_model_cost_map`
    PublicPrices,
    /// `GET /health/liveliness`
    Liveness,
    /// `GET /health/readiness`
    Readiness,
    /// `/health`, and what else is told of deployments and sinks.
    Health(HealthRoute),
    /// `GET /routes`
    Routes,
    /// `GET /metrics`
    Metrics,
    /// `POST /config/reload`
    Reload,
    /// Signing in.
    Login(Step),
    /// `GET /sso/readiness`
    SsoReadiness,
    /// `GET /plugins`
    Plugins,
    /// `/plugins/{name}…`
    Plugin(PluginRoute),
    /// `POST /utils/explain`: whom a call would reach.
    Explain,
    /// `POST /utils/token_counter`: how many tokens a prompt has.
    TokenCounter,
    /// `POST /utils/transform_request`: what would be sent for it.
    Transform,
    /// The management API.
    Manage(&'static Operation),
    /// `/cache/…`
    Cache(CacheRoute),
    /// `GET /provider/budgets`
    ProviderBudgets,
    /// `POST /guardrails/apply_guardrail`
    ApplyGuardrail,
    /// `POST /key/health`
    KeyHealth,
    /// `GET /memory-usage`
    Memory,
    /// `GET /test`
    Test,
    /// `GET /config/yaml`
    ConfigYaml,
    /// How the UI looks.
    Look(LookRoute),
}

impl Kind {
    /// Whether only a proxy admin may ask for it.
    pub(super) const fn is_for_admins(self) -> bool {
        matches!(
            self,
            Self::Reload
                | Self::Plugins
                | Self::Plugin(_)
                | Self::Cache(_)
                | Self::Explain
                | Self::Transform
                | Self::ProviderBudgets
                | Self::Prices
                | Self::Health(HealthRoute::Services | HealthRoute::TestConnection)
        )
    }
}

/// One operation and all its paths.
#[derive(Debug, Clone)]
pub struct Route {
    /// What it does.
    pub kind: Kind,
    /// Its method.
    pub method: Method,
    /// The path under which it is logged.
    pub name: &'static str,
    /// Every path; `{model}` stands for one or more segments, `{name}` for one.
    pub paths: &'static [&'static str],
}

/// Every route: those of the server, then the operations of the control plane.
pub static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let managed = operations().map(|operation| Route {
        kind: Kind::Manage(operation),
        method: operation.method.parse().unwrap_or(Method::GET),
        name: operation.name(),
        paths: operation.paths,
    });
    OWN.iter().cloned().chain(managed).collect()
});

const OWN: &[Route] = &[
    Route {
        kind: Kind::Call(Endpoint::ChatCompletions),
        method: Method::POST,
        name: "/chat/completions",
        paths: &[
            "/chat/completions",
            "/v1/chat/completions",
            "/engines/{model}/chat/completions",
            "/openai/deployments/{model}/chat/completions",
        ],
    },
    Route {
        kind: Kind::Call(Endpoint::Completions),
        method: Method::POST,
        name: "/completions",
        paths: &[
            "/completions",
            "/v1/completions",
            "/engines/{model}/completions",
            "/openai/deployments/{model}/completions",
        ],
    },
    Route {
        kind: Kind::Call(Endpoint::Embeddings),
        method: Method::POST,
        name: "/embeddings",
        paths: &[
            "/embeddings",
            "/v1/embeddings",
            "/engines/{model}/embeddings",
            "/openai/deployments/{model}/embeddings",
        ],
    },
    Route {
        kind: Kind::Call(Endpoint::Moderations),
        method: Method::POST,
        name: "/moderations",
        paths: &["/moderations", "/v1/moderations"],
    },
    Route {
        kind: Kind::Call(Endpoint::ImageGenerations),
        method: Method::POST,
        name: "/images/generations",
        paths: &[
            "/images/generations",
            "/v1/images/generations",
            "/openai/deployments/{model}/images/generations",
        ],
    },
    Route {
        kind: Kind::Models,
        method: Method::GET,
        name: "/models",
        paths: &["/models", "/v1/models"],
    },
    Route {
        kind: Kind::Model,
        method: Method::GET,
        name: "/models/{model}",
        paths: &["/models/{model}", "/v1/models/{model}"],
    },
    Route {
        kind: Kind::ModelInfo,
        method: Method::GET,
        name: "/model/info",
        paths: &["/model/info", "/v1/model/info"],
    },
    Route {
        kind: Kind::ModelList,
        method: Method::GET,
        name: "/v2/model/info",
        paths: &["/v2/model/info"],
    },
    Route {
        kind: Kind::GroupInfo,
        method: Method::GET,
        name: "/model_group/info",
        paths: &["/model_group/info"],
    },
    Route {
        kind: Kind::Hub,
        method: Method::GET,
        name: "/public/model_hub",
        paths: &["/public/model_hub"],
    },
    Route {
        kind: Kind::HubInfo,
        method: Method::GET,
        name: "/public/model_hub/info",
        paths: &["/public/model_hub/info"],
    },
    Route {
        kind: Kind::Prices,
        method: Method::GET,
        name: "/get/litellm_model_cost_map",
        paths: &["/get/litellm_model_cost_map"],
    },
    Route {
        kind: Kind::PublicPrices,
        method: Method::GET,
        name: "/public/litellm_model_cost_map",
        paths: &["/public/litellm_model_cost_map"],
    },
    Route {
        kind: Kind::Liveness,
        method: Method::GET,
        name: "/health/liveliness",
        paths: &["/health/liveliness", "/health/liveness"],
    },
    Route {
        kind: Kind::Readiness,
        method: Method::GET,
        name: "/health/readiness",
        paths: &["/health/readiness"],
    },
    Route {
        kind: Kind::Health(HealthRoute::Check),
        method: Method::GET,
        name: "/health",
        paths: &["/health"],
    },
    Route {
        kind: Kind::Health(HealthRoute::Details),
        method: Method::GET,
        name: "/health/readiness/details",
        paths: &["/health/readiness/details"],
    },
    Route {
        kind: Kind::Health(HealthRoute::Services),
        method: Method::GET,
        name: "/health/services",
        paths: &["/health/services"],
    },
    Route {
        kind: Kind::Health(HealthRoute::Latest),
        method: Method::GET,
        name: "/health/latest",
        paths: &["/health/latest"],
    },
    Route {
        kind: Kind::Health(HealthRoute::History),
        method: Method::GET,
        name: "/health/history",
        paths: &["/health/history"],
    },
    Route {
        kind: Kind::Health(HealthRoute::SharedStatus),
        method: Method::GET,
        name: "/health/shared-status",
        paths: &["/health/shared-status"],
    },
    Route {
        kind: Kind::Health(HealthRoute::TestConnection),
        method: Method::POST,
        name: "/health/test_connection",
        paths: &["/health/test_connection"],
    },
    Route {
        kind: Kind::Health(HealthRoute::License),
        method: Method::GET,
        name: "/health/license",
        paths: &["/health/license"],
    },
    Route {
        kind: Kind::Health(HealthRoute::Backlog),
        method: Method::GET,
        name: "/health/backlog",
        paths: &["/health/backlog"],
    },
    Route {
        kind: Kind::KeyHealth,
        method: Method::POST,
        name: "/key/health",
        paths: &["/key/health"],
    },
    Route {
        kind: Kind::ApplyGuardrail,
        method: Method::POST,
        name: "/guardrails/apply_guardrail",
        paths: &["/guardrails/apply_guardrail", "/apply_guardrail"],
    },
    Route {
        kind: Kind::Memory,
        method: Method::GET,
        name: "/memory-usage",
        paths: &[
            "/memory-usage",
            "/memory-usage-in-mem-cache",
            "/memory-usage-in-mem-cache-items",
        ],
    },
    Route {
        kind: Kind::Test,
        method: Method::GET,
        name: "/test",
        paths: &["/test"],
    },
    Route {
        kind: Kind::Look(LookRoute::Theme),
        method: Method::GET,
        name: "/get/ui_theme_settings",
        paths: &["/get/ui_theme_settings"],
    },
    Route {
        kind: Kind::Look(LookRoute::LogoUrl),
        method: Method::GET,
        name: "/get_logo_url",
        paths: &["/get_logo_url"],
    },
    Route {
        kind: Kind::Look(LookRoute::Logo),
        method: Method::GET,
        name: "/get_image",
        paths: &["/get_image"],
    },
    Route {
        kind: Kind::Look(LookRoute::Favicon),
        method: Method::GET,
        name: "/get_favicon",
        paths: &["/get_favicon"],
    },
    Route {
        kind: Kind::ConfigYaml,
        method: Method::GET,
        name: "/config/yaml",
        paths: &["/config/yaml"],
    },
    Route {
        kind: Kind::Routes,
        method: Method::GET,
        name: "/routes",
        paths: &["/routes"],
    },
    Route {
        kind: Kind::Metrics,
        method: Method::GET,
        name: "/metrics",
        paths: &["/metrics", "/metrics/"],
    },
    Route {
        kind: Kind::Reload,
        method: Method::POST,
        name: "/config/reload",
        paths: &["/config/reload"],
    },
    Route {
        kind: Kind::Transform,
        method: Method::POST,
        name: "/utils/transform_request",
        paths: &["/utils/transform_request"],
    },
    Route {
        kind: Kind::SupportedParams,
        method: Method::GET,
        name: "/utils/supported_openai_params",
        paths: &["/utils/supported_openai_params"],
    },
    Route {
        kind: Kind::Explain,
        method: Method::POST,
        name: "/utils/explain",
        paths: &["/utils/explain"],
    },
    Route {
        kind: Kind::TokenCounter,
        method: Method::POST,
        name: "/utils/token_counter",
        paths: &["/utils/token_counter"],
    },
    Route {
        kind: Kind::Plugins,
        method: Method::GET,
        name: "/plugins",
        paths: &["/plugins"],
    },
    Route {
        kind: Kind::Plugin(PluginRoute::Status),
        method: Method::GET,
        name: "/plugins/{name}",
        paths: &["/plugins/{name}"],
    },
    Route {
        kind: Kind::Plugin(PluginRoute::Logs),
        method: Method::GET,
        name: "/plugins/{name}/logs",
        paths: &["/plugins/{name}/logs"],
    },
    Route {
        kind: Kind::Plugin(PluginRoute::Shadow),
        method: Method::GET,
        name: "/plugins/{name}/shadow",
        paths: &["/plugins/{name}/shadow"],
    },
    Route {
        kind: Kind::Plugin(PluginRoute::Reload),
        method: Method::POST,
        name: "/plugins/{name}/reload",
        paths: &["/plugins/{name}/reload"],
    },
    Route {
        kind: Kind::Plugin(PluginRoute::RollBack),
        method: Method::POST,
        name: "/plugins/{name}/rollback",
        paths: &["/plugins/{name}/rollback"],
    },
    Route {
        kind: Kind::Plugin(PluginRoute::Enable),
        method: Method::POST,
        name: "/plugins/{name}/enable",
        paths: &["/plugins/{name}/enable"],
    },
    Route {
        kind: Kind::Plugin(PluginRoute::Disable),
        method: Method::POST,
        name: "/plugins/{name}/disable",
        paths: &["/plugins/{name}/disable"],
    },
    Route {
        kind: Kind::Cache(CacheRoute::Ping),
        method: Method::GET,
        name: "/cache/ping",
        paths: &["/cache/ping"],
    },
    Route {
        kind: Kind::Cache(CacheRoute::Delete),
        method: Method::POST,
        name: "/cache/delete",
        paths: &["/cache/delete"],
    },
    Route {
        kind: Kind::Cache(CacheRoute::FlushAll),
        method: Method::POST,
        name: "/cache/flushall",
        paths: &["/cache/flushall"],
    },
    Route {
        kind: Kind::Cache(CacheRoute::RedisInfo),
        method: Method::GET,
        name: "/cache/redis/info",
        paths: &["/cache/redis/info"],
    },
    Route {
        kind: Kind::ProviderBudgets,
        method: Method::GET,
        name: "/provider/budgets",
        paths: &["/provider/budgets"],
    },
    Route {
        kind: Kind::Login(Step::Begin),
        method: Method::GET,
        name: "/sso/key/generate",
        paths: &["/sso/key/generate"],
    },
    Route {
        kind: Kind::Login(Step::Callback),
        method: Method::GET,
        name: "/sso/callback",
        paths: &["/sso/callback"],
    },
    Route {
        kind: Kind::Login(Step::DebugBegin),
        method: Method::GET,
        name: "/sso/debug/login",
        paths: &["/sso/debug/login"],
    },
    Route {
        kind: Kind::Login(Step::DebugCallback),
        method: Method::GET,
        name: "/sso/debug/callback",
        paths: &["/sso/debug/callback"],
    },
    Route {
        kind: Kind::Login(Step::Form),
        method: Method::GET,
        name: "/fallback/login",
        paths: &["/fallback/login"],
    },
    Route {
        kind: Kind::Login(Step::Password),
        method: Method::POST,
        name: "/login",
        paths: &["/login"],
    },
    Route {
        kind: Kind::Login(Step::PasswordJson),
        method: Method::POST,
        name: "/v2/login",
        paths: &["/v2/login"],
    },
    Route {
        kind: Kind::Login(Step::UiConfig),
        method: Method::GET,
        name: "/.well-known/litellm-ui-config",
        paths: &[
            "/.well-known/litellm-ui-config",
            "/litellm/.well-known/litellm-ui-config",
        ],
    },
    Route {
        kind: Kind::Login(Step::Invited),
        method: Method::GET,
        name: "/onboarding/get_token",
        paths: &["/onboarding/get_token"],
    },
    Route {
        kind: Kind::Login(Step::TakeInvitation),
        method: Method::POST,
        name: "/onboarding/claim_token",
        paths: &["/onboarding/claim_token"],
    },
    Route {
        kind: Kind::Login(Step::Ui),
        method: Method::GET,
        name: "/ui",
        paths: &["/ui", "/ui/"],
    },
    Route {
        kind: Kind::Login(Step::SignOut),
        method: Method::POST,
        name: "/ui/logout",
        paths: &["/ui/logout"],
    },
    Route {
        kind: Kind::SsoReadiness,
        method: Method::GET,
        name: "/sso/readiness",
        paths: &["/sso/readiness"],
    },
];

/// A path's route.
#[derive(Debug)]
pub struct Matched {
    /// The route.
    pub route: &'static Route,
    /// What `{model}` or `{name}` stands for, percent-decoded.
    pub named: Option<String>,
}

/// What a path and method mean.
#[derive(Debug)]
pub enum Found {
    /// This.
    Route(Matched),
    /// The path exists, but not with this method.
    WrongMethod,
    /// There is no such path.
    Nothing,
}

/// Finds the route of a path (without the root path and the query).
#[must_use]
pub fn find(method: &Method, path: &str) -> Found {
    let mut known = false;
    // `/chat/completions` is a literal path and also what `/engines/{model}/…` ends in: literals first.
    for literal in [true, false] {
        for route in ROUTES.iter() {
            for pattern in route.paths {
                let Some(named) = matches(pattern, path, literal) else {
                    continue;
                };
                // The health probes of LiteLLM also answer OPTIONS.
                let probe = matches!(route.kind, Kind::Liveness | Kind::Readiness);
                if *method == route.method
                    || (*method == Method::HEAD && route.method == Method::GET)
                    || (*method == Method::OPTIONS && probe)
                {
                    return Found::Route(Matched { route, named });
                }
                known = true;
            }
        }
    }
    if known {
        Found::WrongMethod
    } else {
        Found::Nothing
    }
}

/// `Some(what it names)` when the path fits the pattern. A model may contain slashes; of another name a
/// slash is written `%2F`.
fn matches(pattern: &str, path: &str, literal: bool) -> Option<Option<String>> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return (literal && pattern == path).then_some(None);
    };
    if literal {
        return None;
    }
    let (placeholder, after) = rest.split_once('}')?;
    let raw = path.strip_prefix(before)?.strip_suffix(after)?;
    if placeholder != "model" && raw.contains('/') {
        return None;
    }
    let named = percent_decode(raw)?;
    (!named.is_empty() && (placeholder != "model" || !named.starts_with('/')))
        .then_some(Some(named))
}

/// Undoes percent-encoding; `None` when the result is not UTF-8.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}
