#!/usr/bin/env bash
# The rules of the house: which room may include which, which folders exist, that each file begins with its purpose, how
# long a function and a header may be.
#
#   house.sh [--root DIR]            prints each violation as FILE:LINE: what is wrong; exits 0 if there is none, 1 otherwise
#   house.sh --picture [--root DIR]  prints the rooms, highest first, and which rooms each includes; exits 1 if a room
#                                    includes a higher one
#   house.sh --self-test             plants a violation of every rule in a copy of the project, one at a time, and requires
#                                    that each is found; requires that each exception is needed
set -euo pipefail
export LC_ALL=C

own_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folders='daemon lib tests systemd scripts'  # at the top, beside those that begin with a dot

# The rooms from the lowest to the highest. A room includes only rooms before it; so there is no circle. `lib` and `daemon` are
# the files directly in them.
order='lib/text lib/include lib lib/admission lib/queue lib/journal lib/backlog lib/workers lib/sinks lib/sources lib/tracker
  daemon/host daemon/log daemon/flags daemon/options daemon/http daemon/admin daemon/ctl daemon'

longest_function=70
longest_header=120

# What may be longer: its file, the function (`-`: the header), the reason.
exceptions() {
  cat << 'END'
daemon/options/options.cc table one row for each flag, in the order of --help
lib/backlog/committer.h - to be cut
lib/journal/format.h - the page of the file format stands in it, beside the constants that it explains
lib/queue/block.h - to be cut
END
}

# Third-party headers: a pattern of the header, a pattern of the files that may include it.
third_party_rooms() {
  case $1 in
    concurrentqueue/* | *concurrentqueue.h) echo 'lib/queue/*' ;;
    xxhash.h) echo 'lib/journal/format.cc' ;;
    sanitizer/*) echo 'lib/queue/block_memory.cc' ;;  # the compiler's
    emmintrin.h) echo 'lib/text/json_check.cc' ;;  # the compiler's, of one processor family
    sqlite3*.h) echo 'lib/sinks/sqlite_connection.cc' ;;
    boost/beast/*) echo 'daemon/http/request.cc' ;;
    simdjson*) echo 'daemon/@(http|ctl)/*' ;;
    cxxopts*) echo 'daemon/flags/words.cc' ;;
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
    */* | *.*) ;;  # unknown: a new library needs a line above
    *) echo '*' ;;
  esac
}

rooms_in() { find "$1" -mindepth 1 -maxdepth 1 -type d -printf "%f\n"; }

