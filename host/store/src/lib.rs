//! Relational data: SQLite, LiteLLM's own tables and columns.
