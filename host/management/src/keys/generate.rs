//! Makes keys.

use serde_json::{Map, Value, json};
use witgate_identity::{KeyHash, key_text, mask_key};
use witgate_store::{Filter, Row, Write};
use zeroize::Zeroizing;

use super::{FIELDS, NOT_YET, TABLE, refused, shown, taken};
use crate::audit::Action;
use crate::fields::{Given, Place};
use crate::key_texts::{KeyName, TextChange};
use crate::letters::{Letter, LetterKind};
use crate::linked::{self, with_linked};
use crate::operation::Outcome;
use crate::plane::Settings;
use crate::{Ask, Changed, ControlPlane, KeyAction, KeyVerdict, Refusal, durations};

/// A key that was made.
pub(crate) struct Made {
    /// Its text.
    pub text: String,
    /// Its row.
    pub row: Row,
}

impl Draft {
    /// The hash of its text.
    pub(crate) fn hash(&self) -> KeyHash {
        KeyHash::of(&self.text)
    }
}

/// A key that is about to be written.
pub(crate) struct Draft {
    /// Its text.
    text: String,
    /// What writes it.
    pub steps: Vec<Write>,
}

pub(super) async fn generate(plane: &ControlPlane, ask: Ask) -> Outcome {
    let given = read(plane, &ask, KeyAction::Generate).await?;
    let given = plane.bound_new(&ask, given).await?;
    let by_mail = given.members.get("send_invite_email") == Some(&Value::Bool(true));
    let made = make(plane, &ask, given).await?;
    if by_mail {
        tell(plane, &made).await?;
    }
    Ok(Value::Object(answer(plane, &ask, made).await?))
}

/// `send_invite_email`: the key's user gets it by mail, too.
async fn tell(plane: &ControlPlane, made: &Made) -> Result<(), Refusal> {
    let user = crate::fields::text(&made.row, "user_id");
    let Some(to) = plane.address_of(user).await? else {
        tracing::warn!(
            "no mail about a new key: there is nobody to write to, or no mail is sent (general_settings.alerting: [email], SMTP_HOST)"
        );
        return Ok(());
    };
    let text = made.text.clone();
    plane.post(Letter::about_key(
        LetterKind::KeyCreated,
        to,
        &made.row,
        text,
    ));
    Ok(())
}

pub(super) async fn service_account(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = read(plane, &ask, KeyAction::Generate).await?;
    let Some(team) = given.text("team_id").map(str::to_owned) else {
        return Err(
            Refusal::bad("A service account belongs to a team: team_id is missing")
                .param("team_id"),
        );
    };
    let Some(row) = plane.team(&team).await? else {
        return Err(Refusal::bad(format!("team_id {team:?} does not exist")).param("team_id"));
    };
    plane.must_manage_keys_of(&ask, &row).await?;
    let name = given.text("key_alias").map(str::to_owned);
    let name = name.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let mut given = {
        given
            .metadata
            .insert("service_account_id".to_owned(), name.into());
        plane.bound_new(&ask, given).await?
    };
    given.columns.remove("user_id");
    let answer = answer(plane, &ask, make(plane, &ask, given).await?).await?;
    Ok(Value::Object(answer))
}

/// LiteLLM's answer: the row and the text, which is shown this once.
pub(crate) async fn answer(
    plane: &ControlPlane,
    ask: &Ask,
    made: Made,
) -> Result<Map<String, Value>, Refusal> {
    let token = made.row.get("token").cloned().unwrap_or_default();
    let mut answer = shown(ask, with_linked(plane, made.row).await?);
    echo(&mut answer);
    answer.insert("key".to_owned(), made.text.into());
    answer.insert("token".to_owned(), token.clone());
    answer.insert("token_id".to_owned(), token);
    Ok(answer)
}

/// Members that a body has and a row keeps elsewhere, each with its value or null: LiteLLM's answer has all of them.
fn echo(answer: &mut Map<String, Value>) {
    let within = |of: &str, name: &str| answer.get(of)?.get(name).cloned();
    let folded = FIELDS.iter().filter(|field| field.place == Place::Metadata);
    let folded = folded.map(|field| (field.name, within("metadata", field.name)));
    let others = [
        ("soft_budget", within("litellm_budget_table", "soft_budget")),
        ("duration", None),
        ("send_invite_email", None),
    ];
    let told: Vec<_> = folded.chain(others).collect();
    for (name, value) in told {
        answer.insert(name.to_owned(), json!(value));
    }
}

