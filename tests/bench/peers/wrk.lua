-- What wrk sends: the same event as tests/bench/load.
wrk.method = "POST"
wrk.path = "/v1/events"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"type":"page_view","user":"u-48151623","session":"01a20b82bee07158b53e932405c0a9b6","path":"/articles/42",'
  .. '"at":"2026-01-31T12:34:56.789Z","ms":17.25,"tags":["web","mobile","beta"],"ok":true,"n":null}'
