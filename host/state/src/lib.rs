//! One small atomic store of keys, counters and times to live: in memory, or in Redis for many gateways.