/// The body as the operator's policy leaves it.
pub(super) async fn read(
    plane: &ControlPlane,
    ask: &Ask,
    action: KeyAction,
) -> Result<Given, Refusal> {
    let mut given = read_body(&ask.body)?;
    if action == KeyAction::Update {
        alias_fits(&plane.settings.load(), given.text("key_alias"))?;
    }
    let judge = plane.settings.load().judge_of(action);
    let Some((policy, key)) = judge else {
        return Ok(given);
    };
    // The policy judges what is asked for. The key's text is not its business: it gets the hash.
    let mut told = ask.body.clone();
    let text = ask.text("key").map(str::to_owned);
    if let Some(text) = &text {
        told.insert("key".to_owned(), super::hash(text).into());
    }
    let json = Value::Object(told.clone()).to_string();
    match policy.judge(action, &ask.caller, json).await {
        Ok(KeyVerdict::Allow) => {}
        Ok(KeyVerdict::Edit(mut edited)) => {
            if let Some(text) = text
                && edited.get("key") == told.get("key")
            {
                edited.insert("key".to_owned(), text.into());
            }
            given = read_body(&edited)?;
        }
        Ok(KeyVerdict::Deny(message)) if message.is_empty() => {
            return Err(Refusal::forbidden(
                "Authentication Failed - Custom Auth Rule",
            ));
        }
        Ok(KeyVerdict::Deny(message)) => return Err(Refusal::forbidden(message)),
        Err(why) => {
            tracing::error!("{key} could not judge a key: {why}");
            return Err(Refusal::error(
                500,
                "internal_server_error",
                "Internal server error",
            ));
        }
    }
    Ok(given)
}

fn read_body(body: &Map<String, Value>) -> Result<Given, Refusal> {
    crate::fields::refuse(&NOT_YET, body, "key")?;
    let mut given = Given::read(&[FIELDS], body)?;
    if given
        .members
        .get("key")
        .and_then(Value::as_str)
        .is_some_and(|key| key.len() > 512)
    {
        return Err(Refusal::bad("a key has at most 512 bytes").param("key"));
    }
    let group = match given.members.get("key_type").and_then(Value::as_str) {
        None | Some("default") => None,
        Some("llm_api") => Some("llm_api_routes"),
        Some("management") => Some("management_routes"),
        Some("read_only") => Some("info_routes"),
        Some(other) => {
            let message = format!(
                "key_type {other:?} does not exist; use default, llm_api, management or read_only"
            );
            return Err(Refusal::bad(message).param("key_type"));
        }
    };
    if let Some(group) = group {
        given.set("allowed_routes", json!([group]));
    }
    let routes = given
        .columns
        .get("allowed_routes")
        .and_then(Value::as_array);
    let unknown = routes.into_iter().flatten().filter_map(Value::as_str);
    if let Some(unknown) = unknown
        .into_iter()
        .find(|entry| !witgate_identity::is_known_route(entry))
    {
        let message = format!(
            "allowed_routes: {unknown:?} is neither a path (/…) nor a group of routes such as llm_api_routes, info_routes or management_routes"
        );
        return Err(Refusal::bad(message).param("allowed_routes"));
    }
    super::bounds::check_models(&given)?;
    super::bounds::check_limit_types(&given)?;
    super::check_budget_limits(given.columns.get("budget_limits"))?;
    super::bounds::check_budget_fallbacks(given.columns.get("budget_fallbacks"))?;
    Ok(given)
}

/// Writes a new key of what was given.
async fn make(plane: &ControlPlane, ask: &Ask, given: Given) -> Result<Made, Refusal> {
    let mut draft = draft(plane, ask, given)?;
    let steps = std::mem::take(&mut draft.steps);
    plane.store.write(steps, ask.now).await.map_err(refused)?;
    made(plane, draft).await
}

/// A key that was written as its draft says: whoever keeps keys hears of it.
pub(crate) async fn made(plane: &ControlPlane, draft: Draft) -> Result<Made, Refusal> {
    let token = KeyHash::of(&draft.text).as_str().to_owned();
    plane.changed(Changed::Key(token.clone()));
    let row = plane.store.row(TABLE, "token", &token).await?;
    let row = row.ok_or_else(|| Refusal::Unavailable("the new key is not there".to_owned()))?;
    let text = draft.text;
    plane.text_changed(|| TextChange::Made {
        key: KeyName::of(&row),
        text: Zeroizing::new(text.clone()),
    });
    Ok(Made { text, row })
}

