//! A row on its way to the database: its texts one behind the other in one buffer.
//!
//! Thousands of rows wait under load. As thirty texts of their own each they would cost the request
//! thirty allocations that another thread has to free.

use std::fmt::Write;

use rust_decimal::prelude::ToPrimitive;

use serde_json::{Map, Value};

use super::{Position, SpendRow};
use crate::schema::{Kind, table};

/// Columns that hold texts, in the order in which [`Packed::texts`] gives them.
pub(crate) const TEXT_COLUMNS: [&str; 30] = [
    "request_id",
    "call_type",
    "api_key",
    "startTime",
    "endTime",
    "completionStartTime",
    "model",
    "model_id",
    "model_group",
    "custom_llm_provider",
    "api_base",
    "user",
    "metadata",
    "cache_hit",
    "cache_key",
    "request_tags",
    "team_id",
    "organization_id",
    "end_user",
    "requester_ip_address",
    "session_id",
    "status",
    "litellm_call_id",
    "witgate_spend_usd",
    "messages",
    "response",
    "proxy_server_request",
    "mcp_namespaced_tool_name",
    "billing_agent_id",
    "agent_id",
];

/// How many of the last [`TEXT_COLUMNS`] mostly have their table's default, and then are not named in
/// the statement: each column costs every row.
pub(crate) const SELDOM: usize = 6;

/// Columns that hold integers, in the order of [`Packed::integers`].
pub(crate) const INTEGER_COLUMNS: [&str; 4] = [
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
    "request_duration_ms",
];

/// The end of a text that is absent, as it is encoded.
const ABSENT: u32 = u32::MAX;
/// Words of eight bytes at the beginning of an encoded row, and all bytes before its text.
const WORDS: usize = 1 + INTEGER_COLUMNS.len() + 2;
const FIXED: usize = 8 * WORDS + 2 + 4 * TEXT_COLUMNS.len();

/// A row as it waits.
#[derive(Debug, PartialEq)]
pub(crate) struct Packed {
    /// The column `spend`: the nearest double.
    pub spend: f64,
    pub integers: [i64; INTEGER_COLUMNS.len()],
    /// Tokens from and into the provider's cache.
    pub cached: [i64; 2],
    /// Whether the row itself is kept (`disable_spend_logs` keeps none).
    pub keeps: bool,
    /// Whether it counts in the totals (`disable_spend_updates` counts none).
    pub counts: bool,
    /// Where it is in the spool, if it is there.
    pub position: Option<Position>,
    text: String,
    /// Where each text ends; absent texts are `NULL`. Behind the last of them are the windows, which are no column.
    ends: [Option<usize>; TEXT_COLUMNS.len()],
}

impl Packed {
    pub fn of(row: &SpendRow<'_>) -> Self {
        let mut packed = Packer {
            text: String::with_capacity(640 + row.metadata.len()),
            ends: [None; TEXT_COLUMNS.len()],
            next: 0,
        };
        packed.text(&row.request_id);
        packed.text(&row.call_type);
        packed.text(&row.api_key);
        packed.time(Some(row.start_time));
        packed.time(Some(row.end_time));
        packed.time(row.completion_start_time);
        packed.text(&row.model);
        packed.text(&row.model_id);
        packed.text(&row.model_group);
        packed.text(&row.custom_llm_provider);
        packed.text(&row.api_base);
        packed.text(&row.user);
        packed.text(&row.metadata);
        packed.text(&row.cache_hit);
        packed.text(&row.cache_key);
        packed.text(&row.request_tags);
        packed.optional(row.team_id.as_deref());
        packed.optional(row.organization_id.as_deref());
        packed.optional(row.end_user.as_deref());
        packed.optional(row.requester_ip_address.as_deref());
        packed.optional(row.session_id.as_deref());
        packed.optional(row.status.as_deref());
        packed.optional(row.litellm_call_id.as_deref());
        packed.display(row.spend.normalize());
        packed.text(&row.messages);
        packed.text(&row.response);
        packed.text(&row.proxy_server_request);
        packed.optional(row.mcp_namespaced_tool_name.as_deref());
        packed.optional(row.billing_agent_id.as_deref());
        packed.optional(row.agent_id.as_deref());
        packed.text.push_str(&row.budget_windows);
        Self {
            spend: row.spend.to_f64().unwrap_or_default(),
            integers: [
                row.total_tokens,
                row.prompt_tokens,
                row.completion_tokens,
                row.duration_ms(),
            ],
            cached: [row.cache_read_tokens, row.cache_creation_tokens],
            keeps: true,
            counts: true,
            position: None,
            text: packed.text,
            ends: packed.ends,
        }
    }

