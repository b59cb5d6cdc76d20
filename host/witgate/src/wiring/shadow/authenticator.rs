//! An authenticator with a shadow: who it lets in counts, what the shadow says is compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use witgate_identity::{KeyHash, Principal};
use witgate_pipeline::{AuthDecision, AuthRequest, Authenticator, PluginFault};

use super::{Facts, Judgement, Print, Shadow};

/// An authenticator, and another version of it in shadow.
pub struct ShadowedAuthenticator {
    /// Whose decisions count.
    pub live: Arc<dyn Authenticator>,
    /// Whose decisions are compared.
    pub other: Arc<dyn Authenticator>,
    /// How often, and where that is told.
    pub shadow: Arc<Shadow>,
}

#[async_trait]
impl Authenticator for ShadowedAuthenticator {
    async fn authenticate(&self, request: AuthRequest) -> Result<AuthDecision, PluginFault> {
        let Some(turn) = self.shadow.turn_of_request() else {
            return self.live.authenticate(request).await;
        };
        let seen = request.clone();
        let decision = self.live.authenticate(request).await;
        let other = self.other.clone();
        turn.compare(judgement(&decision), Facts::default(), async move {
            judgement(&other.authenticate(seen).await)
        });
        decision
    }
}

fn judgement(decision: &Result<AuthDecision, PluginFault>) -> Judgement {
    match decision {
        Ok(AuthDecision::Identity(principal)) => Judgement {
            verdict: "identity",
            content: members(principal),
            ..Judgement::default()
        },
        Ok(AuthDecision::Key(key)) => Judgement {
            verdict: "key",
            content: BTreeMap::from([("key".to_owned(), Print::of(key))]),
            ..Judgement::default()
        },
        Ok(AuthDecision::Decline) => Judgement {
            verdict: "decline",
            ..Judgement::default()
        },
        Ok(AuthDecision::Deny(denial)) => Judgement {
            verdict: "deny",
            status: Some(denial.status),
            ..Judgement::default()
        },
        Err(_) => Judgement::failed(),
    }
}

/// What is known of the caller, member by member.
fn members(who: &Principal) -> BTreeMap<String, u64> {
    let metadata = serde_json::Value::Object(who.metadata.clone()).to_string();
    let models = who.models.join("\n");
    let members = [
        ("key_hash", who.key_hash.as_ref().map(KeyHash::as_str)),
        ("key_alias", who.key_alias.as_deref()),
        ("user_id", who.user_id.as_deref()),
        ("user_email", who.user_email.as_deref()),
        ("team_id", who.team_id.as_deref()),
        ("team_alias", who.team_alias.as_deref()),
        ("org_id", who.org_id.as_deref()),
        ("end_user_id", who.end_user_id.as_deref()),
        ("role", who.role.as_ref().map(|role| role.as_str())),
        ("models", Some(models.as_str())),
        ("metadata", Some(metadata.as_str())),
    ];
    let given = members
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    given
        .map(|(name, value)| (name.to_owned(), Print::of(value)))
        .collect()
}
