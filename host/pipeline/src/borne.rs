//! Requests that ask no model and that a caller's limits and budgets bear all the same: they take a place and a request, and are
//! refused when a budget or the tokens of a minute are used up. They use no tokens and no money of their own.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use witgate_identity::Principal;
use witgate_wire::Endpoint;

use crate::exchange::{Arrival, Exchange};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::metering::Held;
use crate::stages::admit;

/// Who asks, and with which headers.
pub struct Asking {
    /// Who.
    pub principal: Arc<Principal>,
    /// Headers of the request.
    pub headers: Arc<HeaderMap>,
}

/// A request that was let in. Its place is free when it is gone.
pub struct Borne<'a> {
    gateway: &'a Gateway,
    pub(crate) exchange: Box<Exchange>,
}

impl<'a> Borne<'a> {
    /// Lets the request in where the caller's limits and budgets have room.
    ///
    /// # Errors
    /// As a call is refused: a limit, a budget, or no place under `LIMIT_CONCURRENCY`.
    pub async fn admit(
        gateway: &'a Gateway,
        asking: Asking,
        route: &'static str,
    ) -> Result<Self, Failure> {
        let exchange = gateway.exchange(Arrival {
            endpoint: Endpoint::ChatCompletions,
            method: Method::POST,
            route,
            url: route.to_owned(),
            path_model: None,
            headers: asking.headers,
            peer: None,
            socket: None,
            body: Ok(Bytes::new()),
        });
        let mut borne = Self { gateway, exchange };
        borne.exchange.principal = asking.principal;
        admit::admit(gateway, &mut borne.exchange).await?;
        Ok(borne)
    }
}

impl Drop for Borne<'_> {
    fn drop(&mut self) {
        self.exchange.held = Held::default();
        self.gateway.freed.notify_waiters();
    }
}
