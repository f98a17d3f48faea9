"""`python -m labctl`: what ./lab runs."""

from labctl.cli import main

if __name__ == "__main__":
    main()
