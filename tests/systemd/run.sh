#!/usr/bin/env bash
# The service under a real systemd: installs the build into a sandbox (sandbox.sh), starts, loads and stops it there, and prints
# a line a check. Needs root; exits with 77 where it cannot run, 1 if a check failed.
#
#   run.sh BUILD    BUILD: a build directory that holds bin/sluiced, such as build/release
#
# All traffic goes over unix sockets, since the sandbox has the loopback of the machine itself.
# shellcheck disable=SC2317  # functions are called by their names
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:?usage: run.sh BUILD}" && pwd)

skip() {
  echo "skipped: $1"
  exit 77
}
((EUID == 0)) || skip 'a systemd of its own needs root'
unshare --fork --pid --mount --uts --ipc --cgroup true 2> /dev/null || skip 'no namespaces here'

socket=/run/sluiced/intake.sock
base_opts="--listen unix:$socket --admin none"

# --- the sandbox ---------------------------------------------------------------------------------------------------------

case $build in /tmp/* | /run/*) base=/var/tmp ;; *) base=$build ;; esac  # what the sandbox hides cannot hold it
box=$(mktemp -d "$base/sandbox.XXXXXX")
notes=$(mktemp -d)
trap '[[ ! -e $box/init.pid ]] || "$here/sandbox.sh" down "$box"; rm -rf "$box" "$notes"' EXIT
trap 'exit 130' INT TERM

inside() { timeout 60 "$here/sandbox.sh" in "$box" "$@"; }
put() { inside mkdir -p "$(dirname "$1")" && inside tee "$1" > /dev/null; }  # stdin into a file inside

# --- words for the checks ------------------------------------------------------------------------------------------------

# shellcheck source-path=SCRIPTDIR source=../support/checks.sh
source "$here/../support/checks.sh"
explain() { inside journalctl --no-pager -q -u sluiced -n 10 | sed 's/^/journal: /'; }

# configure OPTIONS [TIMEOUT_STOP]: the service, stopped, with an empty state directory.
configure() {
  inside systemctl stop sluiced
  forget_starts
  inside rm -rf /var/lib/private/sluiced
  echo "SLUICED_OPTS=\"$1\"" | put /etc/default/sluiced
  inside rm -rf /run/systemd/system/sluiced.service.d
  if [[ -n ${2-} ]]; then printf '[Service]\nTimeoutStopSec=%s\n' "$2" | put /run/systemd/system/sluiced.service.d/test.conf; fi
  inside systemctl daemon-reload
}
forget_starts() { inside systemctl reset-failed sluiced 2> /dev/null || true; }  # an error means there is nothing to forget
start() {
  inside systemctl start sluiced && property InvocationID > "$notes/invocation"
}
property() { inside systemctl show -P "$1" sluiced; }
state_is() { [[ $(property ActiveState) == "$1" ]]; }

# What this run (since the last start) wrote to the journal.
journal() {
  inside journalctl --sync
  inside journalctl --no-pager -q -o cat "_SYSTEMD_INVOCATION_ID=$(< "$notes/invocation")"
}
report() { journal | grep '^stopped reason=' || { echo 'no report line in the journal'; return 1; }; }
of_report() { report | sed "s/.* $1=\([^ ]*\).*/\1/"; }

# post BODY: prints the answer's status.
post() {
  inside curl -sS --max-time 10 -o /dev/null -w '%{http_code}' --unix-socket "$socket" -H 'Content-Type: application/x-ndjson' \
    --data-binary "$1" http://localhost/v1/events
}
ndjson() { for n in $(seq "$1"); do printf '{"n":%d}\n' "$n"; done; }

# --- the checks ----------------------------------------------------------------------------------------------------------

installs() {
  DESTDIR=$notes/stage cmake --install "$build" --prefix /usr/local
  tar -C "$notes/stage" -c . | inside tar -C / -x --no-overwrite-dir
  inside systemctl daemon-reload
  want ExecStart "$(property ExecStart)" '*/usr/local/bin/sluiced *SLUICED_OPTS*'
  inside test -f /usr/local/share/sluice/sluiced.default
  inside test ! -e /etc/default/sluiced
  inside systemd-analyze verify sluiced.service
}

