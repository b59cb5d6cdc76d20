//! Which virtual key a claim of an identity provider's tokens stands for: `/jwt/key/mapping/*`, and the look-up for
//! `litellm_jwtauth.virtual_key_claim_field`.

use jiff::Timestamp;
use serde_json::{Value, json};
use witgate_identity::KeyHash;
use witgate_store::{Filter, Row, Select, Write, WriteError};

use crate::audit::Action;
use crate::fields::{Field, Given, Shape, column, member, text};
use crate::keys;
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, Changed, ControlPlane, Refusal};

const TABLE: &str = "LiteLLM_JWTKeyMapping";

/// Who makes keys for tokens that have none, in the audit log.
const ACTOR: &str = "identity-provider";

/// Keys of a user that are looked through for one that a token may stand for.
const OWN_KEYS: u64 = 50;

const NEW: &[Field] = &[
    column("jwt_claim_name", Shape::Text),
    column("jwt_claim_value", Shape::Text),
    column("jwt_issuer", Shape::Text),
    column("description", Shape::Text),
    column("is_active", Shape::Flag),
    member("key", Shape::Text),
];
const UPDATE: &[Field] = &[
    member("id", Shape::Text),
    column("description", Shape::Text),
    column("is_active", Shape::Flag),
    member("key", Shape::Text),
];
const NAMED: &[Field] = &[member("id", Shape::Text)];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/jwt/key/mapping/new"],
        who: Who::Admin,
        what: "Lets a claim of an identity provider's tokens stand for a virtual key.",
        body: &[NEW],
        query: &[],
        run: |plane, ask| Box::pin(new(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/jwt/key/mapping/update"],
        who: Who::Admin,
        what: "Changes for which key a claim stands, or whether it does.",
        body: &[UPDATE],
        query: &[],
        run: |plane, ask| Box::pin(update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/jwt/key/mapping/delete"],
        who: Who::Admin,
        what: "Lets a claim stand for no key any more; the key stays.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(delete(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/jwt/key/mapping/list"],
        who: Who::Viewer,
        what: "Lists which claims stand for keys.",
        body: &[],
        query: &["page", "size"],
        run: |plane, ask| Box::pin(list(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/jwt/key/mapping/info"],
        who: Who::Viewer,
        what: "Tells of a claim that stands for a key.",
        body: &[],
        query: &["id"],
        run: |plane, ask| Box::pin(info(plane, ask)),
    },
];

/// A claim that may stand for a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claimed {
    /// Who issued the token, where several do; empty where there is one.
    pub issuer: String,
    /// The claim.
    pub name: String,
    /// What it says.
    pub value: String,
}

impl Claimed {
    fn filter(&self) -> Filter {
        Filter::by("jwt_issuer", self.issuer.as_str())
            .and_if("jwt_claim_name", Some(self.name.as_str()))
            .and_if("jwt_claim_value", Some(self.value.as_str()))
    }
}

async fn new(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = Given::read(&[NEW], &ask.body)?;
    for name in ["jwt_claim_name", "jwt_claim_value"] {
        if given.text(name).is_none_or(str::is_empty) {
            return Err(Refusal::missing(name));
        }
    }
    let key = plane.key(ask.required_text("key")?).await?;
    given.set("token", key.get("token").cloned().unwrap_or_default());
    let id = uuid::Uuid::new_v4().to_string();
    given.set("id", id.as_str());
    for by in ["created_by", "updated_by"] {
        given.set(by, ask.actor());
    }
    let row = given.new_row();
    let of = |name: &str| text(&row, name).unwrap_or_default().to_owned();
    let claimed = Claimed {
        issuer: of("jwt_issuer"),
        name: of("jwt_claim_name"),
        value: of("jwt_claim_value"),
    };
    let steps = vec![
        Write::Absent(TABLE, claimed.filter(), "mapping"),
        Write::Insert(TABLE, row),
    ];
    match plane.store.write(steps, ask.now).await {
        Ok(_) => {}
        Err(WriteError::Taken(_)) => {
            let text =
                "this claim stands for a key already; change it with /jwt/key/mapping/update";
            return Err(Refusal::bad(text).param("jwt_claim_value"));
        }
        Err(error) => return Err(error.into()),
    }
    plane.changed(Changed::Shared);
    Ok(Value::Object(shown(row_of(plane, &id).await?)))
}

async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = Given::read(&[UPDATE], &ask.body)?;
    let id = ask.required_text("id")?.to_owned();
    if let Some(key) = ask.text("key") {
        let key = plane.key(key).await?;
        given.set("token", key.get("token").cloned().unwrap_or_default());
    }
    given.set("updated_at", json!(ask.now));
    given.set("updated_by", ask.actor());
    given
        .columns
        .retain(|name, value| name == "description" || !value.is_null());
    let this = Filter::by("id", id.as_str());
    let step = Write::Change(TABLE, this, given.columns, "mapping");
    match plane.store.write(vec![step], ask.now).await {
        Ok(_) => {}
        Err(WriteError::Gone(_)) => return Err(unknown(&id)),
        Err(error) => return Err(error.into()),
    }
    plane.changed(Changed::Shared);
    Ok(Value::Object(shown(row_of(plane, &id).await?)))
}

