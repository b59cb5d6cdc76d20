//! A router that sends each user to the same deployment as long as it can serve.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::router::{Candidate, Request, Router};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    by: By,
}

/// Whose calls stay together.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    User,
    Team,
    Session,
}

#[derive(Deserialize)]
struct Metadata {
    session_id: Option<String>,
}

/// The router.
pub struct Sticky(By);

impl Router for Sticky {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings.by))
    }

    fn pick<'a>(
        &self,
        candidates: &'a [Candidate],
        request: &Request,
    ) -> Result<Option<&'a Candidate>, Error> {
        let who = &request.principal;
        let whose = match self.0 {
            By::User => who.end_user_id.clone().or_else(|| who.user_id.clone()),
            By::Team => who.team_id.clone(),
            By::Session => request.metadata::<Metadata>()?.session_id,
        };
        Ok(whose.and_then(|whose| {
            let rank = |one: &&Candidate| rank(whose.as_bytes(), one.id.as_bytes());
            candidates.iter().max_by_key(rank)
        }))
    }
}

/// How well a deployment suits somebody: whoever else is there, the order stays the same.
fn rank(whose: &[u8], id: &[u8]) -> u64 {
    // FNV-1a, then spread: the last bytes would decide too little.
    let bytes = whose.iter().chain(&[0]).chain(id);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

witgate_plugin::export_router!(Sticky);

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn users_are_spread_and_only_those_of_a_lost_deployment_move() {
        let pick = |user: usize, ids: &[&str]| {
            let whose = format!("user-{user}");
            let best = ids
                .iter()
                .max_by_key(|id| rank(whose.as_bytes(), id.as_bytes()));
            best.map(|id| (*id).to_owned())
        };
        let all = ["a", "b", "c"];
        for id in all {
            let own = (0..3000).filter(|user| pick(*user, &all).as_deref() == Some(id));
            let own = own.count();
            assert!((900..1100).contains(&own), "{id}: {own}");
        }
        for user in 0..3000 {
            let (before, after) = (pick(user, &all), pick(user, &["a", "b"]));
            assert!(before == after || before.as_deref() == Some("c"));
        }
    }
}
