//! Which addresses and routes are open to whom, as `general_settings` says, before and beside any key.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::routes;

/// The operator's rules.
#[derive(Debug, Clone, Default)]
pub struct EntryRules {
    /// `allowed_ips`: only callers from here come in; `None` lets all in.
    pub ips: Option<Vec<IpNet>>,
    /// `allowed_routes`: only these routes are served; `None` serves all. Not those below them.
    pub routes: Option<Vec<String>>,
    /// Routes that this gateway does not serve, and what they are (`DISABLE_LLM_API_ENDPOINTS`, `DISABLE_ADMIN_ENDPOINTS`).
    pub disabled: Vec<(NoEntry, Vec<String>)>,
    /// `public_routes`: no key is asked for.
    pub public: Vec<String>,
    /// `admin_only_routes`: only a proxy admin may call them.
    pub admin_only: Vec<String>,
}

/// Why nobody is let in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEntry {
    /// Not from this address.
    Ip,
    /// Not this route.
    Route,
    /// Calls to models are not served here.
    Calls,
    /// Management is not served here.
    Management,
}

impl EntryRules {
    /// Whether anybody may come in from this address to a route of these names.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn check(&self, ip: Option<IpAddr>, names: &[&str]) -> Result<(), NoEntry> {
        if let Some(ips) = &self.ips
            && !ip.is_some_and(|ip| within(ips, ip))
        {
            return Err(NoEntry::Ip);
        }
        for (why, off) in &self.disabled {
            if names.iter().any(|name| routes::listed(off, name)) {
                return Err(*why);
            }
        }
        match &self.routes {
            Some(open) if !names.iter().any(|name| routes::listed(open, name)) => {
                Err(NoEntry::Route)
            }
            _ => Ok(()),
        }
    }

    /// Whether no key is asked for.
    #[must_use]
    pub fn is_public(&self, names: &[&str]) -> bool {
        let public = &self.public;
        !public.is_empty() && names.iter().any(|name| routes::listed(public, name))
    }

    /// Whether only a proxy admin may call it.
    #[must_use]
    pub fn is_for_admins(&self, names: &[&str]) -> bool {
        let admin = &self.admin_only;
        !admin.is_empty() && names.iter().any(|name| routes::listed(admin, name))
    }
}

/// Whether an address lies in one of the networks; one of IPv4 in IPv6's clothes is IPv4's.
#[must_use]
pub fn within(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

/// An address, or a network in CIDR notation.
#[must_use]
pub fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let ip = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_routes() {
        let rules = EntryRules {
            ips: Some(vec![
                network("10.0.0.0/8").unwrap(),
                network("::1").unwrap(),
            ]),
            routes: Some(vec!["/key/info".to_owned(), "llm_api_routes".to_owned()]),
            public: vec![
                "LiteLLMRoutes.public_routes".to_owned(),
                "/docs/*".to_owned(),
            ],
            admin_only: vec!["/chat/completions".to_owned()],
            disabled: Vec::new(),
        };
        let ip = |text: &str| Some(text.parse().unwrap());
        let chat = ["/chat/completions", "/v1/chat/completions"];
        assert_eq!(rules.check(ip("10.1.2.3"), &chat), Ok(()));
        assert_eq!(rules.check(ip("::ffff:10.1.2.3"), &chat), Ok(()));
        assert_eq!(rules.check(ip("::1"), &["/key/info"]), Ok(()));
        assert_eq!(rules.check(ip("11.0.0.1"), &chat), Err(NoEntry::Ip));
        assert_eq!(rules.check(None, &chat), Err(NoEntry::Ip));
        assert_eq!(
            rules.check(ip("::1"), &["/key/generate"]),
            Err(NoEntry::Route)
        );
        assert_eq!(
            rules.check(ip("::1"), &["/key/info/more"]),
            Err(NoEntry::Route)
        );
        let off = |why: NoEntry, off: &[&str]| EntryRules {
            disabled: vec![(why, off.iter().map(|entry| (*entry).to_owned()).collect())],
            ..EntryRules::default()
        };
        let calls = off(NoEntry::Calls, &[routes::CALLS]);
        let management = off(
            NoEntry::Management,
            &[routes::MANAGEMENT, "/team/{team_id}"],
        );
        assert_eq!(
            management.check(None, &["/team/{team_id}", "/team/red"]),
            Err(NoEntry::Management)
        );
        assert_eq!(calls.check(None, &chat), Err(NoEntry::Calls));
        assert_eq!(calls.check(None, &["/key/info"]), Ok(()));
        assert_eq!(management.check(None, &chat), Ok(()));
        assert_eq!(
            management.check(None, &["/key/info"]),
            Err(NoEntry::Management)
        );
        assert!(rules.is_public(&["/docs/a"]) && rules.is_public(&["/health/liveness"]));
        assert!(!rules.is_public(&chat) && rules.is_for_admins(&chat));
        assert!(!rules.is_for_admins(&["/key/info"]));
        assert!(EntryRules::default().check(None, &chat).is_ok());
        assert!(network("1.2.3").is_none());
    }
}
