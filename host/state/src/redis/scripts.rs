//! Operations that must happen at one moment, as scripts that Redis runs.
//!
//! They use what Redis 5 has.

use std::sync::LazyLock;

use redis::Script;

/// A script, known to Redis by its digest.
pub(super) struct Atomic {
    pub(super) code: &'static str,
    script: LazyLock<Script>,
}

impl Atomic {
    pub(super) fn digest(&self) -> &str {
        self.script.get_hash()
    }
}

macro_rules! atomic {
    ($(#[$doc:meta])* $name:ident = $code:literal) => {
        $(#[$doc])*
        pub(super) static $name: Atomic = Atomic {
            code: $code,
            script: LazyLock::new(|| Script::new($code)),
        };
    };
}

atomic! {
    /// `by, ttl_ms`; a time of 0 is none.
    INCREASE = r"
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' and redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum"
}

atomic! {
    /// `by, ttl_ms`; a time of 0 is none.
    ADD = r"
local sum = redis.call('INCRBYFLOAT', KEYS[1], ARGV[1])
if ARGV[2] ~= '0' and redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum"
}

atomic! {
    /// Per key `amount, limit, ttl_ms`. The first number is 0 when all were taken, else which one was
    /// refused; then counts and times.
    TAKE = r"
for i, key in ipairs(KEYS) do
  local text = redis.call('GET', key) or '0'
  if text ~= '0' and not string.match(text, '^-?[1-9]%d*$') then
    return redis.error_reply('ERR the value is no whole number')
  end
  local count = tonumber(text)
  if count + tonumber(ARGV[3 * i - 2]) > tonumber(ARGV[3 * i - 1]) then
    return {i, count, redis.call('PTTL', key)}
  end
end
local told = {0}
for i, key in ipairs(KEYS) do
  told[2 * i] = redis.call('INCRBY', key, ARGV[3 * i - 2])
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ARGV[3 * i]) end
  told[2 * i + 1] = redis.call('PTTL', key)
end
return told"
}

atomic! {
    /// `amount`
    GIVE_BACK = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local left = redis.call('DECRBY', KEYS[1], ARGV[1])
if left < 0 then redis.call('INCRBY', KEYS[1], -left) end
return 0"
}

atomic! {
    /// `value`
    DELETE_IF = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0"
}

atomic! {
    /// `member, value, ttl_ms`. Each value stands behind the millisecond of Redis' clock until which it
    /// counts: gateways' clocks differ.
    EXCHANGE = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local others = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local colon = string.find(all[i + 1], ':', 1, true)
  if tonumber(string.sub(all[i + 1], 1, colon - 1)) <= now then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[1] then
    others[#others + 1] = string.sub(all[i + 1], colon + 1)
  end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ARGV[3]) .. ':' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return others"
}

atomic! {
    /// `member, score, ttl_ms`
    ENQUEUE = r"
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0"
}
