//! Which hosts a plugin may call: what its manifest asks for, cut down to what the operator grants.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use url::Url;
use witgate_outbound::{AddressClass, HostOrCidr, HostRule, Policy};

use super::settings::Settings;
use crate::manifest::{fill_in, setting_reference};
use crate::{LoadError, Manifest, PluginSpec};

/// The hosts of one plugin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    /// Allowed destinations, as rules.
    pub(crate) allow: Vec<String>,
    /// What may be reached although it is private.
    pub(crate) private: Vec<String>,
    pub(crate) policy: Arc<Policy>,
}

/// Works out the policy.
///
/// An URL that the operator wrote into a setting which the manifest names (`{host}`) grants exactly
/// that host and port, even when it is on the operator's own network: that is where self-hosted
/// services are. A host that only the manifest names is never granted to lead inside, and neither
/// leads to link-local addresses or metadata services.
pub(crate) fn hosts(
    manifest: &Manifest,
    spec: &PluginSpec,
    settings: &Settings,
) -> Result<Hosts, LoadError> {
    let fail = |reason: String| LoadError::new(&spec.name, reason);
    let mut allow = Vec::new();
    let mut private: Vec<String> = Vec::new();
    for rule in &manifest.egress {
        let Some(name) = setting_reference(rule) else {
            // Parts of the host may be settings; without their values there is nothing to call.
            let Some(filled) = fill_in(rule, |name| settings.get(name).filter(|t| !t.is_empty()))
            else {
                continue;
            };
            let by_operator = whole_host(rule).is_some_and(|name| settings.is_by_operator(name));
            let rule: HostRule = filled.parse().map_err(|error| {
                fail(format!(
                    "egress: {error}; the manifest makes it of settings: {rule}"
                ))
            })?;
            if by_operator {
                let rule = rule.to_string();
                private.extend(inside(Parts::of(&rule).host.trim_matches(['[', ']'])));
                allow.push(rule);
                continue;
            }
            allow.extend(granted(&rule.to_string(), spec)?);
            continue;
        };
        let by_operator = settings.is_by_operator(name);
        for text in settings.texts(name).iter().filter(|text| !text.is_empty()) {
            for url in urls(text).map_err(|()| {
                fail(format!(
                    "the setting {name:?} is not an http or https URL, such as https://host:8443"
                ))
            })? {
                let rule = origin(&url);
                match by_operator {
                    // Written for this plugin by the operator: there is no clearer grant.
                    true => allow.push(rule),
                    false => allow.extend(granted(&rule, spec)?),
                }
                if by_operator && let Some(host) = url.host_str().and_then(inside) {
                    private.push(host);
                }
            }
        }
    }
    for rule in spec.grants.egress.iter().flatten() {
        let rule: HostRule = rule
            .parse()
            .map_err(|error| fail(format!("grants.egress: {error}")))?;
        let rule = rule.to_string();
        let parts = Parts::of(&rule);
        if let Some(address) = parts.host.trim_matches(['[', ']']).parse::<IpAddr>().ok()
            && let Some(host) = inside(&address.to_string())
        {
            private.push(host);
        }
    }
    private.extend(spec.grants.private_network.iter().cloned());
    for list in [&mut allow, &mut private] {
        list.sort();
        list.dedup();
    }
    let policy = Policy {
        allow: allow
            .iter()
            .map(|rule| rule.parse())
            .collect::<Result<_, _>>()
            .map_err(|error| fail(format!("egress: {error}")))?,
        private: private
            .iter()
            .map(|rule| rule.parse::<HostOrCidr>())
            .collect::<Result<_, _>>()
            .map_err(|error| fail(format!("grants.private_network: {error}")))?,
    };
    Ok(Hosts {
        allow,
        private,
        policy: Arc::new(policy),
    })
}

/// The setting that is the whole host of a rule, `http://{host}:{port}`.
fn whole_host(rule: &str) -> Option<&str> {
    let (_, rest) = rule.split_once("://").unwrap_or(("https", rule));
    let (name, after) = rest.strip_prefix('{')?.split_once('}')?;
    (after.is_empty() || after.starts_with(':')).then_some(name)
}

