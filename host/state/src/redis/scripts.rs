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
    ($(#[$doc:meta])* $name:ident = $code:expr) => {
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

/// What scripts do with accounts (`memory/accounts.rs` has how they are written). `posted` reads one, posts the seven numbers behind `a` to it, writes
/// nothing, and gives it with its balance.
macro_rules! accounts {
    () => {
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function posted(key, a, holder, lease)
  local text = redis.call('GET', key) or ''
  local g, s, e = string.match(string.match(text, '^[^ ]*'), '^(%d+):(%-?%d+):(%d+)$')
  local account = {g = tonumber(g), s = tonumber(s), e = tonumber(e), held = {}, ttl = tonumber(ARGV[a + 4])}
  if account.e and account.e > 0 and account.e <= now then account.g = nil end
  for name, ends, number, amount in string.gmatch(text, ' ([^ ,]+),(%d+),(%d+),(%d+)') do
    ends = tonumber(ends)
    if ends > now then account.held[#account.held + 1] = {name, ends, tonumber(number), tonumber(amount)} end
  end
  local generation, sum, add = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local is_window, held, number = ARGV[a + 5] == '1', tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7])
  if not account.g then
    if not (is_window and generation == 0) then
      account.g, account.s, account.e = generation, sum, is_window and now + account.ttl or 0
    end
  elseif account.g == generation or is_window then account.s = account.s + add
  elseif generation > account.g then account.g, account.s = generation, sum end
  local own, total = nil, 0
  for _, one in ipairs(account.held) do
    if one[1] == holder then own = one end
  end
  if own and number >= own[3] then own[2], own[3], own[4] = now + lease, number, held
  elseif not own and held > 0 then account.held[#account.held + 1] = {holder, now + lease, number, held} end
  for _, one in ipairs(account.held) do total = total + one[4] end
  return account, account.g or 0, account.g and account.s or 0, total
end
local function write(key, account)
  local ttl, words = account.ttl, {'-'}
  if account.g then words[1] = string.format('%.0f:%.0f:%.0f', account.g, account.s, account.e) end
  if not account.g or account.e > 0 then
    ttl = math.max(account.g and account.e - now or 0, 1)
    for _, one in ipairs(account.held) do ttl = math.max(ttl, one[2] - now) end
  end
  for _, one in ipairs(account.held) do
    words[#words + 1] = string.format('%s,%.0f,%.0f,%.0f', one[1], one[2], one[3], one[4])
  end
  redis.call('SET', key, table.concat(words, ' '), 'PX', ttl)
end
"
    };
}

atomic! {
    /// `member, -, lease_ms, gates, exits, draws, holder, holder_lease_ms`; per gate `calls, amount, amount_max, inside`, -1 where
    /// there is no bound, and `window_ms`; per exit `member, window, correction, undo, window_ms`; per draw what is posted, then `own, max, is_full_at_max`. Keys: per
    /// gate its window, calls, amount and those inside; per exit the same; per draw its account. The first number is 0 when all was
    /// passed; -1 when an account refused, then which one and how it stands; else which gate refused, then for which bound. Then the
    /// levels, then the balances.
    PASS = concat!(accounts!(), r"
local function seconds(ms) return string.format('%d.%03d', math.floor(ms / 1000), ms % 1000) end
local lease = tonumber(ARGV[3])
local gates, exits, draws = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local HEAD, GATE, DRAW = 8, 5, 10
local function number(key) return tonumber(redis.call('GET', key) or '0') or 0 end
local function begun(key, window)
  local start = tonumber(redis.call('GET', key) or '')
  if not start then return now, false end
  start = math.floor(start * 1000 + 0.5)
  if start > now or now - start >= window then return now, false end
  return start, true
end
local function kept(key, start, window)
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, math.max(start + window - now, 1)) end
end
for i = 1, exits do
  local k, a = 4 * gates + 4 * (i - 1), HEAD + GATE * (gates + i - 1)
  local window = tonumber(ARGV[a + 5])
  local was = redis.call('ZREM', KEYS[k + 4], ARGV[a + 1]) == 1
  local start, running = begun(KEYS[k + 1], window)
  if running then
    local passed, correction = tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
    local same = passed == 0 or passed == start
    if same and ARGV[a + 4] == '1' and number(KEYS[k + 2]) > 0 then redis.call('DECR', KEYS[k + 2]) end
    if was and correction ~= 0 and (same or correction > 0) then
      correction = math.max(correction, -number(KEYS[k + 3]))
      redis.call('INCRBYFLOAT', KEYS[k + 3], string.format('%d', correction))
      kept(KEYS[k + 3], start, window)
    end
  end
end
local accounts, balances = {}, {}
for i = 1, draws do
  local a = HEAD + GATE * (gates + exits) + DRAW * (i - 1)
  local account, g, s, held = posted(KEYS[4 * gates + 4 * exits + i], a, ARGV[7], tonumber(ARGV[8]))
  local own, max = tonumber(ARGV[a + 8]), tonumber(ARGV[a + 9])
  held = held - own
  local known = s
  if g == tonumber(ARGV[a + 1]) then known = math.max(s, tonumber(ARGV[a + 2])) end
  if known + held > max or (ARGV[a + 10] == '1' and known + held == max) then
    return {-1, i, g, known, held}
  end
  accounts[i], balances[i] = account, {g, s, held}
end
local starts, runs = {}, {}
local function bound(i, which) return tonumber(ARGV[HEAD + GATE * (i - 1) + which]) end
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
  starts[i], runs[i] = begun(KEYS[4 * i - 3], bound(i, 5))
  if holds(i) then redis.call('ZREMRANGEBYSCORE', KEYS[4 * i], '-inf', seconds(now - lease)) end
end
for _, by in ipairs({1, 4, 3}) do
  for i = 1, gates do
    local calls, amount, inside = level(i)
    local is, more = calls, 1
    if by == 4 then is = inside end
    if by == 3 then is, more = amount, bound(i, 2) end
    if bound(i, by) >= 0 and is + more > bound(i, by) then
      return {i, by, calls, amount, inside, starts[i], starts[i] + bound(i, 5) - now}
    end
  end
end
for i = 1, draws do write(KEYS[4 * gates + 4 * exits + i], accounts[i]) end
local told = {0}
for i = 1, gates do
  local k, window = 4 * (i - 1), bound(i, 5)
  if bound(i, 1) >= 0 or bound(i, 3) >= 0 then
    if not runs[i] then
      redis.call('SET', KEYS[k + 1], seconds(now), 'PX', window)
      redis.call('DEL', KEYS[k + 2], KEYS[k + 3])
      runs[i] = true
    end
    if bound(i, 1) >= 0 then
      redis.call('INCR', KEYS[k + 2])
      kept(KEYS[k + 2], starts[i], window)
    end
    if bound(i, 3) >= 0 then
      redis.call('INCRBYFLOAT', KEYS[k + 3], ARGV[HEAD + GATE * (i - 1) + 2])
      kept(KEYS[k + 3], starts[i], window)
    end
  end
  if holds(i) then
    redis.call('ZADD', KEYS[k + 4], seconds(now), ARGV[1])
    redis.call('PEXPIRE', KEYS[k + 4], lease)
  end
  local calls, amount, inside = level(i)
  for _, n in ipairs({calls, amount, inside, starts[i], starts[i] + window - now}) do told[#told + 1] = n end
end
for i = 1, draws do
  for _, n in ipairs(balances[i]) do told[#told + 1] = n end
end
return told")
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
    /// `holder, lease_ms`, then per key `generation, sum, add, ttl_ms, is_window, held, number`; generations, sums and what is held come back.
    POST = concat!(accounts!(), r"
local told = {}
for i, key in ipairs(KEYS) do
  local account, g, s, held = posted(key, 2 + 7 * (i - 1), ARGV[1], tonumber(ARGV[2]))
  write(key, account)
  told[3 * i - 2], told[3 * i - 1], told[3 * i] = g, s, held
end
return told")
}
