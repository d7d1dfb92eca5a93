#!lua name=flash
-- Sells from Redis. KEYS: the sale's stock, the buyer's hash, and for sell_and_append the stream of orders.
-- args: key, quantity, limit, order; for the stream account and sale. Returns an Outcome of opponents.h, or the order
-- that was bought with this key before.

local function sell(keys, args)
  local seen = redis.call('HMGET', keys[2], 'bought', args[1])
  if seen[2] then
    return seen[2]
  end
  local bought = (tonumber(seen[1]) or 0) + args[2]
  if bought > tonumber(args[3]) then
    return 2
  end
  if redis.call('DECRBY', keys[1], args[2]) < 0 then
    redis.call('INCRBY', keys[1], args[2])
    return 3
  end
  redis.call('HSET', keys[2], 'bought', bought, args[1], args[4])
  return 0
end

local function sell_and_append(keys, args)
  local outcome = sell(keys, args)
  if outcome == 0 then
    redis.call('XADD', keys[3], '*', 'a', args[5], 's', args[6], 'k', args[1], 'q', args[2], 'o', args[4])
  end
  return outcome
end

redis.register_function('sell', sell)
redis.register_function('sell_and_append', sell_and_append)
