//! `enable_oauth2_proxy_auth`: a proxy in front has checked who is calling and says so in headers.
//!
//! Only what comes from the operator's `trusted_proxy_ranges` is believed; for everybody else the headers are not there.

use std::sync::Arc;

use ipnet::IpNet;
use witgate_identity::{Named, Principal, within};

use crate::ports::Directory;
use crate::{Asked, Problem, vouched};

/// The parts of an identity that a header may give.
pub const FIELDS: [&str; 6] = [
    "user_id",
    "user_email",
    "team_id",
    "team_alias",
    "org_id",
    "models",
];

/// A proxy in front.
pub struct Proxy {
    /// `oauth2_config_mappings`: part of the identity, and header in lower case.
    pub mappings: Vec<(String, String)>,
    /// `trusted_proxy_ranges`
    pub trusted: Vec<IpNet>,
}

impl Proxy {
    /// Whom the proxy names; `None` when it is no proxy of the operator's, or names nobody.
    pub(crate) async fn identify(
        &self,
        directory: &dyn Directory,
        asked: &Asked<'_>,
    ) -> Result<Option<Arc<Principal>>, Problem> {
        if !asked.socket.is_some_and(|ip| within(&self.trusted, ip)) {
            return Ok(None);
        }
        let of = |field: &str| {
            let (_, header) = self.mappings.iter().find(|(name, _)| name == field)?;
            let value = (asked.header)(header).map(str::trim);
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let email = of("user_email");
        let named = Named {
            user: of("user_id").or_else(|| email.clone()),
            email,
            team: of("team_id"),
            organization: of("org_id"),
            ..Named::default()
        };
        if named.user.is_none() && named.team.is_none() {
            return Ok(None);
        }
        let mut principal = vouched::principal(directory, named).await?;
        principal.team_alias = principal.team_alias.or_else(|| of("team_alias"));
        if let Some(models) = of("models") {
            let models = models.split(',').map(str::trim);
            let models = models.filter(|model| !model.is_empty());
            principal.models = models.map(str::to_owned).collect();
        }
        Ok(Some(Arc::new(principal)))
    }
}
