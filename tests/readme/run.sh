#!/usr/bin/env bash
# README's "Run" as a new user follows it: scripts/run, the commands of the page in another terminal, Ctrl-C; and once more
# on the same state directory. Needs what scripts/packages lists; takes ports of its own.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
state=$work/.local/state/sluice  # the default below this HOME
unset STATE_DIRECTORY RUNTIME_DIRECTORY XDG_STATE_HOME
daemon=
trap '[[ -z $daemon ]] || kill -KILL "$daemon" 2> /dev/null || true; rm -rf "$work"' EXIT

die() {
  printf 'FAILED: %s\n' "$1" >&2
  cat "$work/log" >&2
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
is_ready() { grep -q ' ready run=' "$work/log"; }
is_gone() { ! kill -0 "$daemon" 2> /dev/null; }

# in_terminal COMMAND: as the reader of the page types it, but with this daemon's ports.
in_terminal() {
  HOME=$work sh -e <<< "$(sed "s/127\.0\.0\.1:7070/$listen/; s/127\.0\.0\.1:7071/$admin/" <<< "$1")" > "$work/answer" 2> "$work/errors" ||
    die "this command failed: $1 $(cat "$work/errors")"
}

[[ $("$here/example" run.sh) == scripts/run ]] || die 'README starts the daemon in another way'
mapfile -t commands < <("$here/example" first_event.sh)
[[ ${#commands[@]} == 3 ]] || die 'README has other commands than these three: an event, the database, the status'

for run in 1 2; do
  # exec: the process that is waited for and signalled below is sluiced itself. Job control gives it back its SIGINT.
  set -m
  HOME=$work CCACHE_DIR=${CCACHE_DIR:-$HOME/.cache/ccache} \
    "$root/scripts/run" --listen 127.0.0.1:0 --admin 127.0.0.1:0 > "$work/out" 2> "$work/log" &
  daemon=$!
  set +m
  until_true 600 is_ready || die 'not ready'
  grep -q 'Send an event: *curl' "$work/log" || die 'does not show how to send an event'
  grep -q "See it arrive: *sqlite3 $state/events.db" "$work/log" || die 'does not show how to see it arrive'
  listen=$(sed -n 's/.* ready run=.* listen=\([^ ]*\) .*/\1/p' "$work/log")
  admin=$(sed -n 's/.* admin=\(127[^ ,]*\).*/\1/p' "$work/log")

  in_terminal "${commands[0]}"
  grep -q '^{"accepted":1,"first":"[-0-9a-f]*-1",' "$work/answer" || die "the event was answered $(cat "$work/answer")"
  until_true 1 rows "$run" || die 'not in SQLite within a second'
  in_terminal "${commands[1]}"
  [[ $(tail -n 1 "$work/answer") == *'|application/json|{"hello":"world"}' ]] || die "the database has $(cat "$work/answer")"
  in_terminal "${commands[2]}"
  grep -q '"phase":"running","ready":true' "$work/answer" || die "the status is $(cat "$work/answer")"

  kill -INT "$daemon"
  until_true 5 is_gone || die 'still there after Ctrl-C'
  code=0
  wait "$daemon" || code=$?
  daemon=
  [[ $code == 0 ]] || die "ended with $code"
  # The report that README shows, but for the time that it took.
  report=$(sed -n 's/^\(stopped reason=drained .* elapsed=\).*/\1/p' "$root/README.md")
  [[ -n $report && $(tail -n 1 "$work/log") == "$report"* ]] || die 'the last line is not the report of README'
done

[[ $(sqlite3 "$state/events.db" 'SELECT count(DISTINCT id) FROM events') == 2 ]] || die 'two runs gave the same id'
echo 'two runs, two events, two ids'
