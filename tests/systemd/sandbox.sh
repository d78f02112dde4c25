#!/bin/bash
# A real systemd as PID 1 of private namespaces, over a throw-away overlay of this machine's own root (needs root).
# Nothing that happens inside reaches the host, and killing its init takes every process and mount with it.
#
#   sandbox.sh up DIR              boot (about half a second); DIR must not be below /tmp or /run of the inside
#   sandbox.sh in DIR CMD [ARG..]  run a command inside: systemctl, journalctl, curl, install -D ...
#   sandbox.sh down DIR            end it
#
# Seen to work inside: Type=notify, STATUS=, EXTEND_TIMEOUT_USEC past TimeoutStopSec, socket activation, WatchdogSec,
# DynamicUser, StateDirectory, RuntimeDirectory, ProtectSystem=strict, PrivateTmp, NoNewPrivileges, SystemCallFilter,
# RestrictAddressFamilies, MemoryDenyWriteExecute, KillMode=mixed, SuccessExitStatus, journalctl, systemd-analyze security.
# Not inside: resource controllers (MemoryMax= and the like are accepted and have no effect).
# The network is the host's own loopback. The inside sees the host's files as they were, through the overlay: what the
# host changes after boot may or may not show, so copy in what a test needs with `in DIR tee FILE`.
set -eu

inner() {  # runs as PID 1 of the new namespaces, then becomes systemd
  local dir=$1 root=$1/mnt/root
  mount --make-rprivate /
  mount -t tmpfs -o mode=755 tmpfs "$dir/mnt"
  mkdir "$dir/mnt/up" "$dir/mnt/work" "$root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/mnt/up,workdir=$dir/mnt/work" "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
  done
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  : > "$root/etc/fstab"
  : > "$root/etc/machine-id"
  hostname sandbox
  cd "$root"
  mkdir -p .old
  pivot_root . .old
  umount -l /.old
  exec env -i container=sandbox PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no
}

up() {
  local dir=$1 init='' state=''
  mkdir -p "$dir/mnt"
  unshare --fork --pid --mount --uts --ipc --cgroup --kill-child -- \
    bash "$0" inner "$dir" > "$dir/console.log" 2>&1 < /dev/null &
  local parent=$!
  for _ in $(seq 200); do
    init=$(tr -d ' ' < "/proc/$parent/task/$parent/children" 2>/dev/null || true)
    [ -n "$init" ] && state=$(nsenter -t "$init" -a systemctl is-system-running 2>/dev/null || true)
    case "$state" in running|degraded) echo "$init" > "$dir/init.pid"; return 0 ;; esac
    sleep 0.05
  done
  echo "systemd did not come up (state: ${state:-none}); its console:" >&2
  tail -20 "$dir/console.log" >&2
  [ -n "$init" ] && kill -KILL "$init"
  return 1
}

verb=$1 dir=$2
shift 2
case "$verb" in
  inner) inner "$dir" ;;
  up) up "$dir" ;;
  in) exec nsenter -t "$(cat "$dir/init.pid")" -a "$@" ;;
  down) kill -KILL "$(cat "$dir/init.pid")"; rm -rf "$dir" ;;
  *) echo "usage: $0 up|in|down DIR ..." >&2; exit 64 ;;
esac
