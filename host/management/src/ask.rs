//! A request for an operation, and what every operation needs of it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use witgate_identity::{Principal, Role};

use crate::Refusal;
use crate::fields::holds_nul;

/// Items of a list of a body that an operation goes through, at most: each may be several statements, and all of them are one
/// transaction.
pub(crate) const LIST_MOST: usize = 1000;

/// What a list is told that is longer than that.
pub(crate) fn too_long(name: &str, most: usize) -> Refusal {
    Refusal::bad(format!(
        "{name} has at most {most} items a request; send the rest in another"
    ))
    .param(name)
}

/// A request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who asks.
    pub caller: Arc<Principal>,
    /// The path the operation is known by.
    pub route: &'static str,
    /// What stands for the placeholder of the path.
    pub named: Option<String>,
    /// Parameters, in their order.
    pub query: Vec<(String, String)>,
    /// The body; empty without one.
    pub body: Map<String, Value>,
    /// When. Whole milliseconds: the database keeps no more.
    pub now: Timestamp,
    /// `litellm-changed-by`: who the audit log shall name.
    pub changed_by: Option<String>,
}

/// Which page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// From 1 on.
    pub page: u64,
    /// Items on a page.
    pub size: u64,
}

impl Page {
    /// Items before this page.
    #[must_use]
    pub const fn offset(self) -> u64 {
        (self.page - 1).saturating_mul(self.size)
    }

    /// Pages that so many items fill.
    #[must_use]
    pub const fn pages(self, total: u64) -> u64 {
        total.div_ceil(self.size)
    }
}

impl Ask {
    /// What the gateway does by itself, as an administrator would; `actor` is whom the audit log names.
    pub(crate) fn of_gateway(route: &'static str, now: Timestamp, actor: &str) -> Self {
        Self {
            caller: Arc::new(Principal {
                role: Some(Role::ProxyAdmin),
                ..Principal::default()
            }),
            route,
            named: None,
            query: Vec::new(),
            body: Map::new(),
            now,
            changed_by: Some(actor.to_owned()),
        }
    }

    /// A parameter that is not empty.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut values = self
            .query
            .iter()
            .filter(|(key, value)| key == name && !value.is_empty());
        values.next().map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there: FastAPI's 422 without it.
    pub fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.param(name).ok_or_else(|| Refusal::missing_query(name))
    }

    /// Whether a parameter is `true`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.param(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The page that `page` and `size_name` ask for.
    ///
    /// # Errors
    /// FastAPI's 422 when a number is none, or out of its bounds.
    pub fn page(&self, size_name: &str, size: u64, most: u64) -> Result<Page, Refusal> {
        let wrong = |kind: &str, name: &str, message: &str, text: &str| {
            Refusal::invalid(kind, "query", name, message, &text.into())
        };
        let number = |name: &str, default: u64, most: u64| match self.param(name) {
            None => Ok(default),
            Some(text) => match text.parse::<u64>() {
                Ok(number) if (1..=most).contains(&number) => Ok(number),
                Ok(0) => Err(wrong(
                    "greater_than_equal",
                    name,
                    "Input should be greater than or equal to 1",
                    text,
                )),
                Ok(_) => {
                    let message = format!("Input should be less than or equal to {most}");
                    Err(wrong("less_than_equal", name, &message, text))
                }
                Err(_) => Err(wrong(
                    "int_parsing",
                    name,
                    "Input should be a valid integer, unable to parse string as an integer",
                    text,
                )),
            },
        };
        Ok(Page {
            page: number("page", 1, u64::MAX >> 16)?,
            size: number(size_name, size, most)?,
        })
    }

    /// The order that `sort_by` and `sort_order` ask for. What nobody asks for is the newest first; `down` is the way of an
    /// order that does not say it.
    pub fn order(
        &self,
        sortable: &[&'static str],
        default: &'static str,
        down: bool,
    ) -> Result<(&'static str, bool), Refusal> {
        let column = match self.param("sort_by") {
            None => default,
            Some(asked) => {
                let found = sortable.iter().find(|column| **column == asked);
                found.copied().ok_or_else(|| {
                    let message = format!("sort_by {asked:?} is none of {sortable:?}");
                    Refusal::bad(message).param("sort_by")
                })?
            }
        };
        match self.param("sort_order") {
            None => Ok((column, down || self.param("sort_by").is_none())),
            Some("desc") => Ok((column, true)),
            Some("asc") => Ok((column, false)),
            Some(_) => Err(Refusal::bad("sort_order is asc or desc").param("sort_order")),
        }
    }

    /// A member of the body that is a text and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body
            .get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    /// A member of the body that must be a text.
    pub fn required_text(&self, name: &str) -> Result<&str, Refusal> {
        match self.body.get(name) {
            None | Some(Value::Null) => Err(Refusal::missing(name)),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(Refusal::invalid(
                "string_type",
                "body",
                name,
                "Input should be a valid string",
                other,
            )),
        }
    }

    /// A member of the body that is a list of texts; absent is empty.
    ///
    /// # Errors
    /// When it is something else, or longer than [`LIST_MOST`].
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let Some(value) = self.body.get(name).filter(|value| !value.is_null()) else {
            return Ok(Vec::new());
        };
        if value.as_array().is_some_and(|list| list.len() > LIST_MOST) {
            return Err(too_long(name, LIST_MOST));
        }
        serde_json::from_value(value.clone()).map_err(|_| {
            let message = "Input should be a valid list of strings";
            Refusal::invalid("list_type", "body", name, message, value)
        })
    }

    /// PostgreSQL's texts have no NUL: none gets as far as that.
    pub(crate) fn without_nul(&self) -> Result<(), Refusal> {
        let said = "Input should have no NUL character";
        let text = |text: &str| text.contains('\0');
        if self.named.as_deref().is_some_and(text) || self.query.iter().any(|(_, v)| text(v)) {
            return Err(Refusal::bad(said));
        }
        match self.body.iter().find(|(_, value)| holds_nul(value)) {
            None => Ok(()),
            Some((name, _)) => {
                let nothing = Value::Null;
                Err(Refusal::invalid(
                    "value_error",
                    "body",
                    name,
                    said,
                    &nothing,
                ))
            }
        }
    }

    /// Whether the caller is a proxy admin.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.caller.is_admin()
    }

    /// Whether the caller sees everything.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        matches!(
            self.caller.role,
            Some(Role::ProxyAdmin | Role::ProxyAdminViewer)
        )
    }

    /// The caller's user id.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.caller.user_id.as_deref()
    }

    /// Who changes something, as `updated_by` has it.
    #[must_use]
    pub fn actor(&self) -> &str {
        self.changed_by
            .as_deref()
            .or(self.user())
            .unwrap_or("default_user_id")
    }

    /// LiteLLM's words to somebody who is no admin.
    #[must_use]
    pub fn admin_only(&self) -> Refusal {
        let role = self.caller.role.as_ref().map_or("unknown", Role::as_str);
        let user = self.user().unwrap_or("None");
        let message = format!(
            "Authentication Error, Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route={}. Your role={role}. Your user_id={user}",
            self.route
        );
        Refusal::error(401, "auth_error", message)
    }
}
