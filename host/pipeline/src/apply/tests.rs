use std::sync::Arc;

use witgate_identity::{Budget, KeyHash, Limits, Principal, Scope, ScopeKind};

use super::{GuardedText, apply_guardrail};
use crate::borne::Asking;
use crate::failure::{Case, Failure};
use crate::ports::{Phase, PluginFault};
use crate::snapshot::FailPolicy;
use crate::testing::{FakeGuard, Setup};

async fn applied(
    (phase, fail, guard): (Phase, FailPolicy, FakeGuard),
    name: &str,
    text: &str,
) -> Result<Option<String>, Failure> {
    let world = Setup::new().guard("g", phase, fail, guard).build();
    let asking = Asking {
        principal: Arc::default(),
        headers: Arc::default(),
    };
    let wanted = GuardedText {
        guardrail_name: name.to_owned(),
        text: text.to_owned(),
        language: Some("de".to_owned()),
        ..GuardedText::default()
    };
    apply_guardrail(&world.gateway, asking, &wanted).await
}

#[tokio::test]
async fn a_text_comes_back_as_the_guardrail_leaves_it() {
    for phase in [Phase::PreCall, Phase::DuringCall, Phase::PostCall] {
        let masks = (phase, FailPolicy::Closed, FakeGuard::mask());
        let text = applied(masks, "g", "my secret").await;
        assert_eq!(text.unwrap().as_deref(), Some("my ***"), "{phase:?}");
        let allows = (phase, FailPolicy::Closed, FakeGuard::allow());
        let text = applied(allows, "g", "my secret").await;
        assert_eq!(text.unwrap().as_deref(), Some("my secret"));
    }
    let other = (Phase::PreCall, FailPolicy::Closed, FakeGuard::allow());
    assert_eq!(applied(other, "h", "x").await.unwrap(), None);
}

#[tokio::test]
async fn a_refusal_and_a_fault_are_told_as_in_a_call() {
    let blocks = (Phase::PreCall, FailPolicy::Open, FakeGuard::block());
    let refused = applied(blocks, "g", "x").await.unwrap_err();
    assert!(matches!(refused.case, Case::GuardrailBlocked { .. }));
    let faulty = || FakeGuard::new(|_| Err(PluginFault::new("it fell".to_owned())));
    let open = (Phase::PreCall, FailPolicy::Open, faulty());
    assert_eq!(applied(open, "g", "x").await.unwrap().as_deref(), Some("x"));
    let closed = (Phase::PreCall, FailPolicy::Closed, faulty());
    let refused = applied(closed, "g", "x").await.unwrap_err();
    assert_eq!(refused.case, Case::GuardrailUnavailable);
}

/// A guardrail may be the dearest thing that a gateway asks.
#[tokio::test]
async fn limits_and_budgets_of_the_caller_hold() {
    let guard = FakeGuard::allow();
    let world = Setup::new()
        .guard("g", Phase::PreCall, FailPolicy::Closed, guard)
        .build();
    let ask = async |scope: Scope| {
        let principal = Principal {
            key_hash: Some(KeyHash::of("sk-a")),
            scopes: vec![scope],
            ..Principal::default()
        };
        let asking = Asking {
            principal: Arc::new(principal),
            headers: Arc::default(),
        };
        let wanted = GuardedText {
            guardrail_name: "g".to_owned(),
            text: "x".to_owned(),
            ..GuardedText::default()
        };
        apply_guardrail(&world.gateway, asking, &wanted).await
    };
    // Of two at once none would be left; one after the other all of it is given back but the request.
    let key = || Scope {
        limits: Limits {
            rpm: Some(2),
            tpm: Some(10),
            parallel: Some(1),
            ..Limits::default()
        },
        ..Scope::new(ScopeKind::Key, "hash")
    };
    for _ in 0..2 {
        assert_eq!(ask(key()).await.unwrap().as_deref(), Some("x"));
    }
    assert_eq!(ask(key()).await.unwrap_err().case, Case::RateLimited);
    let spent = Scope {
        budget: Some(Budget {
            max: Some("1".parse().unwrap()),
            soft: None,
            duration: None,
            resets_at: None,
        }),
        spent: "1.5".parse().unwrap(),
        ..Scope::new(ScopeKind::Team, "t")
    };
    assert!(matches!(
        ask(spent).await.unwrap_err().case,
        Case::BudgetExceeded
    ));
}
