//! From an identity to a user of the gateway: who may enter, with which role, and what is written down.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};
use std::str::FromStr;
use witgate_identity::{NOBODY, Role};

use crate::ports::{Mapped, OpenId, Refusal, User, Users, Values};
use crate::rules::{AccessMode, Rules};

/// Bytes of an id, and of an address.
const ID_MAX: usize = 256;
const EMAIL_MAX: usize = 320;

/// Lets somebody in, or says why not. The user's row is written.
pub(crate) async fn admit(rules: &Rules, users: &dyn Users, who: OpenId) -> Result<User, Refusal> {
    check_domain(rules, who.email.as_deref())?;
    let values = values(rules, users, &who).await?;
    check_texts(&values)?;
    let told = told_role(rules, &values)?;
    let email = values.user_email.as_deref().or(who.email.as_deref());
    let known = users.find(&values.user_id, &who.id, email).await;
    let known = known.map_err(|fault| broken("the users' table", &fault.0))?;
    let is_admin = rules.admin_id.as_deref() == Some(values.user_id.as_str());
    let told = if is_admin {
        Some(Role::ProxyAdmin)
    } else {
        told
    };
    let user = match known {
        Some(user) => User {
            user_email: email.map(str::to_owned).or(user.user_email),
            sso_user_id: user.sso_user_id.or(Some(who.id)),
            role: told.or(user.role).or(Some(Role::InternalUserViewer)),
            ..user
        },
        None => new_user(rules, &who, values, told)?,
    };
    check_access(rules, &user, &who.team_ids)?;
    if NOBODY.contains(&user.user_id.as_str()) && !is_admin {
        return Err(Refusal {
            status: 403,
            message: "This id is the gateway's own: nobody signs in with it.".to_owned(),
        });
    }
    let saved = users.save(&user).await;
    saved.map_err(|fault| broken("the users' table", &fault.0))?;
    Ok(user)
}

/// The built-in administrator, who signed in with the password.
pub(crate) async fn admit_admin(rules: &Rules, users: &dyn Users) -> Result<User, Refusal> {
    let user = User {
        user_id: rules
            .admin_id
            .clone()
            .unwrap_or_else(|| "default_user_id".to_owned()),
        sso_user_id: None,
        user_email: None,
        role: Some(Role::ProxyAdmin),
        models: Vec::new(),
        max_budget: None,
        budget_duration: None,
        metadata: Map::new(),
    };
    let saved = users.save(&user).await;
    saved.map_err(|fault| broken("the users' table", &fault.0))?;
    Ok(user)
}

/// A user of the table who signs in with a password. Groups are the identity provider's to tell, so who must be in one comes
/// through it.
pub(crate) fn admit_known(rules: &Rules, user: User) -> Result<User, Refusal> {
    check_domain(rules, user.user_email.as_deref())?;
    let user = User {
        role: user.role.or(Some(Role::InternalUserViewer)),
        ..user
    };
    check_access(rules, &user, &[])?;
    Ok(user)
}

/// What the operator is told in full, and the user only that it did not work.
pub(crate) fn broken(what: &str, why: &str) -> Refusal {
    tracing::error!("signing in failed: {what}: {why}");
    Refusal {
        status: 500,
        message: format!("Signing in failed: {what} did not work. The gateway's log says why."),
    }
}

fn check_domain(rules: &Rules, email: Option<&str>) -> Result<(), Refusal> {
    let domain = email
        .and_then(|email| email.rsplit_once('@'))
        .map(|(_, domain)| domain.to_lowercase());
    let allowed = rules.email_domains.is_empty()
        || domain.is_some_and(|domain| rules.email_domains.contains(&domain));
    match allowed {
        true => Ok(()),
        false => Err(Refusal {
            status: 401,
            message: format!(
                "The address {} is not in an allowed email domain. Allowed: {}.",
                email.unwrap_or("(none is known)"),
                rules.email_domains.join(", ")
            ),
        }),
    }
}

/// What `custom_sso` says, else what the provider says.
async fn values(rules: &Rules, users: &dyn Users, who: &OpenId) -> Result<Values, Refusal> {
    let Some(mapping) = &rules.mapping else {
        return Ok(Values {
            user_id: who.id.clone(),
            user_email: who.email.clone(),
            user_role: who.user_role.clone(),
            ..Values::default()
        });
    };
    let known = users.find(&who.id, &who.id, who.email.as_deref()).await;
    let known = known.map_err(|fault| broken("the users' table", &fault.0))?;
    match mapping.map_user(who.clone(), known.as_ref().map(row)).await {
        Ok(Mapped::Values(values)) => Ok(values),
        Ok(Mapped::Deny(refusal)) => Err(refusal),
        Err(fault) => Err(broken("custom_sso", &fault.0)),
    }
}

