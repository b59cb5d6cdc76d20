//! Rows of `LiteLLM_UserTable`, as far as signing in reads and writes them.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::{Filter, Is, Row, Select, Store, StoreError, Write, WriteError, time_text};

/// A user. Lists and objects are JSON texts, as the table has them.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "named after LiteLLM's columns")]
pub struct UserRow {
    pub user_id: String,
    pub sso_user_id: Option<String>,
    pub user_email: Option<String>,
    pub user_role: Option<String>,
    pub models: String,
    pub max_budget: Option<Decimal>,
    pub budget_duration: Option<String>,
    pub metadata: String,
}

const TABLE: &str = "LiteLLM_UserTable";

/// The most users of one address that are looked at; there is more than one only where another program wrote them.
const ALIKE_MOST: u64 = 100;

impl Store {
    /// The user with this id, else with this id at the identity provider, else with this address, in any case of letters, who
    /// has no other id at the identity provider.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_user(
        &self,
        user_id: &str,
        sso_user_id: &str,
        email: Option<&str>,
    ) -> Result<Option<UserRow>, StoreError> {
        for (column, value) in [("user_id", user_id), ("sso_user_id", sso_user_id)] {
            if let Some(row) = self.row(TABLE, column, value).await? {
                return Ok(Some(read(&row)));
            }
        }
        let Some(email) = email else {
            return Ok(None);
        };
        let mut select: Select = Filter::of("user_email", Is::Alike(email.to_owned())).into();
        select.order.push(("created_at", false));
        select.limit = Some(ALIKE_MOST);
        let found = self.rows(TABLE, &select).await?;
        let text =
            |row: &Row, column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
        let same = |row: &&Row| {
            let address = text(row, "user_email");
            let linked = text(row, "sso_user_id").filter(|id| !id.is_empty());
            address.is_some_and(|address| address.to_lowercase() == email.to_lowercase())
                && linked.is_none_or(|id| id == sso_user_id)
        };
        Ok(found.iter().find(same).map(read))
    }

    /// Makes the user's row. Of a row that is there only role, address and, where there is none, the id at the identity
    /// provider are changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_user(&self, user: &UserRow, now: Timestamp) -> Result<(), WriteError> {
        let known = self.row(TABLE, "user_id", &user.user_id).await?;
        let mut row = Row::new();
        let mut say = |column: &str, value: Option<&String>| {
            if let Some(value) = value {
                row.insert(column.to_owned(), value.as_str().into());
            }
        };
        say("user_id", Some(&user.user_id));
        say("user_email", user.user_email.as_ref());
        say("user_role", user.user_role.as_ref());
        let linked = known
            .as_ref()
            .and_then(|row| row.get("sso_user_id")?.as_str());
        if linked.is_none() {
            say("sso_user_id", user.sso_user_id.as_ref());
        }
        row.insert("updated_at".to_owned(), time_text(now).into());
        if known.is_some() {
            let step = Write::Update {
                table: TABLE,
                filter: Filter::by("user_id", user.user_id.as_str()),
                set: row,
                add: Vec::new(),
            };
            return self.write(vec![step], now).await.map(drop);
        }
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        row.insert("models".to_owned(), json(&user.models));
        row.insert("metadata".to_owned(), json(&user.metadata));
        let money = user
            .max_budget
            .and_then(|money| money.to_string().parse::<f64>().ok());
        row.insert("max_budget".to_owned(), money.into());
        row.insert(
            "budget_duration".to_owned(),
            user.budget_duration.clone().into(),
        );
        // Two that sign in for the first time at once make one row.
        self.write(vec![Write::Ensure(TABLE, row)], now)
            .await
            .map(drop)
    }
}

fn read(row: &Row) -> UserRow {
    let text = |column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
    let json = |column: &str| row.get(column).map(Value::to_string).unwrap_or_default();
    let budget = row.get("max_budget").and_then(Value::as_f64);
    UserRow {
        user_id: text("user_id").unwrap_or_default(),
        sso_user_id: text("sso_user_id"),
        user_email: text("user_email"),
        user_role: text("user_role"),
        models: json("models"),
        // By its shortest text: the binary fraction would show digits that nobody wrote.
        max_budget: budget.and_then(|money| money.to_string().parse().ok()),
        budget_duration: text("budget_duration"),
        metadata: json("metadata"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;

    fn ann() -> UserRow {
        UserRow {
            user_id: "ann".to_owned(),
            sso_user_id: Some("00u1".to_owned()),
            user_email: Some("Ann@Example.com".to_owned()),
            user_role: Some("internal_user".to_owned()),
            models: r#"["gpt-4o"]"#.to_owned(),
            max_budget: Some("10.1".parse().unwrap()),
            budget_duration: Some("30d".to_owned()),
            metadata: "{}".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_user_is_found_by_id_then_by_id_at_the_provider_then_by_address() {
        let store = Store::open("sqlite::memory:", &StoreOptions::default())
            .await
            .unwrap();
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        store.save_user(&ann(), now).await.unwrap();
        let bob = UserRow {
            user_id: "bob".to_owned(),
            sso_user_id: None,
            user_email: Some("bob@example.com".to_owned()),
            ..ann()
        };
        store.save_user(&bob, now).await.unwrap();
        let find = async |id: &str, sso: &str, email: Option<&str>| {
            let found = store.find_user(id, sso, email).await.unwrap();
            found.map(|user| user.user_id)
        };
        assert_eq!(
            find("bob", "00u1", Some("ann@example.com"))
                .await
                .as_deref(),
            Some("bob")
        );
        assert_eq!(
            find("x", "00u1", Some("bob@example.com")).await.as_deref(),
            Some("ann")
        );
        // Somebody else's at the provider.
        assert_eq!(find("x", "x", Some("ann@EXAMPLE.com")).await, None);
        assert_eq!(find("x", "x", Some("xample.com")).await, None);
        assert_eq!(
            find("x", "00u1", Some("ann@EXAMPLE.com")).await.as_deref(),
            Some("ann")
        );
        assert_eq!(
            find("x", "x", Some("BOB@example.com")).await.as_deref(),
            Some("bob")
        );
        assert_eq!(find("x", "x", None).await, None);
        assert_eq!(store.find_user("ann", "", None).await.unwrap(), Some(ann()));
    }

    #[tokio::test]
    async fn a_row_that_is_there_keeps_what_signing_in_does_not_say() {
        let store = Store::open("sqlite::memory:", &StoreOptions::default())
            .await
            .unwrap();
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        store.save_user(&ann(), now).await.unwrap();
        let again = UserRow {
            sso_user_id: Some("other".to_owned()),
            user_email: None,
            user_role: Some("proxy_admin".to_owned()),
            models: "[]".to_owned(),
            max_budget: None,
            budget_duration: None,
            ..ann()
        };
        store.save_user(&again, now).await.unwrap();
        let expected = UserRow {
            user_role: Some("proxy_admin".to_owned()),
            ..ann()
        };
        assert_eq!(
            store.find_user("ann", "", None).await.unwrap(),
            Some(expected)
        );
    }
}
