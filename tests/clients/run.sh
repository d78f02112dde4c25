#!/usr/bin/env bash
# Clients that people have, against the real daemon: curl, ApacheBench, wrk, Python's http.client, Node's fetch and the
# CloudEvents SDK, with connections that are used again; what the programs gzip and zstd make; and what README and the manual page show. Of each: every request was answered 202, and what was accepted
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

is_ready() { grep -q " ready run=.*pid=" "$notes/log" 2> /dev/null; }
has_come() { (($(wc -l < "$notes/out") >= answered)); }

flags=()  # more of them for the daemon
# serve CLIENT [ARGUMENT..]: the function CLIENT against a daemon of its own, which is $url and $socket; then the books. What
# is left in `answered` is how many events were answered 202; `unanswered`, how many more may have been taken.
serve() {
  answered=0 unanswered=0
  rm -rf "$notes/out" "$notes/state" "$notes/log"  # or the last one's log would say that this one is ready
  "$sluiced" --listen 127.0.0.1:0 --listen "unix:$notes/socket" --admin none --state-dir "$notes/state" \
    --sink "file:$notes/out" "${flags[@]}" 2> "$notes/log" &
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

# The SDK as one file that needs no other package: pinned, and checked before it is used. Kept in build/clients.
cloud_events_sdk() {
  local into=$here/../../build/clients version=8.0.3 part
  sdk=$into/cloudevents-$version.js
  [[ ! -e $sdk ]] || return 0
  mkdir -p "$into"
  part=$(mktemp -d "$into/part.XXXXXX")
  (cd "$part"
    if command -v npm > /dev/null; then
      npm pack --silent "cloudevents@$version" > /dev/null
    else
      curl -fsS --retry 3 -O "https://registry.npmjs.org/cloudevents/-/cloudevents-$version.tgz"
    fi
    sha512sum --check --quiet <<< "\
c138b128d8df2deca3f47429112bcb5553b8c6076a76f5f87537a0d48676482ba7bbf7f157309a99c2199de1328f7d55f3662894508ac1579292bf3345eb01d1  cloudevents-$version.tgz"
    tar -xzf "cloudevents-$version.tgz" package/bundles/cloudevents.js)
  mv "$part/package/bundles/cloudevents.js" "$sdk"
  rm -rf "$part"
}

cloud_events_by_sdk() {
  cloud_events_sdk
  answered=$(node "$here/sdk.mjs" "$sdk" "$url" "$notes/out")
}

# status_of FILE CODING: what the file's bytes are answered with, as lines; the answer itself is $notes/answer.
status_of() {
  curl -sS -H 'Content-Type: application/x-ndjson' -H "Content-Encoding: $2" --data-binary "@$1" -o "$notes/answer" \
    -w '%{http_code}' "$url"
}

# What gzip and zstd write is what they were given: at each level, from files and from pipes, one behind the other; in chunks.
compressed_by_programs() {
  seq 30000 | sed 's/.*/{"number":&}/' > "$notes/many"
  echo '"the last"' > "$notes/last"
  gzip -1 < "$notes/many" > "$notes/fast.gz"
  gzip -9 -k -f "$notes/many" "$notes/last"
  cat "$notes/many.gz" "$notes/last.gz" > "$notes/both.gz"
  zstd -q -f "$notes/many" "$notes/last"
  zstd -q -c < "$notes/many" > "$notes/piped.zst"
  zstd -q -c -19 < "$notes/many" > "$notes/small.zst"  # as a stream: a window of 8 MiB
  cat "$notes/piped.zst" "$notes/last.zst" "$notes/many.zst" > "$notes/three.zst"
  local file
  for file in many.gz fast.gz both.gz; do
    want "$file" "$(status_of "$notes/$file" gzip)" 202
    answered=$((answered + $(sed 's/[^0-9]*\([0-9]*\).*/\1/' "$notes/answer")))
  done
  for file in many.zst piped.zst small.zst three.zst; do
    want "$file" "$(status_of "$notes/$file" zstd)" 202
    answered=$((answered + $(sed 's/[^0-9]*\([0-9]*\).*/\1/' "$notes/answer")))
  done
  want 'of all files' "$answered" $((8 * 30000 + 2))
  curl -sS -X POST -T "$notes/both.gz" -H 'Content-Type: application/jsonl' -H 'Content-Encoding: gzip' \
    -H 'Transfer-Encoding: chunked' "$url" | grep '^{"accepted":30001,'
  answered=$((answered + 30001))
  zcat "$notes/both.gz" | cmp - <(cat "$notes/many" "$notes/last")
}

# What cannot be taken is not, and the daemon is no larger for it.
compressed_wrongly() {
  seq 30000 | gzip > "$notes/whole.gz"
  head -c -1 "$notes/whole.gz" > "$notes/cut.gz"
  want 'cut short' "$(status_of "$notes/cut.gz" gzip)" 400
  seq 30000 > "$notes/plain"
  want 'not compressed' "$(status_of "$notes/plain" gzip)" 400
  want 'of the other kind' "$(status_of "$notes/whole.gz" zstd)" 400
  zstd -q -c --long=24 < "$notes/plain" > "$notes/wide.zst"
  want 'a window of 16 MiB' "$(status_of "$notes/wide.zst" zstd)" 400
  head -c 1G /dev/zero | zstd -q -c -1 > "$notes/bomb.zst"
  want 'a gigabyte in a few kilobytes' "$(status_of "$notes/bomb.zst" zstd)" 413
  head -c 256M /dev/zero | gzip -9 > "$notes/bomb.gz"
  want 'likewise by gzip' "$(status_of "$notes/bomb.gz" gzip)" 413
  want 'brotli' "$(status_of "$notes/plain" br)" 415
  want 'and after all that' "$(status_of "$notes/whole.gz" gzip)" 202
  answered=30000
}

# readme_sends EXAMPLE EVENTS COMMAND..: the page's program, but for the address.
readme_sends() {
  local example=$notes/$1 port
  port=${url%/v1/*} port=${port##*:}
  readme_example "$1" | sed -E "s/(127\.0\.0\.1(:|\", ))7070/\1$port/" > "$example"
  grep -q "$port" "$example"
  answered=$2
  "${@:3}" "$example"
}

# Each sends, is silent for longer than the daemon lets a connection be, and sends again.
readme_sends_again() {
  local port
  port=${url%/v1/*} port=${port##*:}
  readme_example send.py | sed '/^send(/,$d' > "$notes/again.py"
  cat >> "$notes/again.py" <<< "
connection = http.client.HTTPConnection('127.0.0.1', $port)
send(connection, [{'hello': 1}])
first = connection.sock
send(connection, [{'hello': 2}])
assert connection.sock is first, 'the connection was not used again'
time.sleep(3)
send(connection, [{'hello': 3}])"
  python3 "$notes/again.py"
  readme_example send.mjs | sed -E "/^await send/,\$d; s/127\.0\.0\.1:7070/127.0.0.1:$port/" > "$notes/again.mjs"
  cat >> "$notes/again.mjs" <<< "
await send([{ hello: 4 }]);
await new Promise((resolve) => setTimeout(resolve, 3000));
await send([{ hello: 5 }]);"
  node "$notes/again.mjs"
  answered=5
}

check 'curl: a hundred requests by one connection' serve curl_keeps_alive
check 'curl: 100-continue, of known length and in chunks, by a unix socket' serve curl_uploads
check 'ab: a connection a request' serve ab_posts
check 'ab: keep-alive by HTTP/1.0' serve ab_posts -k
check 'wrk: keep-alive' serve wrk_posts 1
check 'wrk: sixteen requests at once' serve wrk_posts 16
check "Node's fetch: one by one by a few connections, and many at a time" serve node_fetches
check 'the CloudEvents SDK for JavaScript, in each mode' serve cloud_events_by_sdk
check 'gzip and zstd: what they write is taken' serve compressed_by_programs
check 'gzip and zstd: what is damaged or too large is refused' serve compressed_wrongly
check "Python's http.client: a thousand by one connection" serve python_posts
check "README's example for a shell" serve readme_sends send.sh 2 sh -e
check "sluiced(8)'s example for Python" serve readme_sends send.py 100 python3
check "sluiced(8)'s example for Node" serve readme_sends send.mjs 100 node
check "sluiced(8)'s example of CloudEvents" serve readme_sends cloud_events.sh 4 sh -e
flags=(--idle-timeout 2s)
check "the examples survive the idle time-out" serve readme_sends_again
((failed == 0))
