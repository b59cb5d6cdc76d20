//! Every outgoing connection: one pooled client, TLS, timeouts, egress policy.
