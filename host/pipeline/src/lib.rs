//! The life of a request: one typed context, one ordered list of stages.
