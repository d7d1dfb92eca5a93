-- The crowd of bench/flash for wrk: each request is of the next buyer, with his token, his ticket and a new Idempotency-Key.
-- BUYERS and TICKETS name files with lines of ACCOUNT and what he has, both in the same order; SALE is the sale.

local buyers, tickets, number, head = {}, {}, 0, ''

local function read(name, into)
  for line in io.lines(name) do
    into[#into + 1] = line:match(' (.*)')
  end
end

function init()
  read(os.getenv('BUYERS'), buyers)
  read(os.getenv('TICKETS'), tickets)
  head = 'POST ' .. wrk.path .. ' HTTP/1.1\r\nHost: ' .. wrk.headers['Host'] .. '\r\nX-Sale: ' .. os.getenv('SALE') .. '\r\nContent-Type: application/json\r\nAuthorization: Bearer '
end

function request()
  number = number + 1
  local i = (number - 1) % #buyers + 1
  local text = '{"ticket":"' .. tickets[i] .. '","quantity":1}'
  return head .. buyers[i] .. '\r\nIdempotency-Key: ' .. string.format('%036d', number) ..
    '\r\nContent-Length: ' .. #text .. '\r\n\r\n' .. text
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "seconds": %f, "refused": %d, "lost": %d, "p50": %f, "p99": %f}\n', summary.requests,
    summary.duration / 1e6, e.status, e.connect + e.read + e.write + e.timeout, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
