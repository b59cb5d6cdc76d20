//! Generated from `wit/`: what plugins import. The kinds' own bindings are in `kinds/` and share these.
#![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

wasmtime::component::bindgen!({
    inline: "
        package witgate:linked;
        world imports {
            import witgate:types/types@0.1.0;
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
    ",
    path: ["../../wit/types", "../../wit/host"],
    world: "witgate:linked/imports",
    imports: {
        "witgate:host/http.send": async | trappable,
        "witgate:host/http.send-with-secrets": async | trappable,
        "witgate:host/http.send-with-all": async | trappable,
        "witgate:host/jwt.verify": async | trappable,
        "witgate:host/http.send-as-client": async | trappable,
        "witgate:host/sign.send-aws": async | trappable,
        "witgate:host/sign.send-gcp": async | trappable,
        "witgate:host/sign.send-azure-app": async | trappable,
        "witgate:host/sign.send-azure-account": async | trappable,
        "witgate:host/http.send-all": async | trappable,
        "witgate:host/files.append": async | trappable,
        "witgate:host/llm.chat": async | trappable,
        "witgate:host/llm.stream": async | trappable,
        "witgate:host/llm.[method]answer-stream.next": async | trappable,
        "witgate:host/mail.send": async | trappable,
        default: trappable,
    },
    with: {
        "witgate:host/body.view": crate::capabilities::View,
        "witgate:host/secrets.secret": crate::capabilities::SecretHandle,
        "witgate:host/llm.answer-stream": crate::capabilities::AnswerStream,
    },
});
