//! The whole gateway, from outside: the real binary, real HTTP, fake vendors.
//!
//! One binary with a module per subject, so that the workspace links it once. Every test starts
//! its own gateway on ephemeral ports and shares nothing with the others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

mod support;

mod access;
mod auto_routers;
mod bad_input;
mod bad_upstream;
mod borne;
mod budget_alerts;
mod bytes_forwarded;
mod caching;
mod caching_redis;
mod caching_semantic;
mod caching_stores;
mod choices;
mod client_headers;
mod client_side;
mod config_bucket;
mod databases;
mod dynamic_limits;
mod errors;
mod explain;
mod health;
mod jobs;
mod json_schema;
mod jwt;
mod ledger;
mod limits;
mod listing;
mod litellm_databases;
mod mail;
mod main_path;
mod management;
mod matrix;
mod model_access;
mod models;
mod oauth2;
mod observability;
mod openapi;
mod pass_through;
mod paths;
mod plugin_operations;
mod provider_budgets;
mod proxies;
mod queue;
mod recordings;
mod redis;
mod released;
mod reliability;
mod reload;
mod routing;
mod routing_groups;
mod shared_budgets;
mod shutdown;
mod spend;
mod spend_api;
mod spend_settings;
mod streaming;
mod teams;
mod transport;

mod anthropic;
mod c_and_go;
mod custom_plugins;
mod examples;
mod guardrails;
mod hostile;
mod hostile_imports;
mod hostile_numbers;
mod identity;
mod images_moderations;
mod languages;
mod log_sinks;
mod login;
mod plugin_models;
mod prices;
mod prompts;
mod provider_plugins;
mod registry;
mod request_hooks;
mod router_plugin;
mod secret_managers;
mod settings;
mod shipping;
mod sinks;
mod stored_guardrails;
mod stored_keys;
mod stored_prompts;
mod vendor_guardrails;
mod virtual_keys;
mod wildcard_models;

mod alerts;

mod scim;
mod sdk;

mod command_line;
mod control;
mod cooldown;
mod crate_graph;
mod documents;
