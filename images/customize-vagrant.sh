#!/bin/sh
# Runs inside the new tree before customize.sh: lets Vagrant in by SSH. /vagrant.pub is its well-known key, which Vagrant
# replaces by one of its own the first time that it gets in.
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

# Each node makes host keys of its own: those of an image would be known to everybody who has the image.
rm -f /etc/ssh/ssh_host_*
cat >/etc/systemd/system/ssh-host-keys.service <<'UNIT'
[Unit]
Description=Make this host's SSH keys
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
UNIT
systemctl enable --quiet ssh-host-keys.service ssh.service
