#!/usr/bin/env bash
# Clients that people have, against the real daemon: curl, ApacheBench, wrk, Python's http.client and Node's fetch, with
# connections that are used again; and what the README shows. Of each: every request was answered 202, and what was accepted
# is in the sink, once. Prints a line a check; exits with 1 if one failed. Takes ports of its own.
#
#   run.sh SLUICED
# shellcheck disable=SC2317  # functions are called by their names
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sluiced=${1:?usage: run.sh SLUICED}
notes=$(mktemp -d)
trap 'rm -rf "$notes"' EXIT
# shellcheck source-path=SCRIPTDIR source=../support/checks.sh
source "$here/../support/checks.sh"
explain() { tail -n 5 "$notes/log"; }

is_ready() { grep -q ' ready run=' "$notes/log"; }
has_come() { (($(wc -l < "$notes/out") >= answered)); }

# serve CLIENT [ARGUMENT..]: the function CLIENT against a daemon of its own, which is $url and $socket; then the books. What
# is left in `answered` is how many events were answered 202; `unanswered`, how many more may have been taken.
serve() {
  answered=0 unanswered=0
  rm -rf "$notes/out" "$notes/state"
  "$sluiced" --listen 127.0.0.1:0 --listen "unix:$notes/socket" --admin none --state-dir "$notes/state" \
    --sink "file:$notes/out" 2> "$notes/log" &
  local daemon=$!
  trap 'kill -KILL "$daemon"; wait "$daemon" || true' EXIT  # of the subshell that a check is
  eventually is_ready
  url=http://$(sed -n 's/.* ready run=.* listen=\([^ ,]*\),.*/\1/p' "$notes/log")/v1/events
  socket=$notes/socket
  "$@"
  eventually has_come  # a stop delivers what is in memory, and leaves the rest for the next start
  kill -TERM "$daemon"
  local code=0
  wait "$daemon" || code=$?
  trap - EXIT
  want 'the exit code' "$code" 0

  local accepted delivered
  accepted=$(tail -n 1 "$notes/log" | sed -n 's/.* accepted=\([0-9]*\) .*/\1/p')
  delivered=$(wc -l < "$notes/out")
  echo "answered=$answered accepted=$accepted delivered=$delivered"
  want 'what is in the sink' "$delivered" "$accepted"
  want 'what is there twice' "$(sed 's/.*"id":"\([^"]*\)".*/\1/' "$notes/out" | sort | uniq -d | head -n 3)" ''
  ((answered > 0 && answered <= accepted && accepted <= answered + unanswered)) || { echo 'the answers say otherwise'; return 1; }
}

json=(-H 'Content-Type: application/json')

# A hundred requests by one connection.
curl_keeps_alive() {
  curl -sS "${json[@]}" -d '{"a":1}' -w '\n%{http_code} %{num_connects}\n' "$url#[1-100]" > "$notes/answers"
  answered=$(grep -c '^202 ' "$notes/answers")
  want 'answered' "$answered" 100
  want 'connections' "$(awk '/^[0-9]+ / { n += $2 } END { print n }' "$notes/answers")" 1
}

# 2 MiB, for which it waits for "100 Continue"; once of known length, once in chunks; over a unix socket.
curl_uploads() {
  seq 100000 | sed 's/.*/{"number":&}/' > "$notes/many.ndjson"
  local how
  for how in '' chunked; do
    curl -sS --unix-socket "$socket" -X POST -T "$notes/many.ndjson" -H 'Content-Type: application/x-ndjson' \
      -H "Transfer-Encoding: $how" -v http://localhost/v1/events > "$notes/answer" 2> "$notes/wire"
    grep -q '^{"accepted":100000,' "$notes/answer"
    grep -q '^< HTTP/1.1 100 Continue' "$notes/wire"
  done
  answered=200000
}

# ApacheBench speaks HTTP/1.0, and keeps a connection only if it is told that it may.
ab_posts() {
  printf '{"a":1}' > "$notes/body"
  # -l: the ids in the answers are of any length.
  ab -q -l "$@" -n 2000 -c 8 -p "$notes/body" -T application/json "$url" > "$notes/ab"
  cat "$notes/ab"
  answered=$(sed -n 's/^Complete requests: *//p' "$notes/ab")
  want 'complete' "$answered" 2000
  want 'failed' "$(sed -n 's/^Failed requests: *//p' "$notes/ab")" 0
  want 'other answers than 2xx' "$(sed -n 's/^Non-2xx responses: *//p' "$notes/ab")" ''
  if [[ $* == -k ]]; then want 'kept alive' "$(sed -n 's/^Keep-Alive requests: *//p' "$notes/ab")" 2000; fi
}

# wrk leaves at its time, with a request a connection (or as many as it sends at once) unanswered.
wrk_posts() {
  local at_once=$1
  wrk -t 1 -c 8 -d 1s -s "$here/post.lua" "$url" -- "$at_once" > "$notes/wrk"
  cat "$notes/wrk"
  want 'wrk, at its end' "$(tail -n 1 "$notes/wrk")" 'answered=* not_2xx=0 errors=0'
  answered=$(sed -n 's/^answered=\([0-9]*\) .*/\1/p' "$notes/wrk")
  unanswered=$((8 * at_once))
}

node_fetches() {
  node "$here/fetch.mjs" "$url"
  answered=1100
}

python_posts() {
  python3 "$here/post.py" "$url"
  answered=1000
}

# readme_sends EXAMPLE EVENTS COMMAND..: the README's program, but for the address.
readme_sends() {
  local example=$notes/$1 port
  port=${url%/v1/*} port=${port##*:}
  readme_example "$1" | sed -E "s/(127\.0\.0\.1(:|\", ))7070/\1$port/" > "$example"
  grep -q "$port" "$example"
  answered=$2
  "${@:3}" "$example"
}

check 'curl: a hundred requests by one connection' serve curl_keeps_alive
check 'curl: 100-continue, of known length and in chunks, by a unix socket' serve curl_uploads
check 'ab: a connection a request' serve ab_posts
check 'ab: keep-alive by HTTP/1.0' serve ab_posts -k
check 'wrk: keep-alive' serve wrk_posts 1
check 'wrk: sixteen requests at once' serve wrk_posts 16
check "Node's fetch: one by one by a few connections, and many at a time" serve node_fetches
check "Python's http.client: a thousand by one connection" serve python_posts
check "the README's way from a shell" serve readme_sends send.sh 2 sh -e
check "the README's way from Python" serve readme_sends send.py 100 python3
check "the README's way from Node" serve readme_sends send.mjs 100 node
((failed == 0))
