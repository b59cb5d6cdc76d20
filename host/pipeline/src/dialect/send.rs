//! From what a plugin built to what is sent: where to, with which headers and secrets.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Uri};

use super::{Answering, Talk, origin};
use crate::attempt::{Failed, pass_trace, unreachable};
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
        let sent = self.way(http.uri()).send(http).await;
        match sent {
            Ok(response) => Ok(response.into_parts()),
            Err(error) if error.kind == UpstreamErrorKind::Denied => {
                let text = format!(
                    "the provider plugin may not call this host: {}",
                    error.message
                );
                Err(self.faulty(&PluginFault::new(text)))
            }
            Err(error) => Err(unreachable(self.target, &error)),
        }
    }

    /// The deployment's own client for the origin that the operator wrote, else the plugin's.
    fn way(&self, url: &Uri) -> &Arc<dyn Upstream> {
        let own = self.dialect.own_origin.as_ref();
        match own.is_some_and(|own| origin(url).as_ref() == Some(own)) {
            true => &self.target.upstream,
            false => &self.dialect.elsewhere,
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
        for (name, value) in &self.dialect.headers {
            headers.insert(name.clone(), value.clone());
        }
        outgoing::add(self.x, self.target, headers);
        pass_trace(self.gateway, self.x, headers);
        Ok(http)
    }

    /// The template with each `{name}` replaced by the secret of this name.
    fn filled(&self, template: &str) -> Result<zeroize::Zeroizing<String>, String> {
        let mut text = zeroize::Zeroizing::new(String::new());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, behind)) = after.split_once('}') else {
                break;
            };
            let found = self.dialect.credentials.iter().find(|own| own.name == name);
            let Some(credential) = found else {
                let known = self.dialect.credentials.iter();
                let known: Vec<&str> = known.map(|own| own.name.as_str()).collect();
                return Err(format!(
                    "a credential header asks for {name:?}; the deployment has {}",
                    known.join(", ")
                ));
            };
            text.push_str(before);
            text.push_str(&credential.value);
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
