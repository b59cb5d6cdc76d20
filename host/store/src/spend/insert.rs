//! Writes rows in one transaction. An id that is already there is not written again.

use std::sync::Arc;
use std::sync::LazyLock;

use jiff::Timestamp;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqlitePool};

use super::packed::{INTEGER_COLUMNS, Packed, SELDOM, TEXT_COLUMNS};
use super::time_text;

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
    /// Indexes of rows the database will never take, and why.
    pub impossible: Vec<(usize, String)>,
}

/// Commits rows in one transaction, or none of them when the database fails.
pub(crate) async fn insert(
    pool: &SqlitePool,
    rows: &[Packed],
    now: Timestamp,
) -> Result<Inserted, sqlx::Error> {
    let now: Arc<str> = time_text(now).into();
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut inserted = Inserted::default();
    let mut first = 0;
    while let Some(rest) = rows.get(first..).filter(|rest| !rest.is_empty()) {
        let (chunk, statement) = chunk(rest);
        let written = match statement {
            Some(statement) => insert_many(&mut transaction, statement, chunk, &now).await?,
            None => None,
        };
        match written {
            Some(written) => {
                inserted.written += written;
                inserted.duplicates += chunk.len() as u64 - written;
            }
            None => insert_each(&mut transaction, chunk, first, &now, &mut inserted).await?,
        }
        first += chunk.len();
    }
    transaction.commit().await?;
    Ok(inserted)
}

/// A statement that takes the rows at the head, by its place among the sizes; the last few have none.
fn chunk(rest: &[Packed]) -> (&[Packed], Option<usize>) {
    let mut sizes = ROWS_PER_STATEMENT.iter().enumerate();
    sizes
        .find_map(|(statement, size)| Some((rest.get(..*size)?, Some(statement))))
        .unwrap_or((rest, None))
}

/// Writes a chunk by one statement; `None` when one of its rows is impossible.
async fn insert_many(
    connection: &mut SqliteConnection,
    statement: usize,
    chunk: &[Packed],
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
    chunk: &[Packed],
    first: usize,
    now: &Arc<str>,
    inserted: &mut Inserted,
) -> Result<(), sqlx::Error> {
    for (offset, row) in chunk.iter().enumerate() {
        let statements = Statements::of(std::slice::from_ref(row));
        let query = sqlx::query(statements.one.as_str());
        let query = bind(query, row, statements.texts, now, &mut Known::default());
        match query.execute(&mut *connection).await {
            Ok(done) if done.rows_affected() == 0 => inserted.duplicates += 1,
            Ok(_) => inserted.written += 1,
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
    fn of(rows: &[Packed]) -> &'static Self {
        match rows.iter().all(Packed::is_usual) {
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
