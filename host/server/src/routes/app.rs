//! The gateway as the listener sees it: a request in, a response out.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use prometheus_client::registry::Registry;
use witgate_login::Desk;
use witgate_management::ControlPlane;
use witgate_pipeline::passage::Crossing;
use witgate_pipeline::{
    AuthInput, Checked, Failure, Gateway, HealthRecord, Principal, Reply, ReplyBody, Snapshot,
    ask_providers, detail, rescue,
};
use witgate_wire::prices::Prices;

use super::docs::Docs;
use super::health::{HealthCall, HealthRoute, TestConnection};
use super::plugins::PluginAdmin;
use super::table::{Found, Kind, Matched, Route, find};
use super::{
    apply, budgets, cache, calls, explain, groups, health, info, key_health, login, look, manage,
    model_list, passages, plugins, tokens, transform,
};
use crate::{METRICS_CONTENT_TYPE, Request, RespBody, Response, Service, encode_metrics};

/// Longest body that is read before it is known who sends it, of requests that are no calls to models.
const BODY_SMALL: u64 = 64 << 10;

/// What is wrong with a configuration that was refused, one line per problem.
pub type ReloadProblems = Vec<String>;

/// What the routes ask of the process around the gateway.
#[async_trait]
pub trait Admin: Send + Sync {
    /// Loads the configuration anew. The old one keeps serving when the new one is refused.
    async fn reload(&self) -> Result<(), ReloadProblems>;
    /// LiteLLM's fields of `GET /health/readiness`, and whether the process is ready.
    fn readiness(&self) -> (bool, serde_json::Value);
    /// Sends a test event to the sink or alerter of this name; LiteLLM's answer of `GET /health/services`.
    async fn test_service(&self, service: &str) -> Result<serde_json::Value, ServiceFault>;
    /// What the process holds in memory.
    fn memory(&self) -> serde_json::Value;
    /// Calls a deployment that is in no model list; or what is wrong with what was asked.
    async fn test_connection(&self, wanted: TestConnection) -> Result<Checked, String>;
    /// Earlier checks of deployments that are kept outside the process, the newest first; none when they cannot be had.
    async fn earlier_checks(&self, wanted: &Earlier<'_>) -> Vec<HealthRecord>;
}

/// Which earlier checks.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// Of this model group.
    pub model: Option<&'a str>,
    /// That found this.
    pub status: Option<&'a str>,
    /// So many.
    pub most: usize,
}

/// Why no test event was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceFault {
    /// Nothing has this name.
    Unknown(String),
    /// The configuration names no such sink or alerter.
    NotConfigured(String),
}

/// How the routes are served.
#[derive(Clone)]
pub struct AppOptions {
    /// `SERVER_ROOT_PATH`: a prefix of every path, without a slash at its end.
    pub root_path: String,
    /// `litellm_settings.require_auth_for_metrics_endpoint`
    pub metrics_need_auth: bool,
}

/// The gateway's [`Service`].
#[derive(Clone)]
pub struct App {
    /// The pipeline.
    pub gateway: Arc<Gateway>,
    /// The process around it.
    pub admin: Arc<dyn Admin>,
    /// Its plugins.
    pub plugins: Arc<dyn PluginAdmin>,
    /// The management API.
    pub plane: Arc<ControlPlane>,
    /// Where people sign in.
    pub desk: Arc<Desk>,
    /// What the gateway tells of itself.
    pub docs: Arc<Docs>,
    /// All metrics.
    pub registry: Arc<Registry>,
    /// How the routes are served.
    pub options: AppOptions,
}

impl Service for App {
    async fn call(&self, request: Request) -> Response {
        let cross_origin = request.headers().contains_key(header::ORIGIN);
        let preflight = cross_origin
            && request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let asked = request
            .headers()
            .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
            .cloned();
        let mut reply = if preflight {
            Reply::full(StatusCode::OK, "text/plain; charset=utf-8", "OK")
        } else {
            self.route(request).await
        };
        if cross_origin {
            allow_any_origin(&mut reply.headers, preflight.then_some(asked));
        }
        response(reply)
    }

    fn panicked(&self) -> Response {
        let compat = self.gateway.snapshot.load().settings.compat;
        response(rescue(
            &Failure::internal("a request handler panicked"),
            compat,
        ))
    }
}

/// The routes below `/health` alone, for a listener of their own (`SEPARATE_HEALTH_APP`): probes get
/// through when clients have taken every connection of the other.
pub struct HealthApp(pub App);

