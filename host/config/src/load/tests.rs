//! Loading, from text to typed configuration: the loader's vectors as tables, then each promise.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{GuardrailMode, GuardrailModes, PluginIsolation, RoutingStrategy, Secret, Severity};

fn text(text: &str) -> Source {
    Source::Text {
        name: "c.yaml".to_owned(),
        text: text.to_owned(),
    }
}

fn env(variables: &[(&str, &str)]) -> Env {
    Env::new(variables.iter().copied())
}

fn loaded(yaml: &str, variables: &[(&str, &str)]) -> Loaded {
    load(&text(yaml), &env(variables))
        .unwrap_or_else(|problems| panic!("{yaml}\n{}", lines(&problems).join("\n")))
}

fn refused(yaml: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let problems = load(&text(yaml), &env(variables)).expect_err(yaml);
    lines(
        &problems
            .into_iter()
            .filter(Problem::is_error)
            .collect::<Vec<_>>(),
    )
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

const MODEL: &str = "model_list: [{model_name: m, litellm_params: {model: openai/x}}]\n";

#[test]
fn what_must_not_be_served_is_refused_and_says_why() {
    let cases = [
        (
            "",
            "c.yaml: the configuration is empty; begin with a section such as `model_list:`",
        ),
        (
            "- a\n",
            "c.yaml:1:1: the configuration must be a mapping, not a list; begin with a section such as `model_list:`",
        ),
        (
            "include: b.yaml\n",
            "c.yaml:1:10 include: must be a list of file paths",
        ),
        (
            "include: [nowhere.yaml]\n",
            "c.yaml:1:11 include: the file ./nowhere.yaml does not exist",
        ),
        (
            "litellm_settings: {cache: true, cache_params: {type: memcached}}\n",
            "c.yaml:1:54 litellm_settings.cache_params.type: expected `local`, `semantic`, `redis`, `redis-semantic`, `qdrant-semantic`, `s3`, `disk`, `azure-blob`, `gcs` or `valkey-semantic`, found a text `memcached`",
        ),
        (
            "router_settings: {fallbacks: [{a: b}]}\n",
            "c.yaml:1:35 router_settings.fallbacks[0].a: expected a list of groups, found a text; write `- group: [first, second]`",
        ),
        (
            "router_settings: {fallbacks: [{a: [b], c: [d]}]}\n",
            "c.yaml:1:31 router_settings.fallbacks[0]: expected a mapping from one model group to a list of groups; write `- group: [first, second]`",
        ),
        (
            "litellm_settings: {default_fallbacks: b}\n",
            "c.yaml:1:39 litellm_settings.default_fallbacks: expected a list of texts, found a text `b`; write it in brackets",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {api_base: 'http://x'}}]\n",
            "c.yaml:1:14 model_list[0].litellm_params.model: is missing: `provider/name` of the upstream model; a `*` takes what the pattern in `model_name` matched",
        ),
        (
            "general_settings: {spend_report_frequency: 7h}\n",
            "c.yaml:1:44 general_settings.spend_report_frequency: expected a number of days such as `7d`, found a text `7h`",
        ),
        (
            "general_settings: {database_url: 'mysql://u:p@h/d'}\n",
            "c.yaml:1:34 general_settings.database_url: is not the URL of a database known here; write `postgresql://…` or `sqlite:PATH`, or leave it out for the SQLite file in the data directory",
        ),
        (
            "general_settings: {master_key: 1234}\n",
            "c.yaml:1:32 general_settings.master_key: expected a text, found an integer; write it in quotes",
        ),
        (
            "general_settings: {max_request_size_mb: big}\n",
            "c.yaml:1:41 general_settings.max_request_size_mb: expected a number, found a text `big`",
        ),
        (
            "litellm_settings: {json_logs: maybe}\n",
            "c.yaml:1:31 litellm_settings.json_logs: expected true or false, found a text `maybe`",
        ),
        (
            "general_settings: []\n",
            "c.yaml:1:19 general_settings: expected a mapping, found a list",
        ),
        (
            "model_list: {a: b}\n",
            "c.yaml:1:13 model_list: expected a list of mappings, found a mapping",
        ),
        (
            "router_settings: {health_check_interval: 5}\n",
            "c.yaml:1:19 router_settings.health_check_interval: does not belong under router_settings; move it to general_settings",
        ),
        (
            "guardrails: [{guardrail_name: g, litellm_params: {mode: pre_call}}]\n",
            "c.yaml:1:14 guardrails[0].litellm_params.guardrail: is missing: The plugin that judges",
        ),
        (
            "guardrails: [{guardrail_name: g, litellm_params: {guardrail: x, mode: before}}]\n",
            "c.yaml:1:71 guardrails[0].litellm_params.mode: expected `pre_call`, `post_call`, `during_call`, `logging_only`, `pre_mcp_call`, `during_mcp_call`, `post_mcp_call` or `realtime_input_transcription`, or a list, each item `pre_call`, `post_call`, `during_call`, `logging_only`, `pre_mcp_call`, `during_mcp_call`, `post_mcp_call` or `realtime_input_transcription`, or a mapping, found a text `before`",
        ),
        (
            "guardrails: [{guardrail_name: g, litellm_params: {guardrail: x, mode: {default: before}}}]\n",
            "c.yaml:1:81 guardrails[0].litellm_params.mode.default: expected `pre_call`, `post_call`, `during_call`, `logging_only`, `pre_mcp_call`, `during_mcp_call`, `post_mcp_call` or `realtime_input_transcription`",
        ),
        (
            "plugins: {p: {limits: {memory_mb: -1}}}\n",
            "c.yaml:1:35 plugins.p.limits.memory_mb: expected a whole number from 0, found an integer `-1`",
        ),
    ];
    for (yaml, expected) in cases {
        assert_eq!(refused(yaml, &[]), [expected], "{yaml}");
    }
}

