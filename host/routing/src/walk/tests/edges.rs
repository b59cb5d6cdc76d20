//! The last retry, the last hop, and failures that are none of a deployment.

use super::*;

struct Way {
    snapshot: Snapshot,
    resolution: Resolution,
    walk: Walk,
    rng: StdRng,
}

impl Way {
    fn new(snapshot: Snapshot, controls: RequestControls) -> Self {
        let resolution = snapshot.resolve("a").unwrap();
        let walk = Walk::new(controls, &resolution);
        Self {
            snapshot,
            resolution,
            walk,
            rng: StdRng::seed_from_u64(1),
        }
    }

    fn plain(group_size: usize, retries: u32, fallbacks: Value) -> Self {
        let groups = [("a", group_size), ("b", 1)];
        let snapshot = snapshot(&groups, settings(retries, fallbacks));
        Self::new(snapshot, RequestControls::default())
    }

    fn failure(&self, deployment: Option<usize>, class: ErrorClass) -> Failure {
        Failure {
            deployment,
            class,
            status: class.status(),
            retry_after: None,
            healthy: None,
        }
    }

    fn full(&mut self) -> Decision {
        let failure = self.failure(None, ErrorClass::RateLimit);
        self.walk
            .after_full(&self.snapshot, &failure, &mut self.rng)
    }

    fn fail(&mut self, deployment: Option<usize>, class: ErrorClass) -> Decision {
        let failure = self.failure(deployment, class);
        self.walk
            .after_failure(&self.snapshot, &failure, &mut self.rng)
    }
}

fn leads_to(decision: &Decision) -> Option<&str> {
    match decision {
        Decision::Fallback { target, .. } => Some(&target.model),
        Decision::Retry { .. } => Some("again"),
        Decision::GiveUp { .. } => None,
    }
}

/// Who finds no place tries again as often as retries are left, and goes elsewhere at once where there is somewhere.
#[test]
fn a_group_without_a_place_is_waited_for_while_retries_are_left() {
    let mut way = Way::plain(1, 2, Value::Null);
    let found: Vec<_> = (0..3).map(|_| leads_to(&way.full()).is_some()).collect();
    assert_eq!(found, [true, true, false]);
    let mut way = Way::plain(1, 2, json!([{"a": ["b"]}]));
    assert_eq!(leads_to(&way.full()), Some("b"));
}

/// A stream that breaks goes on at another deployment of its group, while retries are left.
#[test]
fn a_broken_stream_goes_on_at_another_deployment() {
    for (size, retries, wanted) in [(2, 1, Some("again")), (2, 0, None), (1, 3, None)] {
        let mut way = Way::plain(size, retries, Value::Null);
        let decision = way.walk.after_break(&way.snapshot, 0);
        assert_eq!(leads_to(&decision), wanted, "{size} {retries}");
        if wanted.is_some() {
            let decision = way.walk.after_break(&way.snapshot, 1);
            assert_eq!(leads_to(&decision), None, "both have broken");
        }
    }
}

/// A policy speaks of errors of providers, and not where the request wants no retry; where nobody is healthy it waits.
#[test]
fn a_policy_retries_what_a_deployment_has_said() {
    let with = |controls| {
        let mut policy = RetryPolicy::default();
        policy.set("InternalServerErrorRetries", 5);
        let settings = RoutingSettings {
            retry_policy: policy,
            ..settings(0, Value::Null)
        };
        Way::new(snapshot(&[("a", 2)], settings), controls)
    };
    let mut way = with(RequestControls::default());
    assert_eq!(leads_to(&way.fail(None, ErrorClass::InternalServer)), None);
    let of = |healthy| Failure {
        deployment: Some(0),
        class: ErrorClass::InternalServer,
        status: 500,
        retry_after: None,
        healthy,
    };
    for (healthy, waits) in [(Some(1), false), (Some(0), true)] {
        let decision = way
            .walk
            .after_failure(&way.snapshot, &of(healthy), &mut way.rng);
        let Decision::Retry { after, .. } = decision else {
            panic!("{decision:?}");
        };
        assert_eq!(after > Duration::ZERO, waits, "{healthy:?}");
    }
    let mut way = with(RequestControls {
        num_retries: Some(0),
        ..RequestControls::default()
    });
    assert_eq!(
        leads_to(&way.fail(Some(0), ErrorClass::InternalServer)),
        None
    );
}

/// However a group is left, it is one hop, and there are no more of them than may be.
#[test]
fn hops_have_a_bound_within_a_group_too() {
    let settings = RoutingSettings {
        weighted_failover: true,
        max_fallbacks: 1,
        ..settings(0, Value::Null)
    };
    let mut way = Way::new(snapshot(&[("a", 3)], settings), RequestControls::default());
    assert_eq!(
        leads_to(&way.fail(Some(0), ErrorClass::InternalServer)),
        Some("again")
    );
    assert_eq!(
        leads_to(&way.fail(Some(1), ErrorClass::InternalServer)),
        None
    );
    let none = RequestControls {
        max_fallbacks: Some(0),
        ..RequestControls::default()
    };
    let snapshot = || {
        let settings = super::settings(0, json!([{"a": ["b"]}]));
        super::snapshot(&[("a", 1), ("b", 1)], settings)
    };
    let class = ErrorClass::InternalServer;
    let way = Way::new(snapshot(), none);
    assert!(!way.walk.has_fallback(&way.snapshot, class));
    let way = Way::new(snapshot(), RequestControls::default());
    assert!(way.walk.has_fallback(&way.snapshot, class));
}

/// A group that is entered again under its name goes on; under another one it begins anew.
#[test]
fn a_group_under_another_name_is_begun_anew() {
    let mut way = Way::plain(2, 3, Value::Null);
    way.fail(Some(0), ErrorClass::InternalServer);
    way.walk.enter_again(&way.resolution);
    assert_eq!(way.walk.failed(), [0]);
    let mut other = way.resolution.clone();
    other.requested = "alias".to_owned();
    way.walk.enter_again(&other);
    assert_eq!(way.walk.failed(), [0; 0]);
}
