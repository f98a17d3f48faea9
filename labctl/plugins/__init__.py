"""Plugins that labctl puts into the programs it runs."""
