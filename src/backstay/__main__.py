"""`python -m backstay` and the `backstay` script."""

import gc

gc.disable()  # a short command frees its memory by ending; collecting while it imports costs a tenth of its start

from backstay.cli.main import main  # noqa: E402 - what it imports is what the line above is about

if __name__ == "__main__":
    main()
