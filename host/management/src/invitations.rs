//! Invitations: `/invitation/*`, and how somebody who is invited gets a password. An invitation is its id, which nobody can
//! guess; it is good once, and for a week.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Write, WriteError, time_text};

use crate::audit::Action;
use crate::fields::{Field, Shape, member, text};
use crate::letters::{Letter, LetterKind};
use crate::operation::{Operation, Outcome, Who};
use crate::users::{self, password};
use crate::{Ask, Changed, ControlPlane, Refusal};

const TABLE: &str = "LiteLLM_InvitationLink";

/// How long an invitation is good.
const DAYS: i64 = 7;

/// Who takes an invitation, in the audit log.
const ACTOR: &str = "invitation";

const NEW: &[Field] = &[member("user_id", Shape::Text)];
const UPDATE: &[Field] = &[
    member("invitation_id", Shape::Text),
    member("is_accepted", Shape::Flag),
];
const NAMED: &[Field] = &[member("invitation_id", Shape::Text)];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/invitation/new"],
        who: Who::Admin,
        what: "Invites a user to choose a password; the invitation is good once, for seven days.",
        body: &[NEW],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/invitation/info"],
        who: Who::Admin,
        what: "Tells of an invitation.",
        body: &[],
        query: &["invitation_id"],
        run: |plane, ask| Box::pin(info(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/invitation/update"],
        who: Who::Admin,
        what: "Marks an invitation as taken, or as open again.",
        body: &[UPDATE],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/invitation/delete"],
        who: Who::Admin,
        what: "Takes an invitation back.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
];

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let user = ask.required_text("user_id")?;
    if plane.user(user).await?.is_none() {
        let message = format!(
            "User id={user} does not exist in 'LiteLLM_UserTable'. Make it with /user/new first."
        );
        return Err(Refusal::detail(400, message));
    }
    let (id, steps) = plane.invitation(&ask, user).await?;
    plane.store.write(steps, ask.now).await?;
    Ok(Value::Object(plane.invitation_row(&id).await?))
}

async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    let row = plane.invitation_row(ask.required("invitation_id")?).await?;
    Ok(Value::Object(row))
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.required_text("invitation_id")?;
    let Some(accepted) = ask.body.get("is_accepted").and_then(Value::as_bool) else {
        return Err(Refusal::missing("is_accepted"));
    };
    let (author, ensured) = plane.author(&ask).await?;
    let set = json!({
        "is_accepted": accepted, "accepted_at": accepted.then_some(ask.now),
        "updated_at": ask.now, "updated_by": author,
    });
    let set = set.as_object().cloned().unwrap_or_default();
    let step = Write::Change(TABLE, Filter::by("id", id), set, "invitation");
    let steps = ensured.into_iter().chain([step]).collect();
    written(plane.store.write(steps, ask.now).await)?;
    Ok(Value::Object(plane.invitation_row(id).await?))
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let row = plane
        .invitation_row(ask.required_text("invitation_id")?)
        .await?;
    let this = Filter::by("id", text(&row, "id").unwrap_or_default());
    let step = Write::Remove(TABLE, this, "invitation");
    written(plane.store.write(vec![step], ask.now).await)?;
    Ok(Value::Object(row))
}

fn unknown() -> Refusal {
    Refusal::detail(400, "Invitation id does not exist in the database.")
}

fn written(done: Result<Vec<u64>, WriteError>) -> Result<(), Refusal> {
    match done {
        Ok(_) => Ok(()),
        Err(WriteError::Gone(_)) => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}

/// Whom an invitation was for, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// There is none of this id for this user, it was taken, or its time is over.
    Invalid,
    /// The password cannot be one.
    Password,
}

impl ControlPlane {
    async fn invitation_row(&self, id: &str) -> Result<Row, Refusal> {
        self.store.row(TABLE, "id", id).await?.ok_or_else(unknown)
    }

    /// The user who stands for the caller where LiteLLM's tables want one that is there (`created_by` of an invitation is a foreign
    /// key): the caller's own, else LiteLLM's for the master key, with the step that makes it where it is missing.
    async fn author(&self, ask: &Ask) -> Result<(String, Option<Write>), Refusal> {
        const MASTER: &str = "default_user_id";
        if let Some(user) = ask.user().filter(|user| *user != MASTER)
            && self.user(user).await?.is_some()
        {
            return Ok((user.to_owned(), None));
        }
        // Without LiteLLM's role for it: whoever an identity provider gave this id would be an administrator.
        let row = json!({ "user_id": MASTER });
        let row = row.as_object().cloned().unwrap_or_default();
        Ok((MASTER.to_owned(), Some(Write::Ensure(users::TABLE, row))))
    }

