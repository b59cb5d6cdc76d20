//! Plugins in other languages than Rust: the examples in Python and TypeScript, as components in the gateway.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Recorder, Reply};

use crate::c_and_go::pass_the_same_cases;
use crate::support::{Client, Stage, base_config, chat, chat_stream, streamed_text};

async fn words(mode: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let config = base_config(&upstream.api_base())
        + &format!(
            "guardrails:\n  - guardrail_name: words\n    litellm_params: {{guardrail: blocked-words, mode: {mode}, default_on: true}}\n"
        )
        + "plugins:\n  blocked-words: {settings: {blocked: [swordfish], masked: [darn]}}\n";
    Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await
}

pub fn says(mut body: Value, text: &str) -> Value {
    body["messages"][0]["content"] = json!(text);
    body
}

#[tokio::test]
async fn a_guardrail_in_python_edits_and_refuses() {
    let stage = words("pre_call").await;
    let answer = stage.client.chat(&says(chat("gpt-4o"), "Darn it")).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-applied-guardrails"), Some("words"));
    let sent = stage.upstream.requests().last().json()["messages"][0]["content"].clone();
    assert_eq!(sent, "**** it");

    let refused = stage
        .client
        .chat(&says(chat("gpt-4o"), "the password is Swordfish"))
        .await;
    let error = refused.error(400);
    assert!(
        error["message"].to_string().contains("not allowed here"),
        "{error}"
    );
    assert_eq!(
        stage.upstream.requests().all().len(),
        1,
        "the refused call went out"
    );
}

#[tokio::test]
async fn a_guardrail_in_python_judges_a_stream_piece_by_piece() {
    let stage = words("post_call").await;
    let body = says(chat_stream("gpt-4o"), "well, darn and done");
    let events = stage.client.open(&body).await.rest().await;
    assert_eq!(streamed_text(&events), "well, **** and done", "{events:#?}");
}

