"""``python -m ultraedit``: the same as the command ``ultraedit``."""

from ultraedit.cli.main import main

if __name__ == "__main__":
    main()
