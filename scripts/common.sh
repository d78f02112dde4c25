# What scripts/run and scripts/test share: where the project is, its packages, one build. Sourced, not run.
# shellcheck shell=bash
set -euo pipefail

name=${0##*/}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
  printf 'scripts/%s: %s\n' "$name" "$1" >&2
  exit 1
}

# need_packages WHO..: installs what is missing of the lines in scripts/packages that begin with one of these. Root is needed
# only then.
need_packages() {
  local who package missing=()
  while read -r who package _; do
    [[ " $* " == *" $who "* ]] || continue
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] || missing+=("$package")
  done < "$root/scripts/packages"
  ((${#missing[@]})) || return 0
  ((EUID == 0)) || die "not installed, and only root can do it: apt-get install ${missing[*]}"
  printf 'scripts/%s: installing %s\n' "$name" "${missing[*]}" >&2
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update >&2 || die "apt-get update failed; missing: ${missing[*]}"
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2 || die "could not install ${missing[*]}"
}

# build PRESET [TARGET]: configures it and builds all of it, or only the target, into build/PRESET.
build() (
  cd "$root"
  cmake --preset "$1" > /dev/null
  cmake --build --preset "$1" -j "$(nproc)" --target "${2:-all}"
)
