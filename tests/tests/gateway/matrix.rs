//! Who may ask for what: every route, asked by everybody, against the decisions that are written down.
//!
//! `matrix/decisions.tsv` has a row for each request: the route, what is sent with it (a query, which with other methods than GET begins with `?`, a body, or `NAME BODY` for a
//! path's placeholder) and one sign for each caller of [`CALLERS`], in their order: `+` answered, `-` refused for who asks,
//! `0` not there for them, `4` refused for another reason, `5` not to be had in this gateway. The request is always about
//! somebody else's things: `$key`, `$user`, `$team` and `$org` are the same household, made anew after each change.
//!
//! `matrix/fields.tsv` is the other half: for each member of what callers may give, one value that is more than the caller
//! has, and whether it is refused, cut to what the caller has, or means nothing that anybody lacks.

use std::collections::{BTreeSet, HashMap};

use reqwest::Method;
use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, workspace_root};

use crate::support::{Answer, Client, MASTER_KEY, Stage, base_config, chat};

/// Callers, and what of the household's secrets they must never see.
const CALLERS: [(&str, &[&str]); 19] = [
    ("master", &[]),
    ("admin", &[]),
    ("admin-viewer", &[]),
    ("org-admin", &["secret-customer"]),
    ("other-org-admin", &["secret-"]),
    ("team-admin", &["secret-customer"]),
    ("other-team-admin", &["secret-"]),
    ("member", &["secret-customer"]),
    ("outsider", &["secret-"]),
    ("viewer", &["secret-"]),
    ("userless", &["secret-"]),
    ("service", &["secret-key", "secret-customer"]),
    ("llm-only", &["secret-"]),
    ("read-only", &["secret-"]),
    ("management-only", &["secret-"]),
    ("expired", &["secret-"]),
    ("blocked", &["secret-"]),
    ("nobody", &["secret-"]),
    ("wrong-key", &["secret-"]),
];

/// The gateway and everybody who asks it.
struct Town {
    stage: Stage,
    callers: HashMap<&'static str, Client>,
    /// What stands for `$…` in requests.
    names: HashMap<&'static str, String>,
    /// Text of the household's key, which nobody is ever shown.
    secret: String,
    count: u32,
}

impl Town {
    async fn build() -> Self {
        let upstream = FakeUpstream::start().await;
        let gateway = Gateway::builder(base_config(&upstream.api_base()));
        let stage = Stage::of(upstream, gateway.env("STORE_MODEL_IN_DB", "True")).await;
        let mut town = Self {
            stage,
            callers: HashMap::new(),
            names: HashMap::new(),
            secret: String::new(),
            count: 0,
        };
        town.people().await;
        let credential = json!({"credential_name": "mine", "credential_values": {"api_key": "sk-secret-credential"}});
        town.done("/credentials", credential).await;
        town.household().await;
        let victim = Client::of(&town.stage.gateway).key(&town.secret);
        victim.chat(&chat("gpt-4o")).await.ok();
        let rows = town.stage.gateway.wait_for_spend_rows(1).await;
        let call = rows[0]["request_id"].as_str().unwrap().to_owned();
        town.names.insert("call", call);
        town
    }

    async fn done(&self, path: &str, body: Value) -> Value {
        self.stage.client.post(path, &body).await.ok()
    }

    async fn key(&self, body: Value) -> Client {
        let made = self.done("/key/generate", body).await;
        Client::of(&self.stage.gateway).key(made["key"].as_str().unwrap())
    }

    /// Those who stay.
    async fn people(&mut self) {
        for (id, role) in [
            ("admin", "proxy_admin"),
            ("admin-viewer", "proxy_admin_viewer"),
            ("org-admin", "internal_user"),
            ("other-org-admin", "internal_user"),
            ("team-admin", "internal_user"),
            ("other-team-admin", "internal_user"),
            ("member", "internal_user"),
            ("outsider", "internal_user"),
            ("viewer", "internal_user_viewer"),
        ] {
            let user = json!({"user_id": id, "user_role": role, "auto_create_key": false});
            self.done("/user/new", user).await;
            let client = self.key(json!({"user_id": id})).await;
            self.callers.insert(id, client);
        }
        let other = json!({"organization_alias": "other", "organization_id": "other-org"});
        self.done("/organization/new", other).await;
        let admin = json!({"role": "org_admin", "user_id": "other-org-admin"});
        let body = json!({"organization_id": "other-org", "member": admin});
        self.done("/organization/member_add", body).await;
        let admin = json!([{"role": "admin", "user_id": "other-team-admin"}]);
        let body = json!({"team_id": "other-team", "members_with_roles": admin});
        self.done("/team/new", body).await;
        for (name, body) in [
            ("userless", json!({})),
            (
                "llm-only",
                json!({"user_id": "outsider", "key_type": "llm_api"}),
            ),
            (
                "read-only",
                json!({"user_id": "outsider", "key_type": "read_only"}),
            ),
            (
                "management-only",
                json!({"user_id": "outsider", "key_type": "management"}),
            ),
            ("expired", json!({"user_id": "outsider", "duration": "0s"})),
            ("blocked", json!({"user_id": "outsider", "blocked": true})),
        ] {
            let client = self.key(body).await;
            self.callers.insert(name, client);
        }
        let gateway = &self.stage.gateway;
        self.callers
            .insert("master", Client::of(gateway).key(MASTER_KEY));
        self.callers.insert("nobody", Client::of(gateway));
        self.callers
            .insert("wrong-key", Client::of(gateway).key("sk-wrong-1234567890"));
    }