#[test]
fn what_is_odd_is_served_with_a_warning() {
    let cases = [
        (
            "router_settings: {foo: 1}\n",
            "c.yaml:1:19 router_settings.foo: is an unknown key and is ignored",
        ),
        (
            "router_settings: {num_retrys: 1}\n",
            "c.yaml:1:19 router_settings.num_retrys: is an unknown key and is ignored; did you mean `num_retries`?",
        ),
        (
            "master_key: x\n",
            "c.yaml:1:1 master_key: is an unknown key and is ignored; it belongs under `general_settings`",
        ),
        (
            "litellm_settings: {master_key: x}\n",
            "c.yaml:1:20 litellm_settings.master_key: is an unknown key and is ignored; it belongs under `general_settings`",
        ),
        (
            "model_list: []\nmodel_list: []\n",
            "c.yaml:2:1 model_list: is given twice; this one counts; remove the one in line 1",
        ),
        (
            "model_list: [{model_name: m, litellm_params: {model: openai/x, api_kye: k}}]\n",
            "c.yaml:1:64 model_list[0].litellm_params.api_kye: is no key of ours and is passed on as it is; did you mean `api_key`?",
        ),
        (
            "model_list: [{model_name: m, litellm_params: {model: x, api_key: os.environ/NOPE}}]\n",
            "c.yaml:1:66 model_list[0].litellm_params.api_key: the variable NOPE is not set; the key counts as not given; set NOPE, or remove the reference",
        ),
        (
            "model_list: [{model_name: m, litellm_params: {model: x}, model_info: {mode: embeding}}]\n",
            "c.yaml:1:77 model_list[0].model_info.mode: the value `embeding` is none that is known; did you mean `embedding`?",
        ),
        (
            "router_settings: {enable_pre_call_check: true, enable_pre_call_checks: false}\n",
            "c.yaml:1:19 router_settings.enable_pre_call_check: is another spelling of `enable_pre_call_checks`, which is also given and counts",
        ),
    ];
    for (yaml, expected) in cases {
        assert_eq!(lines(&loaded(yaml, &[]).problems), [expected], "{yaml}");
    }
}

