//! Bearers that a server knows, proxies in front, and those who are shut out.

use super::*;

#[tokio::test]
async fn who_is_shut_out_stays_out_whoever_vouches() {
    let settings = json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "team"});
    let mut world = World::new(settings);
    let (status, message) = world
        .refused(json!({"sub": "gone", "team": "red"}), PLAIN)
        .await;
    assert!(
        status == 401 && message.contains("deactivated"),
        "{message}"
    );
    let (status, message) = world
        .refused(json!({"sub": "ann", "team": "shut"}), PLAIN)
        .await;
    assert!(
        status == 401 && message.contains("Team=shut is blocked"),
        "{message}"
    );
    world.federation.introspection = Some(introspection(None));
    world.federation.proxy = Some(proxy());
    for said in [
        json!({"user": "gone"}),
        json!({"user": "ann", "team": "shut"}),
    ] {
        *world.provider.answer.lock() = (200, said.clone());
        let bearer = Some("opaque");
        let refused = world.identify(Call { bearer, ..PLAIN }).await.unwrap_err();
        assert_eq!(refused.0, 401, "{said}");
    }
    for headers in [
        [("x-user", "gone"), ("x-a", "")],
        [("x-user", "ann"), ("x-team", "shut")],
    ] {
        let headers = &headers;
        let refused = world.identify(Call { headers, ..PLAIN }).await.unwrap_err();
        assert_eq!(refused.0, 401, "{headers:?}");
    }
}

fn introspection(client: Option<&str>) -> Introspection {
    Introspection {
        url: match client {
            Some(_) => "https://idp.example/introspect".to_owned(),
            None => "https://idp.example/userinfo".to_owned(),
        },
        user_field: "user".to_owned(),
        role_field: "role".to_owned(),
        team_field: "team".to_owned(),
        client: client.map(|id| (id.to_owned(), zeroize::Zeroizing::new("secret".to_owned()))),
    }
}

fn proxy() -> Proxy {
    let of = |field: &str, header: &str| (field.to_owned(), header.to_owned());
    Proxy {
        mappings: vec![of("user_id", "x-user"), of("team_id", "x-team")],
        trusted: vec![witgate_identity::network("10.0.0.0/8").unwrap()],
    }
}

/// What the server answers, with or without credentials of a client, and whether the bearer is good.
#[tokio::test]
async fn an_opaque_bearer_is_what_its_server_says() {
    for (status, said, plain, client) in [
        (200, json!({"active": true, "user": "ann"}), true, true),
        (200, json!({"user": "ann"}), true, false),
        (200, json!({"active": false, "user": "ann"}), false, false),
        (200, json!({"active": "true", "user": "ann"}), false, false),
        (200, json!({"active": null, "user": "ann"}), false, false),
        (401, json!({"active": true, "user": "ann"}), false, false),
        (200, json!(["ann"]), false, false),
    ] {
        for (own, is_good) in [(None, plain), (Some("me"), client)] {
            let mut world = World::new(ann());
            world.federation.introspection = Some(introspection(own));
            *world.provider.answer.lock() = (status, said.clone());
            let bearer = Some("opaque");
            let found = world.identify(Call { bearer, ..PLAIN }).await;
            assert_eq!(found.is_ok(), is_good, "{status} {said} {own:?} {found:?}");
        }
    }
    // Keys of ours are told to nobody, and who manages is not asked for.
    let mut world = World::new(ann());
    world.federation.introspection = Some(introspection(None));
    *world.provider.answer.lock() = (200, json!({"user": "ann"}));
    for (bearer, route) in [
        ("sk-ours", "/chat/completions"),
        ("sk-a.b.c", "/chat/completions"),
        ("opaque", "/key/generate"),
    ] {
        let bearer = Some(bearer);
        let found = world
            .identify(Call {
                bearer,
                route,
                ..PLAIN
            })
            .await;
        assert!(matches!(found, Ok(None)), "{bearer:?} {found:?}");
    }
    assert_eq!(world.provider.asked.load(Ordering::Acquire), 0);
    for status in [500, 503, 429] {
        world.provider.answer.lock().0 = status;
        let bearer = Some("opaque");
        let refused = world.identify(Call { bearer, ..PLAIN }).await.unwrap_err();
        assert_eq!(refused.0, 503, "{status}");
    }
}

#[tokio::test]
async fn a_proxy_is_believed_at_its_addresses_only() {
    let mut world = World::new(ann());
    world.federation.proxy = Some(proxy());
    let user = [("x-user", "ann")];
    let team = [("x-team", "red")];
    for (headers, socket, is_known) in [
        (&user[..], "10.9.9.9", true),
        (&team[..], "10.9.9.9", true),
        (&user[..], "11.0.0.1", false),
        (&user[..], "", false),
        (&[][..], "10.9.9.9", false),
        (&[("x-user", " ")][..], "10.9.9.9", false),
    ] {
        let found = world
            .identify(Call {
                headers,
                socket,
                ..PLAIN
            })
            .await
            .unwrap();
        assert_eq!(found.is_some(), is_known, "{headers:?} {socket:?}");
    }
}
