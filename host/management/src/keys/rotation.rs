//! Keys that change their text: at a request, or by themselves every `rotation_interval` (`auto_rotate`). The old text may stay
//! good for a while (`grace_period`, `LITELLM_KEY_ROTATION_GRACE_PERIOD`): as LiteLLM does, its hash is kept beside the key
//! until then, where the database has the table for it.

use jiff::Timestamp;
use serde_json::{Value, json};
use witgate_identity::KeyHash;
use witgate_store::{Filter, Is, Row, Select, StoreError, WINDOWS, Write, WriteError, time_text};
use zeroize::Zeroizing;

use super::{TABLE, generate};
use crate::audit::Action;
use crate::fields::{Given, text};
use crate::key_texts::{KeyName, TextChange};
use crate::letters::{Letter, LetterKind};
use crate::{Ask, Changed, ControlPlane, Refusal, durations};

/// Old texts of keys that are good for a while longer.
const RETIRED: &str = "LiteLLM_DeprecatedVerificationToken";

/// Keys that a run of the job looks at.
const BATCH: u64 = 500;

/// What a run of the job did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotations {
    /// Keys with another text.
    pub rotated: u64,
    /// Keys that are due and keep their text, because nobody would be told the new one.
    pub untold: u64,
}

/// What became of a key that is due.
enum Turn {
    /// It has another text, and its user was told.
    Made,
    /// Nobody would be told.
    Untold,
    /// It ended, or another gateway was faster.
    Over,
}

/// When a key that rotates by itself is due next, said or changed: `auto_rotate` needs a `rotation_interval`.
pub(super) fn schedule(
    plane: &ControlPlane,
    given: &mut Given,
    old: Option<&Row>,
    now: Timestamp,
) -> Result<(), Refusal> {
    if !given.says("auto_rotate") && !given.says("rotation_interval") {
        return Ok(());
    }
    let value = |name: &str| {
        let said = given.columns.get(name);
        said.or_else(|| old?.get(name)).cloned().unwrap_or_default()
    };
    if value("auto_rotate") != Value::Bool(true) {
        given.set("key_rotation_at", Value::Null);
        return Ok(());
    }
    if !plane.store.has_column(TABLE, "auto_rotate") {
        let text = "auto_rotate needs a column that this database has not: it is of a LiteLLM before 1.77.3";
        return Err(Refusal::bad(text).param("auto_rotate"));
    }
    let interval = value("rotation_interval");
    let Some(interval) = interval.as_str() else {
        let text = "auto_rotate needs a rotation_interval, such as 30d";
        return Err(Refusal::bad(text).param("rotation_interval"));
    };
    given.set("key_rotation_at", json!(next(interval, now)?));
    Ok(())
}

/// When a key is due that is rotated now.
fn next(interval: &str, now: Timestamp) -> Result<Timestamp, Refusal> {
    let wrong = |text: String| Refusal::bad(text).param("rotation_interval");
    if durations::seconds(interval).is_none_or(|seconds| seconds == 0) {
        let text =
            "rotation_interval is a whole number above 0 and s, m, h, d, w or mo, such as 30d";
        return Err(wrong(text.to_owned()));
    }
    let at = durations::end(durations::words(interval), now).map_err(wrong)?;
    at.ok_or_else(|| wrong("rotation_interval ends".to_owned()))
}