#[test]
fn what_is_fine_is_served_in_silence() {
    for yaml in [
        "model_list: []\n",
        "general_settings:\nlitellm_settings: ~\n",
        "general_settings: {database_url: 'postgresql://u:p@h/d'}\n",
        "{}\n",
        "router_settings: {enable_pre_call_check: true}\n",
        "general_settings: {key_management_system: azure_kms}\n",
        "general_settings: {maximum_spend_logs_retention_period: 3}\n",
        "litellm_settings: {cache: on, cache_params: {type: local, ttl: 600, my_redis_option: 1}}\n",
        "model_list: [{model_name: 'a/*', litellm_params: {model: 'openai/*', temperature: 0.1, top_p: 1}}]\n",
        "litellm_settings: {callbacks: otel}\n",
        "general_settings: {service_account_settings: [{enforced_params: [user]}]}\n",
        "general_settings: {ui_access_mode: admin_only}\n",
        "plugins: {p: , q: {source: q.wasm}}\n",
        "mcp_servers: {s: {url: 'https://x', transport: sse}}\n",
    ] {
        assert_eq!(
            lines(&loaded(yaml, &[]).problems),
            Vec::<String>::new(),
            "{yaml}"
        );
    }
}

#[test]
fn the_documented_sample_is_served_unchanged() {
    let variables = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    let Loaded {
        config, problems, ..
    } = loaded(include_str!("../../tests/data/documented.yaml"), &variables);
    let problems = lines(&problems);
    assert!(
        problems
            .iter()
            .all(|problem| problem.contains("no model group is called")
                || problem.contains("`email` has nobody to write to")),
        "{}",
        problems.join("\n")
    );
    assert_eq!(config.litellm.success_callback, ["langfuse"]);
    assert_eq!(config.general.custom_auth.as_deref(), Some("string"));
    assert_eq!(config.model_list[0].model_info["max_tokens"], json!(2048));
}

