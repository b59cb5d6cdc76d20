//! Guardrails that ask a service, each against a fake of it that checks what it is sent: clean, flagged, streamed, and
//! with a service that is slow, overloaded, broken or talks nonsense.

use serde_json::{Value, json};
use witgate_testkit::judges::{self, ATTACK, KEY};
use witgate_testkit::{FakeUpstream, Gateway, Recorder, Reply, openai};

use crate::support::{Stage, base_config, chat, chat_stream, streamed_text};

/// Text with a person and an address in it.
const PERSONAL: &str = "I am Jane Doe, write to jane@example.com";

/// A gateway with one guardrail that is always on, before an upstream that repeats what it is told.
async fn stage(params: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let config = base_config(&upstream.api_base())
        + &format!(
            "guardrails:\n  - guardrail_name: judge\n    litellm_params: {{default_on: true, {params}}}\n"
        );
    Stage::of(upstream, Gateway::builder(config)).await
}

fn saying(text: &str, mut body: Value) -> Value {
    body["messages"][0]["content"] = json!(text);
    body
}

fn ask(text: &str) -> Value {
    saying(text, chat("gpt-4o"))
}

fn generic(judge: &Recorder, mode: &str) -> String {
    let base = judge.origin();
    format!("guardrail: generic_guardrail_api, mode: {mode}, api_base: '{base}', api_key: {KEY}")
}

fn lakera(judge: &Recorder, version: &str, mode: &str) -> String {
    let base = judge.origin();
    format!("guardrail: {version}, mode: {mode}, api_base: '{base}', api_key: {KEY}")
}

fn presidio(judge: &Recorder, mode: &str) -> String {
    // Without a scheme, as LiteLLM takes it.
    let base = judge.authority();
    format!(
        "guardrail: presidio, mode: {mode}, presidio_analyzer_api_base: '{base}', presidio_anonymizer_api_base: '{base}'"
    )
}

/// What the upstream was told by the last request.
fn told(stage: &Stage) -> Value {
    stage.upstream.requests().last().json()["messages"][0]["content"].clone()
}

#[tokio::test]
async fn the_generic_api_is_asked_about_everything_it_may_know() {
    let judge = Recorder::start(judges::generic()).await;
    let params = generic(&judge, "pre_call")
        + ", headers: {x-tenant: acme}, extra_headers: [X-Team], additional_provider_specific_params: {level: 1, kept: 2}";
    let stage = stage(&params).await;
    let mut body = ask("nothing to see");
    body["guardrails"] = json!([{"judge": {"extra_body": {"level": 7}}}]);
    let client = stage
        .client
        .clone()
        .header("x-team", "blue")
        .header("x-private", "mine");
    let answer = client.chat(&body).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-applied-guardrails"), Some("judge"));
    let asked = judge.requests().last();
    assert_eq!(asked.header("x-tenant"), Some("acme"));
    let asked = asked.json();
    assert_eq!(asked["texts"], json!(["nothing to see"]));
    assert_eq!(asked["input_type"], "request");
    assert_eq!(asked["model"], "gpt-4o");
    assert_eq!(asked["structured_messages"], body["messages"]);
    assert_eq!(
        asked["additional_provider_specific_params"],
        json!({"level": 7, "kept": 2})
    );
    let headers = &asked["request_headers"];
    assert_eq!(
        (&headers["x-team"], &headers["x-private"]),
        (&json!("blue"), &json!("[present]"))
    );
    assert_eq!(headers.get("authorization"), None, "{headers}");
    assert_eq!(
        answer.header("x-litellm-call-id").map(str::to_owned),
        asked["litellm_call_id"].as_str().map(str::to_owned)
    );
    assert!(!stage.gateway.printed(KEY));
}

#[tokio::test]
async fn the_generic_api_blocks_and_edits_requests_and_answers() {
    let judge = Recorder::start(judges::generic()).await;
    let stage = stage(&generic(&judge, "[pre_call, post_call]")).await;
    let error = stage.client.chat(&ask(ATTACK)).await.error(400);
    assert_eq!(error["message"], "no attacks here");
    assert!(stage.upstream.requests().is_empty());

    stage.client.chat(&ask("keep it hush")).await.ok();
    assert_eq!(told(&stage), "keep it [hidden]");

    stage.upstream.next(Reply::says("hush now"));
    let answer = stage.client.chat(&ask("hello")).await;
    assert_eq!(answer.content(), "[hidden] now");
    assert_eq!(judge.requests().last().json()["input_type"], "response");
    stage.upstream.next(Reply::says(ATTACK));
    stage.client.chat(&ask("hello")).await.error(400);
}

