# What scripts and the commands in tests share: where the project is, its packages, one build. Sourced, not run.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
name=$(realpath --relative-to="$root" "$0")  # scripts/run

die() {
  printf '%s: %s\n' "$name" "$1" >&2
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
  printf '%s: installing %s\n' "$name" "${missing[*]}" >&2
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update >&2 || die "apt-get update failed; missing: ${missing[*]}"
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >&2 || die "could not install ${missing[*]}"
}

# unpack_packages: what scripts/packages has as `unpack`, into build/packages/NAME. Nobody needs to be root for it. What is not
# to be had is said; the tests that want it are skipped, by name.
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
      printf '%s: %s is not to be had\n' "$name" "$package" >&2
    fi
  done < "$root/scripts/packages"
}

# download PACKAGE: its .deb, into this folder; if the lists are missing or old and we may, with new ones.
download() {
  local apt=(apt-get -q -o DPkg::Lock::Timeout=300 -o APT::Sandbox::User=root)
  "${apt[@]}" download "$1" >&2 && return
  ((EUID == 0)) && "${apt[@]}" update >&2 && "${apt[@]}" download "$1" >&2
}

# build PRESET [TARGET…]: configures it and builds all of it, or only the targets, into build/PRESET.
build() (
  cd "$root"
  local preset=$1 targets=("${@:2}")
  ((${#targets[@]})) || targets=(all)
  cmake --preset "$preset" > /dev/null
  cmake --build --preset "$preset" -j "$(nproc)" --target "${targets[@]}"
)