#[test]
fn references_take_the_type_of_their_key() {
    let yaml = "
model_list:
  - model_name: m
    litellm_params: {model: openai/x, api_key: os.environ/KEY, rpm: os.environ/RPM, user: os.environ/FLAG, stop: [os.environ/KEY], tags: [os.environ/KEY]}
litellm_settings: {num_retries: os.environ/R, turn_off_message_logging: os.environ/T, ssl_certificate: http://os.environ/H}
general_settings: {master_key: os.environ/MASTER, completion_model: os.environ/FLAG}
";
    let variables = [
        ("KEY", "sk-1"),
        ("RPM", "60"),
        ("FLAG", "True"),
        ("R", "4"),
        ("T", "TRUE"),
        ("MASTER", "1234"),
    ];
    let Loaded {
        config, problems, ..
    } = loaded(yaml, &variables);
    assert!(problems.is_empty(), "{problems:?}");
    let params = &config.model_list[0].params;
    assert_eq!(params.api_key.as_ref().map(Secret::reveal), Some("sk-1"));
    assert_eq!(params.rpm, Some(60));
    assert_eq!(
        (&params.extra["user"], &params.extra["stop"]),
        (&json!(true), &json!(["sk-1"]))
    );
    assert_eq!(params.tags, ["os.environ/KEY"]);
    assert_eq!(config.litellm.num_retries, Some(4));
    assert!(config.litellm.turn_off_message_logging);
    assert_eq!(
        config.litellm.ssl_certificate.as_deref(),
        Some("http://os.environ/H")
    );
    assert_eq!(
        config.general.master_key.as_ref().map(Secret::reveal),
        Some("1234")
    );
    assert_eq!(config.general.completion_model.as_deref(), Some("True"));
}

#[test]
fn a_variable_of_the_wrong_type_is_named_and_never_quoted() {
    let problems = refused(
        "litellm_settings:\n  num_retries: os.environ/R\n",
        &[("R", "hunter2")],
    );
    assert_eq!(
        problems,
        [
            "c.yaml:2:16 litellm_settings.num_retries: expected a whole number from 0, but the variable R holds something else; correct R"
        ]
    );
}

#[test]
fn environment_variables_lie_over_the_process() {
    let yaml = "environment_variables: {A: '1', PATH: /x, B: os.environ/NOPE, C: os.environ/D, E: 5, F: true}\n";
    let Loaded {
        config,
        problems,
        environment,
        ..
    } = loaded(
        yaml,
        &[("A", "2"), ("B", "old"), ("D", "d"), ("PATH", "/bin")],
    );
    assert_eq!(environment.get("A"), Some("1"));
    assert_eq!(environment.process("A"), Some("2"));
    assert_eq!(
        (
            environment.get("B"),
            environment.get("C"),
            environment.get("PATH")
        ),
        (Some("old"), Some("d"), Some("/bin"))
    );
    assert_eq!(
        (environment.get("E"), environment.get("F")),
        (Some("5"), Some("true"))
    );
    assert_eq!(
        config.environment.keys().collect::<Vec<_>>(),
        ["A", "C", "E", "F"]
    );
    assert_eq!(
        lines(&problems),
        [
            "c.yaml:1:25 environment_variables.A: replaces a different value of the process environment",
            "c.yaml:1:33 environment_variables.PATH: may not be set by a configuration and is left as it is",
            "c.yaml:1:46 environment_variables.B: the variable NOPE is not set; the variable is left as it is; set NOPE, or remove the reference",
        ]
    );
}

#[test]
fn a_variable_set_by_the_file_is_seen_by_the_rest_of_it() {
    let yaml =
        "environment_variables: {KEY: sk-1}\ngeneral_settings: {master_key: os.environ/KEY}\n";
    assert_eq!(
        loaded(yaml, &[])
            .config
            .general
            .master_key
            .as_ref()
            .map(Secret::reveal),
        Some("sk-1")
    );
}

#[test]
fn variables_give_what_the_file_leaves_out() {
    let variables = [
        ("LITELLM_MASTER_KEY", "sk-m"),
        ("JSON_LOGS", "on"),
        ("REQUEST_TIMEOUT", "12.5"),
        ("DATABASE_URL", "sqlite:/tmp/x"),
    ];
    let config = loaded(MODEL, &variables).config;
    assert_eq!(
        config.general.master_key.as_ref().map(Secret::reveal),
        Some("sk-m")
    );
    assert_eq!(
        config.general.database_url.as_ref().map(Secret::reveal),
        Some("sqlite:/tmp/x")
    );
    assert_eq!(
        (config.litellm.json_logs, config.litellm.request_timeout),
        (true, Some(12.5))
    );
    assert_eq!(config.raw.get("general_settings"), None);
    let yaml = "general_settings: {master_key: sk-file}\nlitellm_settings: {json_logs: false, request_timeout: 3}\n";
    let config = loaded(yaml, &variables).config;
    assert_eq!(
        config.general.master_key.as_ref().map(Secret::reveal),
        Some("sk-file")
    );
    assert_eq!(
        (config.litellm.json_logs, config.litellm.request_timeout),
        (false, Some(3.0))
    );
    let absent = loaded(
        "general_settings: {master_key: os.environ/NOPE}\n",
        &variables,
    )
    .config;
    assert_eq!(
        absent.general.master_key.as_ref().map(Secret::reveal),
        Some("sk-m")
    );
}

#[test]
fn variables_of_the_wrong_type_are_errors_only_when_they_are_flags() {
    assert_eq!(
        refused(MODEL, &[("JSON_LOGS", "maybe")]),
        ["JSON_LOGS: expected true or false; correct JSON_LOGS, or unset it"]
    );
    let problems = loaded(
        MODEL,
        &[("REQUEST_TIMEOUT", "soon"), ("USE_AWS_KMS", "maybe")],
    )
    .problems;
    assert_eq!(
        lines(&problems),
        [
            "REQUEST_TIMEOUT: expected a number; the default is used; correct REQUEST_TIMEOUT, or unset it",
            "USE_AWS_KMS: expected true or false; the default is used; correct USE_AWS_KMS, or unset it",
        ]
    );
}

#[test]
fn includes_are_joined_breadth_first_and_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, text).expect("written");
    };
    write(
        "main.yaml",
        "include: [sub/b.yaml, c.yaml]\nmodel_list: [{model_name: main, litellm_params: {model: x}}]\nlitellm_settings: {num_retries: 1, json_logs: true}\n",
    );
    write(
        "sub/b.yaml",
        "include: [d.yaml, c.yaml, ../main.yaml]\nmodel_list: [{model_name: b, litellm_params: {model: x}}]\nlitellm_settings: {num_retries: 2}\n",
    );
    write(
        "c.yaml",
        "model_list: [{model_name: c, litellm_params: {model: x}}]\n",
    );
    write(
        "sub/d.yaml",
        "model_list: [{model_name: d, litellm_params: {model: x, rpm: 5}}]\n",
    );
    let path = folder.path().join("main.yaml");
    let Loaded {
        config,
        problems,
        files,
        ..
    } = load(&Source::File(path.clone()), &Env::default()).expect("loaded");
    let names: Vec<&str> = config
        .model_list
        .iter()
        .map(|entry| entry.model_name.as_str())
        .collect();
    assert_eq!(names, ["main", "b", "c", "d"]);
    assert_eq!(
        (config.litellm.num_retries, config.litellm.json_logs),
        (Some(2), false)
    );
    let file_names: Vec<_> = files
        .iter()
        .filter_map(|file| file.file_name()?.to_str())
        .collect();
    assert_eq!(file_names, ["main.yaml", "b.yaml", "c.yaml", "d.yaml"]);
    assert!(config.raw.get("include").is_none());
    let problems = lines(&problems);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0]
            .contains("main.yaml:3:1 litellm_settings: is replaced as a whole by the one in"),
        "{problems:?}"
    );
    assert!(
        problems[1].contains("b.yaml:1:19 include: c.yaml is not beside the file that includes it"),
        "{problems:?}"
    );
    // Problems name the file they are in.
    write(
        "c.yaml",
        "model_list: [{model_name: c, litellm_params: {model: x, rpm: many}}]\n",
    );
    let refused = load(&Source::File(path), &Env::default()).expect_err("refused");
    let error = refused
        .iter()
        .find(|problem| problem.is_error())
        .expect("an error");
    assert_eq!(
        error.file.as_deref().map(Path::new),
        Some(folder.path().join("c.yaml").as_path())
    );
    assert_eq!(
        (error.line, error.col, error.path.as_str()),
        (1, 62, "model_list[2].litellm_params.rpm")
    );
}

