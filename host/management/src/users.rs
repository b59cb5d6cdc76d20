//! Internal users: `/user/new`, `/user/info` and their sisters.

mod defaults;

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select, Write};

use crate::fields::{Field, Shape, column, member, metadata, text, texts};
use crate::refusal::RACED;
use crate::{Ask, ControlPlane, Refusal};

pub(crate) use defaults::newcomer;

pub(crate) const TABLE: &str = "LiteLLM_UserTable";

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
    member("object_permission", Shape::Object),
];

/// A user's row as it is shown: nobody sees a password, hashed or not.
pub(crate) fn shown(mut row: Row) -> Row {
    row.remove("password");
    row
}

/// The users with this address, in any case of letters.
pub(crate) async fn with_email(plane: &ControlPlane, email: &str) -> Result<Vec<Row>, Refusal> {
    let select: Select = Filter::of("user_email", Is::Contains(email.to_owned())).into();
    let mut found = plane.store.rows(TABLE, &select).await?;
    let email = email.to_lowercase();
    found.retain(|row| text(row, "user_email").is_some_and(|own| own.to_lowercase() == email));
    Ok(found)
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

/// A text of a given column, however it was given.
fn role_of(row: &Row) -> Option<&str> {
    row.get("user_role").and_then(Value::as_str)
}