#[tokio::test]
async fn a_streamed_answer_is_judged_whole_by_the_generic_api() {
    let judge = Recorder::start(judges::generic()).await;
    let stage = stage(&generic(&judge, "post_call")).await;
    let mut frames = vec![
        openai::content_frame("gpt-4o", "be hu"),
        openai::content_frame("gpt-4o", "sh now"),
    ];
    frames.extend(
        openai::chat_frames("gpt-4o", "")
            .into_iter()
            .rev()
            .take(2)
            .rev(),
    );
    stage.upstream.next(Reply::stream(&frames));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert_eq!(streamed_text(&events), "be [hidden] now", "{events:#?}");
    assert_eq!(
        judge.requests().last().json()["texts"],
        json!(["be hush now"])
    );
    let stream = stage.client.chat(&saying("x", chat_stream("gpt-4o"))).await;
    assert!(
        stream
            .events()
            .last()
            .is_some_and(|event| event == "[DONE]"),
        "{}",
        stream.text()
    );
}

#[tokio::test]
async fn a_service_that_gives_no_verdict_stops_the_call_unless_it_may_pass() {
    let judge = Recorder::start(judges::generic()).await;
    let closed = stage(&generic(&judge, "pre_call")).await;
    let faults = [
        Reply::status(429, &[("retry-after", "7")], "slow down"),
        Reply::json(500, &json!({"detail": "echo of the text"})),
        Reply::status(503, &[], ""),
        Reply::status(200, &[("content-type", "text/html")], "<html>"),
        Reply::json(200, &json!({"action": "PERHAPS"})),
        Reply::nothing().then_reset(),
    ];
    for fault in &faults {
        judge.next(fault.clone());
        let answer = closed.client.chat(&ask("hello")).await;
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(!answer.text().contains(KEY));
    }
    assert!(closed.upstream.requests().is_empty());
    let warned = closed.gateway.logs().all().join("\n");
    assert!(warned.contains("asks to wait 7 s"), "{warned}");
    assert!(
        !warned.contains("echo of the text") && !warned.contains(KEY),
        "{warned}"
    );

    // Unreachable may pass, nonsense may not.
    let half = stage(&(generic(&judge, "pre_call") + ", unreachable_fallback: fail_open")).await;
    judge.next(Reply::status(503, &[], ""));
    half.client.chat(&ask("hello")).await.ok();
    judge.next(Reply::json(500, &json!({})));
    assert_eq!(half.client.chat(&ask("hello")).await.status, 500);

    let open = stage(&(generic(&judge, "pre_call") + ", fail_on_error: false")).await;
    for fault in faults {
        judge.next(fault);
        open.client.chat(&ask("hello")).await.ok();
    }
    assert_eq!(open.upstream.requests().len(), 6);
}

#[tokio::test]
async fn a_slow_service_is_given_up_and_an_unreachable_one_asked_again() {
    let judge = Recorder::start(judges::generic()).await;
    let impatient = stage(&(generic(&judge, "pre_call") + ", timeout: 0.2")).await;
    judge.next(Reply::nothing().then_stall());
    assert_eq!(impatient.client.chat(&ask("hello")).await.status, 500);

    let stubborn = stage(&(generic(&judge, "pre_call") + ", num_retries: 2")).await;
    let before = judge.requests().len();
    judge
        .next(Reply::status(502, &[], ""))
        .next(Reply::status(504, &[], ""));
    stubborn.client.chat(&ask("hello")).await.ok();
    assert_eq!(judge.requests().len() - before, 3);
}

