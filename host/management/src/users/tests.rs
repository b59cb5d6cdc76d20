//! Users over a database in memory.
