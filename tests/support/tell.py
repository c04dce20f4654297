"""Signals for the programs under test."""

import os
import subprocess
import threading


def tell(process, number):
    """Sends the signal.

    ThreadSanitizer keeps one that comes while a fiber runs until that fiber calls a function that is intercepted (see
    executor/src/sanitizer.hpp). Between the last such call and its wait it may be kept for ever. So those programs are
    told again until they end."""
    process.send_signal(number)
    if "tsan" not in os.path.abspath(process.args[0]):
        return

    def again():
        while True:
            try:
                process.wait(2)
                return
            except subprocess.TimeoutExpired:
                process.send_signal(number)

    threading.Thread(target=again, daemon=True).start()
