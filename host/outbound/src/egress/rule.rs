//! Rules as operators write them: `https://*.example.com:8443`, `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::address::AddressClass;
use super::{Destination, Host, Scheme};

/// One allowed destination: scheme, host and ports.
///
/// Written as `[scheme://]host[:ports]`. The scheme is `https` (the default), `http` or, for mail, `smtp`; the host a
/// name, `*.suffix` (any name below the suffix, not the suffix itself), `*` (any) or an address; the
/// ports a comma-separated list or `*`, by default the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    scheme: Scheme,
    host: HostPattern,
    ports: Ports,
}

/// A name or a network on the inside.
///
/// Written as a name, `*.suffix`, an address, or a network such as `10.0.0.0/8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOrCidr(Inside);

/// A rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?} is not a valid rule: {reason}")]
pub struct RuleError {
    /// The rule as written.
    pub rule: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    Exact(Host),
    /// Starts with the dot.
    Suffix(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ports {
    Any,
    List(Vec<u16>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Inside {
    Host(HostPattern),
    Net(IpNet),
}

impl HostRule {
    pub(crate) fn matches(&self, to: &Destination) -> bool {
        self.scheme == to.scheme
            && self.host.matches(&to.host)
            && match &self.ports {
                Ports::Any => true,
                Ports::List(ports) => ports.contains(&to.port),
            }
    }
}

impl HostOrCidr {
    pub(crate) fn covers(&self, host: &Host, address: IpAddr, class: AddressClass) -> bool {
        match &self.0 {
            Inside::Host(pattern) => class.is_local_network() && pattern.matches(host),
            // A wide network does not mean the metadata service that happens to lie in it.
            Inside::Net(net) if class == AddressClass::Metadata => {
                net.prefix_len() == net.max_prefix_len() && net.contains(&address)
            }
            Inside::Net(net) => net.contains(&address) || net.contains(&address.to_canonical()),
        }
    }
}

impl HostPattern {
    fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Exact(wanted), host) => wanted == host,
            (Self::Suffix(suffix), Host::Name(name)) => {
                name.len() > suffix.len() && name.ends_with(suffix.as_str())
            }
            (Self::Suffix(_), Host::Address(_)) => false,
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let (suffix, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if name.contains('*') {
            return Err("a `*` may only stand alone or before the first dot");
        }
        let host = Host::parse(name).ok_or("no such host name or address can exist")?;
        match (suffix, host) {
            (false, host) => Ok(Self::Exact(host)),
            (true, Host::Name(name)) => Ok(Self::Suffix(format!(".{name}"))),
            (true, Host::Address(_)) => Err("`*.` before an address means nothing"),
        }
    }
}

impl FromStr for HostRule {
    type Err = RuleError;

    fn from_str(rule: &str) -> Result<Self, RuleError> {
        let fail = |reason| RuleError {
            rule: rule.to_owned(),
            reason,
        };
        let (scheme, rest) = match rule.split_once("://") {
            None => (Scheme::Https, rule),
            Some((scheme, rest)) => (
                Scheme::parse(scheme)
                    .ok_or_else(|| fail("the scheme is https or http, or smtp"))?,
                rest,
            ),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(fail("a rule ends after the port"));
        }
        // The colons of an IPv6 address stand between brackets.
        let split = match rest.rfind(']') {
            Some(end) => rest[end..].find(':').map(|at| end + at),
            None => rest.find(':'),
        };
        let (host, ports) = match split {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let ports = match ports {
            None => Ports::List(vec![scheme.default_port()]),
            Some("*") => Ports::Any,
            Some(list) => list
                .split(',')
                .map(|port| port.trim().parse().ok().filter(|port| *port != 0))
                .collect::<Option<Vec<u16>>>()
                .map(Ports::List)
                .ok_or_else(|| fail("a port is a number from 1 to 65535"))?,
        };
        let host = HostPattern::parse(host).map_err(fail)?;
        Ok(Self {
            scheme,
            host,
            ports,
        })
    }
}

impl FromStr for HostOrCidr {
    type Err = RuleError;

    fn from_str(rule: &str) -> Result<Self, RuleError> {
        if let Ok(net) = rule.parse::<IpNet>() {
            return Ok(Self(Inside::Net(net)));
        }
        let fail = |reason| RuleError {
            rule: rule.to_owned(),
            reason,
        };
        if rule.contains('/') {
            return Err(fail("a network is written address/bits"));
        }
        if let Ok(address) = rule.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self(Inside::Net(address.into())));
        }
        match HostPattern::parse(rule).map_err(fail)? {
            HostPattern::Any => Err(fail("name the hosts or networks, `*` is too much")),
            HostPattern::Exact(Host::Address(address)) => Ok(Self(Inside::Net(address.into()))),
            pattern => Ok(Self(Inside::Host(pattern))),
        }
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = self.scheme.default_port();
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        match &self.ports {
            Ports::Any => f.write_str(":*"),
            Ports::List(ports) if *ports == [default] => Ok(()),
            Ports::List(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                write!(f, ":{}", ports.join(","))
            }
        }
    }
}

impl fmt::Display for HostOrCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inside::Host(pattern) => pattern.fmt(f),
            Inside::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Inside::Net(net) => net.fmt(f),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(Host::Name(name)) => f.write_str(name),
            Self::Exact(Host::Address(IpAddr::V4(address))) => address.fmt(f),
            Self::Exact(Host::Address(IpAddr::V6(address))) => write!(f, "[{address}]"),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}
