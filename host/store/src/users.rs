//! Rows of `LiteLLM_UserTable`, as far as signing in reads and writes them.

use jiff::Timestamp;
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::{Store, StoreError};

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

const COLUMNS: &str = r#""user_id", "sso_user_id", "user_email", "user_role", "models", "max_budget", "budget_duration", "metadata""#;

impl Store {
    /// The user with this id, else with this id at the identity provider, else with this address, in any case of letters.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_user(
        &self,
        user_id: &str,
        sso_user_id: &str,
        email: Option<&str>,
    ) -> Result<Option<UserRow>, StoreError> {
        let conditions = [
            (r#""user_id" = ?"#, Some(user_id)),
            (r#""sso_user_id" = ?"#, Some(sso_user_id)),
            (r#"lower("user_email") = lower(?)"#, email),
        ];
        for (condition, value) in conditions {
            let Some(value) = value else { continue };
            let query = format!(
                r#"SELECT {COLUMNS} FROM "LiteLLM_UserTable" WHERE {condition} ORDER BY "created_at" LIMIT 1"#
            );
            let found = sqlx::query(sqlx::AssertSqlSafe(query))
                .bind(value)
                .fetch_optional(self.reader())
                .await?;
            if let Some(row) = found {
                return Ok(Some(read(&row)?));
            }
        }
        Ok(None)
    }

    /// Makes the user's row. Of a row that is there only role, address and, where there is none, the id at the identity
    /// provider are changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_user(&self, user: &UserRow, now: Timestamp) -> Result<(), StoreError> {
        let now = format!("{now:.3}");
        sqlx::query(
            r#"INSERT INTO "LiteLLM_UserTable"
                ("user_id", "sso_user_id", "user_email", "user_role", "models", "max_budget", "budget_duration", "metadata",
                 "created_at", "updated_at")
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT ("user_id") DO UPDATE SET
                "sso_user_id" = coalesce("sso_user_id", excluded."sso_user_id"),
                "user_email" = coalesce(excluded."user_email", "user_email"),
                "user_role" = coalesce(excluded."user_role", "user_role"),
                "updated_at" = excluded."updated_at""#,
        )
        .bind(&user.user_id)
        .bind(&user.sso_user_id)
        .bind(&user.user_email)
        .bind(&user.user_role)
        .bind(&user.models)
        // The column's affinity makes the number of it.
        .bind(user.max_budget.map(|money| money.to_string()))
        .bind(&user.budget_duration)
        .bind(&user.metadata)
        .bind(&now)
        .bind(&now)
        .execute(self.writer())
        .await?;
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<UserRow, StoreError> {
    let budget: Option<f64> = row.try_get("max_budget")?;
    Ok(UserRow {
        user_id: row.try_get("user_id")?,
        sso_user_id: row.try_get("sso_user_id")?,
        user_email: row.try_get("user_email")?,
        user_role: row.try_get("user_role")?,
        models: row.try_get("models")?,
        // By its shortest text: the binary fraction would show digits that nobody wrote.
        max_budget: budget.and_then(|money| money.to_string().parse().ok()),
        budget_duration: row.try_get("budget_duration")?,
        metadata: row.try_get("metadata")?,
    })
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
        assert_eq!(
            find("x", "x", Some("ann@EXAMPLE.com")).await.as_deref(),
            Some("ann")
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