is_sandboxed() { inside systemd-analyze --no-pager security --threshold=12 sluiced.service | tail -n 1; }

is_ready_when_it_says_so() {
  configure "$base_opts"
  for _ in $(seq 10); do
    forget_starts
    start
    want 'the first answer after READY' "$(post '{"n":1}')" 202
    inside systemctl stop sluiced
  done
}

is_not_ready_without_address() {
  configure "--listen unix:/proc/intake.sock --admin none"
  if start; then
    echo 'started, without an address to listen on'
    return 1
  fi
  want ExecMainCode "$(property ExecMainCode)" 1  # it exited by itself
  want ExecMainStatus "$(property ExecMainStatus)" '@(69|74|78)'
}

# An address that is in use for longer than the five starts a minute that once were all. Each failed start shows its pause.
outlives_a_busy_port() {
  inside systemd-run -q --unit=holder -p RuntimeMaxSec=120 python3 -c '
import socket, time
held = socket.socket(); held.bind(("127.0.0.1", 0)); held.listen()
open("/run/port", "w").write(str(held.getsockname()[1]))
time.sleep(120)'
  eventually inside test -s /run/port
  configure "--listen 127.0.0.1:$(inside cat /run/port) --listen unix:$socket --admin none"
  if start; then
    echo 'started, with its address in use'
    return 1
  fi
  waits() { inside systemctl show -P StatusText sluiced | grep -q "^tried again in $1 s: listen on 127.0.0.1:.*: Address already in use"; }
  eventually waits 1
  eventually waits 2
  eventually waits 4
  eventually waits 8
  inside systemctl stop holder
  eventually state_is active
  property InvocationID > "$notes/invocation"
  want 'the answer' "$(post '{"n":1}')" 202
  # What failed is forgotten: the next to fail is tried again at once.
  want 'descriptors left with systemd' "$(property NFileDescriptorStore)" 0
}

is_over_with_a_wrong_flag() {
  configure "--workers none"
  if start; then return 1; fi
  want ActiveState "$(property ActiveState)" failed
  want ExecMainStatus "$(property ExecMainStatus)" 64
}

# as_nobody [GROUP]: the answer to a user that has nothing to do with the service but, perhaps, a group.
as_nobody() {
  inside setpriv --reuid=65534 --regid="${1-65534}" --clear-groups curl -sS --max-time 10 -o /dev/null -w '%{http_code}' \
    --unix-socket "$socket" -H 'Content-Type: text/plain' --data-binary 1 http://localhost/v1/events
}

lets_users_in_by_socket() {
  configure "$base_opts"
  start
  want 'the answer to another user' "$(as_nobody)" 202
}

lets_a_group_in_by_socket() {
  inside groupadd --system producers
  configure "$base_opts --socket-group producers"
  if start; then
    echo 'started, though its user is not in the group'
    return 1
  fi
  want ExecMainStatus "$(property ExecMainStatus)" 78
  printf '[Service]\nGroup=producers\n' | put /run/systemd/system/sluiced.service.d/test.conf
  inside systemctl daemon-reload
  start
  want 'mode and group of the socket' "$(inside stat -c '%a %G' "$socket")" '660 producers'
  want 'the answer to a user of the group' "$(as_nobody producers)" 202
  if as_nobody; then
    echo 'somebody outside the group was let in'
    return 1
  fi
}

# By TCP it is for reading; the sandbox has the machine's loopback, so the port is any.
has_an_admin_socket() {
  configure "--listen unix:$socket --admin 127.0.0.1:0"
  start
  inside test -S /run/sluiced/admin.sock
  want 'its mode' "$(inside stat -c %a /run/sluiced/admin.sock)" 600
  want 'the status, to root' "$(inside sluicectl status)" 'sluiced * phase=running *'
  want 'what it moves' "$(inside sluicectl dead-letter requeue)" 'requeued=0 left=0'
  if inside setpriv --reuid=65534 --regid=65534 --clear-groups /usr/local/bin/sluicectl dead-letter drop --all; then
    echo 'somebody else moved dead letters'
    return 1
  fi
}

