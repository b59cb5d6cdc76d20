//! Rows of any table of the [schema](crate::schema), as JSON objects: read by filters, written in transactions.
//!
//! One way in and out for the whole control plane, and the same on SQLite and PostgreSQL. Values are bound, never part of
//! a statement; names of tables and columns come from the schema alone. A database that LiteLLM made may be older or
//! newer: only columns that exist are written, those that do not exist read as absent.

mod postgres;
mod sqlite;
mod statement;
mod sums;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::database::Database;
use crate::schema::{self, Kind, Preset, Table};
use crate::store::{Store, StoreError};

pub(crate) use statement::Statement;
pub use sums::Sums;

/// A row: column name to value. Lists and JSON are JSON, times RFC 3339 with milliseconds.
pub type Row = Map<String, Value>;

/// What a column must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Is {
    /// Equal to this.
    Equal(Value),
    /// Not equal to this, or null.
    Not(Value),
    /// One of these.
    In(Vec<Value>),
    /// This or more.
    AtLeast(Value),
    /// This or less.
    AtMost(Value),
    /// Less than this.
    Below(Value),
    /// Null.
    Null,
    /// Anything.
    Given,
    /// A list that has this text.
    Holds(String),
    /// A text with this in it, in any case of letters.
    Contains(String),
    /// This text, in any case of letters.
    Alike(String),
    /// A text that is not empty. Some indexes leave the empty ones out, and are found only with this beside.
    Filled,
    /// Different from this column, where an index leaves out the rows in which the two are equal (SQLite's of sessions);
    /// elsewhere anything.
    Differs(&'static str),
    /// JSON whose member has this text: `a`, or `a.b` of the object in `a`.
    Member(&'static str, String),
}

/// Conditions that must all hold, and of each list of alternatives one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter(
    pub(crate) Vec<(&'static str, Is)>,
    pub(crate) Vec<Vec<Filter>>,
);

/// Which rows, in which order.
#[derive(Debug, Clone, Default)]
pub struct Select {
    /// Which.
    pub filter: Filter,
    /// By these columns, `true` downwards; the primary key settles ties.
    pub order: Vec<(&'static str, bool)>,
    /// So many are passed over.
    pub offset: u64,
    /// At most so many; `None` all.
    pub limit: Option<u64>,
}

/// One step of a transaction.
#[derive(Debug, Clone)]
pub enum Write {
    /// A new row. Columns that are not given get what the schema says.
    Insert(&'static str, Row),
    /// A new row unless its primary key is there.
    Ensure(&'static str, Row),
    /// A new row, or these columns of the one with its primary key.
    Upsert(&'static str, Row),
    /// Columns of all rows that fit: set to values, increased by numbers.
    Update {
        /// The table.
        table: &'static str,
        /// Which rows.
        filter: Filter,
        /// New values.
        set: Row,
        /// What is added.
        add: Vec<(&'static str, f64)>,
    },
    /// Columns of the rows that fit are set; the transaction fails as [`WriteError::Gone`] with this name when none fits. Of two
    /// transactions that change the same row so that it fits no more, one goes on.
    Change(&'static str, Filter, Row, &'static str),
    /// All rows that fit are removed.
    Delete(&'static str, Filter),
    /// The same, and the transaction goes on only when there was one; else it fails as [`WriteError::Gone`] with this name. Of those who
    /// remove the same at once, one does it.
    Remove(&'static str, Filter, &'static str),
    /// Of the rows that fit, the first by this column are removed, at most so many. The table's key is one column.
    DeleteFirst(&'static str, Filter, &'static str, u64),
    /// The transaction goes on only when no row fits; else it fails as [`WriteError::Taken`] with this name.
    Absent(&'static str, Filter, &'static str),
    /// The transaction goes on only when a row fits; else it fails as [`WriteError::Gone`] with this name.
    Present(&'static str, Filter, &'static str),
}

impl Write {
    /// The table that it is about.
    pub(crate) fn table(&self) -> &'static str {
        match self {
            Self::Insert(table, _)
            | Self::Ensure(table, _)
            | Self::Upsert(table, _)
            | Self::Update { table, .. }
            | Self::Change(table, ..)
            | Self::Delete(table, _)
            | Self::Remove(table, ..)
            | Self::DeleteFirst(table, ..)
            | Self::Absent(table, ..)
            | Self::Present(table, ..) => table,
        }
    }
}

/// Why a transaction was not made; nothing of it was.
#[derive(Debug, Error)]
pub enum WriteError {
    /// A unique column has this value already: the column, or the name given with [`Write::Absent`].
    #[error("{0} is taken")]
    Taken(String),
    /// What [`Write::Present`], [`Write::Change`] or [`Write::Remove`] names is not there.
    #[error("{0} is not there")]
    Gone(&'static str),
    /// A value cannot be in its column.
    #[error("{0}")]
    Invalid(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Filter {
    /// Every row.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Rows whose column is so.
    #[must_use]
    pub fn of(column: &'static str, is: Is) -> Self {
        Self(vec![(column, is)], Vec::new())
    }

    /// Rows whose column has this value.
    #[must_use]
    pub fn by(column: &'static str, value: impl Into<Value>) -> Self {
        Self::of(column, Is::Equal(value.into()))
    }

    /// And this column is so.
    #[must_use]
    pub fn and(mut self, column: &'static str, is: Is) -> Self {
        self.0.push((column, is));
        self
    }

    /// And one of these holds; without any of them nothing fits.
    #[must_use]
    pub fn and_any(mut self, of: Vec<Self>) -> Self {
        self.1.push(of);
        self
    }

    /// And this column has this value, when there is one.
    #[must_use]
    pub fn and_if(self, column: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.and(column, Is::Equal(value.into())),
            None => self,
        }
    }
}

impl From<Filter> for Select {
    fn from(filter: Filter) -> Self {
        Self {
            filter,
            ..Self::default()
        }
    }
}

impl Store {
    /// The row whose column has this value; of several, the first by the primary key.
    pub async fn row(
        &self,
        table: &'static str,
        column: &'static str,
        value: &str,
    ) -> Result<Option<Row>, StoreError> {
        let select = Select {
            limit: Some(1),
            ..Filter::by(column, value).into()
        };
        Ok(self.rows(table, &select).await?.pop())
    }

    /// Whether the database has this table: one that an older LiteLLM made may not.
    #[must_use]
    pub fn has_table(&self, table: &str) -> bool {
        match self.database() {
            Database::Sqlite(_) => true,
            Database::Postgres(db) => db.has(table),
        }
    }

    /// The same of a column.
    #[must_use]
    pub fn has_column(&self, table: &str, column: &str) -> bool {
        match self.database() {
            Database::Sqlite(_) => true,
            Database::Postgres(db) => db.has_column(table, column),
        }
    }

    /// The rows that fit.
    pub async fn rows(&self, table: &'static str, select: &Select) -> Result<Vec<Row>, StoreError> {
        let table = known(table)?;
        let statement = statement::select(table, select)?;
        match self.database() {
            Database::Sqlite(db) => sqlite::rows(db, table, &statement).await,
            Database::Postgres(db) => postgres::rows(db, table, &statement).await,
        }
    }

    /// How many rows fit.
    pub async fn count(&self, table: &'static str, filter: &Filter) -> Result<u64, StoreError> {
        if !self.has_table(table) {
            return Ok(0);
        }
        let table = known(table)?;
        let statement = statement::count(table, filter)?;
        let rows = self.report_statement(&statement).await?;
        let count = rows.first().and_then(|row| row.get("n")?.as_u64());
        Ok(count.unwrap_or_default())
    }

    /// The rows of a query of ours, such as sums. `?` stands for a parameter; `{day COLUMN}` for a time's UTC day as
    /// text, `{each COLUMN AS NAME}` after a comma in `FROM` for the texts of a list or JSON array.
    ///
    /// `sql` is a constant of this program: nothing that anybody sends becomes part of it.
    pub async fn report(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.report_statement(&Statement::of(sql, params)).await
    }

    async fn report_statement(&self, statement: &Statement) -> Result<Vec<Row>, StoreError> {
        match self.database() {
            Database::Sqlite(db) => sqlite::report(db, statement).await,
            Database::Postgres(db) => postgres::report(db, statement).await,
        }
    }

    /// Does all of these steps in one transaction, or none; how many rows each step touched.
    ///
    /// # Errors
    /// The first step that cannot be done.
    pub async fn write(
        &self,
        mut steps: Vec<Write>,
        now: Timestamp,
    ) -> Result<Vec<u64>, WriteError> {
        let heard = self.heard.get();
        let mut fresh = Vec::new();
        for step in &mut steps {
            if let (Some(heard), Write::Insert(table, row)) = (heard, step)
                && *table == heard.table
            {
                // As it will be there: with its id and its time.
                *row = complete(known(table)?, std::mem::take(row), now)?;
                fresh.push(row.clone());
            }
        }
        let touched = match self.database() {
            Database::Sqlite(db) => sqlite::write(db, steps, now).await,
            Database::Postgres(db) => postgres::write(db, steps, now).await,
        }?;
        if let Some(heard) = heard {
            fresh.into_iter().for_each(|row| (heard.hear)(row));
        }
        Ok(touched)
    }
}

fn known(name: &'static str) -> Result<&'static Table, StoreError> {
    schema::table(name).ok_or_else(|| StoreError::unknown(name))
}

/// A row with everything that its table wants and was not given, and every value as its column has it.
fn complete(table: &Table, mut row: Row, now: Timestamp) -> Result<Row, WriteError> {
    for column in &table.columns {
        let given = row.get(column.name).is_some_and(|value| !value.is_null());
        if given {
            continue;
        }
        let value = match &column.default {
            Preset::Value(value) => value.clone(),
            Preset::Uuid => uuid::Uuid::new_v4().to_string().into(),
            Preset::Now => time_text(now).into(),
            Preset::Null | Preset::Serial => {
                row.remove(column.name);
                continue;
            }
        };
        // What was given as null stays so, where it may.
        if row.contains_key(column.name) && column.nullable {
            row.remove(column.name);
            continue;
        }
        row.insert(column.name.to_owned(), value);
    }
    normal(table, row)
}

/// A row with every value as its column has it; what the schema does not know is refused.
fn normal(table: &Table, row: Row) -> Result<Row, WriteError> {
    let mut normal = Row::new();
    for (name, value) in row {
        let column = table
            .column(&name)
            .ok_or_else(|| WriteError::Invalid(format!("{} has no column {name:?}", table.name)))?;
        let value = fit(column.kind, value).map_err(|value| {
            WriteError::Invalid(format!("{name}: {value} is not what the column holds"))
        })?;
        normal.insert(name, value);
    }
    Ok(normal)
}

/// A value as a column of this kind has it; the value back when it cannot be.
fn fit(kind: Kind, value: Value) -> Result<Value, Value> {
    Ok(match (kind, value) {
        (_, Value::Null) => Value::Null,
        (Kind::Time, Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(at) => time_text(at).into(),
            Err(_) => return Err(Value::String(text)),
        },
        (Kind::Int, Value::Number(number)) => match whole(&number) {
            Some(whole) => whole.into(),
            None => return Err(Value::Number(number)),
        },
        (Kind::Text, value @ Value::String(_))
        | (Kind::List, value @ Value::Array(_))
        | (Kind::Bool, value @ Value::Bool(_))
        | (Kind::Number, value @ Value::Number(_))
        | (Kind::Json, value) => value,
        (_, value) => return Err(value),
    })
}

fn whole(number: &serde_json::Number) -> Option<i64> {
    let of_fraction = || {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
    };
    number.as_i64().or_else(of_fraction)
}

/// A moment as rows have it: fixed width, so that text order is time order.
#[must_use]
pub fn time_text(at: Timestamp) -> String {
    crate::spend::time_text(at)
}
