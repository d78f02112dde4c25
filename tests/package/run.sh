#!/usr/bin/env bash
# The library as a package: installed, looked at, and built against in the ways that README and libsluice(3) name; static from a finished
# build, shared from a project that has it within. Prints a line a check; ends with 1 if one failed. No network, no root.
#
#   run.sh BUILD VERSION     BUILD: a build directory in which all is built; what this builds is kept there for the next time
# shellcheck disable=SC2317  # functions are called by their names
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: run.sh BUILD VERSION}" && pwd)
version=${2:?usage: run.sh BUILD VERSION}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the installing user has in his environment is not what is tested.
unset DESTDIR PKG_CONFIG_PATH PKG_CONFIG_LIBDIR LD_LIBRARY_PATH CMAKE_PREFIX_PATH

notes=$work
# shellcheck source-path=SCRIPTDIR source=../support/checks.sh
source "$here/../support/checks.sh"

# --- installing ----------------------------------------------------------------------------------------------------------

# listing DIR: every file in it, its mode and what it holds.
listing() { (cd "$1" && find . -mindepth 1 -printf '%P %M %l\n' | sort && find . -type f -exec sha256sum {} + | sort); }

installs_all() {
  cmake --install "$build" --prefix "$static" > /dev/null
  local file missing=0
  for file in bin/sluiced bin/sluicectl lib/libsluice{,-sqlite}.a lib/pkgconfig/sluice{,-sqlite}.pc lib/cmake/sluice/sluice-config.cmake \
    lib/systemd/system/sluiced.service share/sluice/sluiced.default share/doc/sluice/LICENSE \
    share/doc/sluice/{README,ARCHITECTURE,CONTRIBUTING,SECURITY,CHANGELOG}.md \
    $(cd "$root/systemd/man" && for page in *; do echo "share/man/man${page##*.}/$page"; done) \
    $(cd "$root/lib" && echo include/sluice/*.h); do
    [[ -f $static/$file ]] || { echo "missing: $file"; missing=1; }
  done
  local extra
  extra=$(cd "$static" && find . -type f -printf '%P\n' |
    grep -Ev '^(bin/sluice(d|ctl)|include/sluice/[a-z_]+\.h|lib/(libsluice(-sqlite)?\.a|pkgconfig/|cmake/sluice/|systemd/)|share/((doc/)?sluice/|man/man[1-8]/))') || true
  want 'what else is installed' "$extra" ''
  ((missing == 0))
}

installs_twice() {
  local once
  once=$(listing "$static")
  cmake --install "$build" --prefix "$static" > /dev/null
  want 'the second installation' "$(listing "$static")" "$once"
}

# The same below DESTDIR, and nothing anywhere else. The unit names the place in which the program will be.
installs_below_destdir() {
  local prefix=$work/not-here/usr
  DESTDIR=$work/stage cmake --install "$build" --prefix "$prefix" > /dev/null
  [[ ! -e $work/not-here ]] || { echo 'it wrote past DESTDIR'; return 1; }
  want 'what is below DESTDIR' "$(cd "$work/stage$prefix" && find . | sort)" "$(cd "$static" && find . | sort)"
  want ExecStart "$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$work/stage$prefix/lib/systemd/system/sluiced.service")" \
    "$prefix/bin/sluiced"
}

# With the prefixes that the README names, and with the paths in its steps. (tests/systemd starts it.)
unit_is_where_systemd_looks() {
  local unit prefix paths
  unit=$(cd "$static" && find . -name sluiced.service -printf '%h')
  paths=$(systemd-analyze --system unit-paths)
  for prefix in /usr /usr/local; do
    grep -qx "$prefix/${unit#./}" <<< "$paths" || { echo "$prefix/$unit is none of: $paths"; return 1; }
  done
  readme_example service > "$work/steps"
  grep -q -- '--install build/release --prefix /usr ' "$work/steps"
  [[ -f $static/$(sed -n 's,^cp /usr/\([^ ]*\) /etc/default/sluiced$,\1,p' "$work/steps") ]]
}

# --- the version ---------------------------------------------------------------------------------------------------------

# One place to change it; CHANGELOG has a heading for it.
version_is_everywhere() {
  want 'sluiced --version' "$("$static/bin/sluiced" --version)" "sluiced $version"
  want 'sluicectl --version' "$("$static/bin/sluicectl" --version)" "sluicectl $version"
  want 'pkg-config --modversion' "$(PKG_CONFIG_PATH=$static/lib/pkgconfig pkg-config --modversion sluice)" "$version"
  grep -q "^## $version" "$root/CHANGELOG.md" || { echo 'CHANGELOG.md does not know it'; return 1; }
  local where
  where=$(grep -rlFw "$version" --include=CMakeLists.txt --include='*.in' --include='*.cc' --include='*.h' --include='*.cmake' \
    "$root"/{CMakeLists.txt,lib,daemon,systemd} || true)
  want 'where it is written' "$where" "$root/CMakeLists.txt"
}

# --- headers -------------------------------------------------------------------------------------------------------------

compile=(g++ -std=c++20 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)

# Each alone. What it reads is itself, its neighbours or the standard library's.
headers_stand_alone() {
  echo '#include <bits/stdc++.h>' | "${compile[@]}" -x c++ -M -MT x - | tr -s ' \\\n' '\n' | sort -u > "$work/standard"
  local header
  for header in "$static"/include/sluice/*.h; do
    echo "#include <sluice/$(basename "$header")>" > "$work/alone.cc"
    "${compile[@]}" -I "$static/include" -fsyntax-only -MD -MF "$work/made" -MT x "$work/alone.cc"
    tr -s ' \\\n' '\n' < "$work/made" | sort -u |
      grep -Ev "^($static/include/sluice/[a-z_]+\.h|$work/alone\.cc)\$" > "$work/read"
    want "what $(basename "$header") reads of others" "$(comm -23 "$work/read" "$work/standard")" ''
  done
}

headers_name_nobody() {
  ! grep -rniE 'fmt|spdlog|boost|asio|moodycamel|concurrentqueue|sqlite3|simdjson|xxh|libsystemd|cxxopts|prometheus' \
    "$static/include"
}

# --- symbols -------------------------------------------------------------------------------------------------------------

# Names without arguments, from demangled symbols on stdin: sluice::Tracker::track.
names() { sed -E 's/^(vtable|typeinfo name|typeinfo) for //; s/[[(].*//' | sort -u; }

# not_in_headers: of the names on stdin, those that no header declares, and what a header only mentions.
not_in_headers() {
  local name part
  while read -r name; do
    [[ $name == sluice::?* && ! $name =~ Engine|Impl ]] || { echo "$name"; continue; }
    for part in $(tr -s ':' ' ' <<< "${name#sluice::}"); do
      grep -rqw -- "${part#\~}" "$root/lib/include" || { echo "$name"; break; }
    done
  done
}

shared_shows_the_api_only() {
  nm -DC --defined-only "$1" | sed 's/^[0-9a-f]* . //' > "$work/symbols"
  grep -q '^sluice::Tracker::shutdown(' "$work/symbols"
  want 'shown, and in no header' "$(names < "$work/symbols" | not_in_headers)" ''
}

# Our own programs are built against it as well (BUILD_SHARED_LIBS): all that they ask of the library must be there, but for
# lib/text, of which they get a copy of their own.
shared_has_what_our_programs_ask_for() {
  {
    nm -DC --defined-only "$1"
    nm -C --defined-only "$build"/lib/CMakeFiles/sluice.dir/text/*.o
  } | sed 's/^[0-9a-f]* . //' | sort -u > "$work/symbols"
  nm -uC "$build"/daemon/*.a "$build"/daemon/CMakeFiles/sluice*.dir/*.o 2> /dev/null |
    sed -nE 's/^ *[Uw] ((vtable for |typeinfo for )?sluice::.*)/\1/p' | sort -u > "$work/asked"
  grep -q '^sluice::Tracker::shutdown(' "$work/asked"
  want 'asked for, and not there' "$(comm -13 "$work/symbols" "$work/asked")" ''
}

# A program that links it must not collide with names of ours outside our namespace; a library that links it shows no more of
# it than ours would.
static_keeps_to_itself() {
  local archives=("$static/lib/libsluice.a" "$static/lib/libsluice-sqlite.a")
  nm -C --defined-only "${archives[@]}" 2> /dev/null | sed -n 's/^[0-9a-f]* [BCDGRST] //p' > "$work/strong"
  grep -q '^sluice::Tracker::shutdown(' "$work/strong"
  want 'names outside sluice::' "$(names < "$work/strong" | grep -Ev '^(non-virtual thunk to )?sluice::' || true)" ''
  readelf -sW "${archives[@]}" | awk '$5 == "GLOBAL" && $6 == "DEFAULT" && $7 != "UND" { print $8 }' |
    c++filt > "$work/symbols"
  want 'visible, and in no header' "$(names < "$work/symbols" | not_in_headers)" ''
}

is_versioned() {
  want SONAME "$(readelf -d "$1/lib/libsluice.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" "libsluice.so.${version%.*}"
  want 'libsluice.so' "$(readlink -f "$1/lib/libsluice.so")" "$(readlink -f "$1")/lib/libsluice.so.$version"
}

# --- building against it -------------------------------------------------------------------------------------------------

# runs PROGRAM [REPORTS]: in an empty directory of its own; it prints so many reports (3).
runs() {
  local dir
  dir=$(mktemp -d "$work/run.XXXXXX")
  local said
  said=$("$1" "$dir")
  want 'its first line' "${said%%$'\n'*}" "sluice $version"
  [[ $(grep -c "^stopped reason=drained accepted=1000 delivered=1000 dead=0 kept=0 lost=0 replayed=0 " <<< "$said") == "${2:-3}" ]] ||
    { echo "$said"; return 1; }
}

no_others=(-DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON -DCMAKE_DISABLE_FIND_PACKAGE_SQLite3=ON)

# by_find_package PREFIX: an empty project and the README's lines, where neither fmt nor SQLite can be found.
by_find_package() {
  local prefix=$1 app
  app=$(mktemp -d "$work/app.XXXXXX")
  cp "$here/consumer.cc" "$app/app.cc"
  {
    echo 'cmake_minimum_required(VERSION 3.25)'
    echo 'project(app LANGUAGES CXX)'
    echo 'add_executable(app app.cc)'
    readme_example find_package
    echo "if(NOT sluice_VERSION STREQUAL \"$version\")"
    # shellcheck disable=SC2016  # CMake's own
    echo '  message(FATAL_ERROR "the package says it is ${sluice_VERSION}")'
    echo 'endif()'
  } > "$app/CMakeLists.txt"
  cmake -S "$app" -B "$app/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" "${no_others[@]}"
  grep -q "^sluice_DIR:PATH=$prefix/" "$app/build/CMakeCache.txt"
  cmake --build "$app/build"
  runs "$app/build/app"
}

# sqlite_by_find_package PREFIX: with the component.
sqlite_by_find_package() {
  local app
  app=$(mktemp -d "$work/app.XXXXXX")
  printf '%s\n' 'cmake_minimum_required(VERSION 3.25)' 'project(app LANGUAGES CXX)' \
    'find_package(sluice 0.1 REQUIRED COMPONENTS sqlite)' "add_executable(app $here/sqlite_consumer.cc)" \
    'target_link_libraries(app PRIVATE sluice::sqlite)' > "$app/CMakeLists.txt"
  cmake -S "$app" -B "$app/build" -G Ninja -DCMAKE_PREFIX_PATH="$1"
  cmake --build "$app/build"
  runs "$app/build/app" 1
}

refuses_what_was_made_for_another_version() {
  mkdir "$work/last"
  printf '%s\n' 'cmake_minimum_required(VERSION 3.25)' 'project(last LANGUAGES CXX)' \
    'find_package(sluice 0.0 REQUIRED)' > "$work/last/CMakeLists.txt"
  ! cmake -S "$work/last" -B "$work/last/build" -G Ninja -DCMAKE_PREFIX_PATH="$static"
}

by_pkg_config() {
  local prefix=$1 app
  app=$(mktemp -d "$work/app.XXXXXX")
  cp "$here/consumer.cc" "$app/app.cc"
  readme_example pkg-config > "$app/build.sh"
  (cd "$app" && PKG_CONFIG_PATH=$prefix/lib/pkgconfig sh -e build.sh)
  LD_LIBRARY_PATH=$prefix/lib runs "$app/app"
}

sqlite_by_pkg_config() {
  local prefix=$1 app flags
  app=$(mktemp -d "$work/app.XXXXXX")
  flags=$(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags --libs sluice-sqlite)
  # shellcheck disable=SC2086  # several words
  g++ -std=c++20 "$here/sqlite_consumer.cc" -o "$app/app" $flags
  LD_LIBRARY_PATH=$prefix/lib runs "$app/app" 1
}

# Neither named for the linker nor loaded.
static_needs_nothing() {
  local libs
  libs=$(PKG_CONFIG_PATH=$1/lib/pkgconfig pkg-config --libs-only-l --libs-only-other sluice)
  want 'what pkg-config links' "$(xargs <<< "$libs")" '-lsluice -pthread'
  g++ -std=c++20 -I "$1/include" "$here/consumer.cc" -o "$work/alone" "$1/lib/libsluice.a" -pthread
  want 'what the program loads' "$(ldd "$work/alone" | grep -E 'fmt|sqlite' || true)" ''
  runs "$work/alone"
}

# What a shared library needs is its own affair.
shared_needs_nothing() {
  by_find_package "$shared"
  want 'what pkg-config requires' "$(PKG_CONFIG_PATH=$shared/lib/pkgconfig pkg-config --print-requires sluice)" ''
}

# A project that has the sources within, as the README says, and wants them shared and installed beside its own.
embeds() {
  local app=$build/package.embeds
  mkdir -p "$app"
  cp -u "$here/consumer.cc" "$app/app.cc"
  {
    echo 'cmake_minimum_required(VERSION 3.25)'
    echo 'project(app LANGUAGES CXX)'
    echo 'include(FetchContent)'
    echo "FetchContent_Declare(sluice SOURCE_DIR \"$root\")"
    echo 'FetchContent_MakeAvailable(sluice)'
    echo 'add_executable(app app.cc)'
    echo 'target_link_libraries(app PRIVATE sluice::sluice)'
    echo 'if(TARGET sluiced OR TARGET unit_tests)'
    echo '  message(FATAL_ERROR "more than the library is built")'
    echo 'endif()'
  } > "$app/CMakeLists.txt"
  cmake --fresh -S "$app" -B "$app/build" -G Ninja -DCMAKE_BUILD_TYPE=None -DBUILD_SHARED_LIBS=ON -DSLUICE_INSTALL=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON -DCMAKE_DISABLE_FIND_PACKAGE_spdlog=ON
  cmake --build "$app/build" -j "$(nproc)"
  runs "$app/build/app"
  cmake --install "$app/build" --prefix "$shared"
}

# -------------------------------------------------------------------------------------------------------------------------

static=$work/static
shared=$work/shared
check 'cmake --install brings programs, unit, library, headers and documents, and nothing else' installs_all
check 'a second one changes nothing' installs_twice
check 'DESTDIR is respected' installs_below_destdir
check "the README's steps put the unit where systemd looks" unit_is_where_systemd_looks
check 'the version is the same everywhere, and written in one place' version_is_everywhere
check 'each public header compiles alone, with nothing but the standard library' headers_stand_alone
check 'no public header shows a third-party name' headers_name_nobody
check 'the static library shows its API only' static_keeps_to_itself
check 'who was written for another minor version does not get this one' refuses_what_was_made_for_another_version
mv "$static" "$work/moved"  # it goes where it is unpacked, not only where it was installed
check 'find_package(sluice) and a program, static' by_find_package "$work/moved"
check 'pkg-config and a program, static' by_pkg_config "$work/moved"
check 'a program without SQLite and fmt, static' static_needs_nothing "$work/moved"
check 'find_package(sluice COMPONENTS sqlite) and a program, static' sqlite_by_find_package "$work/moved"
check 'pkg-config sluice-sqlite and a program, static' sqlite_by_pkg_config "$work/moved"
check 'a project with the sources within, shared' embeds
check 'the shared library shows its API only' shared_shows_the_api_only "$shared/lib/libsluice.so"
check 'the shared library has all that our programs ask for' shared_has_what_our_programs_ask_for "$shared/lib/libsluice.so"
check 'it has a SONAME' is_versioned "$shared"
check 'find_package(sluice) and a program, shared' shared_needs_nothing
check 'pkg-config and a program, shared' by_pkg_config "$shared"
check 'find_package(sluice COMPONENTS sqlite) and a program, shared' sqlite_by_find_package "$shared"
check 'pkg-config sluice-sqlite and a program, shared' sqlite_by_pkg_config "$shared"
((failed == 0))
