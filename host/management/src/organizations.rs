//! Organizations: `/organization/new` and its sisters. What they have is the most that their teams and users get.

mod members;
mod read;
#[cfg(test)]
mod tests;
mod write;

use witgate_store::Row;

use crate::fields::{Field, Shape, column, member, text};
use crate::linked::{BUDGET, BUDGETS};
use crate::operation::{Operation, Who};
use crate::{Ask, ControlPlane, Refusal};

pub(crate) use members::membership;

pub(crate) const TABLE: &str = "LiteLLM_OrganizationTable";
pub(crate) const MEMBERSHIPS: &str = "LiteLLM_OrganizationMembership";

/// What an organization may be given beside its budget.
const FIELDS: &[Field] = &[
    column("organization_alias", Shape::Text),
    column("models", Shape::Texts),
    column("metadata", Shape::Object),
    column("budget_id", Shape::Text),
    column("spend", Shape::Number),
    member("organization_id", Shape::Text),
    member("object_permission", Shape::Object),
];
const NAMED: &[Field] = &[member("organization_ids", Shape::Texts)];
const SEVERAL: &[Field] = &[member("organizations", Shape::Texts)];

/// Members that LiteLLM keeps and that this release does not act on.
const NOT_YET: [&str; 1] = ["max_budget_in_organization"];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/organization/new"],
        who: Who::Admin,
        what: "Makes an organization.",
        body: &[FIELDS, BUDGET],
        query: &[],
        run: |plane, ask| Box::pin(write::new(plane, ask)),
    },
    Operation {
        method: "PATCH",
        paths: &["/organization/update"],
        who: Who::Member,
        what: "Changes an organization; its own admins only make it smaller.",
        body: &[FIELDS, BUDGET],
        query: &[],
        run: |plane, ask| Box::pin(write::update(plane, ask)),
    },
    Operation {
        method: "DELETE",
        paths: &["/organization/delete"],
        who: Who::Admin,
        what: "Deletes organizations with their teams and keys.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(write::delete(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/organization/list"],
        who: Who::Anyone,
        what: "Lists organizations: those the caller is in.",
        body: &[],
        query: &["org_id", "org_alias"],
        run: |plane, ask| Box::pin(read::list(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/organization/info"],
        who: Who::Anyone,
        what: "Tells of an organization.",
        body: &[],
        query: &["organization_id"],
        run: |plane, ask| Box::pin(read::info(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/organization/info"],
        who: Who::Anyone,
        what: "Tells of several organizations.",
        body: &[SEVERAL],
        query: &[],
        run: |plane, ask| Box::pin(read::infos(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/organization/member_add"],
        who: Who::Member,
        what: "Adds members to an organization; users that do not exist are made.",
        body: &[members::ADD],
        query: &[],
        run: |plane, ask| Box::pin(members::add(plane, ask)),
    },
    Operation {
        method: "PATCH",
        paths: &["/organization/member_update"],
        who: Who::Member,
        what: "Changes a member's role in an organization.",
        body: &[members::ONE],
        query: &[],
        run: |plane, ask| Box::pin(members::update(plane, ask)),
    },
    Operation {
        method: "DELETE",
        paths: &["/organization/member_delete"],
        who: Who::Member,
        what: "Removes a member from an organization.",
        body: &[members::ONE],
        query: &[],
        run: |plane, ask| Box::pin(members::delete(plane, ask)),
    },
];

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

    /// The organization that a body of something else names, which must be there.
    pub(crate) async fn organization_of_body(
        &self,
        id: &str,
    ) -> Result<(Row, Option<Row>), Refusal> {
        self.organization(id).await?.ok_or_else(|| {
            let message = format!("Organization not found, passed organization_id={id}");
            Refusal::bad(message).param("organization_id")
        })
    }

    /// An organization that the caller administers.
    async fn organization_in_hand(
        &self,
        ask: &Ask,
        id: &str,
    ) -> Result<(Row, Option<Row>), Refusal> {
        let Some(found) = self.organization(id).await? else {
            return Err(unknown(id));
        };
        match ask.is_admin() || self.administers_org(ask, id).await? {
            true => Ok(found),
            false => Err(stranger(ask, id)),
        }
    }
}

fn unknown(id: &str) -> Refusal {
    Refusal::detail(
        404,
        format!("Organization not found, passed organization_id={id}"),
    )
}

fn stranger(ask: &Ask, id: &str) -> Refusal {
    let message = format!(
        "Call not allowed. User is neither proxy admin nor admin of the organization. route={}, organization_id={id}",
        ask.route
    );
    Refusal::detail(403, message)
}
