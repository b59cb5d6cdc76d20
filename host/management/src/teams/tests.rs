//! Teams over a database in memory.