/// The row of a user, by LiteLLM's names.
fn row(user: &User) -> Map<String, Value> {
    let row = json!({
        "user_id": user.user_id, "sso_user_id": user.sso_user_id, "user_email": user.user_email,
        "user_role": user.role.as_ref().map(Role::as_str), "models": user.models,
        "max_budget": user.max_budget.and_then(|money| f64::from_str(&money.to_string()).ok()),
        "budget_duration": user.budget_duration, "metadata": user.metadata,
    });
    row.as_object().cloned().unwrap_or_default()
}

/// What plugins say ends up in a database, in headers and on pages.
fn check_texts(values: &Values) -> Result<(), Refusal> {
    let good = |text: &str, max: usize| text.len() <= max && !text.chars().any(char::is_control);
    let email = values.user_email.as_deref().unwrap_or_default();
    match good(&values.user_id, ID_MAX) && good(email, EMAIL_MAX) {
        true => Ok(()),
        false => Err(broken(
            "the identity provider",
            "it gave an id of more than 256 bytes, an address of more than 320, or control characters",
        )),
    }
}

/// The role that was told. Of the provider a word that is no role is passed over, of `custom_sso` it is an error.
fn told_role(rules: &Rules, values: &Values) -> Result<Option<Role>, Refusal> {
    let Some(word) = values.user_role.as_deref().filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    let role = Role::parse(word).filter(|role| {
        matches!(
            role,
            Role::ProxyAdmin
                | Role::ProxyAdminViewer
                | Role::InternalUser
                | Role::InternalUserViewer
        )
    });
    if role.is_none() {
        let known = "proxy_admin, proxy_admin_viewer, internal_user, internal_user_viewer";
        if rules.mapping.is_some() {
            let why = format!("user_role {word:?} is none of {known}");
            return Err(broken("custom_sso", &why));
        }
        tracing::warn!("the identity provider tells the role {word:?}, which is none of {known}");
    }
    Ok(role)
}

fn new_user(
    rules: &Rules,
    who: &OpenId,
    values: Values,
    told: Option<Role>,
) -> Result<User, Refusal> {
    let new = &rules.new_user;
    let budget = match values.max_budget.as_deref() {
        None => new.max_budget,
        Some(text) => match Decimal::from_str(text).or_else(|_| Decimal::from_scientific(text)) {
            Ok(money) if !money.is_sign_negative() => Some(money),
            _ => {
                let why = format!("max_budget {text:?} is no amount of dollars");
                return Err(broken("custom_sso", &why));
            }
        },
    };
    let provider = who.provider.as_deref().unwrap_or("sso");
    let metadata = json!({"auth_provider": provider});
    Ok(User {
        user_email: values.user_email.or_else(|| who.email.clone()),
        sso_user_id: Some(who.id.clone()),
        role: told.or(new.role.clone()).or(Some(Role::InternalUserViewer)),
        models: match values.models.is_empty() {
            true => new.models.clone(),
            false => values.models,
        },
        max_budget: budget,
        budget_duration: values
            .budget_duration
            .or_else(|| new.budget_duration.clone()),
        metadata: metadata.as_object().cloned().unwrap_or_default(),
        user_id: values.user_id,
    })
}

fn check_access(rules: &Rules, user: &User, groups: &[String]) -> Result<(), Refusal> {
    // SCIM's `active: false`, as LiteLLM keeps it.
    if user.metadata.get("scim_active") == Some(&Value::Bool(false)) {
        return Err(Refusal {
            status: 403,
            message: "This user was deactivated.".to_owned(),
        });
    }
    match &rules.access {
        AccessMode::All => Ok(()),
        AccessMode::AdminOnly => {
            let may = matches!(user.role, Some(Role::ProxyAdmin | Role::ProxyAdminViewer));
            may.then_some(()).ok_or_else(|| Refusal {
                status: 401,
                message: "User not allowed to access proxy: the UI is for administrators (`ui_access_mode: admin_only`)."
                    .to_owned(),
            })
        }
        AccessMode::Group(group) => {
            let may = groups.contains(group);
            may.then_some(()).ok_or_else(|| Refusal {
                status: 403,
                message: format!(
                    "The UI is for members of the group {group:?} (`ui_access_mode`)."
                ),
            })
        }
    }
}
