//! Internal users: `/user/new`, `/user/info` and their sisters.

mod defaults;
mod new;
pub(crate) mod password;
mod read;
#[cfg(test)]
mod tests;
mod update;

use serde_json::json;
use witgate_store::{Filter, Is, Row, Select, Write};

use crate::fields::{Field, Given, Shape, column, member, metadata, text, texts};
use crate::operation::{Operation, Who};
use crate::refusal::RACED;
use crate::{Ask, ControlPlane, Refusal};

pub(crate) use defaults::newcomer;

pub(crate) const TABLE: &str = "LiteLLM_UserTable";

pub(crate) use witgate_identity::NOBODY;

/// What a user may be given.
pub(crate) const FIELDS: &[Field] = &[
    column("user_email", Shape::Text),
    column("user_alias", Shape::Text),
    column("user_role", Shape::Text),
    column("sso_user_id", Shape::Text),
    column("models", Shape::Texts),
    column("spend", Shape::Number),
    column("max_budget", Shape::Number),
    column("budget_duration", Shape::Duration),
    column("tpm_limit", Shape::Whole),
    column("rpm_limit", Shape::Whole),
    column("max_parallel_requests", Shape::Whole),
    column("model_max_budget", Shape::Object),
    column("allowed_cache_controls", Shape::Texts),
    column("metadata", Shape::Object),
    metadata("model_rpm_limit", Shape::Object),
    metadata("model_tpm_limit", Shape::Object),
    metadata("guardrails", Shape::Texts),
    metadata("prompts", Shape::Texts),
    metadata("tags", Shape::Texts),
    member("user_id", Shape::Text),
    member("object_permission", Shape::Object),
    member("password", Shape::Text),
];

/// What makes a new user beside that, and the key it gets.
const NEW: &[Field] = &[
    member("teams", Shape::Any),
    member("team_id", Shape::Text),
    member("organizations", Shape::Texts),
    member("auto_create_key", Shape::Flag),
    member("send_invite_email", Shape::Flag),
    member("key_alias", Shape::Text),
    member("duration", Shape::Text),
    member("aliases", Shape::Object),
    member("config", Shape::Object),
    member("permissions", Shape::Object),
    member("blocked", Shape::Flag),
    member("access_group_ids", Shape::Texts),
];
const PASSWORD: &[Field] = &[
    member("user_id", Shape::Text),
    member("current_password", Shape::Text),
    member("new_password", Shape::Text),
];
const NAMED: &[Field] = &[member("user_ids", Shape::Texts)];
const BULK: &[Field] = &[
    member("users", Shape::Objects),
    member("all_users", Shape::Flag),
    member("user_updates", Shape::Object),
];

/// Members of a user that LiteLLM has and this release does not act on.
const NOT_YET: [&str; 3] = ["budget_limits", "policies", "router_settings"];

/// Roles that only a proxy admin gives.
const ADMINS: [&str; 2] = ["proxy_admin", "proxy_admin_viewer"];