    /// An organization, a team in it with its people, a key: those whom requests are about.
    async fn household(&mut self) {
        self.count += 1;
        let n = self.count;
        let name = |of: &str| format!("{of}-{n}");
        let (org, team, user) = (name("org"), name("team"), name("user"));
        let body = json!({"organization_id": org, "organization_alias": "secret-org"});
        self.done("/organization/new", body).await;
        let mail = format!("secret-mail-{n}@example.com");
        let body = json!({"user_id": user, "user_email": mail, "auto_create_key": false});
        self.done("/user/new", body).await;
        let members = json!([
            {"role": "org_admin", "user_id": "org-admin"}, {"role": "internal_user", "user_id": user},
        ]);
        let body = json!({"organization_id": org, "member": members});
        self.done("/organization/member_add", body).await;
        let members = json!([
            {"role": "admin", "user_id": "team-admin"}, {"role": "user", "user_id": "member"},
            {"role": "user", "user_id": user},
        ]);
        let body = json!({
            "team_id": team, "team_alias": "secret-team", "organization_id": org, "members_with_roles": members,
        });
        self.done("/team/new", body).await;
        let body = json!({"user_id": user, "team_id": team, "key_alias": name("secret-key")});
        let key = self.done("/key/generate", body).await;
        let member = self
            .key(json!({"user_id": "member", "team_id": team}))
            .await;
        let service = self
            .done("/key/service-account/generate", json!({"team_id": team}))
            .await;
        let service = Client::of(&self.stage.gateway).key(service["key"].as_str().unwrap());
        self.callers
            .extend([("member", member), ("service", service)]);
        let (customer, tag, budget) = (name("customer"), name("tag"), name("budget"));
        let body = json!({"user_id": customer, "alias": "secret-customer"});
        self.done("/customer/new", body).await;
        self.done("/tag/new", json!({"name": tag})).await;
        self.done("/budget/new", json!({"budget_id": budget, "max_budget": 1}))
            .await;
        let invitation = self
            .done("/invitation/new", json!({ "user_id": user }))
            .await;
        let invitation = invitation["id"].as_str().unwrap().to_owned();
        let mapping =
            json!({"jwt_claim_name": "sub", "jwt_claim_value": user, "key": key["token"]});
        let mapping = self.done("/jwt/key/mapping/new", mapping).await;
        let mapping = mapping["id"].as_str().unwrap().to_owned();
        self.secret = key["key"].as_str().unwrap().to_owned();
        let token = key["token"].as_str().unwrap().to_owned();
        self.names.extend([
            ("n", n.to_string()),
            ("key", token),
            ("org", org),
            ("team", team),
            ("user", user),
            ("customer", customer),
            ("tag", tag),
            ("budget", budget),
            ("invitation", invitation),
            ("mapping", mapping),
        ]);
    }

    /// A deployment of the household's team. Each is loaded by the gateway: only who asks about one gets one.
    async fn model(&mut self) {
        self.count += 1;
        let (model, team) = (format!("model-{}", self.count), &self.names["team"]);
        let body = json!({
            "model_name": format!("of-{model}"), "litellm_params": {"model": "openai/x", "api_key": "sk-secret-model"},
            "model_info": {"id": model, "team_id": team},
        });
        self.done("/model/new", body).await;
        self.names.insert("model", model);
    }

