//! Hops to other groups, as events tell them.

use super::*;

/// The groups tried, by which deployment, and whether they answered.
async fn hops(world: &World) -> Vec<(String, Option<String>, &'static str)> {
    let record = world.record().await;
    for attempt in world.attempts() {
        assert_eq!(attempt.fallbacks, [], "they are the call's, not a try's");
    }
    let hops = record.fallbacks.iter();
    hops.map(|hop| {
        assert_eq!(hop.requested_model, "a");
        assert_eq!(hop.exception_status, "429");
        assert_eq!(hop.exception_class, "RateLimitError");
        (hop.fallback_model.clone(), hop.model_id.clone(), hop.status)
    })
    .collect()
}

fn hop(model: &str, id: &str, status: &'static str) -> (String, Option<String>, &'static str) {
    (model.to_owned(), Some(id.to_owned()), status)
}

#[tokio::test(start_paused = true)]
async fn every_hop_is_told_with_what_came_of_it() {
    let (failed, answered) = ("failure", "success");
    for (statuses, told) in [
        (&[][..], vec![]),
        (&[429][..], vec![hop("b", "d1", answered)]),
        (
            &[429, 500][..],
            vec![hop("b", "d1", failed), hop("c", "d2", answered)],
        ),
        (
            &[429, 500, 503][..],
            vec![hop("b", "d1", failed), hop("c", "d2", failed)],
        ),
    ] {
        let world = groups()
            .routing(|r| r.fallbacks = vec![rule("a", &["b", "c"])])
            .build();
        for status in statuses {
            world.upstream.then(Script::error(*status, "no"));
        }
        world.send(ask(json!({}))).await;
        assert_eq!(hops(&world).await, told, "{statuses:?}");
    }
}

/// The second `order` of a group is no other group.
#[tokio::test(start_paused = true)]
async fn a_later_order_of_the_group_is_no_hop() {
    let world = Setup::empty()
        .deployment("a", "openai/A")
        .with(|spec, _| spec.order = Some(1))
        .deployment("a", "openai/B")
        .with(|spec, _| spec.order = Some(2))
        .build();
    world.upstream.then(Script::error(429, "no"));
    assert_eq!(world.send(ask(json!({}))).await.status, 200);
    assert_eq!(world.upstream.models(), ["A", "B"]);
    assert_eq!(hops(&world).await, []);
}
