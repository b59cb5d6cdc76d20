//! Everybody who has a budget, for gauges without calls (`prometheus_initialize_budget_metrics`).

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Select, StoreError};

use crate::ControlPlane;

/// Whose budgets: LiteLLM's word in the names of its metrics, the table, the column that tells them apart, and labels with the columns
/// they come from.
type Holders = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const HOLDERS: [Holders; 3] = [
    (
        "api_key",
        "LiteLLM_VerificationToken",
        "token",
        &[("hashed_api_key", "token"), ("api_key_alias", "key_alias")],
    ),
    (
        "team",
        "LiteLLM_TeamTable",
        "team_id",
        &[("team", "team_id"), ("team_alias", "team_alias")],
    ),
    (
        "user",
        "LiteLLM_UserTable",
        "user_id",
        &[("user", "user_id")],
    ),
];

impl ControlPlane {
    /// Hands out the budgets of keys, teams and users, `most` at a time, as objects with `labels`, `spend`, `max_budget` and
    /// `budget_reset_at`; whose they are is said beside. Budgets that many share are none of one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn budget_rows(
        &self,
        most: u64,
        mut take: impl FnMut(&'static str, Vec<Value>) + Send,
    ) -> Result<(), StoreError> {
        for (whose, table, id, labels) in HOLDERS {
            let mut offset = 0;
            loop {
                let select = Select {
                    order: vec![(id, false)],
                    offset,
                    limit: Some(most),
                    filter: Filter::of("max_budget", Is::Given),
                };
                let rows = self.store.rows(table, &select).await?;
                let count = rows.len() as u64;
                if count > 0 {
                    let budget = |row: witgate_store::Row| {
                        let of = |column: &str| row.get(column).cloned().unwrap_or_default();
                        let labels: Map<String, Value> = labels
                            .iter()
                            .map(|(label, column)| ((*label).to_owned(), of(column)))
                            .collect();
                        json!({
                            "labels": labels, "spend": of("spend"), "max_budget": of("max_budget"),
                            "budget_reset_at": of("budget_reset_at"),
                        })
                    };
                    take(whose, rows.into_iter().map(budget).collect());
                }
                if count < most {
                    break;
                }
                offset += count;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::world;

    #[tokio::test]
    async fn everybody_with_a_budget_is_told_once() {
        let world = world(json!({})).await;
        for n in 0..5 {
            let body = json!({"key_alias": format!("k{n}"), "max_budget": n + 1});
            world.done("/key/generate", body).await;
        }
        world
            .done("/key/generate", json!({"key_alias": "free"}))
            .await;
        let team = json!({"team_id": "t", "team_alias": "T", "max_budget": 7});
        world.done("/team/new", team).await;
        let mut told = Vec::new();
        let take = |whose, budgets: Vec<serde_json::Value>| told.push((whose, budgets));
        world.plane.budget_rows(2, take).await.unwrap();
        let sizes: Vec<_> = told
            .iter()
            .map(|(whose, budgets)| (*whose, budgets.len()))
            .collect();
        assert_eq!(
            sizes,
            [("api_key", 2), ("api_key", 2), ("api_key", 1), ("team", 1)]
        );
        let mut keys: Vec<_> = told
            .iter()
            .flat_map(|(_, budgets)| budgets)
            .filter_map(|one| one["labels"]["api_key_alias"].as_str())
            .collect();
        keys.sort_unstable();
        assert_eq!(keys, ["k0", "k1", "k2", "k3", "k4"]);
        let (_, team) = told.last().unwrap();
        assert_eq!(
            (&team[0]["labels"], &team[0]["max_budget"]),
            (&json!({"team": "t", "team_alias": "T"}), &json!(7.0))
        );
    }
}