# The rooms whose headers ("room/x.h") a file of the library or the daemon may include, beside lib/text and the public ones.
own_rooms() {
  case $1 in
    lib/include/* | lib/text/*) ;;
    lib/admission/*) echo admission ;;
    lib/sinks/*) echo sinks ;;
    lib/queue/*) echo queue admission ;;
    lib/workers/*) echo workers queue admission ;;
    lib/journal/*) echo journal ;;
    lib/backlog/*) echo backlog journal queue admission ;;
    lib/tracker/*) rooms_in lib ;;
    lib/*/*) echo 'no rule for this room' ;;
    lib/*) ;;
    daemon/sluicectl.cc | daemon/ctl/*) echo ctl host flags ;;
    daemon/options/* | daemon/http/*) expr "$1" : 'daemon/\([^/]*\)/'; echo flags ;;
    daemon/*/*) expr "$1" : 'daemon/\([^/]*\)/' ;;
    daemon/*) rooms_in daemon ;;
  esac
}

violations=0
complain() {
  printf '%s: %s\n' "$1" "$2"
  violations=$((violations + 1))
}

# The files that git tracks or would track; outside git, all but the build folder.
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
  [[ ${first-} == "$wanted "?* ]] || complain "$file:1" 'does not begin with a comment that states its purpose'
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
      # shellcheck disable=SC2053  # $allowed is a pattern
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
        text/*) [[ $file == lib/include/* ]] || return 0 ;;  # the lowest room
        sluice/*) [[ $file == lib/text/* ]] || return 0 ;;
        admission/instant.h) return 0 ;;  # names for tests, and nothing in the product
        */*) ;;
        *) [[ $file != */*/* && -f ${file%/*}/$header ]] && return 0 ;;  # beside main.cc
      esac
      allowed=$(own_rooms "$file")
      [[ " ${allowed//$'\n'/ } " == *" ${header%%/*} "* ]] ||
        complain "$where" "\"$header\": this room may include its own headers${allowed:+ (of: $allowed)} and sluice/ only"
      ;;
  esac
}

# The stop list of daemon/stop.h, a step a line.
stop_list() {
  awk '/^\/\/   [1-9]\. / { if (step) print step; step = substr($0, 6); next }
       /^\/\/      [^ ]/ { if (step) step = step " " substr($0, 9); next }
       { if (step) print step; step = "" }' daemon/stop.h
}

# The pages quote the list word for word; the code quotes each step, and no other.
check_stop_list() {
  local steps step page text file title quoted=0 code
  mapfile -t steps < <(stop_list)
  for page in README.md ARCHITECTURE.md; do
    [[ -f $page ]] || continue
    text=$(tr -d '`*' < "$page" | tr -s ' \n' ' ')
    [[ $text == *' 1. Announce:'* ]] || continue
    quoted=1
    for step in "${steps[@]}"; do
      [[ $text == *" $step "* ]] || complain "$page" "its stop list is not that of daemon/stop.h: $step"
    done
  done
  ((quoted)) || complain README.md 'neither it nor ARCHITECTURE.md has the stop list of daemon/stop.h'
  for file in daemon/stop.cc lib/tracker/drain.cc; do
    while read -r title; do
      printf '%s\n' "${steps[@]}" | grep -qF "$title" || complain "$file" "a step that is not in daemon/stop.h: $title"
    done < <(sed -nE 's,^ *// ([1-9]\. [^:]*:).*,\1,p' "$file")
  done
  code=$(cat daemon/stop.cc lib/tracker/drain.cc)
  for step in "${steps[@]}"; do
    [[ $code == *"// ${step%%:*}:"* ]] || complain daemon/stop.h "no function has this step: $step"
  done
}

# includes FILE…: the #include lines of those of our sources that are among the files, as FILE:LINE:HEADER.
includes() {
  printf '%s\n' "$@" | grep -E '^(lib|daemon|tests)/.*\.(cc|h)$' | xargs -r grep -HnE '^[[:space:]]*#[[:space:]]*include' |
    sed -E 's/#[[:space:]]*include[[:space:]]*([<"][^>"]*[>"]).*/\1/; s/:[[:space:]]+([<"])/:\1/'
}

# arrows DRAW: from the lines of includes on stdin, each include of a higher room as FILE:LINE: what is wrong; with DRAW=1
# also the picture.
arrows() {
  awk -F: -v order="$order" -v draw="$1" '
    # daemon/http of daemon/http/server.cc, daemon of daemon/main.cc
    function room_of(file,  parts) { return split(file, parts, "/") > 2 ? parts[1] "/" parts[2] : parts[1] }
    function target(header, from,  folder) {
      if (header !~ /\//) return from
      folder = substr(header, 1, index(header, "/") - 1)
      if (folder == "sluice") return "lib/include"
      return ("lib/" folder) in place ? "lib/" folder : "daemon/" folder
    }
    BEGIN { count = split(order, rooms, " "); for (i = 1; i <= count; ++i) place[rooms[i]] = i }
    $1 ~ /^(lib|daemon)\// && $3 ~ /^"/ {
      from = room_of($1)
      to = target(substr($3, 2, length($3) - 2), from)
      if (from == to) next
      if (!(from in place) || !(to in place))
        printf "%s:%s: %s is not in the order of rooms\n", $1, $2, from in place ? to : from
      else if (place[to] > place[from])
        printf "%s:%s: %s: an arrow upward, from %s to %s\n", $1, $2, $3, from, to
      else
        arrow[from, to] = 1
    }
    END {
      for (i = count; draw && i >= 1; --i) {
        below = ""
        for (j = i - 1; j >= 1; --j) if ((rooms[i], rooms[j]) in arrow) below = below " " rooms[j]
        if (below != "") printf "%-16s ->%s\n", rooms[i], below
      }
    }'
}

# functions FILE…: FILE LINE LINES NAME of each function. Relies on the layout that clang-format makes: a function ends at the
# first line that begins with a brace at its own indentation.
functions() {
  awk '
    FNR == 1 { text = ""; inside = 0 }
    {
      line = $0
      gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
      sub(/[ \t]*\/\/.*/, "", line)
    }
    inside {
      if (substr(line, 1, length(margin) + 1) == margin "}") {
        print FILENAME, begin, FNR - begin + 1, name
        inside = 0
      }
      next
    }
    line ~ /^[ \t]*$/ || line ~ /^#/ { next }
    {
      if (text == "") { begin = FNR; match(line, /^ */); margin = substr(line, 1, RLENGTH) }
      text = text " " line
      if (line ~ /{$/ && text ~ /\(/ && text !~ /^ *(namespace|extern|class|struct|enum|union) / && text !~ /= *{$/) {
        name = text; sub(/\(.*/, "", name); sub(/ *$/, "", name); sub(/.*[ *&]/, "", name)
        inside = 1
      }
      if (line ~ /[;{}:]$/) text = ""
    }' "$@"
}

# too_long FILE…: FILE LINE LINES NAME of each function and each header (`-`) beyond its limit.
too_long() {
  local sources headers
  mapfile -t sources < <(printf '%s\n' "$@" | grep -E '^(lib|daemon)/.*\.(cc|h)$')
  mapfile -t headers < <(printf '%s\n' "${sources[@]}" | grep '\.h$')
  functions "${sources[@]}" | awk -v most="$longest_function" '$3 > most'
  awk -v most="$longest_header" 'FNR > most { lines[FILENAME] = FNR } END { for (file in lines) print file, 1, lines[file], "-" }' \
    "${headers[@]}"
}

check_lengths() {
  local file line lines name
  while read -r file line lines name; do
    [[ $(exceptions) != *"$file $name "* ]] || continue
    if [[ $name == - ]]; then
      complain "$file:$line" "a header of $lines lines; the limit is $longest_header (exceptions: see house.sh)"
    else
      complain "$file:$line" "$name has $lines lines; the limit is $longest_function (exceptions: see house.sh)"
    fi
  done < <(too_long "$@")
}

# Each exception that nothing needs.
check_exceptions() {
  local all file name long
  mapfile -t all < <(files)
  long=$(too_long "${all[@]}" | awk '{ print $1, $4 }')
  while read -r file name _; do
    grep -qxF -- "$file $name" <<< "$long" || complain tests/house.sh "an exception that nothing needs: $file $name"
  done < <(exceptions)
}

check() {
  local all file line header upward
  mapfile -t all < <(files)
  check_folders "${all[@]}"
  for file in "${all[@]}"; do
    [[ -f $file ]] && check_first_comment "$file"
  done
  while IFS=: read -r file line header; do
    check_include "$file" "$file:$line" "$header"
  done < <(includes "${all[@]}")
  while IFS= read -r upward; do
    printf '%s\n' "$upward"
    violations=$((violations + 1))
  done < <(includes "${all[@]}" | arrows 0)
  check_lengths "${all[@]}"
  check_stop_list
  ((violations == 0))
}

picture() {
  local all drawn
  mapfile -t all < <(files)
  drawn=$(includes "${all[@]}" | arrows 1)
  printf '%s\n' "$drawn"
  ! grep -q '^[^ ]*:[0-9]*: ' <<< "$drawn"
}

# plant [--picture] FILE LINE WORDS: with this line at the end of this (perhaps new) file, the check must fail and its complaint
# must contain WORDS.
plant() {
  local mode=()
  if [[ $1 == --picture ]]; then mode=("$1"); shift; fi
  local file=$1 line=$2 words=$3 said
  mkdir -p "$copy/$(dirname "$file")"
  [[ -e $copy/$file ]] && cp "$copy/$file" "$copy.kept"
  [[ -e $copy/$file || $line == *'nothing about itself'* ]] || printf '// A planted file.\n' > "$copy/$file"
  printf '%s\n' "$line" >> "$copy/$file"
  if said=$("$0" "${mode[@]}" --root "$copy") || [[ $said != *"${file%%/*}/"*"$words"* ]]; then
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
  plant daemon/http/planted.cc '#include <boost/asio/io_context.hpp>' 'no room is named'
  plant lib/event.cc '  #  include <simdjson.h>' 'only daemon/@(http'
  plant daemon/ctl/planted.cc '#include <boost/beast/http.hpp>' 'only daemon/http/request.cc'
  plant daemon/sluicectl.cc '#include "admin/pages.h"' 'this room may include'
  plant daemon/main.cc '#include <cxxopts.hpp>' 'only daemon/flags/words.cc'
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
  plant lib/journal/planted.cc '#include "queue/planted.h"' 'this room may include'
  plant lib/journal/planted.cc '#include "admission/planted.h"' 'this room may include'
  plant lib/journal/planted.cc '#include "backlog/planted.h"' 'this room may include'
  plant lib/backlog/planted.cc '#include "tracker/planted.h"' 'this room may include'
  plant lib/report.cc '#include "queue/planted.h"' 'this room may include'
  plant lib/event.cc '#include "admission/planted.h"' 'this room may include'
  plant lib/event.cc '#include "tracker/planted.h"' 'this room may include'
  plant lib/text/planted.cc '#include "queue/planted.h"' 'this room may include'
  plant lib/text/planted.cc '#include "sluice/event.h"' 'this room may include'
  plant lib/include/sluice/event.h '#include "text/ascii.h"' 'this room may include'
  plant lib/attic/planted.cc '#include "attic/planted.h"' 'this room may include'
  plant lib/include/sluice/event.h '#include <fmt/format.h>' 'public headers'
  plant lib/include/sluice/event.h '#include <unistd.h>' 'public headers'
  plant lib/include/sluice/event.h '#include "queue/planted.h"' 'this room may include'
  plant daemon/http/planted.cc '#include "host/planted.h"' 'this room may include'
  plant daemon/admin/planted.cc '#include "admission/planted.h"' 'this room may include'
  plant daemon/options/planted.cc '#include "stop.h"' 'this room may include'
  plant daemon/stop.cc '// 5. Close the shop: everybody goes home.' 'not in daemon/stop.h'

  plant lib/admission/planted.cc '#include "queue/planted.h"' 'an arrow upward, from lib/admission to lib/queue'
  plant daemon/host/planted.cc '#include "http/planted.h"' 'an arrow upward, from daemon/host to daemon/http'
  plant lib/text/planted.cc '#include "sluice/event.h"' 'an arrow upward, from lib/text to lib/include'
  plant lib/attic/planted.cc '#include "queue/planted.h"' 'not in the order of rooms'
  plant --picture lib/text/planted.cc '#include "admission/planted.h"' 'an arrow upward'
  local long_body
  long_body=$(printf '  ++n;\n%.0s' {1..69})
  plant lib/queue/planted.cc "int long_one(int n) {
$long_body
}" 'long_one has 71 lines'
  plant lib/queue/planted.h "class Long {
  int long_one(int n) {
$long_body
  }
};" 'long_one has 71 lines'
  plant daemon/http/planted.h "$(printf '// A line.\n%.0s' {1..120})" 'a header of 121 lines'
  violations=0
  check_exceptions

  echo "house.sh: $((planted - missed)) of $planted planted violations found"
  ((missed == 0 && violations == 0))
}

case ${1-} in
  '') cd "$own_root" && check ;;
  --root) cd "$2" && check ;;
  --picture) cd "${3-$own_root}" && picture ;;
  --self-test) cd "$own_root" && self_test ;;
  *) echo "usage: $0 [[--picture] [--root DIR] | --self-test]" >&2; exit 64 ;;
esac
