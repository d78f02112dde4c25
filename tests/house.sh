#!/usr/bin/env bash
# The check of the house: who may include what, which folders there are, and that each file says what it is for.
#
#   house.sh [--root DIR]   prints each violation as FILE:LINE: what is wrong; exits 0 if there is none, 1 otherwise
#   house.sh --self-test    plants a violation of every rule in a copy of the project, one at a time, and wants each found
set -euo pipefail
export LC_ALL=C

own_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folders='daemon lib tests systemd scripts'  # at the top, besides those that begin with a dot

# The rooms of third-party headers: a pattern of the header, a pattern of the files that may name it. fmt and spdlog may be anywhere.
third_party_rooms() {
  case $1 in
    concurrentqueue/* | *concurrentqueue.h) echo 'lib/queue/*' ;;
    xxhash.h) echo 'lib/journal/format.cc' ;;
    sanitizer/*) echo 'lib/queue/block_memory.cc' ;;  # the compiler's
    emmintrin.h) echo 'lib/json.cc' ;;  # the compiler's, of one processor family
    sqlite3*.h) echo 'lib/sinks/sqlite_connection.cc' ;;
    boost/* | asio*) echo 'daemon/http/*' ;;
    simdjson*) echo 'daemon/@(http|ctl)/*' ;;
    cxxopts*) echo 'daemon/options/*' ;;
    curl/*) echo 'daemon/ctl/http_client.cc' ;;
    systemd/* | csignal | signal.h | sys/signal*.h) echo 'daemon/host/*' ;;
    zlib.h) echo 'daemon/http/inflate.cc' ;;
    zstd*.h) echo 'daemon/http/zstd.cc' ;;
    prometheus/*) echo 'daemon/admin/metrics.cc' ;;
    fmt/* | spdlog/*) echo '*' ;;
    # The operating system's.
    sys/* | net/* | netinet/* | arpa/* | linux/*) echo '*' ;;
    fcntl.h | grp.h | malloc.h | netdb.h | poll.h | pthread.h | sched.h | strings.h | time.h | unistd.h) echo '*' ;;
    # The standard library's.
    */* | *.*) ;;  # nobody's: a new library needs a line here
    *) echo '*' ;;
  esac
}

rooms_in() { find "$1" -mindepth 1 -maxdepth 1 -type d -printf "%f\n"; }

