use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use http::HeaderValue;
use serde_json::{Map, Value, json};
use witgate_identity::MasterKey;

use super::run::{Access, access};
use super::*;
use crate::exchange::Arrival;
use crate::ports::{BodyText, Edit, Phase, UpstreamBody, UpstreamError, Verdict};
use crate::reply::ReplyBody;
use crate::snapshot::FailPolicy;
use crate::testing::{Answer, FakeGuard, FakeUpstream, Script, Setup, World, with};
use witgate_identity::Principal;
use witgate_wire::Endpoint;

fn passage(upstream: &Arc<FakeUpstream>) -> Passage {
    Passage {
        path: "/v1/rerank".to_owned(),
        has_subpaths: true,
        methods: Vec::new(),
        target: Uri::from_static("https://h.example/base/"),
        query: vec!["own=1".to_owned()],
        client_query_wins: false,
        headers: HeaderMap::from_iter([(
            http::header::AUTHORIZATION,
            HeaderValue::from_static("Bearer of-route"),
        )]),
        forwards_headers: false,
        needs_key: false,
        key_header: None,
        key_is_user: false,
        cost: Decimal::ZERO,
        timeout: Duration::from_secs(600),
        guardrails: Vec::new(),
        upstream: upstream.clone(),
    }
}

fn arrival(method: Method, url: &str) -> Arrival {
    Arrival {
        endpoint: Endpoint::ChatCompletions,
        method,
        route: PASS_THROUGH,
        url: url.to_owned(),
        path_model: None,
        headers: Arc::default(),
        peer: Some([192, 0, 2, 7].into()),
        socket: Some([192, 0, 2, 7].into()),
        body: Ok(Bytes::new()),
    }
}

/// Sends a request to a world's only route.
async fn pass(world: &World, passage: Passage, arrival: Arrival, body: &str) -> Answer {
    let path = arrival.url.split('?').next().unwrap_or_default().to_owned();
    let rest = path.strip_prefix(&passage.path).unwrap_or_default();
    let body = Incoming::Whole(Bytes::from(body.to_owned()));
    let gateway = &world.gateway;
    let reply = gateway.pass_through(arrival, passage.into(), rest.to_owned(), body);
    Answer::of(reply.await).await
}

fn sent(world: &World, at: usize) -> (String, HeaderMap, String) {
    world.upstream.sent.lock().unwrap()[at].clone()
}

#[test]
fn a_path_finds_the_longest_route_that_takes_its_method() {
    let upstream = Arc::default();
    let exact = Passage {
        path: "/v1/rerank/fast".to_owned(),
        has_subpaths: false,
        methods: vec![Method::GET],
        ..passage(&upstream)
    };
    let passages = Passages::new(vec![passage(&upstream), exact]);
    let found = |method: Method, path: &str| match passages.find(&method, path) {
        Some(Crossing::Open(passage, rest)) => format!("{} + {rest}", passage.path),
        Some(Crossing::WrongMethod) => "wrong method".to_owned(),
        None => "nothing".to_owned(),
    };
    assert_eq!(found(Method::POST, "/v1/rerank"), "/v1/rerank + ");
    assert_eq!(found(Method::POST, "/v1/rerank/a/b"), "/v1/rerank + /a/b");
    assert_eq!(found(Method::GET, "/v1/rerank/fast"), "/v1/rerank/fast + ");
    assert_eq!(found(Method::POST, "/v1/rerank/fast"), "/v1/rerank + /fast");
    assert_eq!(found(Method::HEAD, "/v1/rerank"), "wrong method");
    assert_eq!(found(Method::POST, "/v1/reranker"), "nothing");
}

