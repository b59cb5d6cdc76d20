//! What wit-bindgen makes of `wit/`: the host's interfaces once, and one module per kind of plugin
//! that refers to them, so that the same `Principal` or `Secret` serves every kind.
//!
//! Not part of the promise of this crate: use the modules that wrap it.
#![allow(missing_docs, reason = "generated code")]

/// The interfaces the host offers, and the types all kinds share.
pub mod host {
    wit_bindgen::generate!({
        inline: r#"
            package witgate:sdk;
            world host {
                import witgate:host/settings@0.1.0;
                import witgate:host/secrets@0.1.0;
                import witgate:host/http@0.1.0;
                import witgate:host/sign@0.1.0;
                import witgate:host/jwt@0.1.0;
                import witgate:host/clock@0.1.0;
                import witgate:host/random@0.1.0;
                import witgate:host/log@0.1.0;
                import witgate:host/metrics@0.1.0;
                import witgate:host/files@0.1.0;
                import witgate:host/body@0.1.0;
                import witgate:host/kv@0.1.0;
                import witgate:host/request@0.1.0;
                import witgate:host/llm@0.1.0;
                import witgate:host/mail@0.1.0;
            }
        "#,
        path: ["../../wit/types", "../../wit/host"],
        generate_all,
        generate_unused_types: true,
    });
}

/// Exports of a log sink.
pub mod log_sink {
    wit_bindgen::generate!({
        world: "witgate:log-sink/log-sink-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/log-sink"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/sign@0.1.0": crate::bindings::host::witgate::host::sign,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
            "witgate:host/llm@0.1.0": crate::bindings::host::witgate::host::llm,
            "witgate:host/mail@0.1.0": crate::bindings::host::witgate::host::mail,
            "witgate:host/files@0.1.0": crate::bindings::host::witgate::host::files,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::log_sink",
    });
}

/// Exports of an alerter.
pub mod alerter {
    wit_bindgen::generate!({
        world: "witgate:alerter/alerter-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/alerter"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
            "witgate:host/llm@0.1.0": crate::bindings::host::witgate::host::llm,
            "witgate:host/mail@0.1.0": crate::bindings::host::witgate::host::mail,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::alerter",
    });
}

/// Exports of a guardrail.
pub mod guardrail {
    wit_bindgen::generate!({
        world: "witgate:guardrail/guardrail-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/guardrail"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
            "witgate:host/llm@0.1.0": crate::bindings::host::witgate::host::llm,
            "witgate:host/body@0.1.0": crate::bindings::host::witgate::host::body,
            "witgate:host/request@0.1.0": crate::bindings::host::witgate::host::request,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::guardrail",
    });
}

/// Exports of a request hook.
pub mod request_hook {
    wit_bindgen::generate!({
        world: "witgate:request-hook/request-hook-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/request-hook"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
            "witgate:host/body@0.1.0": crate::bindings::host::witgate::host::body,
            "witgate:host/llm@0.1.0": crate::bindings::host::witgate::host::llm,
            "witgate:host/mail@0.1.0": crate::bindings::host::witgate::host::mail,
            "witgate:host/request@0.1.0": crate::bindings::host::witgate::host::request,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::request_hook",
    });
}

/// Exports of an authenticator.
pub mod authenticator {
    wit_bindgen::generate!({
        world: "witgate:authenticator/authenticator-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/authenticator"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
            "witgate:host/llm@0.1.0": crate::bindings::host::witgate::host::llm,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::authenticator",
    });
}

/// Exports of a key policy.
pub mod key_policy {
    wit_bindgen::generate!({
        world: "witgate:key-policy/key-policy-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/key-policy"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
            "witgate:host/mail@0.1.0": crate::bindings::host::witgate::host::mail,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::key_policy",
    });
}

/// Exports of a router.
pub mod router {
    wit_bindgen::generate!({
        world: "witgate:router/router-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/router"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::router",
    });
}

/// Exports of a prompt manager.
pub mod prompt_manager {
    wit_bindgen::generate!({
        world: "witgate:prompt-manager/prompt-manager-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/prompt-manager"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
            "witgate:host/llm@0.1.0": crate::bindings::host::witgate::host::llm,
            "witgate:host/request@0.1.0": crate::bindings::host::witgate::host::request,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::prompt_manager",
    });
}

/// Exports of a secret manager.
pub mod secret_manager {
    wit_bindgen::generate!({
        world: "witgate:secret-manager/secret-manager-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/secret-manager"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/sign@0.1.0": crate::bindings::host::witgate::host::sign,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::secret_manager",
    });
}

/// Exports of a provider.
pub mod provider {
    wit_bindgen::generate!({
        world: "witgate:provider/provider-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/provider"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::provider",
    });
}

/// Exports of a plugin that signs users in.
pub mod sso {
    wit_bindgen::generate!({
        world: "witgate:sso/sso-plugin",
        path: ["../../wit/types", "../../wit/host", "../../wit/sso"],
        with: {
            "witgate:types/types@0.1.0": crate::bindings::host::witgate::types::types,
            "witgate:host/settings@0.1.0": crate::bindings::host::witgate::host::settings,
            "witgate:host/secrets@0.1.0": crate::bindings::host::witgate::host::secrets,
            "witgate:host/http@0.1.0": crate::bindings::host::witgate::host::http,
            "witgate:host/jwt@0.1.0": crate::bindings::host::witgate::host::jwt,
            "witgate:host/clock@0.1.0": crate::bindings::host::witgate::host::clock,
            "witgate:host/random@0.1.0": crate::bindings::host::witgate::host::random,
            "witgate:host/log@0.1.0": crate::bindings::host::witgate::host::log,
            "witgate:host/metrics@0.1.0": crate::bindings::host::witgate::host::metrics,
            "witgate:host/kv@0.1.0": crate::bindings::host::witgate::host::kv,
        },
        pub_export_macro: true,
        default_bindings_module: "witgate_plugin::bindings::sso",
    });
}
