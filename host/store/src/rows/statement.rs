//! Statements with their parameters, before either database's dialect.

use serde_json::Value;

use super::{Filter, Is, Select};
use crate::schema::{Kind, Table};
use crate::store::StoreError;

/// SQL with `?` for each parameter, and the parameters. A parameter's cast is PostgreSQL's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statement {
    pub sql: String,
    pub params: Vec<Param>,
}

/// A parameter: its value and the type PostgreSQL makes of its text.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub value: Value,
    pub cast: &'static str,
}

impl Statement {
    /// A query of ours. Parameters have the types of their values.
    pub fn of(sql: &str, values: Vec<Value>) -> Self {
        let params = values.into_iter().map(|value| Param {
            cast: match &value {
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_f64() => "double precision",
                Value::Number(_) => "bigint",
                _ => "text",
            },
            value,
        });
        Self {
            sql: sql.to_owned(),
            params: params.collect(),
        }
    }

    pub fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// A parameter for a column of this kind.
    pub fn bind(&mut self, kind: Kind, value: Value) {
        self.sql.push('?');
        self.params.push(Param {
            value,
            cast: cast(kind),
        });
    }

    /// ` WHERE …`; both databases fill the marks in.
    pub fn filter(&mut self, table: &Table, filter: &Filter) -> Result<(), StoreError> {
        if *filter == Filter::all() {
            return Ok(());
        }
        self.push(" WHERE ");
        self.conditions(table, filter)
    }

    /// The conditions of a filter; `1 = 1` when there are none.
    fn conditions(&mut self, table: &Table, filter: &Filter) -> Result<(), StoreError> {
        if *filter == Filter::all() {
            self.push("1 = 1");
        }
        for (at, alternatives) in filter.1.iter().enumerate() {
            self.push(if at == 0 { "(" } else { " AND (" });
            for (at, one) in alternatives.iter().enumerate() {
                self.push(if at == 0 { "(" } else { " OR (" });
                self.conditions(table, one)?;
                self.push(")");
            }
            self.push(if alternatives.is_empty() {
                "1 = 0)"
            } else {
                ")"
            });
        }
        for (at, (name, is)) in filter.0.iter().enumerate() {
            self.push(match at == 0 && filter.1.is_empty() {
                true => "",
                false => " AND ",
            });
            let column = table
                .column(name)
                .ok_or_else(|| StoreError::unknown(name))?;
            let quoted = format!("\"{}\"", column.name);
            let kind = column.kind;
            match is {
                Is::Equal(value) => {
                    match kind {
                        Kind::Json => self.push(&format!("{{json {quoted}}} = ")),
                        _ => self.push(&format!("{quoted} = ")),
                    }
                    self.bind(kind, time(kind, value));
                }
                Is::Not(value) => {
                    self.push(&format!("({quoted} IS NULL OR {quoted} <> "));
                    self.bind(kind, time(kind, value));
                    self.push(")");
                }
                Is::In(values) if values.is_empty() => self.push("1 = 0"),
                Is::In(values) => {
                    self.push(&quoted);
                    self.push(" IN (");
                    for (at, value) in values.iter().enumerate() {
                        self.push(if at == 0 { "" } else { ", " });
                        self.bind(kind, time(kind, value));
                    }
                    self.push(")");
                }
                Is::AtLeast(value) => {
                    self.push(&quoted);
                    self.push(" >= ");
                    self.bind(kind, time(kind, value));
                }
                Is::AtMost(value) => {
                    self.push(&quoted);
                    self.push(" <= ");
                    self.bind(kind, time(kind, value));
                }
                Is::Below(value) => {
                    self.push(&quoted);
                    self.push(" < ");
                    self.bind(kind, time(kind, value));
                }
                Is::Null => self.push(&format!("{quoted} IS NULL")),
                Is::Given => self.push(&format!("{quoted} IS NOT NULL")),
                Is::Holds(text) => {
                    let each = if kind == Kind::List { "list" } else { "json" };
                    self.push(&format!("{{holds {each} {quoted} "));
                    self.bind(Kind::Text, text.as_str().into());
                    self.push("}");
                }
                Is::Filled => self.push(&format!("{quoted} <> ''")),
                Is::Differs(other) => self.push(&format!("{{differs {quoted} \"{other}\"}}")),
                Is::Member(path, text) => {
                    self.push(&format!("{{field {quoted} {path}}} = "));
                    self.bind(Kind::Text, text.as_str().into());
                }
                Is::Alike(text) => {
                    self.push(&format!("lower({quoted}) = lower("));
                    self.bind(Kind::Text, text.as_str().into());
                    self.push(")");
                }
                // No pattern: what is looked for is looked for as it is.
                Is::Contains(text) => {
                    self.push(&format!("{{within lower({quoted}) "));
                    self.bind(Kind::Text, text.to_lowercase().into());
                    self.push("}");
                }
            }
        }
        Ok(())
    }
}