impl Service for HealthApp {
    async fn call(&self, request: Request) -> Response {
        let path = self.0.strip_root(request.uri().path());
        match path == "/health" || path.starts_with("/health/") {
            true => self.0.call(request).await,
            false => response(detail(StatusCode::NOT_FOUND, "Not Found")),
        }
    }

    fn panicked(&self) -> Response {
        self.0.panicked()
    }
}

impl App {
    async fn route(&self, request: Request) -> Reply {
        let uri = request.uri().clone();
        let path = self.strip_root(uri.path());
        match find(request.method(), path) {
            Found::Route(Matched { route, named }) if let Kind::Call(endpoint) = route.kind => {
                let url = self.url(&uri).to_owned();
                calls::call(&self.gateway, request, (route.name, url), endpoint, named).await
            }
            // Apart: a future is as large as the largest thing that may happen in it, and the one of a call is moved for every call.
            found => Box::pin(self.other(request, path, found)).await,
        }
    }

    /// Everything but calls to models.
    async fn other(&self, request: Request, path: &str, found: Found) -> Reply {
        // Whoever is refused before the body is read keeps the connection all the same.
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, body.early(BODY_SMALL).await);
        if !matches!(found, Found::Route(_)) {
            // A page is there before a pass-through route, as a route of the gateway is.
            if [Method::GET, Method::HEAD].contains(request.method())
                && let Some(page) = self.page(path, &request)
            {
                return page;
            }
            let path = path.to_owned();
            let passages = &self.gateway.snapshot.load_full().passages;
            match passages.find(request.method(), &path) {
                Some(Crossing::Open(passage, rest)) => {
                    return passages::pass(&self.gateway, request, passage, (path, rest)).await;
                }
                Some(Crossing::WrongMethod) => {
                    return detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
                }
                None => {}
            }
        }
        let matched = match found {
            Found::Route(matched) => matched,
            Found::WrongMethod => {
                return detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            }
            Found::Nothing => {
                return match self.page(path, &request) {
                    Some(_) => detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
                    None => detail(StatusCode::NOT_FOUND, "Not Found"),
                };
            }
        };
        if let Some(refused) = self.closed(&request, matched.route) {
            return refused;
        }
        match matched.route.kind {
            Kind::Login(step) => {
                let access = &self.gateway.snapshot.load_full().access;
                login::login(&self.desk, access, step, path.to_owned(), request).await
            }
            Kind::Liveness => info::json(&serde_json::json!("I'm alive!")),
            Kind::Readiness => health::readiness(self.admin.as_ref()),
            Kind::Routes => {
                let snapshot = self.gateway.snapshot.load_full();
                info::routes(self.docs.paths(), &snapshot.passages)
            }
            Kind::Health(HealthRoute::Backlog) => health::backlog(&self.gateway),
            Kind::Hub => groups::hub(&self.gateway.snapshot.load_full()),
            Kind::HubInfo => groups::hub_info(&self.gateway.snapshot.load_full()),
            Kind::PublicPrices => Reply::json(StatusCode::OK, Prices::text()),
            Kind::Test => info::json(&serde_json::json!({"route": path})),
            // LiteLLM's page of its configuration says no more, so that anybody may ask for it.
            Kind::ConfigYaml => info::json(&serde_json::json!({"hello": "world"})),
            Kind::Look(route) => look::answer(&self.plane.settings.load().ui, route),
            Kind::Metrics if !self.options.metrics_need_auth => self.metrics(),
            kind => match self.identify(&request, matched.route.name).await {
                Ok(principal) if let Kind::Manage(operation) = kind => {
                    let compat = self.gateway.snapshot.load().settings.compat;
                    let now = self.gateway.clock.now();
                    let which = (operation, matched.named);
                    manage::answer(&self.plane, which, request, principal, now, compat).await
                }
                Ok(principal)
                    if let Kind::Cache(route) = kind
                        && principal.is_admin() =>
                {
                    let snapshot = self.gateway.snapshot.load_full();
                    cache::answer(&self.gateway, &snapshot, route, request).await
                }
                Ok(principal)
                    if [Kind::Explain, Kind::Transform, Kind::TokenCounter].contains(&kind) =>
                {
                    self.told(request, principal, matched.route).await
                }
                Ok(principal) if kind == Kind::ApplyGuardrail => {
                    apply::apply(&self.gateway, request, principal).await
                }
                Ok(principal) if kind == Kind::KeyHealth => {
                    key_health::answer(&self.gateway, self.admin.as_ref(), request, principal).await
                }
                Ok(principal) if kind == Kind::Memory => self.memory(&principal),
                Ok(principal) if let Kind::Health(route) = kind => {
                    self.health(request, &principal, matched.route.name, route)
                        .await
                }
                Ok(principal) => self.answer(matched, &request, &principal).await,
                Err(failure) => rescue(&failure, self.gateway.snapshot.load().settings.compat),
            },
        }
    }

    /// What is no route may be a page.
    fn page(&self, path: &str, request: &Request) -> Option<Reply> {
        let passages = &self.gateway.snapshot.load_full().passages;
        self.docs.page(path, request.headers(), passages)
    }

    /// Routes whose answer depends on who asks.
    async fn answer(&self, matched: Matched, request: &Request, principal: &Principal) -> Reply {
        let snapshot = self.gateway.snapshot.load_full();
        let kind = matched.route.kind;
        if kind.is_for_admins() && !principal.is_admin() {
            let refused = info::admin_only(principal, matched.route.name);
            return rescue(&refused, snapshot.settings.compat);
        }
        let (named, query) = (matched.named.unwrap_or_default(), request.uri().query());
        match kind {
            Kind::Models => match self.lists_for(principal, query).await {
                Ok(caller) => {
                    ask_providers(&self.gateway, &snapshot).await;
                    info::models(&self.gateway, &snapshot, (principal, &caller), query)
                }
                Err(refused) => refused,
            },
            Kind::Model => info::model(&snapshot, principal, &named),
            Kind::ModelInfo => info::model_info(&snapshot, principal, query),
            Kind::ModelList => model_list::list(&snapshot, principal, query),
            Kind::GroupInfo => {
                ask_providers(&self.gateway, &snapshot).await;
                groups::group_info(&snapshot, principal, query)
            }
            Kind::SupportedParams => groups::supported(&snapshot, principal, query),
            Kind::Metrics => self.metrics(),
            Kind::Prices => Reply::json(StatusCode::OK, Prices::text()),
            Kind::ProviderBudgets => budgets::budgets(&self.gateway, &snapshot),
            Kind::Reload => self.reload().await,
            Kind::Plugins => plugins::list(self.plugins.as_ref()),
            Kind::Plugin(route) => plugins::one(self.plugins.as_ref(), route, named, query).await,
            Kind::SsoReadiness => {
                let (status, body) = self.desk.readiness();
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                Reply::json(status, body.to_string())
            }
            Kind::Call(_)
            | Kind::Liveness
            | Kind::Readiness
            | Kind::Routes
            | Kind::Explain
            | Kind::Transform
            | Kind::Manage(_)
            | Kind::Health(_)
            | Kind::Cache(_)
            | Kind::ApplyGuardrail
            | Kind::TokenCounter
            | Kind::KeyHealth
            | Kind::Memory
            | Kind::Hub
            | Kind::HubInfo
            | Kind::PublicPrices
            | Kind::Test
            | Kind::ConfigYaml
            | Kind::Look(_)
            | Kind::Login(_) => detail(StatusCode::NOT_FOUND, "Not Found"),
        }
    }

    /// Whose models `GET /models` lists: the caller's, or those of a team that the caller may look into.
    async fn lists_for<'a>(
        &self,
        principal: &'a Principal,
        query: Option<&str>,
    ) -> Result<Cow<'a, Principal>, Reply> {
        let query = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut teams = query.filter(|(name, value)| name == "team_id" && !value.is_empty());
        let Some((_, team)) = teams.next() else {
            return Ok(Cow::Borrowed(principal));
        };
        let found = self
            .plane
            .as_team(principal, &team, self.gateway.clock.now());
        found.await.map(Cow::Owned).map_err(|refusal| {
            let (status, body) = refusal.body(self.gateway.snapshot.load().settings.compat);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            Reply::json(status, body)
        })
    }

    /// `GET /memory-usage`: for the master key only.
    fn memory(&self, principal: &Principal) -> Reply {
        let settings = self.plane.settings.load();
        let master = settings.master.as_ref();
        if master.is_some_and(|master| master.is(principal)) {
            return info::json(&self.admin.memory());
        }
        let compat = self.gateway.snapshot.load().settings.compat;
        rescue(&info::master_only("/memory-usage"), compat)
    }

    /// What a call would become, without making it.
    async fn told(&self, request: Request, principal: Arc<Principal>, route: &Route) -> Reply {
        let compat = self.gateway.snapshot.load().settings.compat;
        if route.kind.is_for_admins() && !principal.is_admin() {
            return rescue(&info::admin_only(&principal, route.name), compat);
        }
        let told = match route.kind {
            Kind::Transform => transform::transform(&self.gateway, request, principal).await,
            Kind::TokenCounter => tokens::count(&self.gateway, request, principal).await,
            _ => explain::explain(&self.gateway, request, principal).await,
        };
        told.unwrap_or_else(|failure| rescue(&failure, compat))
    }

    async fn health(
        &self,
        request: Request,
        principal: &Principal,
        name: &'static str,
        route: HealthRoute,
    ) -> Reply {
        let snapshot = self.gateway.snapshot.load_full();
        if !health::may(route, principal) {
            let refused = info::admin_only(principal, name);
            return rescue(&refused, snapshot.settings.compat);
        }
        let (head, body) = request.into_parts();
        let call = HealthCall {
            gateway: &self.gateway,
            admin: self.admin.as_ref(),
            compat: snapshot.settings.compat,
            principal,
            query: head.uri.query(),
            body,
        };
        health::answer(call, route).await
    }

    async fn identify(
        &self,
        request: &Request,
        route: &'static str,
    ) -> Result<Arc<Principal>, Failure> {
        let snapshot = self.gateway.snapshot.load_full();
        let input = self.auth_input(&snapshot, request, route);
        witgate_pipeline::principal(&snapshot, &input).await
    }

    /// Why a route that asks for no key is closed to this request all the same; probes get through.
    fn closed(&self, request: &Request, route: &Route) -> Option<Reply> {
        let asks_nobody = [
            Kind::Routes,
            Kind::Hub,
            Kind::HubInfo,
            Kind::PublicPrices,
            Kind::Test,
            Kind::ConfigYaml,
            Kind::Health(HealthRoute::Backlog),
        ];
        if !asks_nobody.contains(&route.kind) {
            return None;
        }
        let snapshot = self.gateway.snapshot.load_full();
        let input = self.auth_input(&snapshot, request, route.name);
        let refused = witgate_pipeline::enter(&snapshot, &input).err()?;
        Some(rescue(&refused, snapshot.settings.compat))
    }

    fn auth_input<'a>(
        &self,
        snapshot: &Snapshot,
        request: &'a Request,
        route: &'a str,
    ) -> AuthInput<'a> {
        AuthInput {
            method: request.method().as_str(),
            url: self.url(request.uri()),
            route,
            now: self.gateway.clock.now(),
            headers: request.headers(),
            ip: Some(
                snapshot
                    .access
                    .caller_ip(request.body().peer().ip(), request.headers()),
            ),
            socket: Some(request.body().peer().ip()),
            model: "",
            now_s: u64::try_from(self.gateway.clock.now().as_second()).unwrap_or_default(),
            passage: None,
        }
    }

    async fn reload(&self) -> Reply {
        match self.admin.reload().await {
            Ok(()) => info::json(&serde_json::json!({"status": "success"})),
            Err(problems) => Reply::json(
                StatusCode::BAD_REQUEST,
                serde_json::json!({"status": "refused", "problems": problems}).to_string(),
            ),
        }
    }

    fn metrics(&self) -> Reply {
        Reply::full(
            StatusCode::OK,
            METRICS_CONTENT_TYPE,
            encode_metrics(&self.registry),
        )
    }

    /// A path, or one with its query, without the prefix that everything is served under. One that has none is taken as it is: what
    /// stands in front may have taken it away, and probes do not know it.
    fn strip_root<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(self.options.root_path.as_str()) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }

    /// Path and query as rules know them.
    fn url<'a>(&self, uri: &'a Uri) -> &'a str {
        self.strip_root(uri.path_and_query().map_or("/", |url| url.as_str()))
    }
}

/// LiteLLM's CORS middleware: any origin, any method, any header.
fn allow_any_origin(headers: &mut HeaderMap, preflight: Option<Option<HeaderValue>>) {
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    match preflight {
        None => {
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("*"),
            );
        }
        Some(asked) => {
            let methods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static(methods),
            );
            headers.insert(
                header::ACCESS_CONTROL_MAX_AGE,
                HeaderValue::from_static("600"),
            );
            if let Some(asked) = asked {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
            }
        }
    }
}

fn response(reply: Reply) -> Response {
    let body = match reply.body {
        ReplyBody::Full(bytes) => RespBody::Full(bytes),
        ReplyBody::Stream(stream) => RespBody::stream(futures_util::StreamExt::map(
            stream,
            Ok::<_, crate::BoxError>,
        )),
        ReplyBody::Relay(pieces) => {
            RespBody::stream(futures_util::StreamExt::map(pieces, |piece| {
                piece.map_err(|failure| failure.message.into())
            }))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}
