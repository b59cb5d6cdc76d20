use super::*;

fn found(config: &str, env: &[(&str, &str)]) -> Result<Option<RedisSettings>, String> {
    let env = Env::new(env.iter().copied());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, config).unwrap();
    let loaded = witgate_config::load(&witgate_config::Source::File(file), &env).unwrap();
    settings(&loaded)
}

fn place(config: &str, env: &[(&str, &str)]) -> Option<String> {
    let settings = found(config, env).unwrap();
    settings.map(|settings| settings.place.to_string())
}

#[test]
fn where_redis_is() {
    let cache =
        |params: &str| format!("litellm_settings: {{cache: true, cache_params: {{{params}}}}}\n");
    let router = "router_settings: {redis_host: r, redis_port: '7'}\n";
    let both = format!("{router}{}", cache("type: redis, host: c"));
    for (config, env, expected) in [
        (router, &[][..], Some("r:7")),
        ("router_settings: {redis_host: r}\n", &[], None),
        (
            "router_settings: {redis_url: 'redis://u:1'}\n",
            &[],
            Some("u:1"),
        ),
        (&both, &[], Some("r:7")),
        (&cache("type: redis, host: c"), &[], Some("c:6379")),
        (
            &cache("type: redis, host: c"),
            &[("REDIS_PORT", "8")],
            Some("c:8"),
        ),
        (
            &cache("type: redis"),
            &[("REDIS_HOST", "e")],
            Some("e:6379"),
        ),
        (
            &cache("type: redis"),
            &[("REDIS_HOST", "e"), ("REDIS_URL", "redis://u")],
            Some("u:6379"),
        ),
        (
            &cache("type: redis, host: c"),
            &[("REDIS_URL", "redis://u")],
            Some("c:6379"),
        ),
        (
            &cache("type: redis, redis_startup_nodes: [{host: a, port: '1'}, {host: b, port: 2}]"),
            &[],
            Some("the cluster of a:1, b:2"),
        ),
        (
            &cache("type: redis"),
            &[("REDIS_CLUSTER_NODES", r#"[{"host":"a","port":1}]"#)],
            Some("the cluster of a:1"),
        ),
        (
            &cache("type: redis, service_name: m, sentinel_nodes: [[a, 1]]"),
            &[],
            Some("m of the sentinels a:1"),
        ),
        (
            "litellm_settings: {cache: true}\n",
            &[("REDIS_HOST", "e")],
            Some("e:6379"),
        ),
        ("litellm_settings: {cache: true}\n", &[], None),
        (&cache("type: local"), &[("REDIS_HOST", "e")], None),
        (
            "litellm_settings: {cache: false, cache_params: {type: redis, host: c}}\n",
            &[],
            None,
        ),
    ] {
        assert_eq!(place(config, env).as_deref(), expected, "{config} {env:?}");
    }
}

#[test]
fn options_of_the_client() {
    let config = "router_settings: {redis_host: r, redis_port: 7, redis_password: hunter2, cache_kwargs: {db: 3, ssl: true, ssl_cert_reqs: none, socket_timeout: 2}}\nlitellm_settings: {cache: true, cache_params: {type: local, namespace: ns}}\n";
    let settings = found(config, &[("REDIS_USERNAME", "me"), ("REDIS_DB", "5")]).unwrap();
    let settings = settings.unwrap();
    assert_eq!(settings.username.as_deref(), Some("me"));
    assert_eq!(settings.password, Some(Secret::new("hunter2")));
    assert_eq!(
        (settings.db, settings.socket_timeout),
        (3, Duration::from_secs(2))
    );
    assert_eq!(settings.namespace.as_deref(), Some("ns"));
    assert!(settings.tls.unwrap().unverified);
}

#[test]
fn what_is_wrong_is_told() {
    let cache = |params: &str| {
        format!("litellm_settings: {{cache: true, cache_params: {{type: redis, {params}}}}}\n")
    };
    for (params, told) in [
        ("ttl: 5", "names no Redis"),
        ("host: h, port: x", "port: expected a number"),
        ("sentinel_nodes: [[a, 1]]", "service_name must be said"),
        ("host: h, ssl: true, ssl_ca_certs: /none.pem", "/none.pem"),
        (
            "host: h, socket_timeout: 0",
            "socket_timeout: expected seconds",
        ),
    ] {
        let error = found(&cache(params), &[]).unwrap_err();
        assert!(error.contains(told), "{params}: {error}");
    }
}