#[test]
fn a_missing_file_is_named() {
    let problems =
        load(&Source::File("/nowhere/c.yaml".into()), &Env::default()).expect_err("refused");
    assert!(
        problems[0]
            .to_string()
            .starts_with("/nowhere/c.yaml: the configuration cannot be opened"),
        "{problems:?}"
    );
}

#[test]
fn a_deployment_is_split_into_what_each_room_needs() {
    let yaml = "
defaults: &defaults {timeout: 30, headers: {X-A: 1, X-B: b}}
model_list:
  - model_name: fast
    litellm_params:
      <<: *defaults
      model: azure/d1
      base_url: http://localhost:1/v1
      extra_headers: {X-B: c}
      temperature: 0.2
      top_p: 1
      max_parallel_requests: 5
      input_cost_per_token: 0.0000015
      aws_region_name: eu-west-1
      model_info: {mode: chat, note: nested}
    model_info: {id: 7, base_model: azure/gpt-4o-mini, output_cost_per_token: 0.000002, note: own, team: [a]}
";
    let Loaded {
        config, problems, ..
    } = loaded(yaml, &[]);
    assert_eq!(
        lines(&problems),
        ["c.yaml:2:1 defaults: is an unknown key and is ignored"]
    );
    let entry = &config.model_list[0];
    let params = &entry.params;
    assert_eq!(
        (
            params.model.as_str(),
            params.api_base.as_deref(),
            params.timeout
        ),
        ("azure/d1", Some("http://localhost:1/v1"), Some(30.0))
    );
    let headers: Vec<_> = params
        .extra_headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.reveal()))
        .collect();
    assert_eq!(headers, [("X-A", "1"), ("X-B", "c")]);
    assert_eq!(
        params.extra,
        indexmap::IndexMap::from([
            ("temperature".to_owned(), json!(0.2)),
            ("top_p".to_owned(), json!(1))
        ])
    );
    assert_eq!(params.provider["aws_region_name"], "eu-west-1");
    assert_eq!(entry.price("input_cost_per_token"), Some(&json!(0.0000015)));
    assert_eq!(entry.price("output_cost_per_token"), Some(&json!(0.000002)));
    assert_eq!(entry.id(), Some("7"));
    assert_eq!(
        Value::Object(entry.model_info.clone()),
        json!({"mode": "chat", "note": "own", "id": "7", "base_model": "azure/gpt-4o-mini", "output_cost_per_token": 0.000002, "team": ["a"]})
    );
    assert_eq!(entry.position.line, 4);
    assert_eq!(
        config.planned_in_use(),
        [(
            "model_list[].litellm_params.aws_region_name".to_owned(),
            "AWS region.".to_owned()
        )]
    );
}

