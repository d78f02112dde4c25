# Words for tests that are shell scripts: checks that print a line each, waiting, and what the README shows. Sourced, not run.
# Needs `notes`, a directory for what is said; ends nothing by itself: the script looks at `failed`.
# shellcheck shell=bash

failed=0
# check SENTENCE COMMAND..: runs it and says whether the sentence is true. Where it is not, `explain` may say more.
check() {
  local sentence=$1 status
  shift
  set +e
  (set -e; "$@") > "${notes:?}/said" 2>&1
  status=$?
  set -e
  if ((status == 0)); then
    echo "ok      $sentence"
  else
    echo "FAILED  $sentence"
    sed 's/^/        /' "$notes/said"
    explain | sed 's/^/        /'
    failed=$((failed + 1))
  fi
}
explain() { :; }

# want NAME ACTUAL WANTED: fails unless it is that, or matches it as a pattern.
want() {
  # shellcheck disable=SC2053  # a pattern
  [[ $2 == "$3" || $2 == $3 ]] || { echo "$1 is '$2', wanted '$3'"; return 1; }
}

# eventually COMMAND..: waits until it succeeds, 20 seconds at most.
eventually() {
  local deadline=$((SECONDS + 20))
  until "$@"; do
    ((SECONDS < deadline)) || { echo "waited in vain for: $*"; return 1; }
    sleep 0.05
  done
}

# readme_example NAME: an example of README or of a manual page, as a reader copies it.
readme_example() { "$(dirname "${BASH_SOURCE[0]}")/../readme/example" "$1"; }
