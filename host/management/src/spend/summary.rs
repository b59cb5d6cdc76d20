//! What teams and tags spent in some days: the text of LiteLLM's spend reports.

use jiff::civil::Date;
use witgate_store::{Is, Sums};

use super::{Days, GROUPS, float, text};
use crate::{ControlPlane, Refusal};

/// Lines of a list: the rest is told as one sum.
const LINES: usize = 50;

impl ControlPlane {
    /// What teams and tags spent from the first to the last of these days (UTC), as lines for people; `None` when nothing was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn spend_summary(&self, first: Date, last: Date) -> Result<Option<String>, Refusal> {
        let mut told = String::new();
        for (title, word, table, column) in [
            (
                "Team Spend Report",
                "Team",
                "LiteLLM_DailyTeamSpend",
                "team_id",
            ),
            ("Tag Spend Report", "Tag", "LiteLLM_DailyTagSpend", "tag"),
        ] {
            let sums = Sums {
                filter: Days { first, last }.daily().and(column, Is::Given),
                by: vec![column],
                sums: vec!["spend"],
                order: Some(("spend", true)),
                limit: GROUPS,
                ..Sums::default()
            };
            let rows = self.store.sums(table, sums).await?;
            let names = match column {
                "team_id" => {
                    self.team_names(rows.iter().map(|row| text(row, column)))
                        .await?
                }
                _ => Default::default(),
            };
            let spent = rows.iter().filter(|row| float(row, "spend") > 0.0);
            let mut lines = spent.map(|row| {
                let id = text(row, column);
                let name = names.get(id).map_or(id, String::as_str);
                (name.to_owned(), float(row, "spend"))
            });
            let first: Vec<(String, f64)> = lines.by_ref().take(LINES).collect();
            let rest: f64 = lines.map(|(_, spend)| spend).sum();
            if first.is_empty() {
                continue;
            }
            told.push_str(&format!("\n*{title}:*\n"));
            for (name, spend) in first {
                told.push_str(&format!("{word}: `{name}` | Spend: `${spend:.4}`\n"));
            }
            if rest > 0.0 {
                told.push_str(&format!("All others | Spend: `${rest:.4}`\n"));
            }
        }
        Ok((!told.is_empty()).then_some(told))
    }
}
