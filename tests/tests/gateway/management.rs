//! The management API under people who mean no good: everything made, read, changed, deleted and gone; names that SQL, JSON
//! or HTTP could take for theirs; many at once. All of it over SQLite and PostgreSQL: answers are clean, never 5xx.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, PostgresServer};

use crate::support::{Answer, Client, Stage, base_config, chat};

/// A resource: `$` in requests is its name, `$id` what is said to be its id when it is made.
struct Resource {
    make: (&'static str, &'static str),
    /// Where the id is in the answer of making it; the name itself when empty.
    id: &'static str,
    read: (&'static str, &'static str),
    change: (&'static str, &'static str, &'static str),
    /// Where the read answer has the name, and the change.
    shown: (&'static str, &'static str, Shown),
    delete: (&'static str, &'static str, &'static str),
}

enum Shown {
    Number(f64),
    Text(&'static str),
}

const RESOURCES: [Resource; 7] = [
    Resource {
        make: ("/key/generate", r#"{"key_alias": $}"#),
        id: "/token",
        read: ("GET /key/info?key=", ""),
        change: ("POST", "/key/update", r#"{"key": $id, "max_budget": 7}"#),
        shown: ("/info/key_alias", "/info/max_budget", Shown::Number(7.0)),
        delete: ("POST", "/key/delete", r#"{"keys": [$id]}"#),
    },
    Resource {
        make: ("/user/new", r#"{"user_id": $, "auto_create_key": false}"#),
        id: "",
        read: ("GET /user/info?user_id=", ""),
        change: (
            "POST",
            "/user/update",
            r#"{"user_id": $id, "max_budget": 7}"#,
        ),
        shown: (
            "/user_info/user_id",
            "/user_info/max_budget",
            Shown::Number(7.0),
        ),
        delete: ("POST", "/user/delete", r#"{"user_ids": [$id]}"#),
    },
    Resource {
        make: ("/team/new", r#"{"team_id": $, "team_alias": $}"#),
        id: "",
        read: ("GET /team/info?team_id=", ""),
        change: (
            "POST",
            "/team/update",
            r#"{"team_id": $id, "max_budget": 7}"#,
        ),
        shown: (
            "/team_info/team_alias",
            "/team_info/max_budget",
            Shown::Number(7.0),
        ),
        delete: ("POST", "/team/delete", r#"{"team_ids": [$id]}"#),
    },
    Resource {
        make: (
            "/organization/new",
            r#"{"organization_id": $, "organization_alias": $}"#,
        ),
        id: "",
        read: ("GET /organization/info?organization_id=", ""),
        change: (
            "PATCH",
            "/organization/update",
            r#"{"organization_id": $id, "max_budget": 7}"#,
        ),
        shown: (
            "/organization_alias",
            "/litellm_budget_table/max_budget",
            Shown::Number(7.0),
        ),
        delete: (
            "DELETE",
            "/organization/delete",
            r#"{"organization_ids": [$id]}"#,
        ),
    },
    Resource {
        make: ("/budget/new", r#"{"budget_id": $, "max_budget": 1}"#),
        id: "",
        read: ("POST /budget/info", r#"{"budgets": [$id]}"#),
        change: (
            "POST",
            "/budget/update",
            r#"{"budget_id": $id, "max_budget": 7}"#,
        ),
        shown: ("/0/budget_id", "/0/max_budget", Shown::Number(7.0)),
        delete: ("POST", "/budget/delete", r#"{"id": $id}"#),
    },
    Resource {
        make: ("/customer/new", r#"{"user_id": $}"#),
        id: "",
        read: ("GET /customer/info?end_user_id=", ""),
        change: (
            "POST",
            "/customer/update",
            r#"{"user_id": $id, "alias": "other"}"#,
        ),
        shown: ("/user_id", "/alias", Shown::Text("other")),
        delete: ("POST", "/customer/delete", r#"{"user_ids": [$id]}"#),
    },
    Resource {
        make: ("/tag/new", r#"{"name": $}"#),
        id: "",
        read: ("POST /tag/info", r#"{"names": [$id]}"#),
        change: (
            "POST",
            "/tag/update",
            r#"{"name": $id, "description": "other"}"#,
        ),
        shown: ("", "", Shown::Text("other")),
        delete: ("POST", "/tag/delete", r#"{"name": $id}"#),
    },
];

/// Names that somebody on the way could take for something else.
const NAMES: [&str; 9] = [
    "plain",
    r#"a'; DROP TABLE "LiteLLM_TeamTable"; --"#,
    r#"" OR 1=1 --"#,
    r"%_\_%",
    "$1 ?1 :name @p ${x} {row}",
    "../../etc/passwd",
    "é\u{301} \u{202e}abc\u{200b} 😀",
    "line\r\nx-injected: 1",
    r#"{"$ne": null}"#,
];

impl Resource {
    fn filled(template: &str, name: &str, id: &str) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let template = template.replace("$id", "\u{1}");
        template
            .replace('$', &quoted(name))
            .replace('\u{1}', &quoted(id))
    }

    async fn make(&self, client: &Client, name: &str) -> Answer {
        let (path, body) = self.make;
        client.post_bytes(path, Self::filled(body, name, "")).await
    }

    fn id(&self, made: &Answer, name: &str) -> String {
        match self.id {
            "" => name.to_owned(),
            at => made
                .json()
                .pointer(at)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned(),
        }
    }

    async fn read(&self, client: &Client, id: &str) -> Answer {
        let (path, body) = self.read;
        let (method, path) = path.split_once(' ').unwrap();
        match method {
            "GET" => client.get(&format!("{path}{}", encoded(id))).await,
            _ => client.post_bytes(path, Self::filled(body, "", id)).await,
        }
    }

    async fn ask(&self, client: &Client, how: (&str, &str, &str), id: &str) -> Answer {
        let (method, path, body) = how;
        client
            .ask(
                method.parse::<Method>().unwrap(),
                path,
                Self::filled(body, "", id),
            )
            .await
    }

    /// Whether a read answer is of this resource and, when it should, shows the change.
    fn shows(&self, answer: &Answer, name: &str, changed: bool) -> bool {
        let json = answer.ok();
        let (name_at, change_at, to) = &self.shown;
        // Of tags the name is the member.
        let (json, own) = match name_at {
            &"" => (json[name].clone(), json[name]["name"].clone()),
            at => (json.clone(), json.pointer(at).cloned().unwrap_or_default()),
        };
        let at = if change_at.is_empty() {
            "/description"
        } else {
            change_at
        };
        let change = json.pointer(at).cloned().unwrap_or_default();
        let is_changed = match to {
            Shown::Number(number) => change.as_f64() == Some(*number),
            Shown::Text(text) => change == *text,
        };
        own == name && is_changed == changed
    }

    async fn is_gone(&self, client: &Client, id: &str) -> bool {
        let answer = self.read(client, id).await;
        // Budgets are told of in lists.
        is_not_there(&answer) || answer.status == 200 && answer.json() == json!([])
    }
}

/// 404, or what LiteLLM says of end users: 400 and `not_found`.
fn is_not_there(answer: &Answer) -> bool {
    answer.status == 404 || answer.status == 400 && answer.json()["error"]["type"] == "not_found"
}

fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// A gateway over each kind of database.
async fn gateways() -> [(Stage, Option<PostgresServer>); 2] {
    gateways_that("").await
}

/// The same, which take models, credentials and settings into their database, too.
async fn gateways_that_store() -> [(Stage, Option<PostgresServer>); 2] {
    gateways_that("  store_model_in_db: true\n").await
}

async fn gateways_that(general: &str) -> [(Stage, Option<PostgresServer>); 2] {
    let general = &format!("general_settings:\n{general}");
    let postgres = PostgresServer::start().await;
    let start = async |url: Option<String>| {
        let upstream = FakeUpstream::start().await;
        let config = base_config(&upstream.api_base()).replace("general_settings:\n", general);
        let builder = Gateway::builder(config);
        let builder = match url {
            Some(url) => builder.env("DATABASE_URL", url),
            None => builder,
        };
        Stage::of(upstream, builder).await
    };
    let (sqlite, other) = tokio::join!(start(None), start(Some(postgres.url())));
    [(sqlite, None), (other, Some(postgres))]
}

#[tokio::test]
async fn everything_is_made_read_changed_deleted_and_gone_whatever_its_name() {
    for (stage, _postgres) in gateways().await {
        let client = &stage.client;
        for resource in &RESOURCES {
            let neighbour = resource.make(client, "neighbour").await;
            neighbour.ok();
            let neighbour = resource.id(&neighbour, "neighbour");
            for name in NAMES {
                let what = format!("{} {name:?}", resource.make.0);
                let made = resource.make(client, name).await;
                assert_eq!(made.status, 200, "{what}: {}", made.text());
                let id = resource.id(&made, name);
                let again = resource.make(client, name).await;
                assert!(
                    (400..500).contains(&again.status),
                    "{what} again: {}",
                    again.text()
                );
                let read = resource.read(client, &id).await;
                assert!(
                    resource.shows(&read, name, false),
                    "{what}: {}",
                    read.text()
                );
                resource.ask(client, resource.change, &id).await.ok();
                let read = resource.read(client, &id).await;
                assert!(resource.shows(&read, name, true), "{what}: {}", read.text());
                resource.ask(client, resource.delete, &id).await.ok();
                assert!(resource.is_gone(client, &id).await, "{what} is still there");
                // LiteLLM makes a user that is changed and not there.
                let changed = resource.ask(client, resource.change, &id).await;
                let made = resource.change.1 == "/user/update" && changed.status == 200;
                assert!(made || is_not_there(&changed), "{what}: {}", changed.text());
                let deleted = resource.ask(client, resource.delete, &id).await;
                assert!(made || is_not_there(&deleted), "{what}: {}", deleted.text());
            }
            let read = resource.read(client, &neighbour).await;
            assert!(resource.shows(&read, "neighbour", false), "{}", read.text());
        }
    }
}

#[tokio::test]
async fn of_many_who_do_the_same_at_once_one_does_it() {
    for (stage, _postgres) in gateways().await {
        let client = &stage.client;
        for resource in &RESOURCES {
            let made = join_all((0..12).map(|_| resource.make(client, "same"))).await;
            let counted = statuses(&made);
            let of_one = || counted.get(&200) == Some(&1) && counted.keys().all(|s| *s < 500);
            assert!(
                of_one(),
                "{}: {counted:?} {}",
                resource.make.0,
                made[0].text()
            );
            let first = made.iter().find(|answer| answer.status == 200).unwrap();
            let id = resource.id(first, "same");
            let gone = join_all((0..12).map(|_| resource.ask(client, resource.delete, &id))).await;
            let counted = statuses(&gone);
            let of_one = counted.get(&200) == Some(&1)
                && gone
                    .iter()
                    .all(|answer| answer.status == 200 || is_not_there(answer));
            assert!(of_one, "{}: {counted:?}", resource.delete.1);
            assert!(resource.is_gone(client, &id).await, "{}", resource.delete.1);
        }
    }
}

/// The same of deployments and credentials in the database, which are put in force and taken out of it.
#[tokio::test]
async fn of_many_who_delete_a_model_credential_or_access_group_at_once_one_does_it() {
    for (stage, _postgres) in gateways_that_store().await {
        let client = &stage.client;
        let body = json!({
            "model_name": "mine", "model_info": {"id": "mine-1"},
            "litellm_params": {"model": "openai/gpt-4o", "api_base": "http://127.0.0.1:9", "api_key": "sk-x"},
        });
        client.post("/model/new", &body).await.ok();
        let body = json!({"id": "mine-1"});
        let gone = join_all((0..12).map(|_| client.post("/model/delete", &body))).await;
        let counted = statuses(&gone);
        assert_eq!(counted.get(&200), Some(&1), "{counted:?}");
        assert_eq!(counted.len(), 2, "{counted:?}");
        let lost = gone.iter().find(|answer| answer.status != 200).unwrap();
        assert!(lost.text().contains("not found"), "{}", lost.text());
        let body = json!({"credential_name": "c", "credential_values": {"api_key": "sk-x"}});
        client.post("/credentials", &body).await.ok();
        let delete = || client.ask(Method::DELETE, "/credentials/c", "{}".to_owned());
        let gone = join_all((0..12).map(|_| delete())).await;
        let counted = statuses(&gone);
        assert_eq!(counted, BTreeMap::from([(200, 1), (404, 11)]));
        let body = json!({"access_group_name": "g"});
        let made = client.post("/v1/access_group", &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let id = made.json()["access_group_id"].as_str().unwrap().to_owned();
        let path = format!("/v1/access_group/{id}");
        let delete = || client.ask(Method::DELETE, &path, "{}".to_owned());
        let gone = join_all((0..12).map(|_| delete())).await;
        let counted = statuses(&gone);
        assert_eq!(counted, BTreeMap::from([(204, 1), (404, 11)]));
    }
}

fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut counted = BTreeMap::new();
    for answer in answers {
        *counted.entry(answer.status).or_default() += 1;
    }
    counted
}

/// Every parameter and every member of a body of every operation, one after the other, holds what it should not.
#[tokio::test]
async fn no_value_anywhere_breaks_anything() {
    let long = "x".repeat(70_000);
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let mut values: Vec<Value> = NAMES.iter().skip(1).map(|name| json!(name)).collect();
    values.extend([
        json!("a\0b"),
        json!(long),
        json!(-1),
        json!(1e300),
        json!(9_223_372_036_854_775_807_u64),
    ]);
    values.extend([
        json!(null),
        json!([]),
        json!({}),
        json!(["a\0b"]),
        json!({"a\0": 1}),
        json!(true),
    ]);
    values.push(serde_json::from_str(&deep).unwrap());
    for (stage, _postgres) in gateways_that_store().await {
        let client = &stage.client;
        let document = client.get("/openapi.json").await.ok();
        let mut wrong = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, told) in methods.as_object().unwrap() {
                let managed = told["description"]
                    .as_str()
                    .is_some_and(|d| d.starts_with("Who may"));
                if !managed {
                    continue;
                }
                let verb: Method = method.to_ascii_uppercase().parse().unwrap();
                let mut requests: Vec<(String, Value)> = Vec::new();
                let texts = || {
                    values
                        .iter()
                        .filter_map(Value::as_str)
                        .filter(|text| text.len() < 9_000)
                };
                for parameter in told["parameters"].as_array().into_iter().flatten() {
                    let name = parameter["name"].as_str().unwrap();
                    requests.extend(texts().map(|text| match parameter["in"].as_str() {
                        Some("path") => (
                            path.replace(&format!("{{{name}}}"), &encoded(text)),
                            json!({}),
                        ),
                        _ => (
                            format!("{path}?{}={}", encoded(name), encoded(text)),
                            json!({}),
                        ),
                    }));
                }
                let schema = &told["requestBody"]["content"]["application/json"]["schema"];
                let members = schema["properties"].as_object().into_iter().flatten();
                for (member, _) in members {
                    let bodies = values.iter().map(|value| {
                        let mut body = serde_json::Map::new();
                        for needed in schema["required"].as_array().into_iter().flatten() {
                            body.insert(needed.as_str().unwrap().to_owned(), json!("x"));
                        }
                        body.insert(member.clone(), value.clone());
                        (path.replace(['{', '}'], ""), Value::Object(body))
                    });
                    requests.extend(bodies);
                }
                for (path, body) in requests {
                    let answer = match verb {
                        Method::GET => client.get(&path).await,
                        _ => client.ask(verb.clone(), &path, body.to_string()).await,
                    };
                    if answer.status >= 500 {
                        let body = body.to_string().chars().take(120).collect::<String>();
                        wrong.push(format!(
                            "{method} {path} {body}: {} {}",
                            answer.status,
                            answer.text()
                        ));
                    }
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of them:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_too_deep_or_no_json_are_refused() {
    let stage = Stage::plain().await;
    let client = &stage.client;
    let deep = format!(
        r#"{{"metadata": {}1{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let large = format!(r#"{{"key_alias": "{}"}}"#, "x".repeat(3 << 20));
    for (body, status) in [
        (deep, 400),
        (large, 400),
        ("{".to_owned(), 400),
        ("[1]".to_owned(), 400),
    ] {
        let answer = client.post_bytes("/key/generate", body).await;
        assert!((status..500).contains(&answer.status), "{}", answer.text());
        assert!(
            answer.json()["error"]["message"].is_string(),
            "{}",
            answer.text()
        );
    }
    // Whoever sends what is not read is told that the connection ends.
    let refused = client
        .post_bytes("/key/generate", "x".repeat(3 << 20))
        .await;
    assert_eq!(refused.header("connection"), Some("close"));
    let twice = client
        .post_bytes("/key/generate", r#"{"user_id": "a", "user_id": "b"}"#)
        .await;
    assert_eq!(twice.ok()["user_id"], "b");
}

#[tokio::test]
async fn keys_that_begin_alike_are_not_each_other() {
    for (stage, _postgres) in gateways().await {
        let client = &stage.client;
        let (short, long) = ("sk-same-beginning-1234", "sk-same-beginning-1234-and-more");
        let make = async |key: &str| {
            client
                .post("/key/generate", &json!({"key": key}))
                .await
                .ok()
        };
        let (first, _second) = (make(short).await, make(long).await);
        let as_key = |key: &str| Client::of(&stage.gateway).key(key);
        for key in [
            "sk-same-beginning-123",
            "sk-same-beginning-1234-",
            "SK-same-beginning-1234",
        ] {
            as_key(key).chat(&chat("gpt-4o")).await.error(401);
        }
        let token = first["token"].as_str().unwrap();
        for named in [
            &token[..63],
            &token[..32],
            &token.to_uppercase(),
            "sk-same",
            "%",
        ] {
            let told = client
                .get(&format!("/key/info?key={}", encoded(named)))
                .await;
            assert_eq!(told.status, 404, "{named}: {}", told.text());
        }
        // A hash opens nothing.
        as_key(token).chat(&chat("gpt-4o")).await.error(401);
        client
            .post("/key/delete", &json!({"keys": [short]}))
            .await
            .ok();
        as_key(short).chat(&chat("gpt-4o")).await.error(401);
        as_key(long).chat(&chat("gpt-4o")).await.ok();
    }
}

/// What a proxy in front and the gateway could read differently: nobody comes in by it, and nothing is answered twice.
#[tokio::test]
async fn no_way_of_writing_a_request_goes_round_the_door() {
    let stage = Stage::plain().await;
    let gateway = &stage.gateway;
    let raw = async |head: &str| {
        let mut connection = gateway.connect().await;
        connection.send(head.replace('\n', "\r\n")).await;
        connection
            .response()
            .await
            .map(|response| (response.status, response.text()))
    };
    let host = format!("Host: {}\n", gateway.authority());
    for path in [
        "/key/list",
        "//key/list",
        "/key/list/",
        "/KEY/LIST",
        "/key/../key/list",
        "/%6bey/list",
        "/key%2Flist",
        "/health/liveliness/../../key/list",
        "/health/liveliness%2f..%2f..%2fkey/list",
        "/key/list;a=b",
        "/key/list%00",
        "/.//key/list",
        "/key/list?x=/health/liveliness",
        "http://other.example/key/list",
        "http://other.example/health/liveliness/../../key/list",
    ] {
        let (status, text) = raw(&format!("GET {path} HTTP/1.1\n{host}\n"))
            .await
            .unwrap();
        assert!((400..=404).contains(&status), "{path}: {status} {text}");
    }
    let header = format!("Authorization: Bearer {}\n", crate::support::MASTER_KEY);
    for more in [
        "X-Original-URL: /health/liveliness\n",
        "X-Rewrite-URL: /health/liveliness\n",
        "X-Forwarded-Host: evil.example\n",
        "X-HTTP-Method-Override: OPTIONS\n",
        "X-Forwarded-User: admin\n",
        "X-Forwarded-For: 127.0.0.1\n",
        "Authorization: Bearer\n",
        "Authorization: Basic YTpi\n",
        "Authorization : Bearer sk-master-1234\n",
        "Content-Length: 0\nTransfer-Encoding: chunked\n",
        "Transfer-Encoding: chunked\nTransfer-Encoding: identity\n",
        "Content-Length: 1\nContent-Length: 2\n",
        "Host: evil.example\n",
    ] {
        let (status, text) = raw(&format!("GET /key/list HTTP/1.1\n{host}{more}\n"))
            .await
            .unwrap();
        assert!((400..=403).contains(&status), "{more}: {status} {text}");
    }
    // Whoever may come in is not let in by a request that names two hosts, or the same one twice.
    for more in [
        "Host: evil.example\n".to_owned(),
        host.clone(),
        host.to_uppercase(),
    ] {
        let (status, text) = raw(&format!("GET /key/list HTTP/1.1\n{host}{header}{more}\n"))
            .await
            .unwrap();
        assert_eq!(status, 400, "{more}: {text}");
    }
    // Ways to write a length that a proxy may read otherwise.
    for more in [
        "Content-Length: +2\n",
        "Content-Length: 0x2\n",
        "Content-Length: 2\nContent-Length: 3\n",
        "Content-Length: -1\n",
        "Transfer-Encoding: xchunked\n",
        "Transfer-Encoding: chunked, identity\n",
        "Transfer-Encoding : chunked\n",
        " Transfer-Encoding: chunked\n",
        "X-Folded: a\n Transfer-Encoding: chunked\n",
    ] {
        let hidden = format!("GET /health/liveliness HTTP/1.1\n{host}\n");
        let mut connection = gateway.connect().await;
        let request = format!("POST /key/list HTTP/1.1\n{host}{header}{more}\n{{}}{hidden}");
        connection.send(request.replace('\n', "\r\n")).await;
        let first = connection.response().await;
        let status = first.map(|first| first.status);
        assert!(
            status.is_none_or(|status| (400..500).contains(&status)),
            "{more}: {status:?}"
        );
        let second = connection.response().await.map(|second| second.status);
        assert!(
            second.is_none_or(|status| status == 400),
            "{more}: {second:?}"
        );
    }
    // A length announced twice: what comes behind the body is no request.
    let hidden = "GET /key/list HTTP/1.1\nHost: x\n\n";
    let smuggled = format!(
        "POST /key/generate HTTP/1.1\n{host}{header}Content-Length: {}\nTransfer-Encoding: chunked\n\n0\n\n{hidden}",
        hidden.len() + 5,
    );
    let mut connection = gateway.connect().await;
    connection.send(smuggled.replace('\n', "\r\n")).await;
    let first = connection.response().await.unwrap();
    assert!(first.status < 500, "{}", first.text());
    assert!(connection.response().await.is_none(), "a second answer");
    for odd in [
        "Host: evil.example\n",
        "Host: evil.example:99999\n",
        "Host: a b\n",
        "Host: \n",
        "Host: [::1\n",
    ] {
        let (status, text) = raw(&format!("GET /fallback/login HTTP/1.1\n{odd}\n"))
            .await
            .unwrap();
        assert!(
            status < 500 && !text.contains("evil.example"),
            "{odd}: {status} {text}"
        );
        let (status, _) = raw(&format!("GET /key/list HTTP/1.1\n{odd}{header}\n"))
            .await
            .unwrap();
        assert!(status < 500, "{odd}: {status}");
    }
    let (status, text) = raw("GET /key/list HTTP/1.1\n\n").await.unwrap();
    assert!((400..=401).contains(&status), "{status} {text}");
}

/// Whoever is refused keeps the connection, also when the body comes behind the head.
#[tokio::test]
async fn a_refusal_costs_no_connection() {
    let stage = Stage::plain().await;
    let mut connection = stage.gateway.connect().await;
    for (path, status) in [
        ("/key/generate", 401),
        ("/config/reload", 401),
        ("/nothing", 404),
        ("/key/generate", 401),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n");
        assert!(connection.send(head).await);
        // Long enough for a gateway that does not wait to have answered and closed.
        for _ in 0..20 {
            Client::of(&stage.gateway)
                .get("/health/liveliness")
                .await
                .ok();
        }
        assert!(connection.send("{}").await);
        let answer = connection
            .response()
            .await
            .expect("an answer on the same connection");
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
}
