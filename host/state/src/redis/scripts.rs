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

atomic! {
    /// `member, window_ms, lease_ms, gates, exits`; per gate `calls, amount, amount_max, inside`, -1 where there is no bound;
    /// per exit `member, window, correction, undo`. Keys: per gate its window, calls, amount and those inside; per exit the
    /// same. The first number is 0 when all gates were passed, else which one refused, then for which bound; then the levels.
    PASS = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function seconds(ms) return string.format('%d.%03d', math.floor(ms / 1000), ms % 1000) end
local window, lease = tonumber(ARGV[2]), tonumber(ARGV[3])
local gates, exits = tonumber(ARGV[4]), tonumber(ARGV[5])
local function number(key) return tonumber(redis.call('GET', key) or '0') or 0 end
local function begun(key)
  local start = tonumber(redis.call('GET', key) or '')
  if not start then return now, false end
  start = math.floor(start * 1000 + 0.5)
  if start > now or now - start >= window then return now, false end
  return start, true
end
local function kept(key, start)
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, math.max(start + window - now, 1)) end
end
for i = 1, exits do
  local k, a = 4 * gates + 4 * (i - 1), 5 + 4 * gates + 4 * (i - 1)
  local was = redis.call('ZREM', KEYS[k + 4], ARGV[a + 1]) == 1
  local start, running = begun(KEYS[k + 1])
  if running then
    local passed, correction = tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
    local same = passed == 0 or passed == start
    if same and ARGV[a + 4] == '1' and number(KEYS[k + 2]) > 0 then redis.call('DECR', KEYS[k + 2]) end
    if was and correction ~= 0 and (same or correction > 0) then
      correction = math.max(correction, -number(KEYS[k + 3]))
      redis.call('INCRBYFLOAT', KEYS[k + 3], string.format('%d', correction))
      kept(KEYS[k + 3], start)
    end
  end
end
local starts, runs = {}, {}
local function bound(i, which) return tonumber(ARGV[5 + 4 * (i - 1) + which]) end
local function holds(i) return bound(i, 3) >= 0 or bound(i, 4) >= 0 end
local function level(i)
  local k = 4 * (i - 1)
  local calls, amount, inside = 0, 0, 0
  if runs[i] and bound(i, 1) >= 0 then calls = number(KEYS[k + 2]) end
  if runs[i] and bound(i, 3) >= 0 then amount = number(KEYS[k + 3]) end
  if bound(i, 4) >= 0 then inside = redis.call('ZCARD', KEYS[k + 4]) end
  return calls, amount, inside
end
for i = 1, gates do
  starts[i], runs[i] = begun(KEYS[4 * i - 3])
  if holds(i) then redis.call('ZREMRANGEBYSCORE', KEYS[4 * i], '-inf', seconds(now - lease)) end
end
for _, by in ipairs({1, 4, 3}) do
  for i = 1, gates do
    local calls, amount, inside = level(i)
    local is, more = calls, 1
    if by == 4 then is = inside end
    if by == 3 then is, more = amount, bound(i, 2) end
    if bound(i, by) >= 0 and is + more > bound(i, by) then
      return {i, by, calls, amount, inside, starts[i], starts[i] + window - now}
    end
  end
end
local told = {0}
for i = 1, gates do
  local k = 4 * (i - 1)
  if bound(i, 1) >= 0 or bound(i, 3) >= 0 then
    if not runs[i] then
      redis.call('SET', KEYS[k + 1], seconds(now), 'PX', window)
      redis.call('DEL', KEYS[k + 2], KEYS[k + 3])
      runs[i] = true
    end
    if bound(i, 1) >= 0 then
      redis.call('INCR', KEYS[k + 2])
      kept(KEYS[k + 2], starts[i])
    end
    if bound(i, 3) >= 0 then
      redis.call('INCRBYFLOAT', KEYS[k + 3], ARGV[5 + k + 2])
      kept(KEYS[k + 3], starts[i])
    end
  end
  if holds(i) then
    redis.call('ZADD', KEYS[k + 4], seconds(now), ARGV[1])
    redis.call('PEXPIRE', KEYS[k + 4], lease)
  end
  local calls, amount, inside = level(i)
  for _, n in ipairs({calls, amount, inside, starts[i], starts[i] + window - now}) do told[#told + 1] = n end
end
return told"
}

atomic! {
    /// `lease_ms`, then who stays.
    STAY = r"
local time = redis.call('TIME')
local now = string.format('%d.%03d', time[1], math.floor(time[2] / 1000))
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', now, ARGV[i]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])"
}

atomic! {
    /// Per key `generation, sum, add, ttl_ms, is_window`; generations and sums come back.
    POST = r"
local told = {}
for i, key in ipairs(KEYS) do
  local a = 5 * (i - 1)
  local generation, sum, add = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local ttl, is_window = ARGV[a + 4], ARGV[a + 5] == '1'
  local g, s = string.match(redis.call('GET', key) or '', '^(%d+):(%-?%d+)$')
  if g then
    g, s = tonumber(g), tonumber(s)
    if g == generation or is_window then generation, sum = g, s + add
    elseif g > generation then generation, sum = g, s end
    local left = redis.call('PTTL', key)
    if is_window and left > 0 then ttl = left end
  end
  redis.call('SET', key, string.format('%.0f:%.0f', generation, sum), 'PX', ttl)
  told[2 * i - 1], told[2 * i] = generation, sum
end
return told"
}
