"""`python -m stepwell`, and `stepwell`: the command line."""

import sys


def main() -> None:
    """A Ctrl-C that comes while we are still being imported is one too."""
    try:
        from stepwell.cli.main import main as command  # noqa: PLC0415

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
