//! From names that somebody vouches for to a caller of ours, as far as it is the same for all who vouch.

use witgate_identity::{Caller, NOBODY, Named, Principal};

use crate::ports::Directory;
use crate::{Problem, Refusal};

/// Refuses a caller whom an administrator shut out: a blocked team, a deactivated user.
pub(crate) fn is_open(caller: &Caller) -> Result<(), Refusal> {
    if caller.as_key.blocked {
        return Err(Refusal::unauthorized("the user was deactivated."));
    }
    if caller.as_key.team_blocked {
        let team = caller.as_key.principal.team_id.as_deref();
        let message = format!(
            "Team={} is blocked. Update via `/team/unblock` if your admin.",
            team.unwrap_or_default()
        );
        return Err(Refusal::unauthorized(message));
    }
    Ok(())
}

/// Refuses an id that is the gateway's own: nobody who is vouched for is who the master key is.
pub(crate) fn is_somebody(user: Option<&str>) -> Result<(), Refusal> {
    match user.is_some_and(|id| NOBODY.contains(&id)) {
        true => Err(Refusal::unauthorized(
            "the user's id is one of the gateway's own.",
        )),
        false => Ok(()),
    }
}

/// Whom an answer or a proxy names. What the database does not know is as it was said.
pub(crate) async fn principal(
    directory: &dyn Directory,
    named: Named,
) -> Result<Principal, Problem> {
    is_somebody(named.user.as_deref())?;
    let caller = directory.caller(&named).await?;
    is_somebody(caller.as_key.principal.user_id.as_deref())?;
    is_open(&caller)?;
    let mut principal = (*caller.as_key.principal).clone();
    principal.key_hash = Some(named.key("", ""));
    principal.user_id = principal.user_id.or(named.user);
    principal.user_email = principal.user_email.or(named.email);
    principal.team_id = principal.team_id.or(named.team);
    principal.org_id = principal.org_id.or(named.organization);
    Ok(principal)
}