async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let id = ask.required_text("id")?.to_owned();
    let row = row_of(plane, &id).await?;
    let step = Write::Delete(TABLE, Filter::by("id", id.as_str()));
    plane.store.write(vec![step], ask.now).await?;
    plane.changed(Changed::Shared);
    Ok(Value::Object(shown(row)))
}

async fn list(plane: &ControlPlane, ask: Ask) -> Outcome {
    let page = ask.page("size", 50, 100)?;
    if !plane.store.has_table(TABLE) {
        return Ok(json!({"mappings": [], "total_count": 0, "current_page": 1, "total_pages": 0}));
    }
    let total = plane.store.count(TABLE, &Filter::all()).await?;
    let select = Select {
        order: vec![("created_at", true)],
        offset: page.offset(),
        limit: Some(page.size),
        ..Filter::all().into()
    };
    let rows = plane.store.rows(TABLE, &select).await?;
    let rows: Vec<Row> = rows.into_iter().map(shown).collect();
    Ok(json!({
        "mappings": rows, "total_count": total, "current_page": page.page, "total_pages": page.pages(total),
    }))
}

async fn info(plane: &ControlPlane, ask: Ask) -> Outcome {
    let row = row_of(plane, ask.required("id")?).await?;
    Ok(Value::Object(shown(row)))
}

