//! What keys and teams that reports name by id are called.

use std::collections::HashMap;

use serde_json::Value;
use witgate_store::{Filter, Is, Row, Select};

use super::{KEYS, TEAMS, text};
use crate::{ControlPlane, Refusal};

impl ControlPlane {
    /// The rows of the keys that these name in `api_key`, deleted ones among them, by hash.
    pub(super) async fn keys_of(&self, rows: &[Row]) -> Result<HashMap<String, Row>, Refusal> {
        let mut hashes: Vec<&str> = rows.iter().map(|row| text(row, "api_key")).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let mut known = HashMap::new();
        for hashes in hashes.chunks(500) {
            for table in ["LiteLLM_DeletedVerificationToken", KEYS] {
                let hashes = hashes.iter().map(|hash| Value::from(*hash)).collect();
                let select: Select = Filter::of("token", Is::In(hashes)).into();
                for row in self.store.rows(table, &select).await? {
                    known.insert(text(&row, "token").to_owned(), row);
                }
            }
        }
        Ok(known)
    }

    /// What teams are called, by id.
    pub(super) async fn team_names(
        &self,
        ids: impl Iterator<Item = &str>,
    ) -> Result<HashMap<String, String>, Refusal> {
        let mut ids: Vec<&str> = ids.collect();
        ids.sort_unstable();
        ids.dedup();
        let mut known = HashMap::new();
        for ids in ids.chunks(500) {
            let ids = ids.iter().map(|id| Value::from(*id)).collect();
            let select: Select = Filter::of("team_id", Is::In(ids)).into();
            for row in self.store.rows(TEAMS, &select).await? {
                let name = text(&row, "team_alias");
                if !name.is_empty() {
                    known.insert(text(&row, "team_id").to_owned(), name.to_owned());
                }
            }
        }
        Ok(known)
    }
}
