"""`python -m backstay` and the `backstay` script."""

from backstay.cli.main import main

if __name__ == "__main__":
    main()