#[tokio::test]
async fn a_log_sink_in_typescript_posts_its_records() {
    let upstream = FakeUpstream::start().await;
    let collector = Recorder::start(Reply::status(204, &[], "")).await;
    let config = base_config(&upstream.api_base())
        + "litellm_settings:\n  callbacks: [webhook]\n"
        + &format!(
            "plugins:\n  webhook: {{settings: {{url: '{}/calls', token: tok-0123456789}}}}\n",
            collector.origin()
        );
    let stage = Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let requests = collector
        .requests()
        .wait_until("the record", |requests| !requests.is_empty())
        .await;
    let request = &requests[0];
    assert_eq!(request.path(), "/calls");
    assert_eq!(
        request.header("authorization"),
        Some("Bearer tok-0123456789")
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
    let records: Value = request.json();
    assert_eq!(records[0]["status"], "success", "{records}");
    assert_eq!(records[0]["model"], "gpt-4o", "{records}");
    assert_eq!(records[0]["tokens"], 18, "{records}");
    assert!(records[0]["seconds"].is_number(), "{records}");
    assert!(!stage.gateway.printed("tok-0123456789"));
}

#[tokio::test]
async fn a_custom_logger_of_litellm_with_call_hooks_runs_unmodified() {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let stage = litellm(
        upstream,
        "litellm_settings:\n  callbacks: [call_hooks.proxy_handler_instance]\n",
        &[("CALL_HOOKS_MODEL", "o4-mini")],
    )
    .await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    assert_eq!(answer.content(), "Hello! (checked)");
    assert_eq!(answer.header("x-litellm-model-group"), Some("o4-mini"));
    assert_eq!(answer.header("x-handled-by"), Some("call-hooks"));
    let sent: Value = stage.upstream.requests().last().json();
    assert_eq!(sent["model"], "o4-mini");
    assert!(!sent.to_string().contains("user_api_key"), "{sent}");
    // The log hook of the same file has the call, too.
    stage.gateway.wait_for_log("success: o4-mini").await;

    let said = says(chat("gpt-4o"), "some bad language");
    let answer = stage.client.chat(&said).await;
    assert_eq!(answer.content(), "This violates our policy.");
    let error = stage
        .client
        .chat(&says(chat("gpt-4o"), "forbidden"))
        .await
        .error(403);
    assert_eq!(error["message"], "Not for you.");

    let events = stage
        .client
        .open(&says(chat_stream("gpt-4o"), "well done"))
        .await
        .rest()
        .await;
    assert_eq!(streamed_text(&events), "WELL DONE", "{events:#?}");

    stage
        .upstream
        .next(Reply::error(429, "rate_limit_error", None, "slow down"));
    let error = stage.client.chat(&chat("gpt-4o")).await.error(503);
    assert_eq!(error["message"], "We are busy, come back later.");
    let plugins = stage.gateway.logs().all().join("\n");
    assert!(!plugins.contains("Traceback"), "{plugins}");
}

/// A gateway with LiteLLM's own kinds of Python files, named in the configuration as LiteLLM names them.
async fn litellm(upstream: FakeUpstream, more: &str, env: &[(&str, &str)]) -> Stage {
    let mut config = base_config(&upstream.api_base());
    if more.contains("custom_auth:") {
        let (general, rest) = more.split_once('\n').expect("two parts");
        config = config.replace(
            "general_settings:\n",
            &format!("general_settings:\n  {general}\n"),
        ) + rest;
    } else {
        config += more;
    }
    let builder = env
        .iter()
        .fold(Gateway::builder(config), |builder, (name, value)| {
            builder.env(name, *value)
        });
    Stage::of(upstream, builder.shared_plugin_cache()).await
}

#[tokio::test]
async fn a_custom_auth_of_litellm_runs_unmodified() {
    let directory = Recorder::start(Reply::json(
        200,
        &json!({"id": "bo", "team": "red", "models": ["gpt-4o"]}),
    ))
    .await;
    let url = directory.origin();
    let stage = litellm(
        FakeUpstream::start().await,
        "custom_auth: team_auth.user_api_key_auth\nplugins:\n  team_auth: {grants: {private_network: ['127.0.0.1']}}\n",
        &[("TEAM_AUTH_KEY", "own-key-0123"), ("TEAM_AUTH_DIRECTORY_URL", &url)],
    )
    .await;
    let as_key = |key: &str| Client::of(&stage.gateway).key(key);
    as_key("own-key-0123").chat(&chat("gpt-4o")).await.ok();
    assert!(
        directory.requests().all().is_empty(),
        "the own key needs no directory"
    );

    as_key("bos-key-0123").chat(&chat("gpt-4o")).await.ok();
    let request = directory.requests().last();
    assert_eq!(request.header("x-key"), Some("bos-key-0123"));
    assert!(request.path().starts_with("/keys"), "{}", request.path());
    as_key("bos-key-0123")
        .chat(&chat("another-model"))
        .await
        .error(401);

    directory.answer(Reply::status(404, &[], ""));
    let refused = as_key("nobodys-key").chat(&chat("gpt-4o")).await.error(403);
    assert_eq!(refused["message"], "ask the platform team for a key");
    directory.answer(Reply::status(500, &[], ""));
    as_key("nobodys-key").chat(&chat("gpt-4o")).await.error(401);
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    assert!(
        rows.iter()
            .any(|row| row["team_id"] == "red" && row["user"] == "bo")
    );
}

#[tokio::test]
async fn a_custom_logger_of_litellm_runs_unmodified() {
    let collector = Recorder::start(Reply::status(200, &[], "")).await;
    let url = format!("{}/calls", collector.origin());
    let stage = litellm(
        FakeUpstream::start().await,
        "litellm_settings:\n  callbacks: [call_counter.proxy_handler_instance]\nplugins:\n  call_counter: {grants: {private_network: ['127.0.0.1']}}\n",
        &[("CALL_COUNTER_URL", &url)],
    )
    .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let requests = collector
        .requests()
        .wait_until("the summary", |requests| !requests.is_empty())
        .await;
    assert_eq!(requests[0].header("x-source"), Some("call-counter"));
    let summary = requests[0].json();
    assert_eq!(summary["outcome"], "success", "{summary}");
    assert_eq!(summary["model"], "gpt-4o", "{summary}");
    assert_eq!(summary["tokens"], 18, "{summary}");
    assert!(
        summary["said"]
            .as_str()
            .is_some_and(|said| !said.is_empty()),
        "{summary}"
    );
    stage.gateway.wait_for_log("call: {").await;
}

#[tokio::test]
async fn a_custom_guardrail_of_litellm_runs_unmodified() {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let stage = litellm(
        upstream,
        "guardrails:\n  - guardrail_name: polite\n    litellm_params: {guardrail: polite_guardrail.PoliteGuardrail, mode: [pre_call, during_call, post_call], default_on: true, rude_word: heck}\n",
        &[],
    )
    .await;
    stage
        .client
        .chat(&says(chat("gpt-4o"), "What the Heck is it?"))
        .await
        .ok();
    let sent = stage.upstream.requests().last().json()["messages"][0]["content"].clone();
    assert_eq!(sent, "What the **** is it?");

    let shouted = stage.client.chat(&says(chat("gpt-4o"), "I shout")).await;
    assert_eq!(shouted.error(500)["message"], "no shouting, please");

    stage.upstream.always(Reply::says("oh heck"));
    let rude = stage.client.chat(&chat("gpt-4o")).await.error(422);
    assert_eq!(rude["message"], "the answer was rude", "{rude}");
}

/// Runs a command in a fresh folder; it must end well.
pub async fn ok(folder: &std::path::Path, args: &[&str]) -> String {
    let (stdout, stderr, code) = Gateway::run_with_input(folder, args, "").await;
    assert_eq!(code, Some(0), "{args:?}\n{stdout}\n{stderr}");
    stdout
}

#[tokio::test]
async fn a_new_plugin_in_javascript_builds_and_passes_its_cases_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in [
        "guardrail",
        "request-hook",
        "log-sink",
        "authenticator",
        "prompt-manager",
        "sso",
        "secret-manager",
        "key-policy",
        "router",
    ] {
        let name = format!("my-{kind}");
        ok(
            folder.path(),
            &[
                "plugin",
                "new",
                &name,
                "--kind",
                kind,
                "--lang",
                "javascript",
            ],
        )
        .await;
        let report = ok(folder.path(), &["plugin", "test", &name]).await;
        assert!(report.contains(" 0 failed"), "{report}");
    }
}

