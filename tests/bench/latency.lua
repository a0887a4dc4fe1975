done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("latency p50 %d us, p99 %d us, p99.9 %d us, %.0f requests/s, %d errors\n",
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        summary.requests / summary.duration * 1e6,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