#[tokio::test]
async fn lakera_judges_the_last_message_of_each_role() {
    let judge = Recorder::start(judges::lakera()).await;
    let stage = stage(&lakera(&judge, "lakera", "pre_call")).await;
    let mut body = chat("gpt-4o");
    body["messages"] = json!([{"role": "user", "content": "old"}, {"role": "system", "content": "be kind"},
        {"role": "user", "content": "new"}]);
    stage.client.chat(&body).await.ok();
    assert_eq!(
        judge.requests().last().json(),
        json!({"input": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "new"}]})
    );
    let answer = stage.client.chat(&ask(ATTACK)).await;
    let error = answer.error(400);
    assert_eq!(error["message"], "Violated content safety policy");
    assert_eq!(stage.upstream.requests().len(), 1);
    assert!(!stage.gateway.printed(KEY));
}

#[tokio::test]
async fn lakera_refuses_by_score_where_there_are_thresholds_also_beside_the_call() {
    let judge = Recorder::start(judges::lakera()).await;
    let stage = stage(
        &(lakera(&judge, "lakera", "during_call")
            + ", category_thresholds: {prompt_injection: 0.5}"),
    )
    .await;
    stage.client.chat(&ask("hello")).await.ok();
    let error = stage.client.chat(&ask(ATTACK)).await.error(400);
    assert_eq!(error["message"], "Violated prompt_injection threshold");
    judge.next(Reply::json(200, &json!({"results": []})));
    assert_eq!(stage.client.chat(&ask("hello")).await.status, 500);
}

#[tokio::test]
async fn lakera_guard_masks_personal_data_and_blocks_attacks() {
    let judge = Recorder::start(judges::lakera()).await;
    let stage =
        stage(&(lakera(&judge, "lakera_v2", "[pre_call, post_call]") + ", project_id: p-9")).await;
    stage.client.chat(&ask(PERSONAL)).await.ok();
    assert_eq!(told(&stage), "I am Jane Doe, write to [MASKED EMAIL]");
    let asked = judge.requests().all()[0].json();
    assert_eq!(
        (&asked["project_id"], &asked["payload"], &asked["dev_info"]),
        (&json!("p-9"), &json!(true), &json!(true))
    );
    let answer = stage.client.chat(&ask(ATTACK)).await;
    assert_eq!(answer.error(400)["message"], "Violated guardrail policy");
    let both = stage
        .client
        .chat(&ask(&format!("{PERSONAL} {ATTACK}")))
        .await;
    both.error(400);
    assert!(!both.text().contains("jane@example.com"), "{}", both.text());
    stage.upstream.next(Reply::says("ask bob@example.com"));
    assert_eq!(
        stage.client.chat(&ask("who?")).await.content(),
        "ask [MASKED EMAIL]"
    );
}

#[tokio::test]
async fn lakera_guard_may_only_watch_or_warn_the_model() {
    let judge = Recorder::start(judges::lakera()).await;
    let watching =
        stage(&(lakera(&judge, "lakera_v2", "pre_call") + ", on_flagged: monitor")).await;
    watching.client.chat(&ask(ATTACK)).await.ok();
    assert_eq!(told(&watching), ATTACK);
    let warning = stage(
        &(lakera(&judge, "lakera_v2", "pre_call")
            + ", on_flagged: inject_system_message, advisory_system_message: 'Beware: {reason}'"),
    )
    .await;
    warning.client.chat(&ask(ATTACK)).await.ok();
    let sent = warning.upstream.requests().last().json();
    assert_eq!(
        sent["messages"][0],
        json!({"role": "system", "content": "Beware: prompt_attack"})
    );
    assert_eq!(sent["messages"][1]["content"], ATTACK);
}

#[tokio::test]
async fn presidio_masks_with_the_anonymizers_words() {
    let judge = Recorder::start(judges::presidio()).await;
    let stage = stage(&presidio(&judge, "[pre_call, post_call]")).await;
    let answer = stage.client.chat(&ask(PERSONAL)).await;
    answer.ok();
    assert_eq!(told(&stage), "I am <PERSON>, write to <EMAIL_ADDRESS>");
    stage.upstream.next(Reply::says("Bob knows"));
    assert_eq!(
        stage.client.chat(&ask("who?")).await.content(),
        "<PERSON> knows"
    );
    let asked = judge.requests().all()[0].json();
    assert_eq!(asked, json!({"text": PERSONAL, "language": "en"}));
    let row = stage.gateway.wait_for_spend_rows(2).await.remove(0);
    assert!(!row.to_string().contains("Jane Doe"), "{row}");
}

