#!/bin/sh
# Runs inside the new tree before customize.sh: lets Vagrant log in by SSH. /vagrant.pub is Vagrant's well-known key, which
# Vagrant replaces by a new one at its first login.
set -eu

useradd --create-home --shell /bin/bash --user-group --password '*' vagrant
printf 'vagrant ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/vagrant
chmod 0440 /etc/sudoers.d/vagrant
mkdir -p /home/vagrant/.ssh
mv /vagrant.pub /home/vagrant/.ssh/authorized_keys
chmod 0700 /home/vagrant/.ssh
chmod 0600 /home/vagrant/.ssh/authorized_keys
chown -R vagrant:vagrant /home/vagrant/.ssh

mkdir -p /etc/ssh/sshd_config.d
printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n' >/etc/ssh/sshd_config.d/lab.conf

# Each node creates its own host keys, because everybody who has the image would know keys in it.
rm -f /etc/ssh/ssh_host_*
cat >/etc/systemd/system/ssh-host-keys.service <<'UNIT'
[Unit]
Description=Create SSH host keys
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
UNIT
systemctl enable --quiet ssh-host-keys.service ssh.service
