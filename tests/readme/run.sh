#!/usr/bin/env bash
# README's "Run it", as a new user does it: scripts/run, an event by curl, a look into SQLite, Ctrl-C; and once more on the
# same state directory. Needs what scripts/packages lists; takes a port of its own.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
state=$work/state
daemon=
trap '[[ -z $daemon ]] || kill -KILL "$daemon" 2> /dev/null || true; rm -rf "$work"' EXIT

die() {
  printf 'FAILED: %s\n' "$1" >&2
  cat "$work/said" >&2
  exit 1
}

# until_true SECONDS COMMAND..: tries until it succeeds, every 10 ms.
until_true() {
  local tries=$(($1 * 100))
  shift
  until "$@"; do
    ((tries-- > 0)) || return 1
    sleep 0.01
  done
}
rows() { [[ $(sqlite3 -readonly "$state/events.db" 'SELECT count(*) FROM events' 2> /dev/null) == "$1" ]]; }
is_ready() { grep -q ' ready run=' "$work/said"; }
is_gone() { ! kill -0 "$daemon" 2> /dev/null; }

for run in 1 2; do
  # exec: what is waited for and signalled below is sluiced itself. Job control gives it back its SIGINT.
  set -m
  "$root/scripts/run" --state-dir "$state" --listen 127.0.0.1:0 --admin none > "$work/out" 2> "$work/said" &
  daemon=$!
  set +m
  until_true 600 is_ready || die 'not ready'
  grep -q 'Send an event: *curl' "$work/said" || die 'does not say how to send an event'
  grep -q "See it arrive: *sqlite3 $state/events.db" "$work/said" || die 'does not say how to see it arrive'
  address=$(sed -n 's/.* ready run=.* listen=\([^ ]*\) .*/\1/p' "$work/said")

  status=$(curl -s -o "$work/answer" -w '%{http_code}' -H 'Content-Type: application/json' -d "{\"run\":$run}" \
    "http://$address/v1/events")
  [[ $status == 202 ]] || die "answered $status"
  until_true 1 rows "$run" || die 'not in SQLite within a second'

  kill -INT "$daemon"
  until_true 5 is_gone || die 'still there after Ctrl-C'
  code=0
  wait "$daemon" || code=$?
  daemon=
  [[ $code == 0 ]] || die "ended with $code"
  [[ $(tail -n 1 "$work/said") == 'stopped reason=drained accepted=1 delivered=1 dead=0 kept=0 lost=0 replayed=0 elapsed='* ]] ||
    die 'the last line is no balanced report'
done

[[ $(sqlite3 "$state/events.db" 'SELECT count(DISTINCT id) FROM events') == 2 ]] || die 'the ids of two runs met'
echo 'two runs, two events, two ids'
