//! One HTTP/1.1 connection, driven by whoever uses it.
//!
//! hyper splits a connection into a handle and a driver that is usually spawned as a task of its
//! own; each request then costs several wake-ups between two tasks, often on two cores. Here the
//! task that sends a request also drives the connection, so a request is one task from end to end,
//! and dropping the request or the response body closes the connection at once.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version};
use hyper::client::conn::http1;

use crate::Body;
use crate::connect::Io;
use crate::pool::Key;
use crate::proxy::Proxy;

/// An open HTTP/1.1 connection.
pub(crate) struct Exchange {
    key: Key,
    host: HeaderValue,
    /// Who is at the other end, when it is not the origin.
    proxy: Option<Arc<Proxy>>,
    handle: http1::SendRequest<Body>,
    driver: http1::Connection<Io, Body>,
    ended: bool,
}

/// Why no response head came.
pub(crate) enum Failure {
    /// Nothing was sent; here is the request again.
    Unsent(Box<Request<Body>>),
    /// hyper says why.
    Failed(hyper::Error),
    /// The connection ended without a word.
    Gone,
}

impl Exchange {
    /// Speaks HTTP/1.1 on a fresh connection.
    pub(crate) async fn open(
        key: Key,
        io: Io,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Box<Self>, hyper::Error> {
        let (handle, driver) = http1::handshake(io).await?;
        let host = key.host_header();
        Ok(Box::new(Self {
            key,
            host,
            proxy,
            handle,
            driver,
            ended: false,
        }))
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether a request may be sent now: the last response was read to its end and the peer has
    /// not closed the connection in the meantime.
    pub(crate) fn is_ready(&mut self) -> bool {
        // The idle connection must not wake whichever task used it last.
        self.drive(&mut quiet());
        !self.ended && self.handle.is_ready()
    }

    /// Moves bytes in both directions as far as they go now. True once the connection is over.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.ended {
            // An error is also handed to whoever waits for the response or its body.
            self.ended = Pin::new(&mut self.driver).poll(cx).is_ready();
        }
        self.ended
    }

    /// Sends one request, in origin form, and waits for the response head.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<Body>,
    ) -> Result<Response<hyper::body::Incoming>, Failure> {
        *request.version_mut() = Version::HTTP_11;
        request
            .headers_mut()
            .entry(HOST)
            .or_insert_with(|| self.host.clone());
        if let Some(proxy) = &self.proxy {
            address_by(&self.key, proxy, &mut request);
        }
        let through_proxy = self.proxy.is_some();
        let mut response = pin!(self.handle.try_send_request(request));
        let (driver, ended) = (&mut self.driver, &mut self.ended);
        poll_fn(move |cx| {
            // Only the driver makes the response progress, so the response needs no waker. The
            // driver gets ours only when there is something to wait for: hyper keeps it beside the
            // body it has begun to read, and would wake this task from within this task.
            for waker in [Waker::noop(), cx.waker()] {
                if !*ended {
                    let cx = &mut Context::from_waker(waker);
                    *ended = Pin::new(&mut *driver).poll(cx).is_ready();
                }
                if let Poll::Ready(answer) = response.as_mut().poll(&mut quiet()) {
                    return Poll::Ready(answer.map_err(|mut error| match error.take_message() {
                        Some(mut request) => {
                            if through_proxy {
                                request.headers_mut().remove(PROXY_AUTHORIZATION);
                                to_origin_form(&mut request);
                            }
                            Failure::Unsent(Box::new(request))
                        }
                        None => Failure::Failed(error.into_error()),
                    }));
                }
            }
            if *ended {
                Poll::Ready(Err(Failure::Gone))
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

/// A request as a proxy wants it: with its whole URL.
fn address_by(key: &Key, proxy: &Proxy, request: &mut Request<Body>) {
    let parts = std::mem::take(request.uri_mut()).into_parts();
    let path = parts.path_and_query;
    *request.uri_mut() = key.uri(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    if let Some(authorization) = &proxy.authorization {
        let headers = request.headers_mut();
        headers.insert(PROXY_AUTHORIZATION, authorization.clone());
    }
}

/// A request that comes back has its path alone, as it had when it was sent.
pub(crate) fn to_origin_form(request: &mut Request<Body>) {
    let parts = std::mem::take(request.uri_mut()).into_parts();
    *request.uri_mut() = parts.path_and_query.map(Uri::from).unwrap_or_default();
}

/// A context that wakes nobody.
pub(crate) fn quiet() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