#[test]
fn settings_guardrails_and_plugins_become_types() {
    let yaml = "
router_settings:
  routing_strategy: latency-based-routing
  model_group_alias: {gpt: m, secret-gpt: {model: m, hidden: true}}
  fallbacks: [{m: [n, {model: o, temperature: 1}]}]
  retry_after: '1.5'
  default_litellm_params: {max_tokens: 5}
litellm_settings: {callbacks: otel, success_callback: [langfuse], ssl_verify: /etc/ca.pem}
callback_settings: {datadog: {message_logging: false}, langfuse: {host: 'http://x'}}
credential_list: [{credential_name: c, credential_values: {api_key: k, api_base: 'http://x'}, credential_info: {description: d}}]
guardrails:
  - guardrail_name: g
    litellm_params: {guardrail: hide-secrets, mode: [pre_call, post_call], default_on: true, api_key: k, threshold: 0.5}
    guardrail_info: {params: []}
  - guardrail_name: h
    litellm_params: {guardrail: my.guard, mode: {tags: {a: pre_call}, default: [logging_only]}}
plugins:
  hide-secrets:
    source: x.wasm
    settings: {a: 1}
    grants: {egress: ['*.example.com'], env: [A], files: {log: out.jsonl}, private_network: [10.0.0.0/8]}
    limits: {memory_mb: 32, cpu_ms: 100}
    isolation: call
    fail: closed
    recycle: {calls: 5}
    order: -1
model_list:
  - {model_name: m, litellm_params: {model: x, litellm_credential_name: c}}
  - {model_name: n, litellm_params: {model: x}}
  - {model_name: o, litellm_params: {model: x}}
";
    let Loaded {
        config, problems, ..
    } = loaded(yaml, &[]);
    assert!(problems.is_empty(), "{:?}", lines(&problems));
    assert_eq!(
        config.router.routing_strategy,
        RoutingStrategy::LatencyBasedRouting
    );
    assert!(
        config.router.model_group_alias["secret-gpt"].hidden
            && !config.router.model_group_alias["gpt"].hidden
    );
    assert_eq!(
        config.router.fallbacks[0]["m"],
        [json!("n"), json!({"model": "o", "temperature": 1})]
    );
    assert_eq!(
        (
            config.router.retry_after,
            config.router.default_litellm_params["max_tokens"].as_i64()
        ),
        (Some(1.5), Some(5))
    );
    assert_eq!(
        (
            config.litellm.callbacks.as_slice(),
            config.litellm.success_callback.as_slice()
        ),
        (
            ["otel".to_owned()].as_slice(),
            ["langfuse".to_owned()].as_slice()
        )
    );
    assert_eq!(config.litellm.ssl_verify, Some(json!("/etc/ca.pem")));
    assert_eq!(
        config.callback_settings["langfuse"],
        json!({"host": "http://x"})
    );
    assert_eq!(
        config
            .credential("c")
            .map(|credential| &credential.values["api_base"]),
        Some(&json!("http://x"))
    );
    let [g, h] = config.guardrails.as_slice() else {
        panic!("two guardrails")
    };
    assert!(
        g.runs_at(GuardrailMode::PostCall) && !g.runs_at(GuardrailMode::DuringCall) && g.default_on
    );
    assert_eq!(
        (
            g.params.keys().map(String::as_str).collect::<Vec<_>>(),
            g.api_key.as_ref().map(Secret::reveal)
        ),
        (vec!["threshold"], Some("k"))
    );
    assert!(
        matches!(&h.mode, GuardrailModes::ByTag { tags, default } if tags["a"] == [GuardrailMode::PreCall] && default == &[GuardrailMode::LoggingOnly])
    );
    let plugin = &config.plugins["hide-secrets"];
    assert_eq!(
        (
            plugin.limits.memory_mb,
            plugin.limits.timeout_ms,
            plugin.isolation
        ),
        (Some(32), None, Some(PluginIsolation::Call))
    );
    assert_eq!(
        (
            plugin.grants.egress.as_deref().unwrap_or_default(),
            plugin.order
        ),
        (["*.example.com".to_owned()].as_slice(), Some(-1))
    );
    assert_eq!(config.planned_in_use(), []);
}