/// Until when the text that a key loses stays good; `None`: it is not from now on.
pub(super) fn grace(
    plane: &ControlPlane,
    asked: Option<&str>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Refusal> {
    let asked = asked.filter(|asked| !asked.is_empty());
    let settings = plane.settings.load_full();
    let Some(period) = asked.or(settings.rotation_grace.as_deref()) else {
        return Ok(None);
    };
    if durations::seconds(period).is_none() {
        let text = format!("grace_period {period:?} is no duration, such as 24h");
        return Err(Refusal::bad(text).param("grace_period"));
    }
    let wrong = |text: String| Refusal::bad(text).param("grace_period");
    let until = durations::end(period, now).map_err(wrong)?;
    let until = until.filter(|until| *until > now);
    if until.is_some() && !plane.store.has_table(RETIRED) {
        return match asked {
            Some(_) => Err(wrong(format!(
                "grace_period needs the table {RETIRED}, which this database has not"
            ))),
            None => Ok(None),
        };
    }
    Ok(until)
}

/// What becomes of a key's old texts when it gets another one. Without a period of grace none of them is good any more.
pub(super) fn retire(
    plane: &ControlPlane,
    (old, new): (&str, &str),
    until: Option<Timestamp>,
) -> Vec<Write> {
    let object = |value: Value| value.as_object().cloned().unwrap_or_default();
    // What was spent in its windows is spent.
    let windows = plane.store.has_table(WINDOWS).then(|| Write::Update {
        table: WINDOWS,
        filter: Filter::by("entity_id", old).and_if("entity_type", Some("key")),
        set: object(json!({ "entity_id": new })),
        add: Vec::new(),
    });
    let moved = crate::jwt_mappings::moved(plane, old, new);
    let moved = moved.into_iter().chain(windows);
    if !plane.store.has_table(RETIRED) {
        return moved.collect();
    }
    let Some(until) = until else {
        let gone = Write::Delete(RETIRED, Filter::by("active_token_id", old));
        return moved.chain([gone]).collect();
    };
    let row = json!({"token": old, "active_token_id": new, "revoke_at": time_text(until)});
    let renamed = json!({ "active_token_id": new });
    let steps = [
        // A text that comes back is the key's own again.
        Write::Delete(
            RETIRED,
            Filter::of("token", Is::In(vec![old.into(), new.into()])),
        ),
        Write::Update {
            table: RETIRED,
            filter: Filter::by("active_token_id", old),
            set: object(renamed),
            add: Vec::new(),
        },
        Write::Insert(RETIRED, object(row)),
    ];
    moved.chain(steps).collect()
}

/// Steps that forget the old texts of a key that goes, and the claims that stand for it.
pub(super) fn forget(plane: &ControlPlane, token: &str) -> Vec<Write> {
    let retired = plane.store.has_table(RETIRED);
    let retired = retired.then(|| Write::Delete(RETIRED, Filter::by("active_token_id", token)));
    let claims = crate::jwt_mappings::forget(plane, token);
    retired.into_iter().chain(claims).collect()
}

impl ControlPlane {
    /// The key that an old text, by its hash, is still good for, and until when.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn successor(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<(KeyHash, Timestamp)>, StoreError> {
        if !self.store.has_table(RETIRED) {
            return Ok(None);
        }
        let Some(row) = self.store.row(RETIRED, "token", hash).await? else {
            return Ok(None);
        };
        let until = text(&row, "revoke_at").and_then(crate::fields::moment);
        let key = text(&row, "active_token_id").and_then(KeyHash::parse);
        Ok(key.zip(until.filter(|until| *until > now)))
    }

    /// Gives every key that is due another text, and tells its user by mail. Doing it twice, or on two gateways, does it once. A
    /// key whose user has no address, or where no mail is sent, keeps its text: nobody could go on with it.
    ///
    /// # Errors
    /// When the database fails; what is not done is due at the next run.
    pub async fn rotate_keys(&self, now: Timestamp) -> Result<Rotations, WriteError> {
        let mut done = Rotations::default();
        if !self.store.has_column(TABLE, "auto_rotate") {
            return Ok(done);
        }
        self.forget_retired(now).await?;
        // Keys that rotated before their time was written have none.
        for due in [Is::Below(time_text(now).into()), Is::Null] {
            let filter = Filter::by("auto_rotate", true)
                .and("rotation_interval", Is::Given)
                .and("key_rotation_at", due);
            // Those that are rotated fit no more; those that are not are passed over.
            let mut passed = 0;
            loop {
                let select = Select {
                    order: vec![("key_rotation_at", false)],
                    offset: passed,
                    limit: Some(BATCH),
                    filter: filter.clone(),
                };
                let keys = self.store.rows(TABLE, &select).await?;
                if keys.is_empty() {
                    break;
                }
                for key in keys {
                    match self.rotate(&key, now).await {
                        Ok(Turn::Made) => done.rotated += 1,
                        Ok(Turn::Over) => passed += 1,
                        Ok(Turn::Untold) => {
                            passed += 1;
                            done.untold += 1;
                        }
                        Err(refusal) => {
                            passed += 1;
                            tracing::warn!("a key is not rotated: {}", refusal.message());
                        }
                    }
                }
            }
        }
        Ok(done)
    }

    async fn rotate(&self, key: &Row, now: Timestamp) -> Result<Turn, Refusal> {
        let over = text(key, "expires").and_then(crate::fields::moment);
        if over.is_some_and(|over| over <= now) {
            return Ok(Turn::Over);
        }
        let Some(to) = self.address_of(text(key, "user_id")).await? else {
            return Ok(Turn::Untold);
        };
        let old = text(key, "token").unwrap_or_default();
        let settings = self.settings.load_full();
        let new = generate::new_text(&settings);
        let token = KeyHash::of(&new).as_str().to_owned();
        let mut changes = renewed(&settings, key, &new, now)?;
        changes.insert("token".to_owned(), token.as_str().into());
        let ask = Ask::of_gateway("/key/regenerate", now, JOBS);
        // Its hash is another one afterwards: of two gateways the second finds nothing to change.
        let this = Filter::by("token", old);
        let mut steps = vec![Write::Change(TABLE, this, changes.clone(), "key")];
        steps.extend(retire(self, (old, &token), grace(self, None, now)?));
        steps.extend(self.note(&ask, Action::Rotated, TABLE, old, Some(key), Some(&changes)));
        match self.store.write(steps, now).await {
            Ok(_) => {}
            Err(WriteError::Gone(_)) => return Ok(Turn::Over),
            Err(error) => return Err(error.into()),
        }
        self.changed(Changed::Key(old.to_owned()));
        self.changed(Changed::Key(token.clone()));
        let from = KeyName::of(key);
        self.text_changed(|| TextChange::Rotated {
            to: KeyName {
                token,
                ..from.clone()
            },
            from,
            text: Zeroizing::new(new.clone()),
        });
        self.post(Letter::about_key(LetterKind::KeyRotated, to, key, new));
        Ok(Turn::Made)
    }

    /// Removes old texts whose time is over.
    async fn forget_retired(&self, now: Timestamp) -> Result<(), WriteError> {
        if !self.store.has_table(RETIRED) {
            return Ok(());
        }
        let over = Filter::of("revoke_at", Is::Below(time_text(now).into()));
        self.store
            .write(vec![Write::Delete(RETIRED, over)], now)
            .await
            .map(drop)
    }
}

/// Who rotates keys by themselves, in the audit log: LiteLLM's word.
const JOBS: &str = "litellm_internal_jobs";

/// What changes of a key with its text, but for the text's hash.
pub(super) fn renewed(
    settings: &crate::Settings,
    key: &Row,
    new: &str,
    now: Timestamp,
) -> Result<Row, Refusal> {
    let mut changes = Row::new();
    if !settings.hides_key_names {
        changes.insert(
            "key_name".to_owned(),
            witgate_identity::mask_key(new).into(),
        );
    }
    let rotations = key.get("rotation_count").and_then(Value::as_i64);
    let rotations = rotations.unwrap_or_default().saturating_add(1);
    changes.insert("rotation_count".to_owned(), rotations.into());
    changes.insert("last_rotation_at".to_owned(), json!(now));
    let interval = text(key, "rotation_interval");
    if let Some(interval) = interval
        && key.get("auto_rotate") == Some(&Value::Bool(true))
    {
        changes.insert("key_rotation_at".to_owned(), json!(next(interval, now)?));
    }
    Ok(changes)
}
