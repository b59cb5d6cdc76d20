//! The way to model providers: the pipeline's `Upstream` over the outbound client.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http_body::Frame;
use http_body_util::{BodyStream, StreamBody};
use witgate_outbound::{
    Body, Client, ClientError, ClientOptions, Egress, Policy, SendError, TlsOptions,
};
use witgate_pipeline::{Upstream, UpstreamBody, UpstreamError, UpstreamErrorKind};

/// How far a deployment reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Anywhere: the operator wrote it.
    All,
    /// The public internet: an admin of a team wrote it, who must not be led inside by the gateway.
    Public,
    /// The same, and no connection is kept: clients name addresses without number.
    Clients,
}

/// Clients by their TLS options. Kept over reloads, so that connections survive them.
#[derive(Default)]
pub struct Upstreams {
    clients: HashMap<(TlsOptions, Reach), Arc<dyn Upstream>>,
}

impl Upstreams {
    /// The client with these options.
    pub fn client(
        &mut self,
        tls: &TlsOptions,
        reach: Reach,
    ) -> Result<Arc<dyn Upstream>, ClientError> {
        let wanted = (tls.clone(), reach);
        if let Some(client) = self.clients.get(&wanted) {
            return Ok(client.clone());
        }
        let mut options = ClientOptions::new(match reach {
            Reach::All => Egress::Unrestricted,
            Reach::Public | Reach::Clients => Egress::Policy(Arc::new(public())),
        });
        if reach == Reach::Clients {
            options.pool_max_idle_per_host = 0;
        }
        options.tls = tls.clone();
        let client: Arc<dyn Upstream> = Arc::new(Pooled(Client::new(options)?));
        self.clients.insert(wanted, client.clone());
        Ok(client)
    }
}

/// Every host with a public address.
fn public() -> Policy {
    let rules = ["https://*:*", "http://*:*"];
    Policy {
        // A test reads both.
        allow: rules.iter().filter_map(|rule| rule.parse().ok()).collect(),
        private: Vec::new(),
    }
}

struct Pooled(Client);

#[async_trait]
impl Upstream for Pooled {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        let response = self
            .0
            .send(request.map(Body::from))
            .await
            .map_err(|e| send_error(&e))?;
        Ok(response.map(pieces))
    }

    async fn send_stream(
        &self,
        request: http::Request<UpstreamBody>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        let request = request.map(|body| Body::stream(StreamBody::new(body.map_ok(Frame::data))));
        let response = self.0.send(request).await.map_err(|e| send_error(&e))?;
        Ok(response.map(pieces))
    }
}

/// A body as the pipeline reads it.
pub(super) fn pieces<B>(body: B) -> UpstreamBody
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Display + Send> + Send + 'static,
{
    let pieces = BodyStream::new(body).filter_map(|frame| async move {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(UpstreamError {
                kind: UpstreamErrorKind::Broken,
                message: error.to_string(),
            })),
        }
    });
    Box::pin(pieces)
}

fn send_error(error: &SendError) -> UpstreamError {
    let kind = if error.is_denied() {
        UpstreamErrorKind::Denied
    } else if error.is_timeout() {
        UpstreamErrorKind::Timeout
    } else if error.is_connect() {
        UpstreamErrorKind::Connect
    } else {
        UpstreamErrorKind::Broken
    };
    UpstreamError {
        kind,
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn public_addresses_are_reached_by_both_schemes() {
        assert_eq!(super::public().allow.len(), 2);
    }
}
