//! Organizations: `/organization/new` and its sisters. What bears on teams and users is theirs at most.

use witgate_store::Row;

use crate::fields::text;
use crate::linked::BUDGETS;
use crate::{ControlPlane, Refusal};

pub(crate) const TABLE: &str = "LiteLLM_OrganizationTable";

impl ControlPlane {
    /// An organization and its budget row.
    pub(crate) async fn organization(
        &self,
        id: &str,
    ) -> Result<Option<(Row, Option<Row>)>, Refusal> {
        let Some(row) = self.store.row(TABLE, "organization_id", id).await? else {
            return Ok(None);
        };
        let budget = match text(&row, "budget_id") {
            Some(budget) => self.store.row(BUDGETS, "budget_id", budget).await?,
            None => None,
        };
        Ok(Some((row, budget)))
    }

    /// The organization that a body names, which must be there.
    pub(crate) async fn organization_of_body(
        &self,
        id: &str,
    ) -> Result<(Row, Option<Row>), Refusal> {
        self.organization(id).await?.ok_or_else(|| {
            let message = format!("Organization not found, passed organization_id={id}");
            Refusal::bad(message).param("organization_id")
        })
    }
}
