"""The subcommands of ./lab, one module for each subject."""
