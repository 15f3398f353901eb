"""Lets ``python -m stentor.cli`` do what ``stentor`` does."""

from stentor.cli.main import main

if __name__ == "__main__":
    main()
