//! The listener: HTTP/1.1, h2, TLS, limits, routes, drain.
