//! Limits of keys that depend on the model's deployments: their defaults, and limits that hold only while a deployment fails.

use std::sync::Arc;

use serde_json::Value;
use witgate_identity::ScopeKind;
use witgate_metering::{Descriptor, counted};

use crate::exchange::Exchange;
use crate::gateway::Gateway;

/// LiteLLM's word for a limit that holds only while a deployment of the model fails.
const DYNAMIC: &str = "dynamic";

/// `default_api_key_rpm_limit` and `default_api_key_tpm_limit` of the model's first deployment that has them, where neither the
/// key nor its team limits the model.
pub(super) fn of_deployments<'a>(x: &'a Exchange, descriptors: &mut Vec<Descriptor<'a>>) {
    let Some(key) = &x.principal.key_hash else {
        return;
    };
    if !x.snapshot.settings.metering.limits_keys {
        return;
    }
    let limits = candidates(x).iter().find_map(|index| {
        let target = x.snapshot.targets.get(*index)?;
        let limits = Some(target.key_limits).filter(|limits| !limits.is_empty())?;
        Some((*index, limits))
    });
    let Some((index, mut limits)) = limits else {
        return;
    };
    let of_model = descriptors
        .iter()
        .filter(|one| ["model_per_key", "model_per_team"].contains(&one.key));
    for one in of_model {
        limits.rpm = limits.rpm.filter(|_| one.limits.rpm.is_none());
        limits.tpm = limits.tpm.filter(|_| one.limits.tpm.is_none());
    }
    if limits.is_empty() {
        return;
    }
    descriptors.push(Descriptor {
        key: "model_per_key",
        id: key.as_str(),
        // One meter, by whatever name the model is asked for.
        model: Some(&x.snapshot.routing.deployment(index).model_group),
        limits,
    });
}

/// `rpm_limit_type: dynamic` and `tpm_limit_type: dynamic` of the key: without trouble at the model's deployments its limits count
/// and refuse nothing.
pub(super) fn only_in_trouble(gateway: &Gateway, x: &Exchange, descriptors: &mut [Descriptor<'_>]) {
    let is_dynamic =
        |name: &str| x.principal.metadata.get(name).and_then(Value::as_str) == Some(DYNAMIC);
    let (requests, tokens) = (is_dynamic("rpm_limit_type"), is_dynamic("tpm_limit_type"));
    if !requests && !tokens {
        return;
    }
    let failures = x
        .snapshot
        .state
        .failures_max(&candidates(x), gateway.moment());
    if failures > x.snapshot.settings.metering.failures_max {
        return;
    }
    let of_key = [ScopeKind::Key.descriptor(), "model_per_key"];
    for one in descriptors
        .iter_mut()
        .filter(|one| of_key.contains(&one.key))
    {
        let free = counted(one.limits);
        if requests {
            one.limits.rpm = free.rpm;
        }
        if tokens {
            one.limits.tpm = free.tpm;
        }
    }
}

/// The deployments that may serve the call; none when nobody serves the name, which is refused where it is looked up,
/// or the call is for no model.
fn candidates(x: &Exchange) -> Arc<[usize]> {
    if x.request.is_none() {
        return Arc::default();
    }
    let team = x.principal.team_id.as_deref();
    let route = x.snapshot.routing.resolve_for(&x.model, team);
    route.map(|route| route.candidates).unwrap_or_default()
}
