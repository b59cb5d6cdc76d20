//! The API's bytes: requests edited in place, server-sent events, token counts, prices.
