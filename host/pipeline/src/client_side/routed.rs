//! Who takes what a call brings: the deployments that are left of a resolution, and what a try of one counts.

use witgate_routing::{Full, Now, Resolution, Try};

use super::{Brought, ClientParam, ClientSide, NAMES, bad};
use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::snapshot::Target;

/// The resolution with those deployments alone that take what the call brings.
///
/// # Errors
/// When there is none.
pub(crate) fn narrowed(x: &Exchange, route: Resolution) -> Result<Resolution, Failure> {
    let Some(brought) = &x.brought else {
        return Ok(route);
    };
    let targets = &x.snapshot.targets;
    let allows = |index: &usize| brought.is_allowed(x, &targets[*index]);
    let allowing: Vec<usize> = route.candidates.iter().copied().filter(allows).collect();
    let Some(first) = allowing.first() else {
        let nobody = |param: ClientParam| {
            let mut all = route.candidates.iter();
            !all.any(|index| brought.lets(&targets[*index].client_side, param))
        };
        let params = || brought.params();
        let param = params().find(|param| nobody(*param)).or(params().next());
        return Err(refused(param.map_or(NAMES[0], |param| brought.name(param))));
    };
    let provider = &targets[*first].provider;
    let left =
        route.narrowed(|index| allowing.contains(&index) && brought.is_usable(&targets[index]));
    if left.candidates.is_empty() {
        let why =
            format!("models of the provider '{provider}' are not reached by a key of a request");
        return Err(bad("api_key", &why));
    }
    Ok(left)
}

/// The same for a fallback: a key is one provider's, so it goes to no other than those that were asked for. `None` when nobody
/// takes it.
pub(crate) fn onward(x: &Exchange, route: Resolution) -> Option<Resolution> {
    if x.brought.is_none() {
        return Some(route);
    }
    let targets = &x.snapshot.targets;
    let asked = x.route.as_ref()?.candidates.clone();
    let is_known = |index: usize| {
        let mut asked = asked.iter();
        asked.any(|first| targets[*first].provider == targets[index].provider)
    };
    let left = narrowed(x, route).ok()?.narrowed(is_known);
    (!left.candidates.is_empty()).then_some(left)
}

/// LiteLLM's words for a parameter that only the operator may set.
pub(crate) fn refused(name: &str) -> Failure {
    let message = format!(
        "Authentication Error, Rejected Request: {name} is not allowed in request body. Enable with `general_settings::allow_client_side_credentials` on proxy config.yaml to allow client-side credentials, or list it in `configurable_clientside_auth_params` of the model."
    );
    Failure::new(Case::ClientCredentials, message)
}

/// Begins a try. With credentials of its own a call uses none of the deployment's quotas; at an address of its own none of its
/// places either.
pub(crate) fn begin(x: &Exchange, index: usize, now: Now) -> Result<Try, Full> {
    let (routing, state) = (&x.snapshot.routing, &x.snapshot.state);
    match &x.brought {
        None => state.begin(routing, index, now),
        Some(own) if own.place.is_some() => Ok(Try::elsewhere(index, now)),
        Some(_) => state.begin_beside(routing, index, now),
    }
}

impl Brought {
    pub(super) fn params(&self) -> impl Iterator<Item = ClientParam> {
        let all = [
            self.base.as_ref().map(|_| ClientParam::Base),
            self.key.as_ref().map(|_| ClientParam::Key),
            self.version.as_ref().map(|_| ClientParam::Version),
        ];
        all.into_iter().flatten()
    }

    fn name(&self, param: ClientParam) -> &'static str {
        match param {
            ClientParam::Base if self.is_base_url => NAMES[1],
            ClientParam::Base => NAMES[0],
            ClientParam::Key => NAMES[2],
            ClientParam::Version => NAMES[3],
        }
    }

    /// The first that was given, for messages.
    pub(crate) fn first(&self) -> &'static str {
        let first = self.params().next();
        first.map_or(NAMES[0], |param| self.name(param))
    }

    fn is_allowed(&self, x: &Exchange, target: &Target) -> bool {
        x.snapshot.access.client_credentials
            || self
                .params()
                .all(|param| self.lets(&target.client_side, param))
    }

    fn lets(&self, side: &ClientSide, param: ClientParam) -> bool {
        let by = |param, value: Option<&str>| value.is_some_and(|value| side.lets(param, value));
        // Whoever lets clients name an address lets them bring what it takes there.
        by(ClientParam::Base, self.base.as_deref())
            || match param {
                ClientParam::Base => false,
                ClientParam::Key => by(param, self.key.as_ref().map(|key| key.as_str())),
                ClientParam::Version => by(param, self.version.as_deref()),
            }
    }

    /// Whether a key is all that it takes.
    fn is_usable(&self, target: &Target) -> bool {
        let dialect = target.dialect.as_ref();
        self.key.is_none() || dialect.is_none_or(|dialect| dialect.key_prefixes.is_some())
    }
}
