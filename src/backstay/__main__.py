"""`python -m backstay` and the `backstay` script."""

import gc
import signal

gc.disable()  # a short command frees its memory by ending; collecting while it imports costs a tenth of its start
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback out of the middle of an import helps nobody

from backstay.cli.main import main  # noqa: E402 - what it imports is what the lines above are about

if __name__ == "__main__":
    main()