#[tokio::test]
async fn a_new_plugin_in_python_builds_and_passes_its_cases_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    ok(
        folder.path(),
        &[
            "plugin", "new", "mine", "--kind", "log-sink", "--lang", "python",
        ],
    )
    .await;
    let report = ok(folder.path(), &["plugin", "test", "mine"]).await;
    assert!(report.contains(" 0 failed"), "{report}");

    // A case that expects something else fails with a difference that shows what and where.
    let expected = folder.path().join("mine/cases/busy/expected.yaml");
    let text = std::fs::read_to_string(&expected).expect("the expectation");
    std::fs::write(&expected, text.replace("after_ms: 7000", "after_ms: 9000")).expect("written");
    let args = ["plugin", "test", "mine", "--case", "busy"];
    let (stdout, _, code) = Gateway::run_with_input(folder.path(), &args, "").await;
    assert_eq!(code, Some(1), "{stdout}");
    for part in [
        "FAIL  mine: busy",
        "-   after_ms: 9000",
        "+   after_ms: 7000",
    ] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    ok(folder.path(), &[&args[..], &["--bless"]].concat()).await;
    ok(folder.path(), &args).await;

    // An exception in the file's top level fails the build with the author's own traceback.
    let main = folder.path().join("mine/plugin.py");
    std::fs::write(&main, "import witgate\nwitgate.nothing_like_this\n").expect("written");
    let (_, stderr, code) = Gateway::run(folder.path(), &["plugin", "build", "mine"]).await;
    assert_eq!(code, Some(1), "{stderr}");
    for part in ["plugin.py", "line 2", "nothing_like_this"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

#[tokio::test]
async fn a_python_file_that_cannot_work_is_refused_with_the_reasons() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = "import redis\nimport threading\n\nasync def user_api_key_auth(request, api_key):\n    \
                  threading.Thread(target=print).start()\n    body = await request.json()\n";
    std::fs::write(folder.path().join("custom_auth.py"), source).expect("written");
    let (_, stderr, code) =
        Gateway::run(folder.path(), &["plugin", "build", "custom_auth.py"]).await;
    assert_eq!(code, Some(1), "{stderr}");
    for part in [
        "line 1: import redis: it opens connections of its own",
        "line 5: threading.Thread: a plugin has no threads",
        "line 6: request.json()",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

#[tokio::test]
async fn one_call_by_hand_prints_what_comes_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let component = witgate_testkit::fixture_dir().join("blocked-words.wasm");
    let case = r#"{"settings": {"blocked": ["swordfish"]}, "input": {"body": {"messages": [{"role": "user", "content": "swordfish"}]}}}"#;
    let args = ["plugin", "run", component.to_str().expect("a path")];
    let (stdout, stderr, code) = Gateway::run_with_input(folder.path(), &args, case).await;
    assert_eq!(code, Some(0), "{stderr}");
    let result: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(result["result"]["verdict"], "block", "{result}");
}

#[tokio::test]
async fn what_a_plugin_does_wrong_costs_its_own_call_in_every_language() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = [
        ("javascript", "loop", "stopped at its cpu limit"),
        ("javascript", "recursion", "it overflowed its stack"),
        ("javascript", "memory", "out of memory"),
        ("javascript", "exception", "TypeError: on purpose"),
        ("javascript", "async", "must not be async"),
        ("python", "loop", "stopped at its cpu limit"),
        ("python", "recursion", "RecursionError"),
        ("python", "memory", "MemoryError"),
        (
            "python",
            "exception",
            "TypeError: on purpose (at plugin.py:",
        ),
        ("python", "file", "No such file"),
        ("python", "socket", "No module named 'socket'"),
        ("c", "loop", "stopped at its cpu limit"),
        ("c", "recursion", "it accessed memory out of bounds"),
        ("c", "memory", "stopped at its memory limit"),
        ("c", "malloc", "malloc gave less than 32 MiB"),
        ("c", "wild", "it accessed memory out of bounds"),
        ("c", "overrun", "it accessed memory out of bounds"),
        ("c", "abort", "abort() was called"),
        (
            "c",
            "assert",
            "plugin.c:33: plugin_check: assertion failed: sink == 1",
        ),
        ("c", "panic", "on purpose, 7"),
        ("c", "exit", "exit(3) was called"),
        ("c", "file", "No such file"),
        (
            "c",
            "forget",
            "plugin_check returned true and gave no answer",
        ),
        ("c", "fail", "plugin_check returned false and gave no error"),
        ("go", "loop", "stopped at its cpu limit"),
        ("go", "recursion", "it overflowed its stack"),
        ("go", "memory", "stopped at its memory limit"),
        ("go", "garbage", "made 300 MiB of garbage"),
        (
            "go",
            "panic",
            "panic: assignment to entry in nil map (at plugin.go:46)",
        ),
        ("go", "exit", "it trapped"),
        ("go", "file", "open /etc/passwd: Bad file number"),
        ("go", "socket", "Connection refused"),
        ("c", "nonsense", "\u{FFFD}ä"),
    ];
    for (language, does, expected) in cases {
        let component = witgate_testkit::fixture_dir().join(format!("hostile-{language}.wasm"));
        let args = ["plugin", "run", component.to_str().expect("a path")];
        let case = format!("{{settings: {{does: {does}}}, input: {{body: {{messages: []}}}}}}");
        let (stdout, stderr, _) = Gateway::run_with_input(folder.path(), &args, &case).await;
        assert!(
            stdout.contains(expected),
            "{language} {does}: {stdout}\n{stderr}"
        );
    }
}

