//! Tokens that stand for virtual keys (`virtual_key_claim_field`): everything of the key holds, and what the token itself
//! restricts holds beside it.

use std::sync::Arc;

use jiff::Timestamp;
use witgate_identity::{KeyProblem, Principal, VirtualKey, routes};

use super::restrictions::Restrictions;
use super::{Jwt, Verified};
use crate::claims::text;
use crate::ports::{Claimed, Directory};
use crate::settings::Unregistered;
use crate::{Asked, Problem, Refusal, said};

/// A route that there is not: a list that opens nothing.
const NOTHING: &str = "no-routes";

impl Jwt {
    /// The claim of a token that may stand for a key; `None` where no key is asked for.
    pub(super) fn claimed(&self, verified: &Verified<'_>) -> Result<Option<Claimed>, Refusal> {
        let settings = &self.settings;
        let own = verified
            .issuer
            .and_then(|issuer| issuer.virtual_key_claim_field.as_ref());
        let Some(name) = own.or(settings.virtual_key_claim_field.as_ref()) else {
            return Ok(None);
        };
        let Some(value) = text(&verified.claims, name) else {
            return match settings.unregistered_jwt_client_behavior {
                Unregistered::FallbackTeamMapping => Ok(None),
                Unregistered::Reject | Unregistered::AutoRegister => Err(Refusal::forbidden(
                    format!("The token has no claim {name}, which says for which key it stands"),
                )),
            };
        };
        // What one of several issuers says must not stand for another one's key.
        let issuer = match settings.issuers.is_empty() {
            true => String::new(),
            false => text(&verified.claims, "iss").unwrap_or_default(),
        };
        Ok(Some(Claimed {
            issuer,
            name: name.clone(),
            value,
        }))
    }

    /// Who a token with such a claim stands for.
    pub(super) async fn by_claim(
        &self,
        directory: &dyn Directory,
        verified: &Verified<'_>,
        claimed: &Claimed,
        asked: &Asked<'_>,
    ) -> Result<Arc<Principal>, Problem> {
        let settings = &self.settings;
        let keep_ms = (settings.virtual_key_mapping_cache_ttl * 1e3) as u64;
        if let Some(key) = directory.key_of(claimed, keep_ms).await? {
            return self.as_key(verified, &key, asked);
        }
        let unregistered = || Refusal::forbidden("The token stands for no virtual key");
        match settings.unregistered_jwt_client_behavior {
            Unregistered::FallbackTeamMapping => self.admit(directory, verified, asked).await,
            Unregistered::Reject => Err(unregistered().into()),
            Unregistered::AutoRegister => {
                // Everything that a token without a key must be it must be for one, too.
                let who = self.admit(directory, verified, asked).await?;
                if who.is_admin() {
                    return Ok(who);
                }
                let takes_own = settings.auto_register_map_existing_key;
                let made = directory.register(claimed, &who, takes_own).await?;
                let key = made.ok_or_else(unregistered)?;
                self.as_key(verified, &key, asked)
            }
        }
    }

    /// The key's principal, under what the token restricts.
    fn as_key(
        &self,
        verified: &Verified<'_>,
        key: &VirtualKey,
        asked: &Asked<'_>,
    ) -> Result<Arc<Principal>, Problem> {
        let said = said::read(&self.settings, verified.issuer, &verified.claims)?;
        let mut restrictions = Restrictions::default();
        self.by_role(&said, asked, &mut restrictions)?;
        self.by_scopes(&said, asked, &mut restrictions)?;
        self.check_domain(&said)?;
        let ms = i64::try_from(asked.now_ms).unwrap_or(i64::MAX);
        let now = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
        let principal = key
            .check(now, asked.names)
            .map_err(|problem| problem_of(&problem, asked))?;
        let restricted = restrictions.restrict(asked, (**principal).clone())?;
        let mut restricted = Arc::unwrap_or_clone(restricted);
        restricted.allowed_routes = both(&principal.allowed_routes, &restricted.allowed_routes);
        restricted.end_user_id = restricted.end_user_id.or(said.end_user);
        Ok(Arc::new(restricted))
    }
}

/// What two lists of routes both open; an empty one opens all.
pub(super) fn both(one: &[String], other: &[String]) -> Vec<String> {
    if one.is_empty() || other.is_empty() {
        return [one, other].concat();
    }
    let mut both = routes::both(one, other);
    if both.is_empty() {
        both.push(NOTHING.to_owned());
    }
    both
}

fn problem_of(problem: &KeyProblem, asked: &Asked<'_>) -> Refusal {
    match problem {
        KeyProblem::Blocked => {
            Refusal::unauthorized("the key that the token stands for is blocked.")
        }
        KeyProblem::TeamBlocked => Refusal::unauthorized("the team of the key is blocked."),
        KeyProblem::Expired { at } => {
            let message = format!("Authentication Error - Expired Key. Key Expiry time {at}");
            Refusal::of(400, "expired_key", message)
        }
        KeyProblem::Route => Refusal::forbidden(format!(
            "The virtual key that the token stands for is not allowed to call this route. Tried to call route: {}",
            asked.path()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::both;

    #[test]
    fn what_both_open_is_open() {
        let list = |items: &[&str]| -> Vec<String> {
            items.iter().map(|item| (*item).to_owned()).collect()
        };
        assert_eq!(both(&[], &list(&["/a"])), list(&["/a"]));
        assert_eq!(both(&list(&["/a"]), &[]), list(&["/a"]));
        let narrow = both(&list(&["/a", "/b/*"]), &list(&["/b/c", "/d"]));
        assert_eq!(narrow, list(&["/b/c"]));
        assert_eq!(both(&list(&["/a"]), &list(&["/b"])), list(&["no-routes"]));
    }
}
