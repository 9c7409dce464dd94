"""aarch64 on an x86-64 machine, emulated by qemu-user: results and instruction counts are exact, times are not.

``root`` makes a root to run in, ``boards`` runs programs in it, ``count`` counts instructions, ``estimate`` guesses
cycles. See ``python -m tools.arm --help``.
"""