/// A new key of what was given, the operator's defaults and bounds applied.
pub(crate) fn draft(plane: &ControlPlane, ask: &Ask, mut given: Given) -> Result<Draft, Refusal> {
    let settings = plane.settings.load_full();
    defaults(&settings, &mut given)?;
    soft_budget(&settings, &mut given);
    alias_fits(&settings, given.text("key_alias"))?;
    super::bounds::upper_bounds(&settings, &given)?;
    // A budget row, which only an administrator gives, says the rest.
    super::bounds::fill_bounds(&settings, &mut given, |given, name| {
        name == "duration" || given.text("budget_id").is_none()
    })?;
    let text = match given.members.remove("key") {
        Some(Value::String(text)) => own_text(&settings, text)?,
        _ => new_text(&settings),
    };
    if settings
        .master
        .as_ref()
        .is_some_and(|master| master.check(&text).is_some())
    {
        return Err(taken());
    }
    let token = KeyHash::of(&text).as_str().to_owned();
    let mut steps = vec![Write::Absent(
        TABLE,
        Filter::by("token", token.as_str()),
        "token",
    )];
    if let Some(alias) = given.text("key_alias") {
        steps.push(Write::Absent(
            TABLE,
            Filter::by("key_alias", alias),
            "key_alias",
        ));
    }
    if let Some(budget) = given.text("budget_id") {
        let there = Filter::by("budget_id", budget);
        steps.push(Write::Present("LiteLLM_BudgetTable", there, "budget_id"));
    }
    crate::access_groups::there(&given, &mut steps);
    links(ask, &mut given, &mut steps)?;
    linked::reset_at(&settings, ask, &mut given.columns);
    super::rotation::schedule(plane, &mut given, None, ask.now)?;
    if let Some(Value::String(duration)) = given.members.get("duration") {
        let ends = durations::end(duration, ask.now)
            .map_err(|message| Refusal::bad(message).param("duration"))?;
        given.set("expires", json!(ends));
    }
    given.set("token", token.as_str());
    if !settings.hides_key_names {
        given.set("key_name", mask_key(&text));
    }
    for column in ["created_by", "updated_by"] {
        given.set(column, json!(ask.changed_by.as_deref().or(ask.user())));
    }
    let row = given.new_row();
    steps.push(Write::Insert(TABLE, row.clone()));
    steps.extend(plane.note(ask, Action::Created, TABLE, &token, None, Some(&row)));
    Ok(Draft { text, steps })
}

/// A new text, of random bytes.
pub(super) fn new_text(settings: &Settings) -> String {
    let mut random = vec![0; settings.key_bytes];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut random);
    key_text(&random)
}

/// A text of the caller's choice.
fn own_text(settings: &Settings, text: String) -> Result<String, Refusal> {
    if settings.litellm_flag("disable_custom_api_keys")
        || general_flag(settings, "disable_custom_api_keys")
    {
        let message = "Custom API keys are disabled (disable_custom_api_keys); leave `key` out and one is made";
        return Err(Refusal::forbidden(message).param("key"));
    }
    if !text.starts_with("sk-") {
        let message = format!(
            "Invalid key format. LiteLLM Virtual Key must start with 'sk-'. Received: {}",
            mask_key(&text)
        );
        return Err(Refusal::bad(message).param("key"));
    }
    Ok(text)
}

fn general_flag(settings: &Settings, key: &str) -> bool {
    settings
        .general(key)
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// `litellm_settings.default_key_generate_params` fills what was not said.
fn defaults(settings: &Settings, given: &mut Given) -> Result<(), Refusal> {
    let Some(Value::Object(defaults)) = settings.litellm("default_key_generate_params") else {
        return Ok(());
    };
    given.fill(Given::read(&[FIELDS], defaults)?);
    Ok(())
}

/// `litellm_settings.default_soft_budget` (`DEFAULT_SOFT_BUDGET`), where it is set and nothing else was said.
fn soft_budget(settings: &Settings, given: &mut Given) {
    let default = settings
        .litellm("default_soft_budget")
        .and_then(Value::as_f64);
    let Some(default) = default.or(settings.soft_budget) else {
        return;
    };
    let has_row = given.text("budget_id").is_some();
    if !has_row && given.members.get("soft_budget").is_none_or(Value::is_null) {
        given
            .members
            .insert("soft_budget".to_owned(), json!(default));
    }
}

/// Whether an alias is one that `litellm_settings.key_alias_pattern` allows.
///
/// # Errors
/// When it is not.
fn alias_fits(settings: &Settings, alias: Option<&str>) -> Result<(), Refusal> {
    let (Some(pattern), Some(alias)) = (&settings.key_alias_pattern, alias) else {
        return Ok(());
    };
    // As Python's fullmatch: the pattern was compiled between anchors.
    if pattern.is_match(alias) {
        return Ok(());
    }
    let written = settings
        .litellm("key_alias_pattern")
        .and_then(Value::as_str);
    let message = format!(
        "key_alias {alias:?} does not match litellm_settings.key_alias_pattern {:?}",
        written.unwrap_or_default()
    );
    Err(Refusal::bad(message).param("key_alias"))
}

/// Rows that a key refers to and that are made with it: a budget for a soft budget, object permissions.
fn links(ask: &Ask, given: &mut Given, steps: &mut Vec<Write>) -> Result<(), Refusal> {
    let by = ask.actor().to_owned();
    if let Some(soft) = given
        .members
        .remove("soft_budget")
        .filter(|soft| !soft.is_null())
    {
        let id = uuid::Uuid::new_v4().to_string();
        let row = json!({
            "budget_id": id, "soft_budget": soft, "created_by": by, "updated_by": by,
        });
        if let Value::Object(row) = row {
            steps.push(Write::Insert("LiteLLM_BudgetTable", row));
            given.set("budget_id", id);
        }
    }
    linked::object_permission(given, None, steps)
}
