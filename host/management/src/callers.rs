//! Callers without a virtual key, whom somebody else vouches for: what the database knows of them, and how those are made
//! whom it does not know.
//!
//! They are made by the operations of the management API, as an administrator would: defaults, limits and the audit log are
//! the same.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use witgate_identity::{Caller, Named, ScopeKind, VirtualKey};
use witgate_store::{Filter, Row, StoreError};

use crate::fields::{text, texts};
use crate::operation::{Outcome, operations};
use crate::principals::virtual_key;
use crate::rights::role_in;
use crate::{Ask, ControlPlane, Refusal, organizations, teams, users};

/// Who changes what an identity provider says should be, in the audit log.
const ACTOR: &str = "identity-provider";

impl ControlPlane {
    /// What is known of somebody who is named. Who or what is not known adds nothing.
    ///
    /// # Errors
    /// When the database does not tell.
    pub async fn caller(&self, named: &Named, now: Timestamp) -> Result<Caller, Refusal> {
        let user = self.user_named(named).await?;
        let user_id = user.as_ref().and_then(|row| text(row, "user_id"));
        let team = match (&named.team, &named.team_alias) {
            (Some(id), _) => Some(id.clone()),
            (None, Some(alias)) => {
                self.only(teams::TABLE, ("team_alias", alias), "team_id")
                    .await?
            }
            _ => None,
        };
        let organization = match (&named.organization, &named.organization_alias) {
            (Some(id), _) => Some(id.clone()),
            (None, Some(alias)) => {
                let by = ("organization_alias", alias.as_str());
                self.only(organizations::TABLE, by, "organization_id")
                    .await?
            }
            _ => None,
        };
        let mut key = Row::new();
        for (column, value) in [
            ("user_id", user_id.map(str::to_owned).or(named.user.clone())),
            ("team_id", team),
            ("organization_id", organization),
        ] {
            if let Some(value) = value {
                key.insert(column.to_owned(), value.into());
            }
        }
        let linked = self.linked(&key).await?;
        let found = virtual_key(&self.settings.load_full(), &key, &linked, now);
        let mut principal = (*found.principal).clone();
        principal
            .scopes
            .retain(|scope| scope.kind != ScopeKind::Key);
        let row = linked.user.as_ref();
        let is_member = match (&linked.team, user_id) {
            (Some(team), Some(user)) => role_in(team, user).is_some(),
            _ => false,
        };
        let own_teams = row.map(|row| texts(row, "teams")).unwrap_or_default();
        Ok(Caller {
            has_user: row.is_some(),
            has_team: linked.team.is_some(),
            has_organization: linked.organization.is_some()
                && (named.organization.is_some() || named.organization_alias.is_some()),
            is_member,
            user_role: row
                .and_then(|row| text(row, "user_role"))
                .map(str::to_owned),
            teams: own_teams.into_iter().map(str::to_owned).collect(),
            as_key: VirtualKey {
                principal: Arc::new(principal),
                ..found
            },
        })
    }

    /// The user of this id, here or at the identity provider; else the only one with the address, unless they have another id at
    /// the identity provider. Whose address is their id is known by it alone.
    async fn user_named(&self, named: &Named) -> Result<Option<Row>, Refusal> {
        if let Some(id) = &named.user {
            for column in ["user_id", "sso_user_id"] {
                if let Some(row) = self.store.row(users::TABLE, column, id).await? {
                    return Ok(Some(row));
                }
            }
        }
        let Some(email) = &named.email else {
            return Ok(None);
        };
        let mut found = users::with_email(self, email).await?;
        let claimed = named.user.as_ref().filter(|id| *id != email);
        found.retain(|row| {
            let linked = text(row, "sso_user_id").filter(|id| !id.is_empty());
            claimed.is_none_or(|id| linked.is_none_or(|linked| linked == id))
        });
        Ok(match found.len() {
            1 => found.pop(),
            _ => None,
        })
    }

    /// A column of the only row where another has this value.
    async fn only(
        &self,
        table: &'static str,
        (column, value): (&'static str, &str),
        wanted: &str,
    ) -> Result<Option<String>, StoreError> {
        let found = self
            .store
            .rows(table, &Filter::by(column, value).into())
            .await?;
        Ok(match found.as_slice() {
            [row] => text(row, wanted).map(str::to_owned),
            _ => None,
        })
    }

    /// Makes a user. One who is there meanwhile is no failure.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn make_user(
        &self,
        id: &str,
        email: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let body = json!({"user_id": id, "user_email": email, "auto_create_key": false});
        let made = self.as_gateway("/user/new", body, now, ACTOR).await;
        match made {
            Err(refusal) if self.user(id).await?.is_none() => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Makes a team, likewise.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn make_team(&self, id: &str, now: Timestamp) -> Result<(), Refusal> {
        let made = self.as_gateway("/team/new", json!({"team_id": id}), now, ACTOR);
        match made.await {
            Err(refusal) if self.team(id).await?.is_none() => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Puts a user into a team, as a plain member; no failure when they are in it.
    ///
    /// # Errors
    /// Why they are not.
    pub async fn join(&self, team: &str, user: &str, now: Timestamp) -> Result<(), Refusal> {
        let member = json!({"user_id": user, "role": "user"});
        let body = json!({"team_id": team, "member": member});
        let joined = self.as_gateway("/team/member_add", body, now, ACTOR).await;
        let is_in = |row: Option<Row>| row.is_some_and(|row| role_in(&row, user).is_some());
        match joined {
            Err(refusal) if !is_in(self.team(team).await?) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Takes a user out of a team.
    ///
    /// # Errors
    /// Why they are still in it.
    pub async fn leave(&self, team: &str, user: &str, now: Timestamp) -> Result<(), Refusal> {
        let body = json!({"team_id": team, "user_id": user});
        self.as_gateway("/team/member_delete", body, now, ACTOR)
            .await
            .map(drop)
    }

    /// Gives a user another role.
    ///
    /// # Errors
    /// Why they have not got it.
    pub async fn set_role(&self, user: &str, role: &str, now: Timestamp) -> Result<(), Refusal> {
        let body = json!({"user_id": user, "user_role": role});
        self.as_gateway("/user/update", body, now, ACTOR)
            .await
            .map(drop)
    }

    /// An operation that the gateway asks for by itself.
    pub(crate) async fn as_gateway(
        &self,
        route: &'static str,
        body: Value,
        now: Timestamp,
        actor: &str,
    ) -> Outcome {
        let mut all = operations();
        let found = all.find(|operation| operation.method == "POST" && operation.name() == route);
        let operation = found.ok_or_else(|| Refusal::bad(format!("no operation {route}")))?;
        let body = match body {
            Value::Object(body) => body
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect(),
            _ => Map::new(),
        };
        let ask = Ask {
            body,
            ..Ask::of_gateway(route, now, actor)
        };
        // Boxed: an operation may ask for another.
        Box::pin(self.answer(operation, ask)).await
    }
}

#[cfg(test)]
mod tests;
