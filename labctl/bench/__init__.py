"""Measuring a running lab: the suites of ./lab bench, their arms, and their report."""
