//! Writes rows in one transaction. A call that is already there is not written again.
//!
//! A row's id is the one its upstream gave the answer, and there are upstreams that give an id twice: they count from the start again, or
//! draw from a thousand numbers. Such a row is another call when its own id or its times differ, and is written [under another
//! id](Packed::renamed): what was called is never uncounted.

use std::sync::Arc;
use std::sync::LazyLock;

use jiff::Timestamp;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqlitePool};

use super::marks::{self, Marks};
use super::packed::{INTEGER_COLUMNS, Packed, SELDOM, TEXT_COLUMNS};
use super::time_text;
use super::totals::{Addition, Totals};
use crate::database::Database;

mod postgres;

/// Rows per statement, largest first. Each statement is a round trip to the connection's thread, which
/// under load is where a group spends its time. The largest stays below SQLite's 32766 parameters.
const ROWS_PER_STATEMENT: [usize; 4] = [256, 64, 16, 4];

/// Statements that name every column, and those that leave out the [seldom](SELDOM) used ones.
static FULL: LazyLock<Statements> = LazyLock::new(|| Statements::new(TEXT_COLUMNS.len()));
static USUAL: LazyLock<Statements> = LazyLock::new(|| Statements::new(TEXT_COLUMNS.len() - SELDOM));

struct Statements {
    /// How many of the text columns they name.
    texts: usize,
    one: String,
    many: [String; ROWS_PER_STATEMENT.len()],
}

/// What became of the rows of a transaction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// New rows.
    pub written: u64,
    /// Rows whose id was already there.
    pub duplicates: u64,
    /// Indexes, among the rows that are kept, of rows the database will never take, and why.
    pub impossible: Vec<(usize, String)>,
    /// Indexes, among the rows that are kept, of rows that were there.
    old: Vec<usize>,
}

impl Inserted {
    /// Takes note of a row that the database took: whether it was new.
    fn note(&mut self, at: usize, is_new: bool) {
        match is_new {
            true => self.written += 1,
            false => {
                self.duplicates += 1;
                self.old.push(at);
            }
        }
    }

    /// Whether a row of the group adds nothing: it was there, or cannot be.
    fn is_old(&self, at: usize) -> bool {
        self.old.contains(&at) || self.impossible.iter().any(|(index, _)| *index == at)
    }
}

/// Rows to commit together: with those that are not kept, which only count.
pub(crate) struct Group<'a> {
    kept: Vec<&'a Packed>,
    uncounted: Vec<&'a Packed>,
}

impl<'a> Group<'a> {
    pub fn of(all: &'a [Packed]) -> Self {
        let (kept, uncounted) = all.iter().partition(|row| row.keeps);
        Self { kept, uncounted }
    }

    /// The sums of the rows that are new: of those that are kept, and these of the others.
    fn totals(&self, is_new: impl Fn(usize) -> bool, fresh: &[&Packed]) -> Totals {
        let new = self.kept.iter().enumerate().filter(|(at, _)| is_new(*at));
        let new = new.map(|(_, row)| *row);
        Totals::of(new.chain(fresh.iter().copied()))
    }
}

/// Commits rows and what they add to the totals in one transaction, or nothing when the database fails.
pub(crate) async fn insert(
    database: &Database,
    rows: &[Packed],
    now: Timestamp,
) -> Result<Inserted, sqlx::Error> {
    let group = Group::of(rows);
    match database {
        Database::Sqlite(db) => insert_sqlite(&db.writer, &group, now).await,
        Database::Postgres(db) => postgres::insert(db, &group, now).await,
    }
}

async fn insert_sqlite(
    pool: &SqlitePool,
    group: &Group<'_>,
    now: Timestamp,
) -> Result<Inserted, sqlx::Error> {
    let text: Arc<str> = time_text(now).into();
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut inserted = Inserted::default();
    let mut first = 0;
    while let Some(rest) = group.kept.get(first..).filter(|rest| !rest.is_empty()) {
        let (chunk, statement) = chunk(rest);
        let written = match statement {
            Some(statement) => insert_many(&mut transaction, statement, chunk, &text).await?,
            None => None,
        };
        match written {
            Some(written) if written == chunk.len() as u64 => inserted.written += written,
            // Some are there already: which of them is to be known, since only new ones count. Nothing of this
            // transaction is kept.
            Some(_) => {
                transaction.rollback().await?;
                return insert_one_by_one(pool, group, now).await;
            }
            None => insert_each(&mut transaction, chunk, first, &text, &mut inserted).await?,
        }
        first += chunk.len();
    }
    inserted.duplicates += add_totals(&mut transaction, (group, &inserted), now).await?;
    transaction.commit().await?;
    Ok(inserted)
}

async fn insert_one_by_one(
    pool: &SqlitePool,
    group: &Group<'_>,
    now: Timestamp,
) -> Result<Inserted, sqlx::Error> {
    let text: Arc<str> = time_text(now).into();
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut inserted = Inserted::default();
    insert_each(&mut transaction, &group.kept, 0, &text, &mut inserted).await?;
    inserted.duplicates += add_totals(&mut transaction, (group, &inserted), now).await?;
    transaction.commit().await?;
    Ok(inserted)
}

