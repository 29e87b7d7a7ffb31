"""The named errors of the library: one clear sentence each, with the mend.

Every error a user can cause is a :class:`LimbeckError`; the command line prints its sentence alone
(``--debug`` shows the traceback). Each also derives from the built-in error a caller would expect.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable, Sequence

# What breaks a line, steers a terminal or cannot be encoded; names from files may hold any of it.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class LimbeckError(Exception):
    """Base of all errors that a user can mend; ``str(error)`` is one line of text that says how."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return one_line(str(self.args[0]) if self.args else "")


def first_line(error: BaseException) -> str:
    """What another library's error says, in its first line and without a full stop; its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def one_line(text: str) -> str:
    """``text`` as any terminal can show it: breaks are blanks, control characters and half characters escaped."""
    return _UNPRINTABLE.sub(lambda sign: " " if sign[0] == "\n" else repr(sign[0])[1:-1], text)


class UnknownNameError(LimbeckError, ValueError):
    """A name (method, recipe key, arm, layer) that does not exist; the message names the nearest ones."""


class ConfigError(LimbeckError, ValueError):
    """A value outside its range, or settings that contradict each other."""


class DataError(LimbeckError, ValueError):
    """Input data that is missing, empty, corrupt or inconsistent; the message names the file or key."""


class UnreadableRowsError(DataError):
    """Rows of a batch that a teacher cannot read; ``rows`` are their places, so that a build can name their keys."""

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:  # the default is for pickle
        super().__init__(message)
        self.rows = tuple(rows)


class SplitError(LimbeckError, RuntimeError):
    """Test data asked for before the final evaluation."""


class MissingSignalError(LimbeckError, ValueError):
    """A method needs a signal that the teacher does not give; the message says which teacher would."""


class LinkError(LimbeckError, ValueError):
    """A method or control that the link between the modalities does not allow."""


class ClassNamesError(LimbeckError, ValueError):
    """Teacher, data and student do not carry the same class names and no class map was given."""


class HeadNotFoundError(LimbeckError, ValueError):
    """No linear head was executed in the probe forward; the message lists the candidates."""


class BankError(LimbeckError, ValueError):
    """A bank that cannot be built, opened or used."""


class CorruptShardError(BankError):
    """A shard whose bytes are not those that were written; the message names the file."""


class MissingKeysError(BankError, KeyError):
    """Keys that the bank does not hold."""


class StaleFingerprintError(BankError):
    """Teacher, preprocessing or inputs are not those that built the bank; the message says which part."""


class InconsistentOutputError(BankError):
    """A teacher whose batches differ in signals, dtype or shape; the message names the key."""


class AbsentClassError(BankError):
    """A draw or prototype of a class that has no row in the bank; the message names the class."""


class UnansweredError(BankError):
    """A paid teacher has not answered yet (budget spent, server gone); the message says what is kept and lacking."""


class BankBusyError(BankError):
    """Another process is building this bank; the message names it."""


class NonFiniteError(LimbeckError, FloatingPointError):
    """NaN, Inf or a value beyond the stored dtype; the message names keys, or the term and the step."""


class CheckpointError(LimbeckError, ValueError):
    """A checkpoint that is damaged, or of another run; the message names the file, or what differs."""


class OwnCodeError(ConfigError):
    """Code of a user's own that failed; the message names its function and line, and what it said."""


class ExportError(LimbeckError, RuntimeError):
    """A student that cannot be exported, or an export that does not give its logits."""


class MachineError(LimbeckError, OSError):
    """The machine is at fault, not the input: a full disk, no permission, too many open files, a disk that is gone.

    The message names the file; what is in it is as it was.
    """