#[tokio::test]
async fn presidio_looks_for_what_it_is_told_and_blocks_some_of_it() {
    let judge = Recorder::start(judges::presidio()).await;
    let params = presidio(&judge, "pre_call")
        + ", pii_entities_config: {PERSON: MASK, CREDIT_CARD: BLOCK, CODENAME: MASK}, presidio_language: de, \
           presidio_ad_hoc_recognizers: hooks/codes.json";
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let config = base_config(&upstream.api_base())
        + &format!(
            "guardrails:\n  - guardrail_name: judge\n    litellm_params: {{default_on: true, {params}}}\n"
        );
    let codes = json!([{"name": "Code", "supported_entity": "CODENAME", "supported_language": "de", "deny_list": ["Falcon"]}]);
    let builder = Gateway::builder(config).file("hooks/codes.json", codes.to_string());
    let stage = Stage::of(upstream, builder).await;
    stage
        .client
        .chat(&ask(&format!("{PERSONAL} about Falcon")))
        .await
        .ok();
    assert_eq!(
        told(&stage),
        "I am <PERSON>, write to jane@example.com about <CODENAME>"
    );
    let asked = judge.requests().all()[0].json();
    assert_eq!(
        asked["entities"],
        json!(["CODENAME", "CREDIT_CARD", "PERSON"])
    );
    assert_eq!(asked["language"], "de");
    let answer = stage
        .client
        .chat(&ask("Jane Doe pays with 4111 1111 1111 1111"))
        .await;
    let error = answer.error(400);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains("CREDIT_CARD")),
        "{error}"
    );
    assert!(!answer.text().contains("4111"), "{}", answer.text());

    let mut own = ask(PERSONAL);
    own["guardrail_config"] = json!({"language": "en", "entities": ["EMAIL_ADDRESS"]});
    stage.client.chat(&own).await.ok();
    assert_eq!(told(&stage), "I am Jane Doe, write to <EMAIL_ADDRESS>");
    let sent = stage.upstream.requests().last().json();
    assert_eq!(
        sent.get("guardrail_config"),
        None,
        "the gateway's own field went up"
    );
}

#[tokio::test]
async fn presidio_puts_back_what_it_masked() {
    let judge = Recorder::start(judges::presidio()).await;
    // Only `pre_call`: the way back comes with the setting, as in LiteLLM.
    let stage = stage(&(presidio(&judge, "pre_call") + ", output_parse_pii: true")).await;
    let mut body = chat("gpt-4o");
    body["messages"] = json!([{"role": "user", "content": "Bob and Jane Doe"}, {"role": "user", "content": "Hi Bob, I am Jane Doe"}]);
    let answer = stage.client.chat(&body).await;
    assert_eq!(answer.content(), "Hi Bob, I am Jane Doe");
    let sent = stage.upstream.requests().last().json();
    assert_eq!(sent["messages"][0]["content"], "<PERSON_1> and <PERSON_2>");
    assert_eq!(
        sent["messages"][1]["content"],
        "Hi <PERSON_1>, I am <PERSON_2>"
    );
    assert_eq!(judge.requests().len(), 2, "the anonymizer is not asked");

    // In the arguments of a tool call what is put back stays JSON.
    stage
        .upstream
        .next(Reply::json(200, &tool_call("{\"to\": \"<PERSON_1>\"}")));
    let answer = stage.client.chat(&ask("mail Bob")).await.ok();
    let arguments = &answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"];
    assert_eq!(arguments, "{\"to\": \"Bob\"}");
}

fn tool_call(arguments: &str) -> Value {
    let mut answer = openai::chat_completion("gpt-4o", "");
    answer["choices"][0]["message"] = json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "mail", "arguments": arguments}}]});
    answer
}