/// Adds the sums of new rows to the totals; how many that are not kept were counted before.
async fn add_totals(
    connection: &mut SqliteConnection,
    (group, inserted): (&Group<'_>, &Inserted),
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let text: Arc<str> = time_text(now).into();
    let ids = marks::ids(&group.uncounted);
    let mut marks = Marks::default();
    if !ids.is_empty() {
        let known = sqlx::query_as(
            r#"SELECT "cronjob_id", "pod_id" FROM "LiteLLM_CronJob" WHERE "cronjob_id" IN (SELECT value FROM json_each(?))"#,
        )
        .bind(serde_json::Value::from(ids).to_string())
        .fetch_all(&mut *connection)
        .await?;
        marks = Marks::of(known.into_iter());
    }
    let fresh = marks.fresh(&group.uncounted);
    let is_new = |at: usize| !inserted.is_old(at);
    add(connection, &group.totals(is_new, &fresh), &text).await?;
    if let Some(moved) = marks.moved() {
        sqlx::query(
            r#"INSERT INTO "LiteLLM_CronJob" ("cronjob_id", "pod_id", "last_updated", "ttl")
               SELECT json_extract(value, '$.id'), json_extract(value, '$.through'), ?, ? FROM json_each(?) WHERE true
               ON CONFLICT ("cronjob_id") DO UPDATE SET "pod_id" = excluded."pod_id", "last_updated" = excluded."last_updated", "ttl" = excluded."ttl" "#,
        )
        .bind(text)
        .bind(time_text(marks::kept_until(now)))
        .bind(moved)
        .execute(&mut *connection)
        .await?;
    }
    Ok(group.uncounted.len().saturating_sub(fresh.len()) as u64)
}

/// Adds the sums to the totals.
async fn add(
    connection: &mut SqliteConnection,
    totals: &Totals,
    now: &Arc<str>,
) -> Result<(), sqlx::Error> {
    for addition in totals.additions() {
        let sql = sqlx::AssertSqlSafe(addition_sql(&addition));
        let mut query = sqlx::query(sql);
        let times = match addition.makes && !addition.new.is_empty() {
            true => 2,
            false => addition.last.len(),
        };
        for _ in 0..times {
            query = query.bind(now.clone());
        }
        query
            .bind(addition.rows.to_string())
            .execute(&mut *connection)
            .await?;
    }
    totals.windows.add_sqlite(connection, now).await
}

/// One statement for all rows of a table. Names are constants of this crate, values one JSON parameter.
fn addition_sql(addition: &Addition) -> String {
    let field = |column: &str| format!("json_extract(value, '$.{column}')");
    let (table, key) = (addition.table, &addition.key);
    if !addition.makes {
        let fields: Vec<String> = key
            .iter()
            .map(|c| format!("{} AS \"{c}\"", field(c)))
            .collect();
        let same: Vec<String> = key
            .iter()
            .map(|c| format!("\"{table}\".\"{c}\" = d.\"{c}\""))
            .collect();
        let last = addition.last.iter().map(|c| format!("\"{c}\" = ?"));
        let sums = addition
            .sums
            .iter()
            .map(|c| format!("\"{c}\" = \"{table}\".\"{c}\" + d.by"));
        let set: Vec<String> = last.chain(sums).collect();
        return format!(
            "UPDATE \"{table}\" SET {} FROM (SELECT {}, {} AS by FROM json_each(?)) d WHERE {}",
            set.join(", "),
            fields.join(", "),
            field("spend"),
            same.join(" AND ")
        );
    }
    let columns: Vec<&str> = key
        .iter()
        .chain(addition.new)
        .chain(addition.sums)
        .copied()
        .collect();
    let fields: Vec<String> = columns.iter().map(|c| field(c)).collect();
    let sums = addition
        .sums
        .iter()
        .map(|c| format!("\"{c}\" = \"{table}\".\"{c}\" + excluded.\"{c}\""));
    let sums: Vec<String> = sums.collect();
    let (times, marks) = match addition.new.is_empty() {
        true => ("", ""),
        false => (", \"created_at\", \"updated_at\"", ", ?, ?"),
    };
    let names = |columns: &[&str]| -> String {
        let quoted: Vec<String> = columns.iter().map(|c| format!("\"{c}\"")).collect();
        quoted.join(", ")
    };
    format!(
        "INSERT INTO \"{table}\" ({}{times}) SELECT {}{marks} FROM json_each(?) WHERE true ON CONFLICT ({}) DO UPDATE SET {}",
        names(&columns),
        fields.join(", "),
        names(key),
        sums.join(", ")
    )
}

/// A statement that takes the rows at the head, by its place among the sizes; the last few have none.
fn chunk<'a, 'r>(rest: &'a [&'r Packed]) -> (&'a [&'r Packed], Option<usize>) {
    let mut sizes = ROWS_PER_STATEMENT.iter().enumerate();
    sizes
        .find_map(|(statement, size)| Some((rest.get(..*size)?, Some(statement))))
        .unwrap_or((rest, None))
}

