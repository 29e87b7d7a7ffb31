"""The split roles of a data set, and the guard that keeps test data out of every choice before the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from limbeck.data.base import Examples
from limbeck.errors import SplitError, UnknownNameError, nearest


class Splits:
    """Examples by role; every role that starts with ``test`` opens only inside :meth:`final_evaluation`.

    Early stopping, tuning and model choice read ``validation``; a test row that could be read before the
    final evaluation would sooner or later be selected on.

    Args:
        roles: keyword arguments, role name (``train``, ``validation``, ``test``, ``test_unseen``, ``link``)
            to its :class:`Examples`.

    Raises:
        SplitError: ``splits["test"]`` outside of :meth:`final_evaluation`.
        UnknownNameError: a role that does not exist; the message names the nearest.

    Example:
        >>> with task.splits.final_evaluation() as final:  # doctest: +SKIP
        ...     test = final["test"]
    """

    def __init__(self, **roles: Examples) -> None:
        self._roles = roles
        self._open = 0

    @property
    def roles(self) -> tuple[str, ...]:
        """All role names, the guarded ones included."""
        return tuple(self._roles)

    @property
    def final_roles(self) -> tuple[str, ...]:
        """The guarded roles."""
        return tuple(role for role in self._roles if _is_final(role))

    @property
    def sizes(self) -> dict[str, int]:
        """Rows by role; a count gives nothing away, so it is not guarded."""
        return {role: len(examples) for role, examples in self._roles.items()}

    def __contains__(self, role: object) -> bool:
        return role in self._roles

    def __getitem__(self, role: str) -> Examples:
        if role not in self._roles:
            raise UnknownNameError(f"There is no split {role!r}; {nearest(role, self._roles)}")
        if _is_final(role) and not self._open:
            raise SplitError(
                f"The split {role!r} was asked for before the final evaluation; choose and stop on "
                "'validation', and read test data only inside `with splits.final_evaluation():`."
            )
        return self._roles[role]

    def without(self, *roles: str) -> Splits:
        """The other roles, as guarded as here."""
        return Splits(**{role: examples for role, examples in self._roles.items() if role not in roles})

    def map(self, change: Callable[[Examples], Examples]) -> Splits:
        """Every role changed in the same way (texts encoded, say), as guarded as here."""
        return Splits(**{role: change(examples) for role, examples in self._roles.items()})

    @contextmanager
    def final_evaluation(self) -> Iterator[Splits]:
        """Opens the test roles for the length of the block: after it nothing may be chosen any more."""
        self._open += 1
        try:
            yield self
        finally:
            self._open -= 1

    def __repr__(self) -> str:
        return f"Splits({', '.join(f'{role}={n}' for role, n in self.sizes.items())})"


def _is_final(role: str) -> bool:
    return role.startswith("test")