#[test]
fn the_url_is_the_targets_with_the_rest_of_the_path_and_both_queries() {
    let upstream = Arc::default();
    let url = |wins: bool, rest: &str, query: Option<&str>| {
        let passage = Passage {
            client_query_wins: wins,
            ..passage(&upstream)
        };
        let passed = Passed {
            passage: passage.into(),
            path: String::new(),
            rest: rest.to_owned(),
            request: Bytes::new(),
        };
        ask::url(&passed, query).map(|url| url.to_string()).ok()
    };
    let is = |url: &str| Some(url.to_owned());
    assert_eq!(url(false, "", None), is("https://h.example/base/?own=1"));
    assert_eq!(
        url(false, "/a%20b", Some("own=2&x=%20&y")),
        is("https://h.example/base/a%20b?own=1&x=%20&y")
    );
    assert_eq!(
        url(true, "/a", Some("o%77n=2&x=1&x=2")),
        is("https://h.example/base/a?o%77n=2&x=1&x=2")
    );
    for out in [
        "/..",
        "/../secret",
        "/a/%2e%2e/b",
        "/a%2F..%2Fb",
        "/a\\..\\b",
        "/./a",
        "/..;/secret",
        "/a/%2e%2e%3bx=1/b",
    ] {
        assert_eq!(url(false, out, None), None, "{out}");
    }
    assert!(url(false, "/..a/b../c;d=..", None).is_some());
}

#[test]
fn a_key_is_denied_what_it_or_its_team_denies_and_granted_what_it_else_its_team_names() {
    let list = |name: &str, entries: Value| Map::from_iter([(name.to_owned(), entries)]);
    let said = |key: Map<String, Value>, team: Map<String, Value>, path: &str| {
        let principal = Principal {
            metadata: key,
            team_metadata: team,
            ..Principal::default()
        };
        access(&principal, path)
    };
    let allowed = |entries: Value| list("allowed_passthrough_routes", entries);
    let denied = |entries: Value| list("denied_passthrough_routes", entries);
    let none = Map::new;
    assert_eq!(said(none(), none(), "/a"), Access::NotGranted);
    assert_eq!(
        said(allowed(json!(["/a"])), none(), "/a/b"),
        Access::Granted
    );
    assert_eq!(
        said(allowed(json!(["/a*"])), none(), "/ab"),
        Access::Granted
    );
    assert_eq!(said(allowed(json!("/a")), none(), "/a"), Access::NotGranted);
    let team = || allowed(json!(["/team"]));
    assert_eq!(said(none(), team(), "/team"), Access::Granted);
    assert_eq!(said(allowed(json!([])), team(), "/team"), Access::Granted);
    assert_eq!(
        said(allowed(json!(["/a"])), team(), "/team"),
        Access::NotGranted
    );
    for path in ["/a/x", "/a/%78", "/a//x/y"] {
        let both = allowed(json!(["/a"]));
        let hit = Access::Denied("/a/x".to_owned());
        assert_eq!(said(both, denied(json!(["/a/x"])), path), hit, "{path}");
    }
}

