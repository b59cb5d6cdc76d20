//! Who may be reached. Deny by default; a name is judged by what it resolves to.

mod address;
mod rule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;

use crate::MailServer;

pub use address::AddressClass;
pub use rule::{HostOrCidr, HostRule, RuleError};

/// Which destinations one client may reach.
#[derive(Debug, Clone)]
pub enum Egress {
    /// Only what the policy allows. The default policy allows nothing.
    Policy(Arc<Policy>),
    /// Anything: for destinations that the operator wrote into the configuration.
    Unrestricted,
}

/// Deny by default.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Hosts that may be reached, by scheme, name and port.
    pub allow: Vec<HostRule>,
    /// Names and networks that may be reached although they are not on the public internet.
    ///
    /// A name covers loopback, private, shared (CGNAT) and unique-local addresses. Link-local,
    /// multicast, unspecified and reserved addresses need a network that contains them, metadata
    /// services the exact address: no DNS answer can lead there by way of a name.
    pub private: Vec<HostOrCidr>,
}

/// A refused destination: what it was, why, and what would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denied {
    /// The host as asked for, with its port when it is not the scheme's own.
    pub host: String,
    /// The rule that refused it.
    pub why: WhyDenied,
    /// What the operator may grant to allow it, as one sentence.
    pub fix: String,
}

/// The rule that refused a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyDenied {
    /// No rule allows this scheme, host and port.
    NotAllowed,
    /// The host is, or resolves only to, addresses that are not on the public internet.
    Address {
        /// The first such address.
        address: IpAddr,
        /// What kind of address it is.
        class: AddressClass,
    },
    /// The host is not a valid name or address, or the scheme of a URL is neither `http` nor `https`.
    Malformed,
}

/// A destination in canonical form: what rules are compared with and resolvers are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// What is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
    /// Mail, whichever way it is encrypted.
    Smtp,
}

impl Scheme {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "https" => Some(Self::Https),
            "http" => Some(Self::Http),
            "smtp" => Some(Self::Smtp),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Smtp => "smtp",
        }
    }

    /// Where it is spoken when nothing is said: mail where it is handed in, not where it is relayed.
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Smtp => 587,
        }
    }
}

/// A host in canonical form: a lower-case name without a final dot, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Policy {
    /// Whether the policy lets a request go to this URL, as far as its text says: what a name resolves to is
    /// judged when it is connected to.
    ///
    /// # Errors
    /// The refusal.
    pub fn judge(&self, uri: &Uri) -> Result<(), Denied> {
        match Destination::of(uri) {
            Some(to) => self.check_name(&to),
            None => Err(Denied::malformed(uri)),
        }
    }

    /// The same for a mail server.
    ///
    /// # Errors
    /// The refusal.
    pub fn judge_mail(&self, server: &MailServer) -> Result<(), Denied> {
        match Destination::mail(&server.host, server.port) {
            Some(to) => self.check_name(&to),
            None => Err(Denied::no_mail_host(&server.host)),
        }
    }

    /// Whether some rule names this scheme, host and port.
    pub(crate) fn check_name(&self, to: &Destination) -> Result<(), Denied> {
        if !self.allow.iter().any(|rule| rule.matches(to)) {
            return Err(Denied {
                host: to.to_string(),
                why: WhyDenied::NotAllowed,
                fix: format!("grant the host \"{}\"", to.origin()),
            });
        }
        match &to.host {
            Host::Address(address) => self.check_addresses(to, vec![*address]).map(drop),
            Host::Name(_) => Ok(()),
        }
    }

    /// The addresses that may be connected to; an error when none is left.
    pub(crate) fn check_addresses(
        &self,
        to: &Destination,
        found: Vec<IpAddr>,
    ) -> Result<Vec<IpAddr>, Denied> {
        let refused = found
            .iter()
            .copied()
            .find(|address| !self.may_connect(to, *address));
        let Some(address) = refused else {
            return Ok(found);
        };
        let allowed: Vec<IpAddr> = found
            .into_iter()
            .filter(|address| self.may_connect(to, *address))
            .collect();
        if !allowed.is_empty() {
            return Ok(allowed);
        }
        let class = AddressClass::of(address);
        let grant = match (&to.host, class.is_local_network()) {
            (Host::Name(name), true) => name.clone(),
            _ => address.to_string(),
        };
        Err(Denied {
            host: to.to_string(),
            why: WhyDenied::Address { address, class },
            fix: format!("grant the private address \"{grant}\""),
        })
    }

    fn may_connect(&self, to: &Destination, address: IpAddr) -> bool {
        let class = AddressClass::of(address);
        class == AddressClass::Public
            || self
                .private
                .iter()
                .any(|rule| rule.covers(&to.host, address, class))
    }
}

impl Denied {
    /// The name of a mail server that is none.
    pub(crate) fn no_mail_host(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            why: WhyDenied::Malformed,
            fix: "use a host name or address, without scheme and port".to_owned(),
        }
    }

    /// A URL that leads nowhere.
    pub(crate) fn malformed(uri: &Uri) -> Self {
        Self {
            host: uri.host().unwrap_or_default().to_owned(),
            why: WhyDenied::Malformed,
            fix: "use an http or https URL with a valid host".to_owned(),
        }
    }
}

impl Destination {
    /// Reads where a URI leads. Hosts are read as browsers do, so that `0x7f.1`, `2130706433` and
    /// `127.0.0.1` are one host.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let scheme = Scheme::parse(uri.scheme_str()?).filter(|scheme| *scheme != Scheme::Smtp)?;
        let host = Host::parse(uri.host()?)?;
        let port = uri.port_u16().unwrap_or(scheme.default_port());
        Some(Self { scheme, host, port })
    }

    /// A mail server.
    pub(crate) fn mail(host: &str, port: u16) -> Option<Self> {
        let host = Host::parse(host)?;
        Some(Self {
            scheme: Scheme::Smtp,
            host,
            port,
        })
    }

    /// `scheme://host[:port]`, the shape of a rule.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{self}", self.scheme.as_str())
    }

    /// `host:port`, the port always.
    pub(crate) fn authority(&self) -> String {
        match self.default_port() {
            true => format!("{self}:{}", self.port),
            false => self.to_string(),
        }
    }

    fn default_port(&self) -> bool {
        self.port == self.scheme.default_port()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => address.fmt(f)?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.default_port() {
            true => Ok(()),
            false => write!(f, ":{}", self.port),
        }
    }
}

impl Host {
    /// Reads a host as written in a URL, brackets around IPv6 included.
    pub(crate) fn parse(host: &str) -> Option<Self> {
        match url::Host::parse(host).ok()? {
            url::Host::Ipv4(address) => Some(Self::Address(address.into())),
            url::Host::Ipv6(address) => Some(Self::Address(address.into())),
            url::Host::Domain(name) => match name.strip_suffix('.').unwrap_or(&name) {
                "" => None,
                name => Some(Self::Name(name.to_owned())),
            },
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, why, fix } = self;
        match why {
            WhyDenied::NotAllowed => write!(f, "{host} is not among the granted hosts"),
            WhyDenied::Address { address, class } if *host == address.to_string() => {
                write!(f, "{host} is a {class} address")
            }
            WhyDenied::Address { address, class } => {
                write!(f, "{host} leads to {address}, a {class} address")
            }
            WhyDenied::Malformed => write!(f, "{host:?} is not a host that can be reached"),
        }?;
        write!(f, "; {fix}")
    }
}

impl std::error::Error for Denied {}
