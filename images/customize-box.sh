#!/bin/sh
# Runs inside the tree of a VM's disk after customize.sh, which prepares a container: enables units for hardware again, and adds
# a network configuration and a boot loader.
set -eu

systemctl unmask --quiet \
  systemd-logind.service systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
  systemd-udevd-kernel.socket systemd-modules-load.service sys-kernel-config.mount sys-kernel-debug.mount \
  sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount fstrim.timer
systemctl disable --quiet own-hosts.service
rm /etc/systemd/system/own-hosts.service

printf 'LABEL=root / ext4 errors=remount-ro 0 1\n' >/etc/fstab
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >/etc/hosts
rm -f /etc/hostname
# The first network card is on the provider's network, with DHCP. Vagrant or run-box adds a card for the lab's private network.
cat >/etc/network/interfaces <<'TEXT'
auto lo
iface lo inet loopback
auto eth0
iface eth0 inet dhcp
source /etc/network/interfaces.d/*
TEXT

# Debian 13's ping has no file capability. It uses an ICMP socket, which the kernel allows only with this setting.
mkdir -p /etc/sysctl.d
printf 'net.ipv4.ping_group_range = 0 2147483647\n' >/etc/sysctl.d/50-ping.conf

# /vmlinuz and /initrd.img link to the newest kernel, so update-grub is not needed. net.ifnames=0 names the first card eth0.
[ -e /vmlinuz ] && [ -e /initrd.img ]
mkdir -p /boot/grub
cat >/boot/grub/grub.cfg <<'TEXT'
set timeout=0
linux /vmlinuz root=LABEL=root ro net.ifnames=0 console=tty0 console=ttyS0
initrd /initrd.img
boot
TEXT
# The core image is complete, so the packages that built it can be removed.
grub-mkimage --format i386-pc --prefix '(hd0,msdos1)/boot/grub' --output /boot/grub/core.img \
  biosdisk part_msdos ext2 normal linux serial
cp /usr/lib/grub/i386-pc/boot.img /boot/grub/boot.img
DEBIAN_FRONTEND=noninteractive apt-get -qq --yes --autoremove purge grub-pc-bin grub-common >/dev/null
[ -s /boot/grub/grub.cfg ] && [ -s /boot/grub/core.img ]