    /// A request's text with the names that `$…` stands for.
    fn filled(&self, text: &str) -> String {
        let names = self.names.iter();
        names.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${name}"), value)
        })
    }

    /// Asks as a row says.
    async fn ask(&self, caller: &str, request: &str, with: &str) -> Answer {
        let with = self.filled(with);
        let (method, path) = request.split_once(' ').unwrap();
        let (path, with) = match path.split_once('{') {
            None => (path.to_owned(), with),
            Some((before, rest)) => {
                let (named, with) = with.split_once(' ').unwrap_or((&with, ""));
                let after = rest.split_once('}').unwrap().1;
                (format!("{before}{named}{after}"), with.to_owned())
            }
        };
        let method: Method = method.parse().unwrap();
        let client = &self.callers[caller];
        match method {
            Method::GET => {
                client
                    .get(&format!("{path}?{}", with.replace(' ', "%20")))
                    .await
            }
            method if with.starts_with('?') => {
                client.ask(method, &format!("{path}{with}"), "").await
            }
            method => client.ask(method, &path, with).await,
        }
    }
}

/// The sign of an answer.
fn sign(answer: &Answer) -> char {
    let expired = || answer.text().contains("expired_key");
    match answer.status {
        ..400 => '+',
        401 | 403 => '-',
        400 if expired() => '-',
        404 => '0',
        400..500 => '4',
        _ => '5',
    }
}

