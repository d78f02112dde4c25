# Shared by scripts/ and the commands in tests/: the root of the project, its packages, the build. Sourced, not run.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
name=$(realpath --relative-to="$root" "$0")  # scripts/run

die() {
  printf '%s: %s\n' "$name" "$1" >&2
  exit 1
}

# need_packages WHO…: installs the missing packages of the lines in scripts/packages that begin with one of these words. Needs
# root only if something is missing.
need_packages() {
  local who package missing=()
  while read -r who package _; do
    [[ " $* " == *" $who "* ]] || continue
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] || missing+=("$package")
  done < "$root/scripts/packages"
  ((${#missing[@]})) || return 0
  ((EUID == 0)) || die "not installed, and only root can do it: apt-get install ${missing[*]}"
  printf '%s: installing %s\n' "$name" "${missing[*]}" >&2
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update >&2 || die "apt-get update failed; missing: ${missing[*]}"
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2 || die "could not install ${missing[*]}"
}

# unpack_packages: unpacks the packages of the `unpack` lines into build/packages/NAME, without root. If one cannot be
# downloaded, prints that; the tests that need it are skipped, by name.
unpack_packages() {
  local who package into
  while read -r who package _; do
    into=$root/build/packages/$package
    [[ $who == unpack && ! -d $into ]] || continue
    printf '%s: unpacking %s\n' "$name" "$package" >&2
    rm -rf "$into.part" && mkdir -p "$into.part"
    if (cd "$into.part" && download "$package" && dpkg -x ./*.deb . && rm ./*.deb); then
      mv "$into.part" "$into"
    else
      printf '%s: %s could not be downloaded\n' "$name" "$package" >&2
    fi
  done < "$root/scripts/packages"
}

# download PACKAGE: its .deb, into the current folder; as root, tries again with new package lists.
download() {
  local apt=(apt-get -q -o DPkg::Lock::Timeout=300 -o APT::Sandbox::User=root)
  "${apt[@]}" download "$1" >&2 && return
  ((EUID == 0)) && "${apt[@]}" update >&2 && "${apt[@]}" download "$1" >&2
}

# build PRESET [TARGET…]: configures the preset and builds all, or only the targets, into build/PRESET.
build() (
  cd "$root"
  local preset=$1 targets=("${@:2}")
  ((${#targets[@]})) || targets=(all)
  cmake --preset "$preset" > /dev/null
  cmake --build --preset "$preset" -j "$(nproc)" --target "${targets[@]}"
)