/// The parts of a wish that the operator grants: all of it when nothing is said.
fn granted(wish: &str, spec: &PluginSpec) -> Result<Vec<String>, LoadError> {
    let Some(grants) = &spec.grants.egress else {
        return Ok(vec![wish.to_owned()]);
    };
    let wish = Parts::of(wish);
    let mut common = Vec::new();
    for grant in grants {
        let grant: HostRule = grant
            .parse()
            .map_err(|error| LoadError::new(&spec.name, format!("grants.egress: {error}")))?;
        common.extend(wish.common(&Parts::of(&grant.to_string())));
    }
    Ok(common)
}

/// A rule in its canonical text, taken apart.
#[derive(Clone, Copy)]
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    /// `*`, a list, or empty for the scheme's own.
    ports: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rule: &'a str) -> Self {
        let (scheme, rest) = rule.split_once("://").unwrap_or(("https", rule));
        // The colons of an IPv6 address stand between brackets.
        let from = rest.rfind(']').unwrap_or(0);
        let (host, ports) = match rest[from..].find(':') {
            Some(at) => (&rest[..from + at], &rest[from + at + 1..]),
            None => (rest, ""),
        };
        Self {
            scheme,
            host,
            ports,
        }
    }

    /// What both rules allow.
    fn common(&self, other: &Self) -> Option<String> {
        if self.scheme != other.scheme {
            return None;
        }
        let host = match () {
            () if covers(self.host, other.host) => other.host,
            () if covers(other.host, self.host) => self.host,
            () => return None,
        };
        let own = match self.scheme {
            "https" => "443",
            "http" => "80",
            _ => "587",
        };
        let list = |ports: &'a str| if ports.is_empty() { own } else { ports };
        let ports = match (list(self.ports), list(other.ports)) {
            ("*", ports) | (ports, "*") => ports.to_owned(),
            (ours, theirs) => {
                let both: Vec<&str> = ours
                    .split(',')
                    .filter(|port| theirs.split(',').any(|other| other == *port))
                    .collect();
                both.join(",")
            }
        };
        (!ports.is_empty()).then(|| format!("{}://{host}:{ports}", self.scheme))
    }
}

/// Whether every host of the second pattern is one of the first.
fn covers(wide: &str, narrow: &str) -> bool {
    if wide == "*" || wide == narrow {
        return true;
    }
    let is_address = narrow.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    match wide.strip_prefix('*') {
        Some(suffix) if !is_address => {
            let narrow = narrow.strip_prefix('*').unwrap_or(narrow);
            narrow.len() >= suffix.len() && narrow.ends_with(suffix) && narrow != suffix
                || wide == narrow
        }
        _ => false,
    }
}

/// What an URL in a setting means. Without a scheme it is either, as the plugin chooses.
fn urls(text: &str) -> Result<Vec<Url>, ()> {
    let parse = |text: &str| {
        let url = Url::parse(text).map_err(drop)?;
        match matches!(url.scheme(), "http" | "https") && url.has_host() {
            true => Ok(url),
            false => Err(()),
        }
    };
    match text.contains("://") {
        true => Ok(vec![parse(text)?]),
        false => Ok(vec![
            parse(&format!("https://{text}"))?,
            parse(&format!("http://{text}"))?,
        ]),
    }
}

/// `scheme://host:port` of an URL.
fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    format!("{}://{host}:{port}", url.scheme())
}

/// The grant that lets a host be private. None for literal addresses that need more than a mention:
/// link-local ones and metadata services are granted in `grants.private_network` or not at all.
fn inside(host: &str) -> Option<String> {
    let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return Some(host.to_owned());
    };
    matches!(
        AddressClass::of(address),
        AddressClass::Loopback | AddressClass::Private | AddressClass::Shared
    )
    .then(|| address.to_string())
}