    /// A new invitation for a user: its id, and the steps that write it.
    pub(crate) async fn invitation(
        &self,
        ask: &Ask,
        user: &str,
    ) -> Result<(String, Vec<Write>), Refusal> {
        let (author, ensured) = self.author(ask).await?;
        let id = uuid::Uuid::new_v4().to_string();
        let ends = ask.now.checked_add(SignedDuration::from_hours(24 * DAYS));
        let row = json!({
            "id": id, "user_id": user, "expires_at": time_text(ends.unwrap_or(ask.now)),
            "created_at": ask.now, "created_by": author, "updated_by": author,
        });
        let row = row.as_object().cloned().unwrap_or_default();
        let step = Write::Insert(TABLE, row);
        Ok((id, ensured.into_iter().chain([step]).collect()))
    }

    /// Sends an invitation by mail.
    pub(crate) fn invite(&self, to: String, invitation: String, team: Option<&str>) {
        let team = team.map(|team| ("team_name", team.to_owned()));
        let facts = [("invitation_id", invitation)].into_iter().chain(team);
        self.post(Letter {
            kind: LetterKind::Invitation,
            to,
            key: None,
            facts: facts.collect(),
        });
    }

    /// The user whom an invitation is for that can be taken now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invited(&self, id: &str, now: Timestamp) -> Result<Option<String>, Refusal> {
        if id.contains('\0') {
            return Ok(None);
        }
        let found = self.store.rows(TABLE, &open(id, now).into()).await?;
        let user = found.first().and_then(|row| text(row, "user_id"));
        Ok(user.map(str::to_owned))
    }

    /// Takes an invitation: from now on this is the user's password. Of several at once one takes it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_invitation(
        &self,
        (id, user): (&str, &str),
        chosen: &str,
        now: Timestamp,
    ) -> Result<Result<(), NotTaken>, Refusal> {
        if self.invited(id, now).await?.as_deref() != Some(user) {
            return Ok(Err(NotTaken::Invalid));
        }
        let Ok(hashed) = password::hashed(chosen).await else {
            return Ok(Err(NotTaken::Password));
        };
        let ask = Ask::of_gateway("/onboarding/claim_token", now, ACTOR);
        let object = |value: Value| value.as_object().cloned().unwrap_or_default();
        let taken = json!({
            "is_accepted": true, "accepted_at": now, "updated_at": now, "updated_by": user,
        });
        let changed = object(json!({"password": hashed, "updated_at": now}));
        let of_user = Filter::by("user_id", user);
        let mut steps = vec![
            Write::Change(TABLE, open(id, now), object(taken), "invitation"),
            Write::Change(users::TABLE, of_user, changed.clone(), "user"),
        ];
        let note = self.note(
            &ask,
            Action::Updated,
            users::TABLE,
            user,
            None,
            Some(&changed),
        );
        steps.extend(note);
        match self.store.write(steps, now).await {
            Ok(_) => {
                self.changed(Changed::Shared);
                Ok(Ok(()))
            }
            Err(WriteError::Gone(_)) => Ok(Err(NotTaken::Invalid)),
            Err(error) => Err(error.into()),
        }
    }

    /// The user with this address (or id) whose password this is. Takes as long when there is none. A user who was
    /// deactivated has no password.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_by_password(
        &self,
        name: &str,
        given: &str,
    ) -> Result<Option<String>, Refusal> {
        let mut row = None;
        if !name.is_empty() && !name.contains('\0') {
            let mut found = users::with_email(self, name).await?;
            row = match found.len() {
                0 => self.user(name).await?,
                1 => found.pop(),
                // Whose password it would be nobody can say.
                _ => None,
            };
        }
        let row = row.filter(|row| !crate::principals::is_inactive(row));
        let kept = row.as_ref().and_then(|row| text(row, "password"));
        let right = password::is(given, kept).await;
        let id = row.as_ref().and_then(|row| text(row, "user_id"));
        let Some(id) = id.filter(|_| right) else {
            return Ok(None);
        };
        // An older release's hash is a matter of seconds to whoever gets it; LiteLLM replaces it, too.
        if let Some(old) = kept.filter(|kept| !kept.starts_with("scrypt:"))
            && let Err(why) = self.rehash(id, old, given).await
        {
            tracing::warn!(%why, "an old hash of a password stays as it is");
        }
        Ok(Some(id.to_owned()))
    }

    /// Keeps a password in today's hash, unless it was changed since.
    async fn rehash(&self, id: &str, old: &str, given: &str) -> Result<(), String> {
        let hashed = password::hashed(given)
            .await
            .map_err(|_| "it cannot be hashed")?;
        let step = Write::Update {
            table: users::TABLE,
            filter: Filter::by("user_id", id).and("password", Is::Equal(old.into())),
            set: [("password".to_owned(), hashed.into())]
                .into_iter()
                .collect(),
            add: Vec::new(),
        };
        let written = self.store.write(vec![step], Timestamp::now()).await;
        written.map(drop).map_err(|error| error.to_string())
    }
}

