-- wrk -s post.lua URL -- PHOTOGRAPH TYPE: posts the photograph as the body, asks for an answer of that type, and ends
-- with one line of JSON: answers, errors, seconds, and the latency in microseconds at several percentiles.

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  wrk.headers["Content-Type"] = "image/jpeg"
  wrk.headers["Accept"] = args[2]
  file:close()
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '{"answers": %d, "failed": %d, "seconds": %f, "p50": %f, "p90": %f, "p99": %f, "bytes": %d}\n',
    summary.requests, failed, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), summary.bytes))
end