#[tokio::test]
async fn a_stream_is_put_back_piece_by_piece() {
    let judge = Recorder::start(judges::presidio()).await;
    let stage = stage(&(presidio(&judge, "pre_call") + ", output_parse_pii: true")).await;
    let answer = "Dear <PERSON_1>, your <b>mail</b> <EMAIL_ADDRESS_1> and <PERSON_7>";
    let mut frames: Vec<String> = answer
        .chars()
        .map(|c| openai::content_frame("gpt-4o", &c.to_string()))
        .collect();
    frames.extend(
        openai::chat_frames("gpt-4o", "")
            .into_iter()
            .rev()
            .take(2)
            .rev(),
    );
    stage.upstream.next(Reply::stream(&frames));
    let mut stream = stage
        .client
        .open(&saying(PERSONAL, chat_stream("gpt-4o")))
        .await;
    let events = stream.rest().await;
    assert_eq!(
        streamed_text(&events),
        "Dear Jane Doe, your <b>mail</b> jane@example.com and <PERSON_7>",
        "{events:#?}"
    );
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    assert!(events.len() > 20, "the stream was held: {events:#?}");
    assert_eq!(told(&stage), "I am <PERSON_1>, write to <EMAIL_ADDRESS_1>");
}

#[tokio::test]
async fn one_request_never_sees_what_another_one_had_masked() {
    let judge = Recorder::start(judges::presidio()).await;
    let stage = stage(&(presidio(&judge, "pre_call") + ", output_parse_pii: true")).await;
    // Both name the same call id, which is the client's to choose.
    let client = stage.client.clone().header("x-litellm-call-id", "the-same");
    let gate = witgate_testkit::Gate::new();
    stage
        .upstream
        .next(Reply::says("hello <PERSON_1>").behind(&gate));
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.chat(&ask("I am Jane Doe")).await.content() }
    });
    gate.reached(1).await;
    stage.upstream.next(Reply::says("hello <PERSON_1>"));
    assert_eq!(
        client.chat(&ask("nobody here")).await.content(),
        "hello <PERSON_1>"
    );
    gate.open();
    assert_eq!(first.await.expect("an answer"), "hello Jane Doe");
}

#[tokio::test]
async fn what_does_not_fit_is_not_kept_and_the_call_ends() {
    let judge = Recorder::start(judges::presidio()).await;
    let long = "x".repeat(1_500);
    let params = presidio(&judge, "pre_call")
        + &format!(
            ", output_parse_pii: true, presidio_ad_hoc_recognizers: [{{name: Long, supported_entity: LONG, deny_list: [{long}]}}]"
        );
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + &format!(
            "guardrails:\n  - guardrail_name: judge\n    litellm_params: {{default_on: true, {params}}}\n"
        )
        + "plugins:\n  presidio: {limits: {kv_value_kb: 1}}\n";
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&ask("I am Bob")).await.ok();
    let answer = stage.client.chat(&ask(&format!("I am {long}"))).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(stage.upstream.requests().len(), 1);
    let metrics = witgate_testkit::Metrics::parse(stage.client.get("/metrics").await.text());
    let refused = metrics.count(
        "witgate_plugin_denials_total",
        &[("plugin", "judge"), ("kind", "kv")],
    );
    assert_eq!(refused, 1.0, "{}", metrics.text());
}

#[tokio::test]
async fn presidio_in_trouble_stops_the_call() {
    let judge = Recorder::start(judges::presidio()).await;
    let stage = stage(&presidio(&judge, "pre_call")).await;
    for fault in [
        Reply::status(429, &[("retry-after", "1")], ""),
        Reply::json(500, &json!({"error": "Jane Doe"})),
        Reply::status(200, &[("content-type", "text/html")], "<html>"),
        Reply::json(
            200,
            &json!([{"entity_type": "PERSON", "start": 0, "end": 9999, "score": 1.0}]),
        ),
    ] {
        judge.next(fault);
        assert_eq!(stage.client.chat(&ask(PERSONAL)).await.status, 500);
    }
    // The analyzer answers, the anonymizer does not.
    judge.next(Reply::json(
        200,
        &json!([{"entity_type": "PERSON", "start": 5, "end": 13, "score": 1.0}]),
    ));
    judge.next(Reply::status(503, &[], ""));
    assert_eq!(stage.client.chat(&ask(PERSONAL)).await.status, 500);
    assert!(stage.upstream.requests().is_empty());
    assert!(!stage.gateway.printed("Jane Doe"));
}

