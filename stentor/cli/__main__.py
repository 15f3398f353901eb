"""``python -m stentor.cli`` is the same as ``stentor``."""

from stentor.cli.main import main

if __name__ == "__main__":
    main()