/// Writes a chunk by one statement; `None` when one of its rows is impossible.
async fn insert_many(
    connection: &mut SqliteConnection,
    statement: usize,
    chunk: &[&Packed],
    now: &Arc<str>,
) -> Result<Option<u64>, sqlx::Error> {
    let statements = Statements::of(chunk);
    let Some(sql) = statements.many.get(statement) else {
        return Ok(None);
    };
    let mut query = sqlx::query(sql.as_str());
    let mut known = Known::default();
    for row in chunk {
        query = bind(query, row, statements.texts, now, &mut known);
    }
    match query.execute(connection).await {
        Ok(done) => Ok(Some(done.rows_affected())),
        Err(error) if is_the_rows_fault(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn insert_each(
    connection: &mut SqliteConnection,
    chunk: &[&Packed],
    first: usize,
    now: &Arc<str>,
    inserted: &mut Inserted,
) -> Result<(), sqlx::Error> {
    for (offset, row) in chunk.iter().enumerate() {
        let mut is_new = insert_one(connection, row, now).await;
        if matches!(is_new, Ok(false)) && is_anothers(connection, row).await? {
            is_new = insert_one(connection, &row.renamed(), now).await;
        }
        match is_new {
            Ok(is_new) => inserted.note(first + offset, is_new),
            Err(error) if is_the_rows_fault(&error) => {
                inserted
                    .impossible
                    .push((first + offset, error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the row's id was free.
async fn insert_one(
    connection: &mut SqliteConnection,
    row: &Packed,
    now: &Arc<str>,
) -> Result<bool, sqlx::Error> {
    let statements = Statements::of(&[row]);
    let query = sqlx::query(statements.one.as_str());
    let query = bind(query, row, statements.texts, now, &mut Known::default());
    let done = query.execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

/// Whether the row that has this id is of another call.
async fn is_anothers(connection: &mut SqliteConnection, row: &Packed) -> Result<bool, sqlx::Error> {
    let [id, call, start, end] = SAME.map(|column| row.column(column).to_owned());
    let other = sqlx::query(
        r#"SELECT 1 FROM "LiteLLM_SpendLogs" WHERE "request_id" = ?
           AND (coalesce("litellm_call_id", '') <> ? OR "startTime" <> ? OR "endTime" <> ?)"#,
    )
    .bind(id)
    .bind(call)
    .bind(start)
    .bind(end)
    .fetch_optional(connection)
    .await?;
    Ok(other.is_some())
}

/// Two rows with the same in these are one.
const SAME: [&str; 4] = ["request_id", "litellm_call_id", "startTime", "endTime"];

/// Whether the same row would fail again on a healthy disk: constraint, size, type. Everything else
/// (busy, full, I/O …) may pass.
fn is_the_rows_fault(error: &sqlx::Error) -> bool {
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
        return false;
    };
    // The low byte of SQLite's extended code is the primary one.
    code.parse::<i32>()
        .is_ok_and(|code| matches!(code & 0xff, TOO_BIG | CONSTRAINT | MISMATCH))
}

impl Statements {
    fn new(texts: usize) -> Self {
        Self {
            texts,
            one: insert_sql(1, texts),
            many: ROWS_PER_STATEMENT.map(|rows| insert_sql(rows, texts)),
        }
    }

    /// Those for these rows.
    fn of(rows: &[&Packed]) -> &'static Self {
        match rows.iter().all(|row| row.is_usual()) {
            true => &USUAL,
            false => &FULL,
        }
    }
}

fn insert_sql(rows: usize, texts: usize) -> String {
    let columns = ["spend"]
        .iter()
        .chain(&INTEGER_COLUMNS)
        .chain(TEXT_COLUMNS.iter().take(texts))
        .chain(&["created_at", "updated_at"]);
    let columns: Vec<String> = columns.map(|column| format!("\"{column}\"")).collect();
    let values = format!("({})", vec!["?"; columns.len()].join(", "));
    let values = vec![values; rows].join(", ");
    format!(
        r#"INSERT INTO "LiteLLM_SpendLogs" ({}) VALUES {values} ON CONFLICT ("request_id") DO NOTHING"#,
        columns.join(", ")
    )
}

type SpendQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

/// The texts of the row before: most columns repeat them, and share one copy.
type Known = [Option<Arc<str>>; TEXT_COLUMNS.len()];

/// Binds a row's values in the order in which [`insert_sql`] names their columns.
fn bind<'q>(
    query: SpendQuery<'q>,
    row: &Packed,
    texts: usize,
    now: &Arc<str>,
    known: &mut Known,
) -> SpendQuery<'q> {
    let mut query = query.bind(row.spend);
    for integer in row.integers {
        query = query.bind(integer);
    }
    for (text, known) in row.texts().take(texts).zip(known) {
        if known.as_deref() != text {
            *known = text.map(Arc::from);
        }
        query = query.bind(known.clone());
    }
    query.bind(now.clone()).bind(now.clone())
}