#[test]
fn planned_keys_in_use_are_listed_unless_they_say_what_holds_anyway() {
    let yaml = "litellm_settings: {enable_preview_features: true, drop_params: false, add_function_to_prompt: false}\ngeneral_settings: {coding_agent_cost_tracking: true}\n";
    let listed: Vec<String> = loaded(
        yaml,
        &[
            ("BATCH_STATUS_POLL_MAX_ATTEMPTS", "5"),
            ("AWS_REGION_NAME", "x"),
            ("NO_DOCS", "false"),
        ],
    )
    .config
    .planned_in_use()
    .into_iter()
    .map(|(path, _)| path)
    .collect();
    assert_eq!(
        listed,
        [
            "litellm_settings.enable_preview_features",
            "general_settings.coding_agent_cost_tracking",
            "BATCH_STATUS_POLL_MAX_ATTEMPTS"
        ]
    );
}

#[test]
fn what_never_has_an_effect_is_listed_with_the_reason() {
    let yaml = "general_settings: {litellm_license: abc}\nrouter_settings: {ignore_invalid_deployments: true}\n";
    let config = loaded(yaml, &[("AIOHTTP_TRUST_ENV", "True")]).config;
    let accepted: Vec<String> = config
        .accepted_in_use()
        .into_iter()
        .map(|(path, reason)| format!("{path}: {reason}"))
        .collect();
    assert_eq!(
        accepted,
        [
            "general_settings.litellm_license: every feature works without a licence",
            "AIOHTTP_TRUST_ENV: it tunes Python's aiohttp; proxy variables are honoured anyway",
        ]
    );
    assert!(config.planned_in_use().is_empty());
    let told = check(&text(yaml), &env(&[("LITELLM_LOG", "debug")]));
    assert_eq!(
        lines(&told),
        [
            "c.yaml:1:37 general_settings.litellm_license: has no effect: every feature works without a licence"
        ]
    );
    assert!(
        load(&text(yaml), &Env::default())
            .expect("loaded")
            .problems
            .is_empty()
    );
}

#[test]
fn no_configuration_is_a_configuration() {
    let Loaded { config, files, .. } =
        load(&Source::Empty, &env(&[("LITELLM_MASTER_KEY", "sk-m")])).expect("loaded");
    assert!(config.model_list.is_empty() && files.is_empty());
    assert_eq!(
        config.general.master_key.as_ref().map(Secret::reveal),
        Some("sk-m")
    );
}

