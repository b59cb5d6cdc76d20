use super::*;

#[test]
fn paths_find_their_routes() {
    let post = [
        ("/chat/completions", "/chat/completions", None),
        ("/v1/chat/completions", "/chat/completions", None),
        (
            "/engines/gpt-4o/chat/completions",
            "/chat/completions",
            Some("gpt-4o"),
        ),
        (
            "/openai/deployments/a/b/chat/completions",
            "/chat/completions",
            Some("a/b"),
        ),
        (
            "/openai/deployments/a%2Fb/embeddings",
            "/embeddings",
            Some("a/b"),
        ),
        ("/engines/x/completions", "/completions", Some("x")),
        ("/engines/x/embeddings", "/embeddings", Some("x")),
        ("/v1/embeddings", "/embeddings", None),
        ("/config/reload", "/config/reload", None),
        (
            "/plugins/reload/reload",
            "/plugins/{name}/reload",
            Some("reload"),
        ),
        (
            "/plugins/a%2Fb/rollback",
            "/plugins/{name}/rollback",
            Some("a/b"),
        ),
    ];
    for (path, name, model) in post {
        match find(&Method::POST, path) {
            Found::Route(m) => {
                assert_eq!((m.route.name, m.named.as_deref()), (name, model), "{path}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    let get = [
        ("/v1/models", None),
        ("/models/openai/gpt-4o", Some("openai/gpt-4o")),
        ("/plugins", None),
        ("/plugins/my%20guard", Some("my guard")),
        ("/plugins/a.b/logs", Some("a.b")),
    ];
    for (path, model) in get {
        assert!(
            matches!(find(&Method::GET, path), Found::Route(m) if m.named.as_deref() == model),
            "{path}"
        );
    }
}

#[test]
fn other_paths_and_methods_are_told_apart() {
    assert!(matches!(
        find(&Method::GET, "/v1/chat/completions"),
        Found::WrongMethod
    ));
    assert!(matches!(
        find(&Method::POST, "/v1/models"),
        Found::WrongMethod
    ));
    for path in [
        "/",
        "/v2/chat/completions",
        "/engines//chat/completions",
        "/models/",
        "/engines/%zz/embeddings",
        "/plugins/a/b/reload",
        "/plugins//reload",
    ] {
        assert!(
            matches!(
                find(&Method::POST, path),
                Found::Nothing | Found::WrongMethod
            ),
            "{path}"
        );
    }
    assert!(matches!(find(&Method::GET, "/nothing"), Found::Nothing));
}
