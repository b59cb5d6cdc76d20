//! What each path means: one table for the matcher, `GET /routes` and the answers 404 and 405.
//!
//! [`App`] is the [`Service`](crate::Service) of the gateway. A call to a model goes to the pipeline;
//! the other routes are answered in [`mod@info`], [`mod@explain`], [`mod@health`], [`mod@manage`], [`mod@cache`], [`mod@budgets`], [`mod@apply`], [`mod@key_health`], [`mod@look`], [`mod@tokens`] and [`mod@plugins`], or by
//! the desk where people sign in ([`mod@login`]). What is no route of the table may be one of the operator's ([`mod@passages`]). What is no route may be a page of [`mod@docs`].

mod app;
mod apply;
mod bodies;
mod budgets;
mod cache;
mod calls;
mod docs;
mod explain;
mod groups;
mod health;
mod info;
mod key_health;
mod login;
mod look;
mod manage;
mod model_list;
mod passages;
mod plugins;
mod table;
mod tokens;
mod transform;

pub use app::{Admin, App, AppOptions, Earlier, HealthApp, ReloadProblems, ServiceFault};
pub use cache::CacheRoute;
pub use docs::{Docs, DocsOptions};
pub use health::{HealthRoute, TestConnection};
pub use look::LookRoute;
pub use passages::covered;
pub use plugins::{Change, Lines, PluginAdmin, PluginRoute, Refused, Which};
pub use table::{Kind, Matched, ROUTES, Route, find};