# Error number of the system to what it means: a sentence with the file in it.
_SPACE = "free some and run the same again: what was written whole is kept"
_RIGHTS = "mend the rights of the file and its folders, or choose another path"
_GONE = "the disk that {path} lies on does not answer ({said}); look whether it is there and healthy, then start again"
_MACHINE: dict[int, str] = {
    errno.ENOSPC: f"there is no space left for {{path}}; {_SPACE}",
    errno.EDQUOT: f"your quota leaves no space for {{path}}; {_SPACE}",
    errno.EFBIG: "{path} grew beyond the largest file that is allowed here (`ulimit -f`, or the kind of disk); raise "
    "that limit or choose another place",
    errno.EMFILE: "this process has too many open files to open {path}; raise the limit (`ulimit -n 4096`) or run less "
    "at a time",
    errno.ENFILE: "this machine has too many open files to open {path}; close other programs",
    errno.EACCES: f"there is no permission to use {{path}}; {_RIGHTS}",
    errno.EPERM: f"the system does not permit to use {{path}}; {_RIGHTS}",
    errno.EROFS: "{path} lies on a disk that can only be read; choose another path",
    errno.ENOMEM: "there is too little memory for {path}; close other programs, or make batches or data smaller",
    errno.ELOOP: "{path} is a link, which is not followed for writing; remove it, or name the place itself",
    **dict.fromkeys(
        (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT), _GONE
    ),
}
# What libraries in other languages say of the same, where they keep no number.
_SAID = (
    (re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]"), 0),
    (
        re.compile(
            r"PytorchStreamWriter failed writing|inline_container.* unexpected pos|database or disk is full",
            re.IGNORECASE,
        ),
        errno.ENOSPC,
    ),
    (re.compile(r"disk I/O error"), errno.EIO),
    (re.compile(r"attempt to write a readonly database"), errno.EACCES),
    (re.compile(r"can't allocate memory|out of memory", re.IGNORECASE), errno.ENOMEM),
)


def machine_error(error: BaseException | None, path: object = None) -> MachineError | None:
    """What ``error`` says of the machine, by the file; None for an error of another kind, such as a damaged file.

    Args:
        path: the file, where the error does not name it.
    """
    if error is None or isinstance(error, MachineError):
        return error
    number = error.errno if isinstance(error, OSError) else _number_in(str(error))
    if isinstance(error, OSError) and number is None:
        number = _number_in(str(error))
    if isinstance(error, MemoryError):
        number = errno.ENOMEM
    if number not in _MACHINE:
        return None
    named = getattr(error, "filename", None) or path
    text = _MACHINE[number].format(path=named or "what is being done", said=os.strerror(number).lower())
    found = MachineError(f"{text[0].upper() if not text.startswith(str(named)) else text[0]}{text[1:]}.")
    found.errno, found.filename = number, None if named is None else str(named)
    return found


def _number_in(text: str) -> int | None:
    for pattern, number in _SAID:
        if found := pattern.search(text):
            return number or int(next(group for group in found.groups() if group))
    return None


def nearest(name: str, options: Iterable[str], n: int = 3) -> str:
    """`did you mean` for a wrong name: the ``n`` nearest of ``options``, or all of them when none is near."""
    options = sorted(options)
    if not options:
        return "there are none."
    close = close_names(name, options, n)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "valid ones: " + ", ".join(options) + "."


def close_names(name: str, options: Iterable[str], n: int = 3) -> list[str]:
    """The ``n`` of ``options`` that are nearest to ``name``, capitals apart: those that it abbreviates (``lr``), else
    those that are spelt alike. A key such as ``training.lr`` is looked for among its neighbours, if it has any."""
    options = list(options)
    before, dot, own = name.rpartition(".")
    neighbours = {o.removeprefix(before + dot): o for o in options if o.startswith(before + dot)}
    if not neighbours:
        neighbours, own = dict(zip(options, options)), name
    by_lower = {option.lower(): option for option in neighbours}
    wanted = own.lower()
    near = [lower for lower in by_lower if wanted in (lower, _initials(lower))]
    near = near or difflib.get_close_matches(wanted, by_lower, n=n, cutoff=0.5)
    return [neighbours[by_lower[lower]] for lower in near[:n]]


def _initials(name: str) -> str:
    """``learning_rate`` as ``lr``; empty for a name of one word."""
    words = re.split(r"[_-]", name)
    return "".join(word[:1] for word in words) if len(words) > 1 else ""


def known_name(name: str, options: Iterable[str]) -> str:
    """``name`` as one of ``options`` writes it, where only capitals differ; else as it is."""
    options = list(options)
    same = [] if name in options else [option for option in options if option.lower() == name.lower()]
    return same[0] if len(same) == 1 else name


def some(keys: Iterable[object], n: int = 5) -> str:
    """The first ``n`` of ``keys`` for a message, and how many more there are."""
    keys = list(keys)
    more = f" and {len(keys) - n} more" if len(keys) > n else ""
    return ", ".join(repr(k) for k in keys[:n]) + more
