//! What the gateway tells of itself, and whether it is true: the OpenAPI document, its pages, and programs that go by them.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use witgate_testkit::{FakeUpstream, Gateway, PostgresServer, workspace_root};

use crate::support::{Client, MASTER_KEY, Stage, base_config, venv_of};

#[tokio::test]
async fn the_document_and_its_pages_are_in_the_binary_and_open_to_everybody() {
    let stage = Stage::plain().await;
    let nobody = Client::of(&stage.gateway);
    let document = nobody.get("/openapi.json").await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "LiteLLM API");
    let routes = nobody.get("/routes").await.ok();
    for route in routes["routes"].as_array().unwrap() {
        let path = route["path"].as_str().unwrap();
        let method = route["methods"][0].as_str().unwrap().to_ascii_lowercase();
        let is_page = ["/", "/redoc", "/openapi.json"].contains(&path);
        let told = &document["paths"][path][&method]["responses"];
        // SCIM has statuses of its own.
        let told = ["200", "201", "204"]
            .iter()
            .any(|status| told[*status].is_object());
        assert_eq!(told, !is_page, "{method} {path}");
    }
    let generate = &document["paths"]["/key/generate"]["post"];
    let body = &generate["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["properties"]["max_budget"]["minimum"], 0, "{body}");
    for (path, script) in [
        ("/", "swagger-ui-bundle.js"),
        ("/redoc", "redoc.standalone.js"),
    ] {
        let page = nobody.get(path).await;
        let html = page.text();
        assert!(
            page.status == 200 && html.contains(script),
            "{path}: {html}"
        );
        let policy = page.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        // Nothing is loaded from elsewhere, and everything that is loaded is there.
        for link in html
            .split(['"'])
            .filter(|text| text.contains("/docs-assets/"))
        {
            let file = nobody.get(link).await;
            assert!(file.status == 200 && !file.body.is_empty(), "{link}");
        }
        assert!(!html.contains("//"), "{html}");
    }
    assert_eq!(nobody.post_bytes("/redoc", "{}").await.status, 405);
    assert_eq!(nobody.get("/docs-assets/none.js").await.status, 404);
}

#[tokio::test]
async fn variables_move_the_pages_and_turn_them_off() {
    let started = async |variables: &[(&str, &str)]| {
        let builder = Gateway::builder(base_config("http://127.0.0.1:9"));
        let builder = variables
            .iter()
            .fold(builder, |b, (name, value)| b.env(name, *value));
        builder.start().await
    };
    let moved = started(&[
        ("DOCS_URL", "/swagger"),
        ("NO_DOCS", "True"),
        ("NO_REDOC", "True"),
        ("ROOT_REDIRECT_URL", "/swagger"),
        ("DOCS_TITLE", "Ours"),
        ("DOCS_DESCRIPTION", "What it is."),
        ("DOCS_FILTERED", "True"),
        ("SERVER_ROOT_PATH", "/gw"),
    ])
    .await;
    let client = Client::of(&moved);
    let document = client.get("/gw/openapi.json").await.ok();
    assert_eq!(document["info"]["title"], "Ours");
    assert_eq!(document["info"]["description"], "What it is.");
    assert_eq!(document["servers"][0]["url"], "/gw");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/chat/completions") && !paths.contains_key("/key/generate"));
    assert!(
        client
            .get("/gw/swagger")
            .await
            .text()
            .contains("\"/gw/openapi.json\"")
    );
    assert_eq!(client.get("/gw/redoc").await.status, 404);
    let root = moved.get("/gw/").await;
    assert_eq!(
        (root.status, root.header("location")),
        (307, Some("/swagger"))
    );
    let none = started(&[("NO_DOCS", "true"), ("NO_OPENAPI", "true")]).await;
    let client = Client::of(&none);
    assert_eq!(client.get("/").await.ok(), Value::from("LiteLLM: RUNNING"));
    assert_eq!(client.get("/openapi.json").await.status, 404);
    let wrong = Gateway::builder(base_config("http://127.0.0.1:9")).env("REDOC_URL", "redoc");
    let refusal = wrong.expect_refusal().await;
    assert!(
        refusal
            .output
            .contains("REDOC_URL must be a path that begins with /"),
        "{refusal:?}"
    );
}

/// A program of the environment that `make test` installs for these tests, against a gateway of its own.
async fn program(stage: &Stage, name: &str, args: &[&str]) {
    let mut command = Command::new(venv_of("venv-management", name));
    let output = command
        .args(args)
        .env("GATEWAY_URL", stage.gateway.base_url())
        .env("LITELLM_PROXY_URL", stage.gateway.base_url())
        .env("LITELLM_PROXY_API_KEY", MASTER_KEY)
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .current_dir(stage.gateway.home())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("cannot run {name}: {error}; `make test` installs it"));
    assert!(
        output.status.success(),
        "{}\n{}\nlog of the gateway:\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        stage.gateway.logs().all().join("\n")
    );
}

async fn with_models_in_the_database() -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let builder = Gateway::builder(config).env("STORE_MODEL_IN_DB", "True");
    Stage::of(upstream, builder.env("LITELLM_SALT_KEY", "sk-salt-1234")).await
}

fn file(name: &str) -> String {
    let path = workspace_root().join("tests/sdk/management").join(name);
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn litellms_own_client_and_command_line_manage_the_gateway() {
    let stage = with_models_in_the_database().await;
    let script = file("test_client.py");
    let args = ["-m", "pytest", "-q", "-p", "no:cacheprovider", &script];
    program(&stage, "python", &args).await;
}

/// What schemathesis tries is in its configuration; `more` narrows it. It tries the same at every run, so that a commit does not fail for what
/// another brought; `WITGATE_FUZZ_SEED=N` has it try something else.
async fn schemathesis(stage: &Stage, more: &[&str]) {
    let url = format!("{}/openapi.json", stage.gateway.base_url());
    let config = file("schemathesis.toml");
    let seed = std::env::var("WITGATE_FUZZ_SEED");
    let tries = match &seed {
        Ok(seed) => vec!["--seed", seed],
        Err(_) => vec!["--generation-deterministic"],
    };
    let args = ["--config-file", &config, "run", &url];
    program(stage, "st", &[&args, &tries[..], more].concat()).await;
}

#[tokio::test]
async fn schemathesis_finds_no_answer_that_is_not_as_the_document_says() {
    let stage = with_models_in_the_database().await;
    schemathesis(&stage, &[]).await;
}

/// The same over PostgreSQL, with fewer requests: it is the database that differs.
#[tokio::test]
async fn schemathesis_over_postgres() {
    let postgres = PostgresServer::start().await;
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder(base_config(&upstream.api_base()))
        .env("STORE_MODEL_IN_DB", "True")
        .env("LITELLM_SALT_KEY", "sk-salt-1234");
    let stage = Stage::of(upstream, builder.env("DATABASE_URL", postgres.url())).await;
    schemathesis(&stage, &["--phases", "coverage"]).await;
}