/// A plugin folder of these files; its cases must pass.
async fn passes(name: &str, tested: &str, files: &[(&str, &str)]) {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
        std::fs::write(path, content).expect("written");
    }
    let report = ok(folder.path(), &["plugin", "test", tested]).await;
    assert!(report.contains(" 0 failed"), "{name}: {report}");
}

const ASKING: &str =
    "kind = \"guardrail\"\nversion = \"0.1.0\"\nphases = [\"pre_call\"]\nllm = [\"judge\"]\n";

const ASKED: &str = "settings: {}\ninput: {body: {model: m, messages: [{role: user, content: Hello!}]}}\n\
    llm: [{model: judge, say: 'no', cost_usd: '0.001'}]\n";

const REFUSED: &str = "result: {verdict: block, message: 'no, for 0.001', status: 400}\n\
    llm: [{model: judge, messages: [{role: user, content: Hello!}], temperature: 0}]\n";

const FAILED: &str = "settings: {}\ninput: {body: {model: m, messages: [{role: user, content: Hello!}]}}\n\
    llm: [{fail: {status: 400, message: too long}}]\n";

const ASKED_FOR_PIECES: &str = "settings: {}\ninput: {body: {model: m, messages: [{role: user, content: In pieces}]}}\n\
    llm: [{model: judge, say: 'one by one'}]\n";

