//! Azure: applications of Microsoft Entra.

use witgate_signing::escape;
use zeroize::Zeroizing;

use super::tokens::{Ask, Token};
use crate::bindings::witgate::host::http::HttpError;
use crate::bindings::witgate::host::sign::AzureApp;
use crate::capabilities::Context;

/// An access token for the application (client credentials grant).
pub(super) async fn token(
    context: &Context,
    app: &AzureApp,
    client_secret: &str,
) -> Result<Token, HttpError> {
    let tenant = escape(app.tenant_id.as_bytes());
    let authority = app.authority.trim_end_matches('/');
    let url = format!("{authority}/{tenant}/oauth2/v2.0/token");
    let identity = [app.client_id.as_str(), client_secret, &app.scope];
    let ask = Ask {
        url: &url,
        identity: &identity,
    };
    let form = |_| {
        Ok(Zeroizing::new(format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            escape(app.client_id.as_bytes()),
            escape(client_secret.as_bytes()),
            escape(app.scope.as_bytes())
        )))
    };
    context.tokens.get(context, ask, form).await
}
