//! The models behind a deployment with a `*`, for listings.

use serde_json::Value;
use witgate_config::{Loaded, ModelEntry};
use witgate_pipeline::{Deployment, Target, Wildcard};
use witgate_wire::prices::Prices;

/// What is known of them; `None` of a deployment without a `*` or one that no list has, and where only the caller's name says whose model it is.
///
/// Only who speaks OpenAI's dialect lists models as OpenAI does, and an admin of a team does not have the gateway ask servers.
pub(super) fn wildcard(
    loaded: &Loaded,
    entry: &ModelEntry,
    deployment: &Deployment,
    target: &Target,
) -> Option<Wildcard> {
    let has_star = deployment.model_group.contains('*') && deployment.upstream_model.contains('*');
    // Models that nobody lists (`pass_through_all_models`) are not listed.
    let is_listed = || {
        let mut list = loaded.config.model_list.iter();
        list.any(|listed| std::ptr::eq(listed, entry))
    };
    if !has_star || deployment.provider.is_empty() || !is_listed() {
        return None;
    }
    let known = Wildcard::new(Prices::models(&deployment.provider));
    let litellm = loaded.config.raw.get("litellm_settings");
    let setting = litellm.and_then(|litellm| litellm.get("check_provider_endpoint"));
    let asks = setting.and_then(Value::as_bool) == Some(true)
        && target.dialect.is_none()
        && target.unavailable.is_none()
        && target.mock.is_none()
        && !entry.is_bounded();
    Some(match asks {
        true => known.asking(&target.urls[0]),
        false => known,
    })
}
