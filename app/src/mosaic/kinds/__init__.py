"""Kinds of jobs: one folder each."""
