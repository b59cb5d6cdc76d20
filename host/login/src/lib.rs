//! Signing in: the flow with an identity provider, who may enter and as what, and the session that comes of it.
//!
//! What identity providers say comes through [`Plugin`], what the gateway knows of its users through [`Users`]; cookies,
//! redirects, `state`, `nonce`, PKCE and every check are here. A [`Desk`] turns a [`Visit`] into an [`Answer`].
//!
//! Read in this order: `desk` (the routes), `pending` (a login under way, in a cookie), `admit` (from an identity to a user),
//! `page` (what people see), `ports`, `rules` (what the operator says).

mod admit;
mod desk;
mod page;
mod pending;
mod ports;
mod rules;

#[cfg(test)]
mod tests;

pub use desk::{Answer, Desk, DeskParts, Step, Visit};
pub use page::escape;
pub use ports::{
    Authorization, Callback, Fault, Login, Mapped, OpenId, Plugin, ProxyRequest, Refusal, Taken,
    User, Users, Values, Who,
};
pub use rules::{AccessMode, NewUser, Password, Provider, Rules};
