//! What callers may use and spend.
//!
//! [`Limiter`] counts requests, tokens and calls at once, [`Books`] money. Both take what a call needs of all who bear it in one
//! step or not at all, and what they hand out gives it back by itself, however the call ends. Nothing here speaks HTTP or reads a
//! clock: times are passed in. Gateways that have a [`witgate_state::Store`] in common count together.

mod budgets;
mod durations;
mod limits;
mod models;
mod priority;
mod shards;
mod turn;

pub use budgets::{
    Books, Charge, Crossing, Exceeded, Fact, Reservation, Settled, SpentIn, charges, refuses_at_max,
};
pub use durations::{Period, PeriodError, ResetClock};
pub use limits::{
    Admitted, Descriptor, LimitKind, Limiter, NotAdmitted, Refusal, Rules, Standing, UNBOUNDED,
    descriptors,
};
pub use models::{ModelScopeError, model_scopes, money, stored_model_scopes, whole};
pub use priority::{ActiveKeys, Priorities, Reserved, Sharing, Used, counted};