#[test]
fn no_secret_is_ever_shown() {
    let yaml = "
model_list: [{model_name: m, litellm_params: {model: x, api_key: hunter2, aws_secret_access_key: hunter2, extra_headers: {Authorization: hunter2}, my_token: hunter2}}]
general_settings: {master_key: os.environ/KEY, database_url: 'sqlite:hunter2', litellm_jwtauth: {user_id_jwt_field: sub}}
environment_variables: {X: hunter2}
credential_list: [{credential_name: c, credential_values: {api_key: hunter2, deep: {a: [hunter2]}}}]
guardrails: [{guardrail_name: g, litellm_params: {guardrail: a, mode: pre_call, api_key: hunter2, my_secret: hunter2}}]
plugins: {p: {settings: {api_key: hunter2}}}
callback_settings: {langfuse: {secret_key: hunter2, host: shown}}
";
    let Loaded {
        config,
        environment,
        problems,
        ..
    } = loaded(yaml, &[("KEY", "hunter2")]);
    for shown in [
        format!("{config:?}"),
        config.redacted().to_string(),
        format!("{environment:?}"),
        format!("{problems:?}"),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(
        config.redacted()["callback_settings"]["langfuse"]["host"],
        "shown"
    );
    assert_eq!(
        config.redacted()["general_settings"]["litellm_jwtauth"]["user_id_jwt_field"],
        "sub"
    );
    let wrong = "general_settings: {master_key: [hunter2], database_url: 77}\nrouter_settings: {redis_password: {a: hunter2}}\nlitellm_settings: {num_retries: os.environ/KEY}\n";
    for problem in refused(wrong, &[("KEY", "hunter2")]) {
        assert!(
            !problem.contains("hunter2") && !problem.contains("77"),
            "{problem}"
        );
    }
}

#[test]
fn problems_become_json() {
    let problems = check(&text("router_settings: {num_retrys: 1}\n"), &Env::default());
    assert_eq!(
        serde_json::to_value(&problems).expect("json"),
        json!([{
            "severity": "warning", "kind": "unknown-key", "file": "c.yaml", "line": 1, "col": 19,
            "path": "router_settings.num_retrys", "message": "is an unknown key and is ignored", "fix": "did you mean `num_retries`?",
        }])
    );
    assert_eq!(problems[0].severity, Severity::Warning);
}

/// Values and shapes a configuration may hold by mistake.
fn any_yaml() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("5".to_owned()),
        Just("-1.5".to_owned()),
        Just("~".to_owned()),
        Just("os.environ/A".to_owned()),
        Just("m".to_owned()),
        Just("pre_call".to_owned()),
        Just("7d".to_owned()),
        Just("'*'".to_owned()),
        Just("\"\\u00e9*a\"".to_owned()),
    ];
    let names: Vec<&'static str> = definitions()
        .iter()
        .map(crate::Definition::name)
        .filter(|name| *name != "*")
        .collect();
    leaf.prop_recursive(6, 48, 5, move |inner| {
        let name = proptest::sample::select(names.clone());
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::vec((name, inner), 0..5).prop_map(|entries| format!(
                "{{{}}}",
                entries
                    .iter()
                    .map(|(name, value)| format!("'{name}': {value}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_configuration_makes_the_loader_panic(section in proptest::sample::select(vec![
        "model_list", "litellm_settings", "general_settings", "router_settings", "guardrails", "plugins", "credential_list", "callback_settings", "environment_variables", "include", "mcp_servers",
    ]), value in any_yaml()) {
        let source = text(&format!("{section}: {value}\n"));
        let _ = check(&source, &env(&[("A", "hunter2")]));
    }

    #[test]
    fn no_deployment_makes_the_loader_panic(params in any_yaml(), info in any_yaml()) {
        let yaml = format!("model_list: [{{model_name: m, litellm_params: {params}, model_info: {info}}}]\n");
        for problem in check(&text(&yaml), &env(&[("A", "hunter2")])) {
            prop_assert!(!problem.to_string().contains("hunter2"));
        }
    }
}

#[test]
fn trust_and_registries_are_read_and_passwords_hidden() {
    let yaml = "plugin_trust: {keys: {ops: 'ed25519:AAAA'}}\nplugin_registries:\n  'r.example.com:5000': {username: me, password: os.environ/PW, plain_http: 'true'}\nplugins:\n  a: {source: 'oci://r.example.com/a:1', version: '>=1'}\n";
    let config = loaded(yaml, &[("PW", "hidden-word")]).config;
    assert_eq!(config.plugin_trust.keys["ops"], "ed25519:AAAA");
    let registry = &config.plugin_registries["r.example.com:5000"];
    assert_eq!(registry.username.as_deref(), Some("me"));
    assert_eq!(
        registry.password.as_ref().map(Secret::reveal),
        Some("hidden-word")
    );
    assert_eq!(registry.plain_http, Some(true));
    assert_eq!(config.plugins["a"].version.as_deref(), Some(">=1"));
    let shown = format!("{config:?} {}", config.redacted());
    assert!(!shown.contains("hidden-word"), "{shown}");
}
