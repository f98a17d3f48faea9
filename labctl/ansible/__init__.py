"""Runs Ansible: playbooks with their progress and log, and why one failed."""
