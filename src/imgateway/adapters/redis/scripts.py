"""What changes a user's hash, as Lua: one script a change, and one key a script, as a Redis Cluster wants it.

Time is the server's. An entry is a field `conn:{connection_id}` whose value is a JSON object with `gateway_id`,
`device_id`, `platform`, `connected_at` and `expires_at`. A field of that name which holds no entry is dropped with the
next change, and so is an entry whose end has come. Every script answers how many values it came across that are none of
ours. Redis 5 or newer.
"""

import hashlib
from typing import Final

import attrs

FIELD_PREFIX: Final = "conn:"
LONGEST_TTL_SECONDS: Final = 86_400
"""An entry that says it lives longer is none of ours: it would outlive its gateway under the others' refresh."""


@attrs.frozen
class Script:
    """A script and the name by which a server knows it once it has seen it."""

    text: str
    sha: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


_COMMON: Final = f"""
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kind = redis.call('TYPE', key).ok

local function is_text(value)
  return type(value) == 'string' or value == nil or value == cjson.null
end

-- Comparing also turns away what is no number that counts, like NaN, which this JSON allows.
local function is_time(value, last)
  return type(value) == 'number' and value >= 0 and value < last
end

local function is_entry(value)
  return type(value) == 'table' and type(value.gateway_id) == 'string'
    and is_text(value.device_id) and is_text(value.platform)
    and is_time(value.connected_at, 2 ^ 53) and is_time(value.expires_at, now + {2 * LONGEST_TTL_SECONDS * 1000})
end

-- The entries that live, newest first; the fields to drop; how many of those are none of ours; and `gateway_id`.
local function read()
  local live, dead, foreign, pointer = {{}}, {{}}, 0, false
  local all = redis.call('HGETALL', key)
  for place = 1, #all, 2 do
    local field, text = all[place], all[place + 1]
    if field == 'gateway_id' then
      pointer = text
    elseif string.sub(field, 1, {len(FIELD_PREFIX)}) == '{FIELD_PREFIX}' then
      local is_json, entry = pcall(cjson.decode, text)
      if not (is_json and is_entry(entry)) then
        foreign = foreign + 1
        dead[#dead + 1] = field
      elseif entry.expires_at <= now then
        dead[#dead + 1] = field
      else
        live[#live + 1] = {{field = field, entry = entry}}
      end
    end
  end
  table.sort(live, function(one, other)
    if one.entry.connected_at ~= other.entry.connected_at then
      return one.entry.connected_at > other.entry.connected_at
    end
    return one.field > other.field
  end)
  return live, dead, foreign, pointer
end
"""

_SETTLE: Final = """
local function settle(foreign)
  local live, dead, others, pointer = read()
  if #live == 0 then
    redis.call('DEL', key)
  else
    for _, field in ipairs(dead) do
      redis.call('HDEL', key, field)
    end
    local newest, last = live[1].entry.gateway_id, 0
    if pointer ~= newest then
      redis.call('HSET', key, 'gateway_id', newest)
    end
    -- Gateways may be configured to different times: nobody's entry ends before its own.
    for _, each in ipairs(live) do
      last = math.max(last, each.entry.expires_at)
    end
    redis.call('PEXPIREAT', key, string.format('%.0f', last))
  end
  return foreign + others
end
"""

WRITE: Final = Script(
    _COMMON
    + _SETTLE
    + """
-- ARGV: the field, its JSON object without the end and the closing brace, the time to live in milliseconds.
local foreign = 0
if kind ~= 'hash' and kind ~= 'none' then
  redis.call('DEL', key)
  foreign = 1
end
local expires_at = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('HSET', key, ARGV[1], ARGV[2] .. ',"expires_at":' .. expires_at .. '}')
return settle(foreign)
"""
)
"""Write an entry, or write it again."""

REMOVE: Final = Script(
    _COMMON
    + _SETTLE
    + """
-- ARGV: the field. What is no hash holds no entry, and is left.
if kind ~= 'hash' and kind ~= 'none' then
  return 1
end
redis.call('HDEL', key, ARGV[1])
return settle(0)
"""
)
"""Remove an entry, if it is there."""

READ: Final = Script(
    _COMMON
    + """
if kind == 'none' then
  return {0}
elseif kind ~= 'hash' then
  return {1}
end
local function text_or_nothing(value)
  return type(value) == 'string' and value
end
local live, _, foreign = read()
local answer = {foreign}
for _, each in ipairs(live) do
  local entry = each.entry
  answer[#answer + 1] = {
    each.field, entry.gateway_id, text_or_nothing(entry.device_id), text_or_nothing(entry.platform),
    string.format('%.0f', entry.connected_at), string.format('%.0f', entry.expires_at)
  }
end
return answer
"""
)
"""Then each entry that lives, newest first: field, gateway, device, platform, both times. Changes nothing."""