#[test]
fn fields_name_texts_of_a_document() {
    let document = json!({
        "query": "q", "documents": [{"text": "one", "id": 1}, {"text": "two"}],
        "a/b": {"c": ["x", ["y"]]},
    });
    let passage_texts = |fields: &[&str]| -> Vec<(String, String)> {
        let fields: Vec<Field> = fields.iter().map(|f| Field::parse(f).unwrap()).collect();
        let found = guard::texts(&document.to_string().into(), &fields).unwrap();
        found.into_iter().map(|t| (t.pointer, t.text)).collect()
    };
    let pair = |pointer: &str, text: &str| (pointer.to_owned(), text.to_owned());
    assert_eq!(
        passage_texts(&["$.query", "documents[*].text", "documents[0]"]),
        [
            pair("/query", "q"),
            pair("/documents/0/text", "one"),
            pair("/documents/1/text", "two"),
            pair("/documents/0/text", "one"),
        ]
    );
    assert_eq!(
        passage_texts(&["a/b"]),
        [pair("/a~1b/c/0", "x"), pair("/a~1b/c/1/0", "y")]
    );
    assert_eq!(passage_texts(&[]).len(), 5);
    assert!(passage_texts(&["none", "query.more"]).is_empty());
    for bad in ["", "a..b", "a[", "a[x]"] {
        assert!(Field::parse(bad).is_none(), "{bad}");
    }
    let plain = guard::texts(&Bytes::from("plain"), &[]).unwrap();
    assert_eq!(plain[0].text, "plain");
    assert_eq!(guard::texts(&Bytes::from_static(b"\xff\xfe"), &[]), None);
    assert_eq!(
        guard::texts(&Bytes::new(), &[]),
        Some(Vec::<BodyText>::new())
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_to_its_target_as_it_is_and_is_recorded_with_its_price() {
    let world = World::new();
    world.upstream.then(
        Script::json_pieces(["{\"a\" : ", "1}"])
            .header("x-own", "1")
            .header("set-cookie", "a=b")
            .header("connection", "close"),
    );
    let passage = Passage {
        cost: Decimal::new(5, 1),
        ..passage(&world.upstream)
    };
    let arrival = with(
        arrival(Method::PUT, "/v1/rerank/x?q=1"),
        &[
            ("content-type", "application/odd"),
            ("x-tenant", "acme"),
            ("x-pass-anthropic-beta", "b-1"),
            ("x-pass-authorization", "Bearer mine"),
            ("x-pass-x-amz-date", "now"),
            ("x-litellm-tags", "blue, green,blue"),
        ],
    );
    let answer = pass(&world, passage, arrival, "odd bytes").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "{\"a\" : 1}"));
    assert_eq!(answer.header("x-own"), "1");
    assert_eq!(answer.header("set-cookie"), "");
    assert_eq!(answer.header("connection"), "");
    assert_eq!(
        answer.header("x-litellm-model-api-base"),
        "https://h.example/base/"
    );
    assert!(!answer.header("x-litellm-call-id").is_empty());
    let (url, headers, body) = sent(&world, 0);
    assert_eq!(url, "https://h.example/base/x?own=1&q=1");
    assert_eq!(body, "odd bytes");
    let header = |name: &str| headers.get(name).map(|v| v.to_str().unwrap());
    assert_eq!(header("authorization"), Some("Bearer of-route"));
    assert_eq!(header("content-type"), Some("application/odd"));
    assert_eq!(header("anthropic-beta"), Some("b-1"));
    assert_eq!(header("x-tenant"), None);
    assert_eq!(header("x-amz-date"), None);
    let record = world.record().await;
    assert_eq!(record.call_type, "pass_through_endpoint");
    assert_eq!(record.route, "/v1/rerank");
    assert_eq!(record.cost.total, Some(Decimal::new(5, 1)));
    assert_eq!(record.served.api_base, "https://h.example/base/");
    assert_eq!(record.served.model, "unknown");
    assert_eq!(record.tags, ["blue", "green"]);
    assert_eq!(record.request.body, "odd bytes");
    assert_eq!(record.response.as_deref(), Some(&b"{\"a\" : 1}"[..]));
    assert!(record.succeeded());
}

#[tokio::test(start_paused = true)]
async fn forwarded_headers_are_the_clients_but_what_lets_it_in() {
    let headers = [
        ("x-tenant", "acme"),
        ("accept-encoding", "br"),
        ("cookie", "token=session"),
        ("host", "gateway.example"),
        ("x-hop", "1"),
        ("connection", "keep-alive, x-hop"),
        ("x-api-key", "of-target"),
        ("x-litellm-api-key", "sk-mine"),
        ("api-key", "sk-master"),
        ("x-goog-api-key", "sk-also-of-target"),
    ];
    let world = Setup::new()
        .access(|access| access.master_key = Some(MasterKey::new("sk-master")))
        .build();
    let passage = Passage {
        forwards_headers: true,
        ..passage(&world.upstream)
    };
    let arrival = with(arrival(Method::GET, "/v1/rerank"), &headers);
    assert_eq!(pass(&world, passage, arrival, "").await.status, 200);
    let (_, headers, _) = sent(&world, 0);
    let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept-encoding",
            "authorization",
            "user-agent",
            "x-api-key",
            "x-goog-api-key",
            "x-injected",
            "x-tenant",
        ]
    );
    assert_eq!(headers["authorization"], "Bearer of-route");
    assert_eq!(headers["accept-encoding"], "identity");
}