/// Times are compared as rows have them.
fn time(kind: Kind, value: &Value) -> Value {
    let text = value.as_str().filter(|_| kind == Kind::Time);
    let at = text.and_then(|text| text.parse().ok());
    at.map_or_else(|| value.clone(), |at| super::time_text(at).into())
}

/// PostgreSQL's type of a column.
pub(crate) fn cast(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::List => "text[]",
        Kind::Json => "jsonb",
        Kind::Bool => "boolean",
        Kind::Int => "bigint",
        Kind::Number => "double precision",
        Kind::Time => "timestamp",
    }
}

/// `SELECT` of whole rows; the databases put their way of reading a row in the place of `{row}`.
pub(crate) fn select(table: &Table, select: &Select) -> Result<Statement, StoreError> {
    let mut statement = Statement::default();
    statement.push(&format!("SELECT {{row}} FROM \"{}\" t", table.name));
    statement.filter(table, &select.filter)?;
    statement.push(" ORDER BY ");
    for (name, down) in &select.order {
        let column = table
            .column(name)
            .ok_or_else(|| StoreError::unknown(name))?;
        let way = if *down { "DESC" } else { "ASC" };
        // Nulls last, in both databases; where there are none, an index can serve the order.
        if column.nullable {
            statement.push(&format!("\"{}\" IS NULL, ", column.name));
        }
        statement.push(&format!("\"{}\" {way}, ", column.name));
    }
    let key: Vec<String> = table.key.iter().map(|key| format!("\"{key}\"")).collect();
    statement.push(&key.join(", "));
    if let Some(limit) = select.limit {
        statement.push(" LIMIT ");
        statement.bind(Kind::Int, i64::try_from(limit).unwrap_or(i64::MAX).into());
        statement.push(" OFFSET ");
        let offset = i64::try_from(select.offset).unwrap_or(i64::MAX);
        statement.bind(Kind::Int, offset.into());
    }
    Ok(statement)
}

/// `DELETE` of the first rows that fit.
pub(crate) fn delete_first(
    table: &Table,
    filter: &Filter,
    order: &str,
    limit: u64,
) -> Result<Statement, StoreError> {
    let order = table
        .column(order)
        .ok_or_else(|| StoreError::unknown(order))?;
    let key = table.key.first().copied().unwrap_or_default();
    let mut statement = Statement::default();
    statement.push(&format!(
        "DELETE FROM \"{0}\" WHERE \"{key}\" IN (SELECT \"{key}\" FROM \"{0}\"",
        table.name
    ));
    statement.filter(table, filter)?;
    statement.push(&format!(" ORDER BY \"{}\" LIMIT ", order.name));
    statement.bind(Kind::Int, i64::try_from(limit).unwrap_or(i64::MAX).into());
    statement.push(")");
    Ok(statement)
}

/// How many rows fit, as `n`.
pub(crate) fn count(table: &Table, filter: &Filter) -> Result<Statement, StoreError> {
    let mut statement = Statement::default();
    statement.push(&format!("SELECT COUNT(*) AS n FROM \"{}\"", table.name));
    statement.filter(table, filter)?;
    Ok(statement)
}

/// Replaces every `{word rest}` by what the dialect makes of it.
pub(crate) fn fill(sql: &str, dialect: impl Fn(&str, &str) -> String) -> String {
    let mut filled = String::with_capacity(sql.len() + 32);
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((mark, after)) = after.split_once('}') else {
            break;
        };
        filled.push_str(before);
        let (word, arguments) = mark.split_once(' ').unwrap_or((mark, ""));
        filled.push_str(&dialect(word, arguments));
        rest = after;
    }
    filled + rest
}