async fn row_of(plane: &ControlPlane, id: &str) -> Result<Row, Refusal> {
    let found = match plane.store.has_table(TABLE) {
        true => plane.store.row(TABLE, "id", id).await?,
        false => None,
    };
    found.ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Refusal {
    Refusal::not_found(format!("Mapping not found: {id}")).param("id")
}

/// Which key it is, is nobody's to see: LiteLLM does not tell it either.
fn shown(mut row: Row) -> Row {
    row.remove("token");
    row
}

/// Steps that let claims stand for a key under its new hash.
pub(crate) fn moved(plane: &ControlPlane, old: &str, new: &str) -> Option<Write> {
    plane.store.has_table(TABLE).then(|| Write::Update {
        table: TABLE,
        filter: Filter::by("token", old),
        set: Row::from_iter([("token".to_owned(), new.into())]),
        add: Vec::new(),
    })
}

/// The step that lets no claim stand for a key that goes.
pub(crate) fn forget(plane: &ControlPlane, token: &str) -> Option<Write> {
    let there = plane.store.has_table(TABLE);
    there.then(|| Write::Delete(TABLE, Filter::by("token", token)))
}

impl ControlPlane {
    /// The hash of the key that a claim stands for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_of_claim(&self, claimed: &Claimed) -> Result<Option<KeyHash>, Refusal> {
        let nul = [&claimed.issuer, &claimed.name, &claimed.value];
        if !self.store.has_table(TABLE) || nul.iter().any(|text| text.contains('\0')) {
            return Ok(None);
        }
        let active = claimed.filter().and_if("is_active", Some(true));
        let rows = self.store.rows(TABLE, &active.into()).await?;
        let token = rows.first().and_then(|row| text(row, "token"));
        Ok(token.and_then(KeyHash::parse))
    }

    /// Makes a key for a claim that stands for none, of this user, team and organization; or takes one of the user's own, where
    /// that is wanted. Of several at once one is made. A claim that somebody switched off stays off.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn register_claim(
        &self,
        claimed: &Claimed,
        of: [(&'static str, Option<&str>); 3],
        takes_own: bool,
        now: Timestamp,
    ) -> Result<Option<KeyHash>, Refusal> {
        if !self.store.has_table(TABLE) {
            let text =
                "auto_register needs the table LiteLLM_JWTKeyMapping, which this database has not";
            return Err(Refusal::bad(text));
        }
        let mut ask = Ask::of_gateway("/key/generate", now, ACTOR);
        let own = match (takes_own, of.iter().find(|(name, _)| *name == "user_id")) {
            (true, Some((_, Some(user)))) => self.own_of(user, now).await?,
            _ => None,
        };
        let mut steps = Vec::new();
        let token = match own {
            Some(token) => token,
            None => {
                for (name, value) in of {
                    if let Some(value) = value {
                        ask.body.insert(name.to_owned(), value.into());
                    }
                }
                let given = Given::read(&[keys::FIELDS], &ask.body)?;
                let mut draft = keys::draft(self, &ask, given)?;
                steps.append(&mut draft.steps);
                draft.hash().as_str().to_owned()
            }
        };
        let row = json!({
            "jwt_issuer": claimed.issuer, "jwt_claim_name": claimed.name, "jwt_claim_value": claimed.value,
            "token": token, "created_by": ACTOR, "updated_by": ACTOR,
        });
        let row = row.as_object().cloned().unwrap_or_default();
        steps.insert(0, Write::Absent(TABLE, claimed.filter(), "mapping"));
        steps.push(Write::Insert(TABLE, row.clone()));
        steps.extend(self.note(
            &ask,
            Action::Created,
            TABLE,
            &claimed.value,
            None,
            Some(&row),
        ));
        match self.store.write(steps, now).await {
            Ok(_) => self.changed(Changed::Shared),
            // Another request was faster.
            Err(WriteError::Taken(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.key_of_claim(claimed).await
    }

    /// A key of a user's own that is good now, the oldest; sessions are none.
    async fn own_of(&self, user: &str, now: Timestamp) -> Result<Option<String>, Refusal> {
        let select = Select {
            order: vec![("created_at", false)],
            limit: Some(OWN_KEYS),
            ..Filter::by("user_id", user).into()
        };
        let keys = self.store.rows(keys::TABLE, &select).await?;
        let good = keys.iter().find(|key| {
            let ends = text(key, "expires").and_then(crate::fields::moment);
            text(key, "team_id") != Some("litellm-dashboard")
                && key.get("blocked") != Some(&Value::Bool(true))
                && ends.is_none_or(|ends| ends > now)
        });
        Ok(good.and_then(|key| text(key, "token")).map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{admin, user, world};

    fn claimed(value: &str) -> Claimed {
        Claimed {
            issuer: String::new(),
            name: "email".to_owned(),
            value: value.to_owned(),
        }
    }

    #[tokio::test]
    async fn claims_stand_for_keys_whatever_becomes_of_these() {
        let world = world(json!({})).await;
        let plane = &world.plane;
        let found = async |value: &str| {
            let key = plane.key_of_claim(&claimed(value)).await.unwrap();
            key.map(|hash| hash.as_str().to_owned())
        };
        world
            .done("/key/generate", json!({"key": "sk-of-ann-1234567"}))
            .await;
        let body = json!({"jwt_claim_name": "email", "jwt_claim_value": "ann", "key": "sk-of-ann-1234567"});
        let made = world.done("/jwt/key/mapping/new", body.clone()).await;
        assert_eq!(made.get("token"), None);
        assert_eq!(
            world
                .post(&admin(), "/jwt/key/mapping/new", body.clone())
                .await
                .0,
            400
        );
        assert_eq!(
            world
                .post(&user("ann"), "/jwt/key/mapping/new", body)
                .await
                .0,
            401
        );
        let first = KeyHash::of("sk-of-ann-1234567").as_str().to_owned();
        assert_eq!(found("ann").await, Some(first));
        assert_eq!((found("bob").await, found("a\0").await), (None, None));
        // It follows the key.
        let turned = world
            .done("/key/regenerate", json!({"key": "sk-of-ann-1234567"}))
            .await;
        assert_eq!(found("ann").await.as_deref(), turned["token"].as_str());
        let off = json!({"id": made["id"], "is_active": false, "description": "away"});
        assert_eq!(
            world.done("/jwt/key/mapping/update", off).await["description"],
            "away"
        );
        assert_eq!(found("ann").await, None);
        // What is off nobody registers anew.
        let of = [
            ("user_id", Some("ann")),
            ("team_id", None),
            ("organization_id", None),
        ];
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            plane
                .register_claim(&claimed("ann"), of, false, now)
                .await
                .unwrap(),
            None
        );
        let (_, listed) = world.get(&admin(), "/jwt/key/mapping/list").await;
        assert_eq!(
            (&listed["total_count"], &listed["mappings"][0]["id"]),
            (&json!(1), &made["id"])
        );
        world
            .done("/key/delete", json!({"keys": [turned["token"]]}))
            .await;
        let path = format!("/jwt/key/mapping/info?id={}", made["id"].as_str().unwrap());
        assert_eq!(world.get(&admin(), &path).await.0, 404);
    }

    #[tokio::test]
    async fn a_claim_is_registered_once() {
        let world = world(json!({})).await;
        let plane = &world.plane;
        let of = [
            ("user_id", Some("bob")),
            ("team_id", None),
            ("organization_id", None),
        ];
        let now = Timestamp::UNIX_EPOCH;
        let claim = claimed("bob");
        let all = (0..4).map(|_| plane.register_claim(&claim, of, false, now));
        let all = futures_util::future::join_all(all).await;
        let first = all[0].as_ref().unwrap().clone().unwrap();
        assert!(
            all.iter()
                .all(|one| one.as_ref().unwrap().as_ref() == Some(&first))
        );
        let keys = plane
            .store
            .rows(keys::TABLE, &Filter::all().into())
            .await
            .unwrap();
        assert_eq!((keys.len(), &keys[0]["user_id"]), (1, &json!("bob")));
        // Another claim of the same user's may stand for the same key.
        let taken = plane
            .register_claim(&claimed("bobby"), of, true, now)
            .await
            .unwrap();
        assert_eq!(taken, Some(first));
    }
}