/// Rows of a table: lines that are neither empty nor comments, without the heading.
fn table(name: &str) -> Vec<Vec<String>> {
    let path = workspace_root()
        .join("tests/tests/gateway/matrix")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .skip(1)
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// Method and first path of every operation of the document that is not another name of one that has been.
async fn operations(town: &Town) -> BTreeSet<String> {
    let routes = town.stage.client.get("/routes").await.ok();
    let routes = routes["routes"].as_array().unwrap().clone();
    let pages = ["/", "/redoc", "/openapi.json"];
    let own = |route: &Value| {
        format!(
            "{} {}",
            route["methods"][0].as_str().unwrap(),
            route["endpoint"].as_str().unwrap()
        )
    };
    let all = routes
        .iter()
        .filter(|route| !pages.contains(&route["path"].as_str().unwrap()));
    all.map(own).collect()
}

#[tokio::test]
async fn everybody_is_answered_what_they_may_ask_for_and_nothing_else() {
    let mut town = Town::build().await;
    let rows = table("decisions.tsv");
    let told: BTreeSet<String> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(
        operations(&town).await,
        told,
        "decisions.tsv has rows for every route"
    );
    let (mut wrong, mut leaks, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let [request, with, decided] = &row[..] else {
            panic!("three columns: {row:?}")
        };
        let mut signs = String::new();
        if with.contains("$model") {
            town.model().await;
        }
        for (caller, hidden) in CALLERS {
            let answer = town.ask(caller, request, with).await;
            let (sign, text) = (sign(&answer), answer.text());
            signs.push(sign);
            let shown = hidden.iter().find(|secret| text.contains(*secret));
            if shown.is_some() || text.contains(&town.secret) || text.contains(MASTER_KEY) {
                leaks.push(format!(
                    "{request} {with}: {caller} is shown {shown:?}: {text}"
                ));
            }
            if sign == '+' && !request.starts_with("GET ") {
                town.household().await;
                if with.contains("$model") {
                    town.model().await;
                }
            }
        }
        if signs != *decided {
            wrong.push(format!("{request}\t{with}\t{signs} instead of {decided}"));
        }
        found.push(format!("{request}\t{with}\t{signs}"));
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    let callers: Vec<&str> = CALLERS.iter().map(|(name, _)| *name).collect();
    let (wrong, found) = (wrong.join("\n"), found.join("\n"));
    assert!(
        wrong.is_empty(),
        "{callers:?}\n{wrong}\n\nas a table:\n{found}"
    );
}

/// Whether what is kept is all that was asked for, perhaps among other things.
fn holds(kept: &Value, asked: &Value) -> bool {
    match (kept, asked) {
        (Value::Object(kept), Value::Object(asked)) => {
            let mut asked = asked.iter();
            asked.all(|(name, asked)| kept.get(name).is_some_and(|kept| holds(kept, asked)))
        }
        (Value::Array(kept), Value::Array(asked)) => {
            let one = |asked: &Value| kept.iter().any(|kept| holds(kept, asked));
            asked.iter().all(one) && asked.is_empty() == kept.is_empty()
        }
        (kept, asked) => {
            kept == asked || kept.as_f64().is_some() && kept.as_f64() == asked.as_f64()
        }
    }
}

/// What the key of `limited` is under.
fn limited() -> Value {
    json!({
        "user_id": "limited", "models": ["gpt-4o"], "rpm_limit": 10, "tpm_limit": 100, "tpd_limit": 100, "max_parallel_requests": 2,
        "max_budget": 5, "budget_duration": "30d", "duration": "30d", "guardrails": ["pii"], "enforced_params": ["user"],
        "allowed_routes": ["/key/generate", "/key/update", "/user/update", "llm_api_routes"],
        "allowed_cache_controls": ["no-cache"], "tags": ["red"], "model_rpm_limit": {"gpt-4o": 5},
        "model_tpm_limit": {"gpt-4o": 50}, "model_max_budget": {"gpt-4o": {"budget_limit": 1, "time_period": "30d"}},
    })
}

/// What a team is under whose admin asks, in an organization that is under twice as much.
fn small_team(id: &str) -> Value {
    json!({
        "team_id": id, "organization_id": "small", "max_budget": 5, "tpm_limit": 50, "tpd_limit": 50, "rpm_limit": 5,
        "max_parallel_requests": 1, "budget_duration": "30d", "models": ["gpt-4o"], "guardrails": ["pii"],
        "tags": ["red"], "model_rpm_limit": {"gpt-4o": 5}, "model_tpm_limit": {"gpt-4o": 50}, "team_member_budget": 1,
        "members_with_roles": [{"role": "admin", "user_id": "small-team-admin"}],
    })
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let mut town = Town {
        stage: Stage::plain().await,
        callers: HashMap::new(),
        names: HashMap::new(),
        secret: String::new(),
        count: 0,
    };
    for id in ["limited", "somebody", "small-org-admin", "small-team-admin"] {
        town.done(
            "/user/new",
            json!({"user_id": id, "auto_create_key": false}),
        )
        .await;
    }
    for id in ["small-org-admin", "small-team-admin"] {
        let client = town.key(json!({"user_id": id})).await;
        town.callers.insert(id, client);
    }
    let small = json!({
        "organization_id": "small", "organization_alias": "small", "max_budget": 10, "tpm_limit": 100, "rpm_limit": 10,
        "max_parallel_requests": 2, "models": ["gpt-4o"],
    });
    town.done("/organization/new", small).await;
    let other = json!({"organization_id": "other-org", "organization_alias": "other"});
    town.done("/organization/new", other).await;
    let admin = json!({"role": "org_admin", "user_id": "small-org-admin"});
    let body = json!({"organization_id": "small", "member": admin});
    town.done("/organization/member_add", body).await;
    town.done("/team/new", json!({"team_id": "other-team"}))
        .await;
    town.done(
        "/budget/new",
        json!({"budget_id": "somebodys", "max_budget": 1000}),
    )
    .await;

    let document = town.stage.client.get("/openapi.json").await.ok();
    let rows = table("fields.tsv");
    let mut members: HashMap<[String; 3], BTreeSet<String>> = HashMap::new();
    let mut wrong = Vec::new();
    for row in &rows {
        let [who, request, with, member, value, decided] = &row[..] else {
            panic!("six columns: {row:?}")
        };
        let group = [who.clone(), request.clone(), with.clone()];
        members.entry(group).or_default().insert(member.clone());
        town.count += 1;
        let team = format!("small-team-{}", town.count);
        town.done("/team/new", small_team(&team)).await;
        let key = town.done("/key/generate", limited()).await;
        let client = Client::of(&town.stage.gateway).key(key["key"].as_str().unwrap());
        town.callers.insert("limited", client);
        let token = key["token"].as_str().unwrap().to_owned();
        let n = town.count.to_string();
        town.names
            .extend([("own", token), ("team", team), ("n", n)]);
        let mut body: Value = serde_json::from_str(with).unwrap();
        let asked: Value = serde_json::from_str(&town.filled(value)).unwrap();
        body[member] = asked.clone();
        let answer = town.ask(who, request, &body.to_string()).await;
        let found = match answer.status {
            200 => {
                let json = answer.json();
                let row = json.get("data").unwrap_or(&json);
                let kept = row.get(member).or_else(|| row["metadata"].get(member));
                if kept.is_none_or(|kept| kept.is_null() || holds(kept, &asked)) {
                    "free"
                } else {
                    "capped"
                }
            }
            400..500 => "refused",
            status => panic!("{row:?}: {status} {}", answer.text()),
        };
        if found != *decided {
            wrong.push(format!("{}: {found}, {}", row.join(" "), answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for ([who, request, with], told) in &members {
        let (method, path) = request.split_once(' ').unwrap();
        let operation = &document["paths"][path][method.to_ascii_lowercase()];
        let schema =
            &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
        let with: Value = serde_json::from_str(with).unwrap();
        let all = schema
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| with.get(name).is_none());
        let untold: Vec<&String> = all.filter(|name| !told.contains(*name)).collect();
        assert!(
            untold.is_empty(),
            "fields.tsv: {who}, {request} has no row for {untold:?}"
        );
    }
}
