"""What changes a user's hash, as Lua: one script a change, and one key a script, as a Redis Cluster wants it.

Time is the server's. An entry is a field `conn:{connection_id}` whose value is a JSON object with `gateway_id`,
`device_id`, `platform`, `connected_at` and `expires_at`. A connection that was displaced is remembered by a field
`gone:{connection_id}` whose value is the time when it is forgotten. A field of such a name which holds nothing of the
kind is dropped with the next change, and so is one whose end has come. Every script answers how many values it came
across that are none of ours. Redis 5 or newer.
"""

import hashlib
from typing import Final

import attrs

from imgateway.codes import Code
from imgateway.model import LATE_MS

FIELD_PREFIX: Final = "conn:"
GONE_PREFIX: Final = "gone:"
MOST_GONE: Final = 100
"""So many displaced connections of a user are remembered; further ones may come back with their next refresh."""
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

-- The entries that live, newest first; the fields to drop; how many of those are none of ours; `gateway_id`; and until
-- when the displaced connections are remembered.
local function read()
  local live, dead, foreign, pointer, gone = {{}}, {{}}, 0, false, {{}}
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
    elseif string.sub(field, 1, {len(GONE_PREFIX)}) == '{GONE_PREFIX}' then
      local ends = tonumber(text)
      if not is_time(ends, now + {2 * LONGEST_TTL_SECONDS * 1000}) then
        foreign = foreign + 1
        dead[#dead + 1] = field
      elseif ends <= now then
        dead[#dead + 1] = field
      else
        gone[#gone + 1] = ends
      end
    end
  end
  table.sort(live, function(one, other)
    if one.entry.connected_at ~= other.entry.connected_at then
      return one.entry.connected_at > other.entry.connected_at
    end
    return one.field > other.field
  end)
  return live, dead, foreign, pointer, gone
end
"""

_SETTLE: Final = """
local function settle(foreign)
  local live, dead, others, pointer, gone = read()
  for _, field in ipairs(dead) do
    redis.call('HDEL', key, field)
  end
  if #live == 0 and #gone == 0 then
    -- Fields of others, if there are any, stay.
    redis.call('HDEL', key, 'gateway_id')
  else
    local newest, last = live[1] and live[1].entry.gateway_id, 0
    if newest and pointer ~= newest then
      redis.call('HSET', key, 'gateway_id', newest)
    elseif pointer and not newest then
      redis.call('HDEL', key, 'gateway_id')
    end
    -- Gateways may be configured to different times: nobody's entry ends before its own.
    for _, each in ipairs(live) do
      last = math.max(last, each.entry.expires_at)
    end
    for _, ends in ipairs(gone) do
      last = math.max(last, ends)
    end
    redis.call('PEXPIREAT', key, string.format('%.0f', last))
  end
  return foreign + others
end
"""

WRITE: Final = Script(
    _COMMON
    + _SETTLE
    + f"""
-- ARGV: the connection, its JSON object without the end and the closing brace, the time to live in milliseconds, the
-- most connections of the user (0: this one displaces nobody), and 'refuse' where none goes for number's sake.
local foreign, displaced = 0, {{}}
if kind ~= 'hash' and kind ~= 'none' then
  redis.call('DEL', key)
  foreign = 1
end
local field, ends, most = '{FIELD_PREFIX}' .. ARGV[1], now + tonumber(ARGV[3]), tonumber(ARGV[4])
local stays = true

local function leaves(code)
  stays = false
  displaced[#displaced + 1] = {{ARGV[1], cjson.decode(ARGV[2] .. '}}').gateway_id, code}}
end

local function is_there(live)
  for _, each in ipairs(live) do
    if each.field == field then
      return true
    end
  end
end

local function displace(each, gone)
  redis.call('HDEL', key, each.field)
  local id = string.sub(each.field, {len(FIELD_PREFIX) + 1})
  if gone < {MOST_GONE} then
    -- Until its owner, whose time to live may be another, must have tried to write it again.
    redis.call('HSET', key, '{GONE_PREFIX}' .. id, string.format('%.0f', math.max(ends, each.entry.expires_at)))
  end
  displaced[#displaced + 1] = {{id, each.entry.gateway_id, '{Code.REPLACED.value}'}}
end

local function make_room(live, gone)
  local own = cjson.decode(ARGV[2] .. '}}')
  local is_late = now - own.connected_at > {LATE_MS}
  local same, rest, newer = {{}}, {{}}, 0
  for _, each in ipairs(live) do
    local is_same = type(own.device_id) == 'string' and each.entry.device_id == own.device_id
    local is_newer = is_late and each.entry.connected_at > own.connected_at
    if is_same and is_newer then
      return leaves('{Code.REPLACED.value}')
    end
    local list = is_same and same or rest
    list[#list + 1] = each
    newer = newer + (is_newer and 1 or 0)
  end
  local room = most - 1
  if ARGV[5] == 'refuse' then
    if #same == 0 and #rest > room then
      return leaves('{Code.RATE_LIMITED.value}')
    end
    room = #rest
  elseif newer > room then
    room = most
    leaves('{Code.REPLACED.value}')
  end
  for _, each in ipairs(same) do
    displace(each, gone + #displaced)
  end
  for place = room + 1, #rest do
    displace(rest[place], gone + #displaced)
  end
end

if kind == 'hash' then
  if (tonumber(redis.call('HGET', key, '{GONE_PREFIX}' .. ARGV[1]) or '') or 0) > now then
    leaves('{Code.REPLACED.value}')
  elseif most > 0 then
    local live, _, _, _, gone = read()
    if not is_there(live) then
      make_room(live, #gone)
    end
  end
end
if stays then
  redis.call('HSET', key, field, ARGV[2] .. ',"expires_at":' .. string.format('%.0f', ends) .. '}}')
end
foreign = settle(foreign)
if #displaced == 0 then
  return foreign
end
table.insert(displaced, 1, foreign)
return displaced
"""
)
"""Write an entry, or write it again. Where one was displaced, itself included, the answer is a list, and goes on with
each one's connection, gateway and code."""

REMOVE: Final = Script(
    _COMMON
    + _SETTLE
    + """
-- ARGV: the fields. What is no hash holds no entry, and is left.
if kind ~= 'hash' and kind ~= 'none' then
  return 1
end
redis.call('HDEL', key, ARGV[1], ARGV[2])
return settle(0)
"""
)
"""Remove an entry, or what is remembered of it, if it is there."""

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