has_seven_workers() {
  configure "$base_opts --workers 7"
  start
  local pid names
  pid=$(property MainPID)
  names=$(inside sh -c "cat /proc/$pid/task/*/comm" | grep '^worker-' | sort | tr '\n' ' ')
  want 'the names of the workers' "$names" 'worker-0 worker-1 worker-2 worker-3 worker-4 worker-5 worker-6 '
}

has_its_own_user() {
  local pid uid
  pid=$(property MainPID)
  uid=$(inside sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$pid/status")
  ((uid >= 61184 && uid <= 65519)) || { echo "uid $uid is not a dynamic user's"; return 1; }
}

reloads() {
  local pid
  pid=$(property MainPID)
  inside systemctl reload sluiced
  want 'the answer after a reload' "$(post '{"n":1}')" 202
  want MainPID "$(property MainPID)" "$pid"
}

# A stop in the middle of 8 producers, two of which send batches of ten. The answers are in $notes/answers.N.
loses_nothing() {
  local n answers=0
  # One slow worker, so that there is something to drain.
  configure "$base_opts --workers 1 --batch-events 4 --queue-events 4000 --overflow reject"
  start
  for n in 1 2 3 4 5 6 7 8; do
    local body='{"n":1}'
    ((n > 6)) && body=$(ndjson 10)
    # What follows # is not sent; it makes curl ask again and again over one connection.
    inside curl -s --fail-early --unix-socket "$socket" -H 'Content-Type: application/x-ndjson' -w '\n' --data-binary "$body" \
      'http://localhost/v1/events#[1-50000]' > "$notes/answers.$n" &
  done
  enough_answers() { (($(cat "$notes"/answers.* | grep -c '"accepted"') > 2000)); }
  eventually enough_answers
  inside systemctl stop sluiced
  wait  # producers end when nobody listens any more

  cat "$notes"/answers.* | sed -n 's/.*"first":"\([^"]*\)-\([0-9]*\)","last":"[^"]*-\([0-9]*\)".*/\1 \2 \3/p' |
    awk '{ for (i = $2; i <= $3; i++) print $1 "-" i }' | sort > "$notes/acknowledged"
  inside cp -r /var/lib/private/sluiced /tmp/stopped  # looked at as a copy: a reader may leave files behind
  inside sqlite3 /tmp/stopped/events.db 'SELECT id FROM events' | sort > "$notes/delivered"
  inside rm -r /tmp/stopped
  answers=$(wc -l < "$notes/acknowledged")
  echo "acknowledged $answers, delivered $(wc -l < "$notes/delivered"); $(report)"
  ((answers > 2000))
  want 'acknowledged twice' "$(uniq -d "$notes/acknowledged" | head -n 3)" ''
  want 'delivered twice' "$(uniq -d "$notes/delivered" | head -n 3)" ''
  want 'acknowledged and not delivered' "$(comm -23 "$notes/acknowledged" "$notes/delivered" | head -n 3)" ''
  want 'delivered, by the report' "$(of_report delivered)" "$(wc -l < "$notes/delivered" | tr -d ' ')"
  want 'accepted, by the report' "$(of_report accepted)" "$(of_report delivered)"
  want Result "$(property Result)" success
}

# systemd takes the priority in front of each line away, so the line begins with its words.
is_in_the_journal() {
  want 'the report' "$(report)" 'stopped reason=drained accepted=* delivered=* dead=0 kept=0 lost=0 replayed=0 elapsed=*s'
  inside journalctl --no-pager -q -o json --output-fields=PRIORITY,MESSAGE "_SYSTEMD_INVOCATION_ID=$(< "$notes/invocation")" |
    grep -v '"MESSAGE":"[^<]' && { echo 'these lines still have their priority in front'; return 1; }
  return 0
}

# Twelve events at half a second each, one at a time: six seconds of drain, three times TimeoutStopSec.
shows_the_drain() {
  configure "$base_opts --workers 1 --batch-events 1 --drain-timeout 20s --sink null:?delay=500ms" 2s
  start
  want 'the answer' "$(post "$(ndjson 12)")" 202
  inside systemctl stop --no-block sluiced
  # status itself answers 3 for a service that is being stopped
  drain_is_shown() { { inside systemctl --no-pager status sluiced || true; } | grep 'Status: "draining'; }
  eventually drain_is_shown
  want ActiveState "$(property ActiveState)" deactivating
}

finishes_a_long_drain() {
  eventually state_is inactive
  want Result "$(property Result)" success
  want 'the report' "$(report)" 'stopped reason=drained accepted=12 delivered=12 *'
  want 'elapsed' "$(of_report elapsed)" '[3-9].*s'  # longer than TimeoutStopSec
}

ends_a_hung_sink() {
  configure "$base_opts --workers 1 --drain-timeout 2s --sink null:?hang=true" 30s
  start
  want 'the answer' "$(post "$(ndjson 5)")" 202
  inside systemctl stop sluiced
  want ActiveState "$(property ActiveState)" inactive
  want Result "$(property Result)" success  # SuccessExitStatus=3: the rest is kept
  want 'the report' "$(report)" 'stopped reason=deadline accepted=5 delivered=0 dead=0 kept=5 lost=0 *'
  want 'elapsed' "$(of_report elapsed)" '2.[01]*s'
  if inside journalctl --no-pager -q -u sluiced | grep -E 'SIGKILL|timed out'; then return 1; fi
}

writes_nowhere_else() {
  local folder
  for folder in /etc /usr/local /var/lib /var/log /srv /home; do
    configure "$base_opts --sink file:$folder/planted.ndjson"
    if start; then
      echo "started, with a sink in $folder"
      return 1
    fi
    want ExecMainCode "$(property ExecMainCode)" 1
    want "ExecMainStatus for $folder" "$(property ExecMainStatus)" '@(74|78)'
    inside test ! -e "$folder/planted.ndjson"
  done
}

has_a_tmp_of_its_own() {
  configure "$base_opts --sink file:/var/tmp/planted.ndjson"
  start
  want 'the answer' "$(post '{"n":1}')" 202
  inside systemctl stop sluiced
  want 'delivered' "$(of_report delivered)" 1
  inside test ! -e /var/tmp/planted.ndjson
}

"$here/sandbox.sh" up "$box"
check 'installed: the binary, the unit with its path, an example of its configuration outside /etc' installs
check 'systemd-analyze finds an exposure of 1.2 at most' is_sandboxed
check 'READY only when a request succeeds: ten starts, the first request of each is taken' is_ready_when_it_says_so
check 'never READY without an address to listen on' is_not_ready_without_address
check 'a busy port: tried again and again, with pauses that grow, until it is free' outlives_a_busy_port
check 'a flag that is wrong ends the service: it is not tried again' is_over_with_a_wrong_flag
check 'its unix socket takes events of other users' lets_users_in_by_socket
check 'with --socket-group and Group= it takes events of that group alone' lets_a_group_in_by_socket
check 'its admin has a socket, which sluicectl finds, and nobody but root and itself' has_an_admin_socket
check 'SLUICED_OPTS="--workers 7" makes seven threads with a name' has_seven_workers
check 'it runs as a user made for it' has_its_own_user
check 'systemctl reload: the same process serves on' reloads
check 'a stop under load: every acknowledged event is in SQLite exactly once' loses_nothing
check 'the journal holds the report line' is_in_the_journal
check 'systemctl status shows the drain' shows_the_drain
check 'a drain longer than TimeoutStopSec finishes' finishes_a_long_drain
check 'a hung sink ends at the deadline, by itself, and what is kept makes it no failure' ends_a_hung_sink
check 'it may not write outside its state directory: refused at start' writes_nowhere_else
check 'its /tmp and /var/tmp are its own' has_a_tmp_of_its_own
((failed == 0)) || { echo "$failed checks failed"; exit 1; }
