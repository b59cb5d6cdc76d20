//! Service accounts of Google Cloud: their access tokens.

use witgate_signing::gcp::Account;

use super::invalid;
use super::tokens::{Ask, Token};
use crate::bindings::witgate::host::http::HttpError;
use crate::capabilities::Context;

/// An access token of the account for the scope.
pub(super) async fn token(
    context: &Context,
    account: &Account,
    scope: &str,
) -> Result<Token, HttpError> {
    let ask = Ask {
        url: account.token_uri(),
        identity: &account.identity(scope),
    };
    let form = |now| account.form(scope, now).map_err(invalid);
    context.tokens.get(context, ask, form).await
}