#[tokio::test(start_paused = true)]
async fn a_route_with_auth_needs_a_key_and_the_key_stays_here() {
    let setup = || Setup::new().access(|a| a.master_key = Some(MasterKey::new("sk-master")));
    let world = setup().build();
    let closed = |key_header: Option<&'static str>| Passage {
        needs_key: true,
        forwards_headers: true,
        headers: HeaderMap::new(),
        key_header: key_header.map(HeaderName::from_static),
        ..passage(&world.upstream)
    };
    let url = || arrival(Method::POST, "/v1/rerank");
    assert_eq!(pass(&world, closed(None), url(), "").await.status, 401);
    let with_key = with(url(), &[("authorization", "Bearer sk-master")]);
    assert_eq!(pass(&world, closed(None), with_key, "").await.status, 200);
    let in_own = with(
        url(),
        &[
            ("x-own-key", "sk-master"),
            ("authorization", "Bearer theirs"),
        ],
    );
    let answer = pass(&world, closed(Some("x-own-key")), in_own, "").await;
    assert_eq!(answer.status, 200);
    assert!(!sent(&world, 0).1.contains_key("authorization"));
    let (_, headers, _) = sent(&world, 1);
    assert!(!headers.contains_key("x-own-key"));
    assert_eq!(world.upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_target_is_relayed_and_costs_nothing() {
    let world = World::new();
    world.upstream.then(Script::error(418, "no coffee"));
    let passage = Passage {
        cost: Decimal::ONE,
        ..passage(&world.upstream)
    };
    let answer = pass(&world, passage, arrival(Method::GET, "/v1/rerank"), "").await;
    assert_eq!(
        (answer.status, answer.message().as_str()),
        (418, "no coffee")
    );
    let record = world.record().await;
    let failure = record.failure().unwrap();
    assert_eq!(failure.status, Some(418));
    assert_eq!(failure.message, "no coffee");
    assert_eq!(record.cost.total, None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_or_falls_silent_is_cut_off() {
    for (script, class) in [
        (
            Script::stream(["data: 1\n\n"]).then_break(),
            "APIConnectionError",
        ),
        (Script::stream(["data: 1\n\n"]).then_stall(), "Timeout"),
    ] {
        let world = World::new();
        world.upstream.then(script);
        let route = passage(&world.upstream);
        let answer = pass(&world, route, arrival(Method::GET, "/v1/rerank"), "").await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.text.starts_with("data: 1\n\n<cut off: "),
            "{}",
            answer.text
        );
        assert_eq!(world.failure().await.class, class);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_answer_is_a_timeout_and_one_that_is_not_there_a_failure() {
    for (script, status) in [
        (Script::silent(), 408),
        (
            Script::no_answer(crate::ports::UpstreamErrorKind::Connect),
            500,
        ),
    ] {
        let world = World::new();
        world.upstream.then(script);
        let route = passage(&world.upstream);
        let answer = pass(&world, route, arrival(Method::GET, "/v1/rerank"), "").await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.message().contains("pass-through of /v1/rerank"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_the_target() {
    let world = World::new();
    world
        .upstream
        .then(Script::stream(["data: 1\n\n"]).then_stall());
    let body = Incoming::Whole(Bytes::new());
    let route = passage(&world.upstream);
    let call = arrival(Method::GET, "/v1/rerank");
    let reply = world
        .gateway
        .pass_through(call, route.into(), String::new(), body);
    let ReplyBody::Relay(mut body) = reply.await.body else {
        panic!("a relayed answer");
    };
    assert!(body.next().await.unwrap().is_ok());
    drop(body);
    assert_eq!(world.upstream.cancelled(), 1);
    assert_eq!(world.failure().await.class, "ClientDisconnected");
}

/// Takes two pieces of a request and answers.
struct Sipping;

#[async_trait::async_trait]
impl Upstream for Sipping {
    async fn send(
        &self,
        _: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        unreachable!("its requests are streams")
    }

    async fn send_stream(
        &self,
        request: http::Request<UpstreamBody>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        assert_eq!(request.headers()["content-length"], "1000");
        let mut body = request.into_body();
        for _ in 0..2 {
            body.next().await.unwrap()?;
        }
        let empty: UpstreamBody = Box::pin(futures_util::stream::empty());
        Ok(http::Response::new(empty))
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_of_a_request_is_taken_than_the_target_takes() {
    let world = World::new();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let pieces = futures_util::stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Bytes::from_static(b"piece"))
    });
    let route = Passage {
        upstream: Arc::new(Sipping),
        ..passage(&world.upstream)
    };
    let body = Incoming::Coming {
        pieces: Box::pin(pieces),
        length: Some(1000),
    };
    let call = arrival(Method::POST, "/v1/rerank");
    let reply = world
        .gateway
        .pass_through(call, route.into(), String::new(), body);
    assert_eq!(Answer::of(reply.await).await.status, 200);
    assert_eq!(taken.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_off_is_the_clients_fault() {
    let world = World::new();
    for (fault, status) in [
        (BodyFault::Stalled, 408),
        (
            BodyFault::TooLarge {
                length: 9,
                limit: 8,
            },
            413,
        ),
    ] {
        let pieces = futures_util::stream::iter([Ok(Bytes::from_static(b"a")), Err(fault)]);
        let body = Incoming::Coming {
            pieces: Box::pin(pieces),
            length: None,
        };
        let route = passage(&world.upstream);
        let call = arrival(Method::POST, "/v1/rerank");
        let reply = world
            .gateway
            .pass_through(call, route.into(), String::new(), body);
        assert_eq!(Answer::of(reply.await).await.status, status);
    }
    assert_eq!(world.upstream.calls(), 0);
}

fn judge(name: &str, request: &[&str]) -> Judge {
    Judge {
        name: name.to_owned(),
        request: request.iter().filter_map(|f| Field::parse(f)).collect(),
        response: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn guardrails_of_a_route_edit_its_requests_and_refuse_its_answers() {
    let refuse = |body: &dyn crate::ports::BodyView| {
        let bad = body.texts().into_iter().any(|text| text.text == "bad");
        Ok(match bad {
            false => Verdict::Allow,
            true => Verdict::Block(crate::ports::Block {
                message: "no".to_owned(),
                status: 400,
                detail: None,
                findings: Vec::new(),
            }),
        })
    };
    let world = Setup::new()
        .guard(
            "mask",
            Phase::PreCall,
            FailPolicy::Closed,
            FakeGuard::mask(),
        )
        .guard(
            "refuse",
            Phase::PostCall,
            FailPolicy::Closed,
            FakeGuard::new(refuse),
        )
        .build();
    let request = r#"{"query" : "a secret", "other": "a secret"}"#;
    let post = || arrival(Method::POST, "/v1/rerank");
    // Without guardrails of its own a route is not judged.
    pass(&world, passage(&world.upstream), post(), request).await;
    assert_eq!(sent(&world, 0).2, request);
    let judged = |fields: &[&str]| Passage {
        guardrails: vec![judge("mask", fields)],
        ..passage(&world.upstream)
    };
    world
        .upstream
        .then(Script::json(200, &json!({"a": "good"})));
    let answer = pass(&world, judged(&["query"]), post(), request).await;
    assert_eq!(answer.json(), json!({"a": "good"}));
    assert_eq!(answer.header("x-litellm-applied-guardrails"), "mask,refuse");
    assert_eq!(
        sent(&world, 1).2,
        r#"{"query" : "a ***", "other": "a secret"}"#
    );
    world.upstream.then(Script::json(200, &json!({"a": "bad"})));
    let answer = pass(&world, judged(&[]), post(), request).await;
    assert_eq!((answer.status, answer.message().as_str()), (400, "no"));
    assert!(!answer.text.contains("bad"));
    assert_eq!(
        sent(&world, 2).2,
        r#"{"query" : "a ***", "other": "a ***"}"#
    );
    let edit = |_: &dyn crate::ports::BodyView| {
        Ok(Verdict::Edit {
            edits: vec![Edit::Text {
                pointer: String::new(),
                text: "x".to_owned(),
            }],
            findings: Vec::new(),
        })
    };
    let world = Setup::new()
        .guard(
            "edit",
            Phase::PreCall,
            FailPolicy::Closed,
            FakeGuard::new(edit),
        )
        .build();
    let route = Passage {
        guardrails: vec![judge("edit", &[])],
        ..passage(&world.upstream)
    };
    // What is no JSON cannot be edited: the guardrail has not done its work.
    assert_eq!(pass(&world, route, post(), "text").await.status, 500);
    assert_eq!(world.upstream.calls(), 0);
}