const PIECES: &str = "result: {verdict: block, message: '|one |by |one|', status: 400}\n\
    llm: [{model: judge, messages: [{role: user, content: In pieces}], temperature: 0}]\n";

const NOT_ASKED: &str = "result: {error: failed, text: 'status 400: too long'}\n\
    llm: [{model: judge, messages: [{role: user, content: Hello!}], temperature: 0}]\n";

#[tokio::test]
async fn a_plugin_in_javascript_calls_a_model() {
    let code = r#"import { block, guardrail, llm } from "witgate";
export default guardrail({
  check(call, body) {
    const content = body.texts()[0]?.text ?? "";
    const request = { model: "judge", messages: [{ role: "user", content }], temperature: 0 };
    if (content === "In pieces") return block([...llm.stream(request)].map(llm.textOf).join("|"));
    const answer = llm.chat(request);
    return answer.text === "no" ? block(`no, for ${answer.costUsd}`) : null;
  },
});
"#;
    let files = [
        ("asks/plugin.toml", ASKING),
        ("asks/plugin.js", code),
        ("asks/cases/no/case.yaml", ASKED),
        ("asks/cases/no/expected.yaml", REFUSED),
        ("asks/cases/failed/case.yaml", FAILED),
        ("asks/cases/failed/expected.yaml", NOT_ASKED),
        ("asks/cases/pieces/case.yaml", ASKED_FOR_PIECES),
        ("asks/cases/pieces/expected.yaml", PIECES),
    ];
    passes("javascript", "asks", &files).await;
}

#[tokio::test]
async fn a_plugin_in_python_calls_a_model() {
    let code = r#"from witgate import Guardrail, block, llm


class Asks(Guardrail):
    def check(self, call, body):
        content = "".join(text.text for text in body.texts()[:1])
        messages = [{"role": "user", "content": content}]
        if content == "In pieces":
            chunks = llm.stream("judge", messages, temperature=0)
            return block("|".join(llm.text_of(chunk) for chunk in chunks))
        answer = llm.chat("judge", messages, temperature=0)
        return block(f"no, for {answer.cost_usd}") if answer.text == "no" else None
"#;
    let files = [
        ("asks/plugin.toml", ASKING),
        ("asks/plugin.py", code),
        ("asks/cases/no/case.yaml", ASKED),
        ("asks/cases/no/expected.yaml", REFUSED),
        ("asks/cases/failed/case.yaml", FAILED),
        ("asks/cases/failed/expected.yaml", NOT_ASKED),
        ("asks/cases/pieces/case.yaml", ASKED_FOR_PIECES),
        ("asks/cases/pieces/expected.yaml", PIECES),
    ];
    passes("python", "asks", &files).await;
}

#[tokio::test]
async fn a_guardrail_of_litellm_calls_a_model_as_it_always_did() {
    let code = r#"import litellm
from fastapi import HTTPException
from litellm.integrations.custom_guardrail import CustomGuardrail


class Asks(CustomGuardrail):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        try:
            answer = await litellm.acompletion(
                model="judge", messages=data["messages"], temperature=0, api_key="sk-of-its-own"
            )
        except litellm.BadRequestError as error:
            raise HTTPException(status_code=422, detail=str(error))
        if answer.choices[0].message.content == "no":
            raise HTTPException(status_code=400, detail=f"no, for {litellm.completion_cost(answer)}")
"#;
    let refused = "result: {verdict: block, message: 'no, for 0.001', status: 400}\n\
        llm: [{model: judge, messages: [{role: user, content: Hello!}], temperature: 0}]\n";
    let failed = "result: {verdict: block, message: 'status 400: too long', status: 422}\n\
        llm: [{model: judge, messages: [{role: user, content: Hello!}], temperature: 0}]\n";
    let files = [
        ("asks.py", code),
        ("asks/cases/no/case.yaml", ASKED),
        ("asks/cases/no/expected.yaml", refused),
        ("asks/cases/failed/case.yaml", FAILED),
        ("asks/cases/failed/expected.yaml", failed),
    ];
    passes("litellm", "asks.py", &files).await;
}

#[tokio::test]
async fn plugins_in_python_and_javascript_send_mail() {
    pass_the_same_cases("python", "plugin.py", &["log-sink"]).await;
    pass_the_same_cases("javascript", "plugin.js", &["log-sink"]).await;
}