# Which of our own headers a file of the library or the daemon may include, besides the public ones: "room/x.h" by room.
own_rooms() {
  case $1 in
    lib/include/*) ;;
    lib/admission/*) echo admission ;;
    lib/sinks/*) echo sinks ;;
    lib/queue/*) echo queue admission ;;
    lib/workers/*) echo workers queue admission ;;
    lib/journal/*) echo journal queue admission ;;
    lib/tracker/*) rooms_in lib ;;
    lib/*/*) echo 'no rule for this room' ;;
    lib/*) ;;
    daemon/main.cc | daemon/check_config.* | daemon/stop.*) rooms_in daemon ;;
    daemon/sluicectl.cc | daemon/ctl/*) echo ctl host ;;
    daemon/*/*) expr "$1" : 'daemon/\([^/]*\)/' ;;
    daemon/*) ;;
  esac
}

violations=0
complain() {
  printf '%s: %s\n' "$1" "$2"
  violations=$((violations + 1))
}

# What git tracks or would track; outside git, all there is but for the build folder.
files() {
  if [[ -e .git ]] && git ls-files --cached --others --exclude-standard 2> /dev/null; then return; fi
  find . -path ./build -prune -o -path ./.git -prune -o -type f -printf '%P\n'
}

check_folders() {
  local folder
  while read -r folder; do
    [[ $folder == .* || " $folders " == *" $folder "* ]] ||
      complain "$folder/" "a folder at the top that is not of the house (allowed: $folders, and dot-folders)"
  done < <(printf '%s\n' "$@" | sed -n 's,/.*,,p' | sort -u)
}

check_first_comment() {
  local file=$1 wanted first second
  case $file in
    *.cc | *.h) wanted='//' ;;
    scripts/* | *.sh | *.py | */CMakeLists.txt | CMakeLists.txt | *.cmake | *.in | *.default | .ci/* | .clang-tidy) wanted='#' ;;
    *) return 0 ;;  # prose, data, JSON
  esac
  { read -r first || true; read -r second || true; } < "$file"
  if [[ ${first-} == '#!'* ]]; then first=${second-}; fi
  [[ ${first-} == "$wanted "?* ]] || complain "$file:1" 'does not begin with a comment that says what it is for'
}

check_include() {
  local file=$1 where=$2 header=$3 allowed
  if [[ $header == \"../* || $header == \"*/../* ]]; then
    complain "$where" "$header: includes are named from their root, not by ../"
    return
  fi
  [[ $file == lib/* || $file == daemon/* ]] || return 0
  case $header in
    '<'*)
      header=${header:1:-1}
      allowed=$(third_party_rooms "$header")
      # shellcheck disable=SC2053  # what is allowed is a pattern
      if [[ -z $allowed ]]; then
        complain "$where" "<$header>: no room is named for this library"
      elif [[ $file == lib/include/* && ($header == */* || $header == *.*) ]]; then
        complain "$where" "<$header>: public headers include the standard library and each other only"
      elif [[ $file != $allowed ]]; then
        complain "$where" "<$header>: only $allowed may include it"
      fi
      ;;
    *)
      header=${header:1:-1}
      case $header in
        sluice/* | admission/instant.h) return 0 ;;  # the latter is names for tests, and nothing in the product
        */*) ;;
        *) [[ $file != */*/* && -f ${file%/*}/$header ]] && return 0 ;;  # beside main.cc
      esac
      allowed=$(own_rooms "$file")
      [[ " ${allowed//$'\n'/ } " == *" ${header%%/*} "* ]] ||
        complain "$where" "\"$header\": this room may include its own headers${allowed:+ (of: $allowed)} and sluice/ only"
      ;;
  esac
}

check() {
  local all file line header
  mapfile -t all < <(files)
  check_folders "${all[@]}"
  for file in "${all[@]}"; do
    [[ -f $file ]] && check_first_comment "$file"
  done
  while IFS=: read -r file line header; do
    check_include "$file" "$file:$line" "$header"
  done < <(printf '%s\n' "${all[@]}" | grep -E '^(lib|daemon|tests)/.*\.(cc|h)$' | xargs -r grep -HnE '^[[:space:]]*#[[:space:]]*include' |
    sed -E 's/#[[:space:]]*include[[:space:]]*([<"][^>"]*[>"]).*/\1/; s/:[[:space:]]+([<"])/:\1/')
  ((violations == 0))
}

# plant FILE LINE WORDS: with this line at the end of this (perhaps new) file, the check must fail and say WORDS of it.
plant() {
  local file=$1 line=$2 words=$3 said
  mkdir -p "$copy/$(dirname "$file")"
  [[ -e $copy/$file ]] && cp "$copy/$file" "$copy.kept"
  [[ -e $copy/$file || $line == *'nothing about itself'* ]] || printf '// A planted file.\n' > "$copy/$file"
  printf '%s\n' "$line" >> "$copy/$file"
  if said=$("$0" --root "$copy") || [[ $said != "${file%%/*}/"*"$words"* ]]; then
    printf 'not found: "%s" in %s; wanted: %s; the check said: %s\n' "$line" "$file" "$words" "${said:-nothing}"
    missed=$((missed + 1))
  fi
  planted=$((planted + 1))
  rm "$copy/$file"
  if [[ -e $copy.kept ]]; then mv "$copy.kept" "$copy/$file"; else rmdir -p --ignore-fail-on-non-empty "$copy/$(dirname "$file")"; fi
}

self_test() {
  local missed=0 planted=0
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  copy=$scratch/copy
  mkdir "$copy"
  files | tar -c -T - | tar -x -C "$copy"
  "$0" --root "$copy" || { echo 'the project itself breaks the rules: see above'; return 1; }

  plant extra/notes.md 'a folder nobody asked for' 'not of the house'
  plant lib/queue/planted.h 'int nothing_about_itself; // nothing about itself' 'begin with a comment'
  plant scripts/planted 'true # nothing about itself' 'begin with a comment'
  plant tests/unit/planted.cc '#include "../lib/event.h"' 'not by ../'
  plant lib/sinks/planted.cc '#include "sinks/../queue/x.h"' 'not by ../'
  plant lib/workers/planted.cc '#include <concurrentqueue/concurrentqueue.h>' 'only lib/queue/'
  plant lib/sinks/file_planted.cc '#include <sqlite3.h>' 'only lib/sinks/sqlite_connection.cc'
  plant daemon/admin/planted.cc '#include <boost/asio/io_context.hpp>' 'only daemon/http/'
  plant lib/event.cc '  #  include <simdjson.h>' 'only daemon/@(http'
  plant daemon/ctl/planted.cc '#include <boost/beast/http.hpp>' 'only daemon/http/'
  plant daemon/sluicectl.cc '#include "admin/pages.h"' 'this room may include'
  plant daemon/main.cc '#include <cxxopts.hpp>' 'only daemon/options/'
  plant daemon/main.cc '#include <csignal>' 'only daemon/host/'
  plant daemon/http/planted.cc '#include <systemd/sd-daemon.h>' 'only daemon/host/'
  plant daemon/admin/pages.cc '#include <prometheus/registry.h>' 'only daemon/admin/metrics.cc'
  plant daemon/http/planted.cc '#include <zlib.h>' 'only daemon/http/inflate.cc'
  plant daemon/http/inflate.cc '#include <zstd.h>' 'only daemon/http/zstd.cc'
  plant lib/admission/planted.cc '#include <signal.h>' 'only daemon/host/'
  plant lib/sinks/planted.cc '#include <librdkafka/rdkafka.h>' 'no room is named'
  plant lib/admission/planted.cc '#include "queue/planted.h"' 'this room may include'
  plant lib/sinks/planted.cc '#include "workers/planted.h"' 'this room may include'
  plant lib/queue/planted.cc '#include "workers/planted.h"' 'this room may include'
  plant lib/workers/planted.cc '#include "sinks/planted.h"' 'this room may include'
  plant lib/journal/planted.cc '#include "tracker/planted.h"' 'this room may include'
  plant lib/report.cc '#include "queue/planted.h"' 'this room may include'
  plant lib/event.cc '#include "admission/planted.h"' 'this room may include'
  plant lib/event.cc '#include "tracker/planted.h"' 'this room may include'
  plant lib/attic/planted.cc '#include "attic/planted.h"' 'this room may include'
  plant lib/include/sluice/event.h '#include <fmt/format.h>' 'public headers'
  plant lib/include/sluice/event.h '#include <unistd.h>' 'public headers'
  plant lib/include/sluice/event.h '#include "queue/planted.h"' 'this room may include'
  plant daemon/http/planted.cc '#include "host/planted.h"' 'this room may include'
  plant daemon/admin/planted.cc '#include "admission/planted.h"' 'this room may include'
  plant daemon/options/planted.cc '#include "stop.h"' 'this room may include'

  echo "house.sh: $((planted - missed)) of $planted planted violations found"
  ((missed == 0))
}

case ${1-} in
  '') cd "$own_root" && check ;;
  --root) cd "$2" && check ;;
  --self-test) cd "$own_root" && self_test ;;
  *) echo "usage: $0 [--root DIR | --self-test]" >&2; exit 64 ;;
esac