/// An invitation that can be taken now.
fn open(id: &str, now: Timestamp) -> Filter {
    Filter::by("id", id)
        .and("is_accepted", Is::Equal(false.into()))
        .and("expires_at", Is::AtLeast(time_text(now).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{admin, user, world};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_invitation_is_good_once_for_a_week_and_for_its_user() {
        let world = world(json!({})).await;
        let plane = &world.plane;
        for id in ["ann", "bob"] {
            let body = json!({"user_id": id, "user_email": format!("{id}@example.com"), "auto_create_key": false});
            world.done("/user/new", body).await;
        }
        let made = world
            .done("/invitation/new", json!({"user_id": "ann"}))
            .await;
        let id = made["id"].as_str().unwrap();
        assert_eq!(made["expires_at"], "2026-01-08T00:00:00.123Z");
        let (now, late) = (at("2026-01-08T00:00:00Z"), at("2026-01-08T00:00:01Z"));
        assert_eq!(
            plane.invited(id, now).await.unwrap().as_deref(),
            Some("ann")
        );
        assert_eq!(plane.invited(id, late).await.unwrap(), None);
        assert_eq!(plane.invited("x\0", now).await.unwrap(), None);
        let take = async |user: &str, word: &str, now| {
            plane.take_invitation((id, user), word, now).await.unwrap()
        };
        assert_eq!(take("bob", "hunter2", now).await, Err(NotTaken::Invalid));
        assert_eq!(take("ann", "hunter2", late).await, Err(NotTaken::Invalid));
        assert_eq!(take("ann", "", now).await, Err(NotTaken::Password));
        let all = ["one", "two", "three", "four"].map(|word| take("ann", word, now));
        let all = futures_util::future::join_all(all).await;
        let first = all.iter().position(Result::is_ok).unwrap();
        assert_eq!(all.iter().filter(|done| done.is_ok()).count(), 1, "{all:?}");
        let word = ["one", "two", "three", "four"][first];
        let who = async |name: &str, word: &str| plane.user_by_password(name, word).await.unwrap();
        assert_eq!(who("ANN@example.com", word).await.as_deref(), Some("ann"));
        assert_eq!(who("ann", word).await.as_deref(), Some("ann"));
        for (name, word) in [
            ("ann", "wrong"),
            ("bob", ""),
            ("bob", word),
            ("", word),
            ("x", "y"),
        ] {
            assert_eq!(who(name, word).await, None, "{name} {word}");
        }
        let named = json!({ "invitation_id": id });
        let reopened = json!({"invitation_id": id, "is_accepted": false});
        let open = world.done("/invitation/update", reopened).await;
        assert_eq!(
            (&open["is_accepted"], &open["accepted_at"]),
            (&json!(false), &Value::Null)
        );
        world.done("/invitation/delete", named.clone()).await;
        let (status, _) = world.post(&admin(), "/invitation/delete", named).await;
        assert_eq!(status, 400);
        let (status, told) = world
            .post(&admin(), "/invitation/new", json!({"user_id": "x"}))
            .await;
        assert_eq!(status, 400, "{told}");
        let (status, _) = world
            .post(&user("ann"), "/invitation/new", json!({"user_id": "ann"}))
            .await;
        assert_eq!(status, 401);
    }

    #[tokio::test]
    async fn the_hash_of_an_older_release_is_replaced_once_its_password_comes() {
        let world = world(json!({})).await;
        let plane = &world.plane;
        let body = json!({"user_id": "ann", "auto_create_key": false});
        world.done("/user/new", body).await;
        // SHA-256 of `hunter2`, as LiteLLM kept it.
        let old = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        let step = Write::Update {
            table: users::TABLE,
            filter: Filter::by("user_id", "ann"),
            set: [("password".to_owned(), json!(old))].into_iter().collect(),
            add: Vec::new(),
        };
        plane
            .store
            .write(vec![step], at("2026-01-01T00:00:00Z"))
            .await
            .unwrap();
        let kept = async || {
            let row = plane.user("ann").await.unwrap().unwrap();
            text(&row, "password").unwrap().to_owned()
        };
        let who = async |word: &str| plane.user_by_password("ann", word).await.unwrap();
        assert_eq!(who("hunter3").await, None);
        assert_eq!(kept().await, old);
        assert_eq!(who("hunter2").await.as_deref(), Some("ann"));
        assert!(kept().await.starts_with("scrypt:"));
        assert_eq!(who("hunter2").await.as_deref(), Some("ann"));
    }

    #[tokio::test]
    async fn whoever_invites_is_a_user_that_is_there() {
        let world = world(json!({})).await;
        for id in ["ann", "bob"] {
            let body = json!({"user_id": id, "auto_create_key": false});
            world.done("/user/new", body).await;
        }
        let mut boss = admin();
        for (who, author) in [
            (Some("bob"), "bob"),
            (Some("nobody"), "default_user_id"),
            (None, "default_user_id"),
        ] {
            boss.user_id = who.map(str::to_owned);
            let (status, made) = world
                .post(&boss, "/invitation/new", json!({"user_id": "ann"}))
                .await;
            assert_eq!(status, 200, "{made}");
            assert_eq!(made["created_by"], author);
            assert!(world.plane.user(author).await.unwrap().is_some());
        }
    }
}
