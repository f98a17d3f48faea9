#!/bin/sh
# Runs inside the new tree, which mmdebstrap or a pulled image provides: turns a minimal Debian into a node.
set -eu

[ -z "$(ls -A /usr/local/share/ca-certificates 2>/dev/null)" ] || update-ca-certificates >/dev/null 2>&1

# In a container, units for hardware and consoles fail or wait. Timers that upgrade packages would make the nodes of one lab
# differ.
systemctl mask --quiet \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer man-db.timer \
  getty.target console-getty.service systemd-logind.service systemd-udevd.service systemd-udev-trigger.service \
  systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-modules-load.service sys-kernel-config.mount \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount
systemctl set-default --quiet multi-user.target

# The journal is on disk, so that a restarted node still has it, and limited in size.
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\n' >/etc/systemd/journald.conf.d/lab.conf
mkdir -p /var/log/journal

# Nodes of one image must not share a machine-id: systemd fills an empty one at the first boot.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id

apt-get clean
rm -rf /var/lib/apt/lists/*
# Ansible takes the time of these folders for the age of the package lists. An old time makes it update them; otherwise the first
# role fails with "No package matching ...".
mkdir -p /var/lib/apt/lists/partial /var/lib/apt/periodic
touch -d '2000-01-01' /var/lib/apt/lists /var/lib/apt/periodic/update-success-stamp

# A container engine mounts its own hosts file over /etc/hosts and rewrites it at each start, but the roles write the lab's names.
cat >/etc/systemd/system/own-hosts.service <<'UNIT'
[Unit]
Description=Unmount the container engine's /etc/hosts
DefaultDependencies=no
Before=sysinit.target
ConditionPathIsMountPoint=/etc/hosts

[Service]
Type=oneshot
ExecStart=/bin/umount /etc/hosts
ExecStartPost=/bin/sh -c '[ -s /etc/hosts ] || echo "127.0.0.1 localhost" >/etc/hosts'

[Install]
WantedBy=sysinit.target
UNIT
systemctl enable --quiet own-hosts.service