    /// Writes the row for [`Self::decode`].
    pub fn encode(&self, to: &mut Vec<u8>) {
        to.reserve(self.text.len() + FIXED);
        to.extend(self.spend.to_le_bytes());
        for integer in self.integers.iter().chain(&self.cached) {
            to.extend(integer.to_le_bytes());
        }
        to.extend([u8::from(self.keeps), u8::from(self.counts)]);
        for end in self.ends {
            let end = end.and_then(|end| u32::try_from(end).ok());
            to.extend(end.unwrap_or(ABSENT).to_le_bytes());
        }
        to.extend(self.text.as_bytes());
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, text) = bytes.split_at_checked(FIXED)?;
        let (words, rest) = fixed.as_chunks::<8>();
        let (words, flags_and_ends) = words.split_at_checked(WORDS)?;
        let tail = [flags_and_ends.as_flattened(), rest].concat();
        let (flags, ends) = tail.split_at_checked(2)?;
        let mut integers = words.iter().map(|word| i64::from_le_bytes(*word));
        let spend = f64::from_bits(integers.next()?.cast_unsigned());
        let mut row = Self {
            spend,
            integers: [0; INTEGER_COLUMNS.len()],
            cached: [0; 2],
            keeps: flags.first() == Some(&1),
            counts: flags.last() == Some(&1),
            position: None,
            text: String::from_utf8(text.to_vec()).ok()?,
            ends: [None; TEXT_COLUMNS.len()],
        };
        for place in row.integers.iter_mut().chain(&mut row.cached) {
            *place = integers.next()?;
        }
        for (end, bytes) in row.ends.iter_mut().zip(ends.as_chunks::<4>().0) {
            let at = u32::from_le_bytes(*bytes);
            *end = (at != ABSENT).then_some(at as usize);
        }
        Some(row)
    }

    /// Whether all the columns that [seldom](SELDOM) differ from their default are as usual.
    pub fn is_usual(&self) -> bool {
        const USUAL: [Option<&str>; SELDOM] =
            [Some("{}"), Some("{}"), Some("{}"), None, None, None];
        self.texts().skip(TEXT_COLUMNS.len() - SELDOM).eq(USUAL)
    }

    /// The memory the row holds while it waits, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.text.capacity()
    }

    /// The texts, in the order of [`TEXT_COLUMNS`].
    pub fn texts(&self) -> impl Iterator<Item = Option<&str>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = (*end)?;
            let text = self.text.get(start..end);
            start = end;
            text
        })
    }

    /// The row as JSON, by its columns; texts have no NUL, which PostgreSQL does not take.
    pub fn object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("spend".to_owned(), self.spend.into());
        for (column, integer) in INTEGER_COLUMNS.iter().zip(self.integers) {
            object.insert((*column).to_owned(), integer.into());
        }
        let schema = table("LiteLLM_SpendLogs");
        for (column, text) in TEXT_COLUMNS.iter().zip(self.texts()) {
            let kind = schema
                .and_then(|table| table.column(column))
                .map(|c| c.kind);
            let value = match (kind, text) {
                (_, None) => Value::Null,
                (Some(Kind::Json), Some(text)) => {
                    let text = text.replace("\\u0000", "");
                    serde_json::from_str(&text).unwrap_or_else(|_| text.into())
                }
                (_, Some(text)) => text.replace('\0', "").into(),
            };
            object.insert((*column).to_owned(), value);
        }
        object
    }

    /// The text of a column; of an absent one nothing.
    pub fn column(&self, name: &str) -> &str {
        let at = TEXT_COLUMNS.iter().position(|column| *column == name);
        let text = at.and_then(|at| self.texts().nth(at).flatten());
        text.unwrap_or_default()
    }

    /// [`SpendRow::budget_windows`]
    pub fn windows(&self) -> &str {
        let end = self.ends.iter().flatten().max();
        self.text
            .get(end.copied().unwrap_or_default()..)
            .unwrap_or_default()
    }

    pub fn request_id(&self) -> &str {
        self.texts().next().flatten().unwrap_or_default()
    }

    /// The row under another id, for when its own is already another call's: the call's own id and its start stand behind it.
    pub fn renamed(&self) -> Self {
        let known = self.request_id().len();
        let added = format!(
            "_{}_{}",
            self.column("litellm_call_id"),
            self.column("startTime")
        );
        let mut text = self.text.clone();
        text.insert_str(known, &added);
        Self {
            text,
            ends: self.ends.map(|end| Some(end? + added.len())),
            position: self.position.clone(),
            ..*self
        }
    }
}

struct Packer {
    text: String,
    ends: [Option<usize>; TEXT_COLUMNS.len()],
    next: usize,
}

impl Packer {
    fn text(&mut self, text: &str) {
        self.text.push_str(text);
        self.end(true);
    }

    fn optional(&mut self, text: Option<&str>) {
        self.text.push_str(text.unwrap_or_default());
        self.end(text.is_some());
    }

    fn time(&mut self, at: Option<jiff::Timestamp>) {
        match at {
            Some(at) => self.display(super::TimeText(at)),
            None => self.end(false),
        }
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        // Writing into a String does not fail.
        let _ = write!(self.text, "{value}");
        self.end(true);
    }

    fn end(&mut self, present: bool) {
        if let Some(end) = self.ends.get_mut(self.next) {
            *end = present.then_some(self.text.len());
        }
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_row_differs_in_its_id_alone() {
        let row = Packed::of(&SpendRow {
            request_id: "é1".into(),
            litellm_call_id: Some("call".into()),
            agent_id: Some("agent".into()),
            team_id: None,
            budget_windows: "[1]".into(),
            ..SpendRow::default()
        });
        let other = row.renamed();
        assert_eq!(other.request_id(), "é1_call_1970-01-01T00:00:00.000Z");
        assert!(other.texts().skip(1).eq(row.texts().skip(1)));
        assert_eq!(other.windows(), "[1]");
    }

    #[test]
    fn windows_are_behind_the_columns_and_none_of_them() {
        for (agent, windows) in [
            (None, ""),
            (None, "[1]"),
            (Some("é"), "[2]"),
            (Some("é"), ""),
        ] {
            let row = Packed::of(&SpendRow {
                request_id: "id".into(),
                agent_id: agent.map(Into::into),
                budget_windows: windows.into(),
                ..SpendRow::default()
            });
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            let read = Packed::decode(&bytes).unwrap();
            assert_eq!(read, row);
            assert_eq!((read.windows(), read.request_id()), (windows, "id"));
            assert_eq!(read.column("agent_id"), agent.unwrap_or_default());
            assert_eq!(read.texts().count(), TEXT_COLUMNS.len());
            assert_eq!(read.is_usual(), agent.is_none());
        }
    }
}
