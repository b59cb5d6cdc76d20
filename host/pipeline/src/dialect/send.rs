//! From what a plugin built to what is sent: where to, with which headers and secrets.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Uri};

use super::{API_KEY, Answering, Talk, origin};
use crate::attempt::{Failed, pass_trace};
use crate::client_side;
use crate::outgoing;
use crate::ports::{PluginFault, ProviderRequest, Upstream, UpstreamErrorKind};

/// Headers that say how the message is framed; the client writes them itself.
const FRAMING: [HeaderName; 5] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE];

impl Talk<'_> {
    /// Sends the request and waits for the answer's head.
    pub(super) async fn send(&self, request: &ProviderRequest) -> Result<Answering, Failed> {
        let http = self
            .http(request)
            .map_err(|why| self.faulty(&PluginFault::new(why)))?;
        let (way, is_elsewhere) = self.way(http.uri())?;
        self.x.sends(self.target, &http);
        match way.send(http).await {
            Ok(response) => Ok(response.into_parts()),
            Err(error) if is_elsewhere && error.kind == UpstreamErrorKind::Denied => {
                let text = format!(
                    "the provider plugin may not call this host: {}",
                    error.message
                );
                Err(self.faulty(&PluginFault::new(text)))
            }
            Err(error) => Err(client_side::unanswered(self.x, self.target, &error)),
        }
    }

    /// The deployment's own client for the origin that the operator wrote, or the client's way to its own; else the plugin's, and
    /// that it is that.
    fn way(&self, url: &Uri) -> Result<(&Arc<dyn Upstream>, bool), Failed> {
        let brought = self.x.brought.as_ref();
        let is_own = match brought.filter(|brought| brought.url().is_some()) {
            Some(brought) => brought.leads_to(url),
            None => {
                let own = self.dialect.own_origin.as_ref();
                own.is_some_and(|own| origin(url).as_ref() == Some(own))
            }
        };
        match is_own {
            true => Ok((client_side::way(self.x, self.target)?, false)),
            false => Ok((&self.dialect.elsewhere, true)),
        }
    }

    pub(super) fn http(
        &self,
        from: &ProviderRequest,
    ) -> Result<http::Request<bytes::Bytes>, String> {
        let method = Method::from_bytes(from.method.as_bytes())
            .ok()
            .filter(|method| *method != Method::CONNECT)
            .ok_or_else(|| format!("{:?} is no method to send", from.method))?;
        let url: Uri = from
            .url
            .parse()
            .map_err(|error| format!("the URL is malformed: {error}"))?;
        let has_user = url
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'));
        if has_user || !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err("the URL must be absolute, http or https, without credentials".to_owned());
        }
        let mut http = http::Request::new(from.body.clone());
        *http.method_mut() = method;
        *http.uri_mut() = url;
        let headers = http.headers_mut();
        headers.clone_from(&self.target.headers);
        for (name, value) in &from.headers {
            headers.insert(header_name(name)?, header_value(name, value)?);
        }
        for (name, template) in &from.credential_headers {
            let mut value = header_value(name, &self.filled(template)?)?;
            value.set_sensitive(true);
            headers.insert(header_name(name)?, value);
        }
        let brought = self.x.brought.as_ref();
        for (name, value) in &self.dialect.headers {
            if brought.is_none_or(|brought| brought.keeps(name.as_str())) {
                headers.insert(name.clone(), value.clone());
            }
        }
        outgoing::add(self.x, self.target, headers);
        pass_trace(self.gateway, self.x, headers);
        Ok(http)
    }

    /// The secret of this name: of the client's own there is one.
    fn secret(&self, name: &str) -> Option<&str> {
        let brought = self.x.brought.as_ref().and_then(|own| own.key());
        match brought {
            Some(key) => (name == API_KEY).then_some(key),
            None => {
                let mut own = self.dialect.credentials.iter();
                let found = own.find(|own| own.name == name)?;
                Some(&found.value)
            }
        }
    }

    /// The template with each `{name}` replaced by the secret of this name.
    fn filled(&self, template: &str) -> Result<zeroize::Zeroizing<String>, String> {
        let mut text = zeroize::Zeroizing::new(String::new());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, behind)) = after.split_once('}') else {
                break;
            };
            let Some(value) = self.secret(name) else {
                let known: Vec<String> = self.credentials().into_iter().map(|own| own.0).collect();
                return Err(format!(
                    "a credential header asks for {name:?}; the call has {}",
                    known.join(", ")
                ));
            };
            text.push_str(before);
            text.push_str(value);
            rest = behind;
        }
        text.push_str(rest);
        Ok(text)
    }
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header name"))?;
    match FRAMING.contains(&parsed) {
        true => Err(format!("the header {name} belongs to the gateway")),
        false => Ok(parsed),
    }
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, String> {
    let value: Cow<'_, str> = value.trim().into();
    HeaderValue::from_str(&value)
        .map_err(|_| format!("the header {name} has characters that cannot be in a header"))
}
