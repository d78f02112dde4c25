-- For wrk: posts an event, or as many at once as the first argument says; at the end, what became of all of them.
function init(arguments)
  local one = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, '{"a":1}')
  requests = string.rep(one, tonumber(arguments[1]))
end

function request()
  return requests
end

function done(summary)
  local errors = summary.errors
  io.write(string.format("answered=%d not_2xx=%d errors=%d\n", summary.requests, errors.status,
                         errors.connect + errors.read + errors.write + errors.timeout))
end