#[tokio::test]
async fn presidio_without_an_address_refuses_the_config() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + "guardrails:\n  - guardrail_name: p\n    litellm_params: {guardrail: presidio, mode: pre_call}\n";
    let refusal = Gateway::builder(config)
        .try_start()
        .await
        .expect_err("a refusal");
    assert!(
        refusal.output.contains("PRESIDIO_ANALYZER_API_BASE"),
        "{}",
        refusal.output
    );
    let config = base_config(&upstream.api_base())
        + "guardrails:\n  - guardrail_name: l\n    litellm_params: {guardrail: lakera, mode: post_call, api_key: k}\n";
    let refusal = Gateway::builder(config)
        .try_start()
        .await
        .expect_err("a refusal");
    assert!(
        refusal.output.contains("mode post_call"),
        "{}",
        refusal.output
    );
}

#[tokio::test]
async fn presidio_logging_only_masks_the_logs() {
    let judge = Recorder::start(judges::presidio()).await;
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let folder = Gateway::builder("");
    let file = folder.home().join("events.jsonl");
    let config = base_config(&upstream.api_base())
        + &format!(
            "guardrails:\n  - guardrail_name: judge\n    litellm_params: {{default_on: true, {}, logging_only: true}}\n",
            presidio(&judge, "pre_call")
        )
        + "litellm_settings:\n  success_callback: [jsonl]\n"
        + &format!(
            "plugins:\n  jsonl: {{grants: {{files: {{events: '{}'}}}}}}\n",
            file.display()
        );
    let mut gateway = Gateway::builder(config).start().await;
    let client = crate::support::Client::of(&gateway).key(crate::support::MASTER_KEY);
    assert_eq!(client.chat(&ask(PERSONAL)).await.content(), PERSONAL);
    gateway.stop().await;
    let logged = std::fs::read_to_string(&file).expect("the file was written");
    assert!(
        logged.contains("<PERSON>") && !logged.contains("Jane Doe"),
        "{logged}"
    );
}

/// `router_settings.guardrail_list`: those of one name share the calls, by weight; each call is judged by one.
#[tokio::test]
async fn guardrails_of_one_name_share_the_calls() {
    let (one, two, idle) = (
        Recorder::start(judges::generic()).await,
        Recorder::start(judges::generic()).await,
        Recorder::start(judges::generic()).await,
    );
    let upstream = FakeUpstream::start().await;
    let entry = |judge: &Recorder, more: &str| {
        let params = generic(judge, "pre_call");
        format!(
            "    - {{guardrail_name: judge, litellm_params: {{default_on: true, {params}{more}}}}}\n"
        )
    };
    let base = base_config(&upstream.api_base());
    let list = |entries: &[String]| {
        format!(
            "router_settings:\n  num_retries: 0\n  guardrail_list:\n{}",
            entries.concat()
        )
    };
    let own = base.replace("router_settings:\n  num_retries: 0\n", "");
    let good = list(&[
        entry(&one, ""),
        entry(&two, ", weight: 1"),
        entry(&idle, ", weight: 0"),
    ]);
    let stage = Stage::of(upstream, Gateway::builder(format!("{own}{good}"))).await;
    // Both by then: otherwise the chance is one in two hundred million.
    let calls = 30;
    for _ in 0..calls {
        let answer = stage.client.chat(&ask("nothing to see")).await;
        answer.ok();
        assert_eq!(answer.header("x-litellm-applied-guardrails"), Some("judge"));
    }
    let asked = [&one, &two, &idle].map(|judge| judge.requests().len());
    assert!(asked[0] > 0 && asked[1] > 0, "{asked:?}");
    assert_eq!((asked[0] + asked[1], asked[2]), (calls, 0), "{asked:?}");
    let refusal = stage.client.chat(&ask(ATTACK)).await;
    assert_ne!(refusal.status, 200);

    for (bad, words) in [
        (
            list(&[
                entry(&one, ""),
                entry(&two, "").replace("mode: pre_call", "mode: post_call"),
            ]),
            "another mode or default_on",
        ),
        (
            list(&[entry(&one, ", weight: -1")]),
            "expected a number from 0",
        ),
        (
            list(&["    - {guardrail_name: judge}\n".to_owned()]),
            "needs guardrail_name and litellm_params.guardrail",
        ),
    ] {
        let refused = Gateway::builder(format!("{own}{bad}"))
            .expect_refusal()
            .await;
        assert!(
            refused.output.contains("guardrail_list["),
            "{}",
            refused.output
        );
        assert!(refused.output.contains(words), "{}", refused.output);
    }
}
