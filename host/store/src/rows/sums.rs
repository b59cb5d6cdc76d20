//! Sums over rows, group by group: what reports are made of.

use serde_json::Value;

use super::statement::Statement;
use super::{Filter, Row, known};
use crate::schema::Kind;
use crate::store::{Store, StoreError};

/// What is summed.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    /// Over which rows.
    pub filter: Filter,
    /// One group for each value of these columns; without any, all rows are one.
    pub by: Vec<&'static str>,
    /// And for each UTC day of this time, told as `day`.
    pub day: Option<&'static str>,
    /// And for each text of a JSON column's member, told as `member`: the column, and `a` or `a.b` of the object in `a`.
    pub member: Option<(&'static str, &'static str)>,
    /// Columns that are added up.
    pub sums: Vec<&'static str>,
    /// Two times: the seconds from the first to the second, on average, are told as `seconds`.
    pub seconds: Option<(&'static str, &'static str)>,
    /// By this column or sum, downwards when true; `n` is the count of rows. The groups' own order without.
    pub order: Option<(&'static str, bool)>,
    /// At most so many groups.
    pub limit: u64,
}

impl Store {
    /// A row for each group: what it is grouped by, `n` for the count of its rows, and the sums. A table that the database
    /// does not have is empty.
    pub async fn sums(&self, table: &'static str, sums: Sums) -> Result<Vec<Row>, StoreError> {
        if !self.has_table(table) {
            return Ok(Vec::new());
        }
        let statement = build(table, &sums)?;
        self.report_statement(&statement).await
    }
}

fn build(table: &'static str, asked: &Sums) -> Result<Statement, StoreError> {
    let table = known(table)?;
    let column = |name: &'static str| table.column(name).ok_or_else(|| StoreError::unknown(name));
    let mut groups = Vec::with_capacity(asked.by.len() + 1);
    let mut told = Vec::with_capacity(asked.by.len() + asked.sums.len() + 2);
    for name in &asked.by {
        let quoted = format!("\"{}\"", column(name)?.name);
        told.push(quoted.clone());
        groups.push(quoted);
    }
    if let Some(name) = asked.day {
        let day = format!("{{day \"{}\"}}", column(name)?.name);
        told.push(format!("{day} AS day"));
        groups.push(day);
    }
    if let Some((name, path)) = asked.member {
        let member = format!("{{field \"{}\" {path}}}", column(name)?.name);
        told.push(format!("{member} AS member"));
        groups.push(member);
    }
    told.push("COUNT(*) AS n".to_owned());
    for name in &asked.sums {
        let column = column(name)?;
        told.push(match column.kind {
            Kind::Int => format!("CAST(SUM(\"{0}\") AS BIGINT) AS \"{0}\"", column.name),
            _ => format!("SUM(\"{0}\") AS \"{0}\"", column.name),
        });
    }
    if let Some((from, to)) = asked.seconds {
        let (from, to) = (column(from)?.name, column(to)?.name);
        told.push(format!("AVG({{seconds \"{from}\" \"{to}\"}}) AS seconds"));
    }
    let mut statement = Statement::default();
    statement.push(&format!(
        "SELECT {} FROM \"{}\"",
        told.join(", "),
        table.name
    ));
    statement.filter(table, &asked.filter)?;
    if !groups.is_empty() {
        statement.push(&format!(" GROUP BY {}", groups.join(", ")));
        let order = match asked.order {
            Some(("n", down)) => vec![way("n", down)],
            Some((name, down)) => vec![way(&format!("\"{}\"", column(name)?.name), down)],
            None => Vec::new(),
        };
        let order: Vec<String> = order.into_iter().chain(groups).collect();
        statement.push(&format!(" ORDER BY {}", order.join(", ")));
    }
    statement.push(" LIMIT ");
    let limit = i64::try_from(asked.limit).unwrap_or(i64::MAX);
    statement.bind(Kind::Int, Value::from(limit));
    Ok(statement)
}

fn way(name: &str, down: bool) -> String {
    format!("{name} {}", if down { "DESC" } else { "ASC" })
}
