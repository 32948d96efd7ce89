"""How a command that failed ends: with one message on the error stream."""

import errno
import os
import sys

_CURES = {
    errno.EACCES: "Change its rights, or choose another folder.",
    errno.EROFS: "Choose a folder that can be written.",
    errno.ENOTDIR: "A part of this path is a file. Choose another folder.",
    errno.ENOSPC: "Free some space. What was written before is whole; a training goes on with --resume.",
}


def shown(error: BaseException) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    what = f"{error.strerror}: {os.fsdecode(error.filename)}" if error.filename else error.strerror
    return f"{what}. {_CURES[error.errno]}" if error.errno in _CURES else what


def fail(message: str, code: int) -> int:
    print(f"spikeloom: {message}", file=sys.stderr)
    return code
