// On a machine in namespaces systemd is not process 1: this starts what it would start, and is put on the PATH under its name.

/** Where a machine finds what stands in for programs that it cannot have. */
export const STAND_INS = '/opt/stand-ins';

export const SYSTEMCTL = `#!/bin/sh
set -e
[ "$1" = restart ] || { echo "systemctl: only restart is there" >&2; exit 1; }
if [ -e /run/$2.started ]; then kill $(cat /run/$2.started); sleep 1; fi
case $2 in
  containerd) program=/usr/bin/containerd ;;
  docker) program="/usr/sbin/dockerd --containerd /run/containerd/containerd.sock --bridge=none --iptables=false --ip6tables=false" ;;
esac
setsid $program > /var/log/$2.log 2>&1 < /dev/null &
echo $! > /run/$2.started
`;