/// Roles that a user may have: name, what it may, what the UI calls it.
const ROLES: [(&str, &str, &str); 4] = [
    (
        "proxy_admin",
        "everything on the gateway",
        "Admin (All Permissions)",
    ),
    (
        "proxy_admin_viewer",
        "see all keys, users and spend",
        "Admin (View Only)",
    ),
    (
        "internal_user",
        "make, see and delete their own keys, see their own spend",
        "Internal User (Create/Delete/View)",
    ),
    (
        "internal_user_viewer",
        "see their own keys and spend",
        "Internal User (View Only)",
    ),
];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/user/new"],
        who: Who::Member,
        what: "Makes a user, and a key of theirs unless auto_create_key is false.",
        body: &[FIELDS, NEW],
        query: &[],
        run: |plane, ask| Box::pin(new::new(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/user/available_users"],
        who: Who::Viewer,
        what: "Tells how many users and teams there are. No licence says how many there may be.",
        body: &[],
        query: &[],
        run: |plane, _| Box::pin(read::available(plane)),
    },
    Operation {
        method: "GET",
        paths: &["/user/info"],
        who: Who::Anyone,
        what: "Tells of a user with their keys and teams; without a parameter of the caller.",
        body: &[],
        query: &["user_id"],
        run: |plane, ask| Box::pin(read::info(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/v2/user/info"],
        who: Who::Anyone,
        what: "Tells of a user without their keys, with the ids of their teams; without a parameter of the caller.",
        body: &[],
        query: &["user_id"],
        run: |plane, ask| Box::pin(read::alone(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/user/update"],
        who: Who::Anyone,
        what: "Changes a user; everybody their own name.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(update::update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/user/password/change"],
        who: Who::Anyone,
        what: "Changes the caller's own password; who does not know the present one does not.",
        body: &[PASSWORD],
        query: &[],
        run: |plane, ask| Box::pin(update::own_password(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/user/bulk_update"],
        who: Who::Admin,
        what: "Changes many users.",
        body: &[BULK],
        query: &[],
        run: |plane, ask| Box::pin(update::bulk(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/user/list"],
        who: Who::Anyone,
        what: "Lists users page by page: an organization's admin those of the organization.",
        body: &[],
        query: &[
            "role",
            "user_ids",
            "sso_user_ids",
            "user_email",
            "team",
            "page",
            "page_size",
            "sort_by",
            "sort_order",
        ],
        run: |plane, ask| Box::pin(read::list(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/user/delete"],
        who: Who::Admin,
        what: "Deletes users, with their keys and memberships.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(update::delete(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/user/available_roles"],
        who: Who::Anyone,
        what: "Lists the roles that users may have.",
        body: &[],
        query: &[],
        run: |_, _| Box::pin(std::future::ready(Ok(read::roles()))),
    },
    Operation {
        method: "GET",
        paths: &["/user/filter/ui"],
        who: Who::Anyone,
        what: "Finds users by id or address.",
        body: &[],
        query: &["user_id", "user_email", "page", "page_size"],
        run: |plane, ask| Box::pin(read::filter(plane, ask)),
    },
];

/// A body's members, those that mean nothing here refused.
fn read_body(
    body: &serde_json::Map<String, serde_json::Value>,
    tables: &[&[Field]],
) -> Result<Given, Refusal> {
    crate::fields::refuse(&NOT_YET, body, "user")?;
    if body.get("tpd_limit").is_some_and(|limit| !limit.is_null()) {
        let text = "A user has no tpd_limit: neither LiteLLM nor Witgate keeps one. Give it to the user's keys, or to their team or organization";
        return Err(Refusal::bad(text).param("tpd_limit"));
    }
    let given = Given::read(tables, body)?;
    crate::keys::check_models(&given)?;
    if let Some(role) = given.text("user_role")
        && !ROLES.iter().any(|(name, ..)| *name == role)
    {
        let message = "Input should be 'proxy_admin', 'proxy_admin_viewer', 'internal_user' or 'internal_user_viewer'";
        return Err(Refusal::invalid(
            "enum",
            "body",
            "user_role",
            message,
            &role.into(),
        ));
    }
    Ok(given)
}

/// A user's row as it is shown: nobody sees a password, hashed or not.
pub(crate) fn shown(mut row: Row) -> Row {
    row.remove("password");
    row
}

/// A user's row as whoever gave them a place sees it: an admin all of it, others who it is.
pub(crate) fn seated(ask: &Ask, row: Row) -> Row {
    let mut row = shown(row);
    if !ask.is_admin() {
        row.retain(|name, _| ["user_id", "user_email", "user_role"].contains(&name.as_str()));
    }
    row
}

/// The most users of one address that are looked at; there is more than one only where another program wrote them.
const ALIKE_MOST: u64 = 100;

/// The users with this address, in any case of letters.
pub(crate) async fn with_email(plane: &ControlPlane, email: &str) -> Result<Vec<Row>, Refusal> {
    let mut select: Select = Filter::of("user_email", Is::Alike(email.to_owned())).into();
    select.limit = Some(ALIKE_MOST);
    let mut found = plane.store.rows(TABLE, &select).await?;
    let email = email.to_lowercase();
    found.retain(|row| text(row, "user_email").is_some_and(|own| own.to_lowercase() == email));
    Ok(found)
}

/// An address, and an id at the identity provider, is one user's only.
async fn unique(
    plane: &ControlPlane,
    given: &Given,
    own: Option<&str>,
    steps: &mut Vec<Write>,
) -> Result<(), Refusal> {
    if let Some(email) = given.text("user_email") {
        let taken = with_email(plane, email).await?;
        if taken.iter().any(|row| text(row, "user_id") != own) {
            return Err(email_taken(email));
        }
    }
    for column in ["user_email", "sso_user_id"] {
        let Some(value) = given.text(column) else {
            continue;
        };
        let mut others = Filter::by(column, value);
        if let Some(own) = own {
            others = others.and("user_id", Is::Not(own.into()));
        }
        steps.push(Write::Absent(TABLE, others, column));
    }
    Ok(())
}

pub(crate) fn email_taken(email: &str) -> Refusal {
    Refusal::bad(format!("User with email {email} already exists")).param("user_email")
}

/// What a failed transaction about a user means.
fn refused(error: witgate_store::WriteError) -> Refusal {
    match error {
        witgate_store::WriteError::Taken(what) if what.contains("sso_user_id") => {
            Refusal::bad("A user with this sso_user_id already exists").param("sso_user_id")
        }
        witgate_store::WriteError::Taken(what) if what == "user_email" => {
            Refusal::bad("User with this email already exists").param("user_email")
        }
        error => error.into(),
    }
}

/// The steps that change columns of a user, its teams among them, unless somebody else changed those since.
pub(crate) fn teams_changed(row: &Row, set: Row) -> Vec<Write> {
    let named = Filter::by("user_id", text(row, "user_id").unwrap_or_default());
    let was = row.get("teams").cloned().unwrap_or_else(|| json!([]));
    let other = named.clone().and("teams", Is::Not(was));
    vec![
        Write::Absent(TABLE, other, RACED),
        Write::Update {
            table: TABLE,
            filter: named,
            set,
            add: Vec::new(),
        },
    ]
}

/// The steps that take teams off a user's list.
pub(crate) fn leaves(ask: &Ask, row: &Row, left: &[&str]) -> Vec<Write> {
    let mut teams = texts(row, "teams");
    teams.retain(|team| !left.contains(team));
    let set = json!({"teams": teams, "updated_at": ask.now});
    teams_changed(row, set.as_object().cloned().unwrap_or_default())
}
