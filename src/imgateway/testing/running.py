"""Running a contract suite without a test runner: to prove that it catches what it should."""

from collections.abc import Sequence

import anyio

from imgateway.testing.suite import ContractSuite

CLAUSE_SECONDS = 30.0
"""How long one clause may take; generous, since real services are slow on a busy machine."""


def clauses(suite: ContractSuite, /) -> Sequence[str]:
    """The names of a suite's clauses, in the order they were written, those of its parents first."""
    names = (name for kind in reversed(type(suite).__mro__) for name in vars(kind))
    return [name for name in dict.fromkeys(names) if name.startswith("test_")]


async def failures(suite: ContractSuite, /, *, seconds: float = CLAUSE_SECONDS) -> dict[str, Exception]:
    """Run every clause of a suite, one after the other, each within `seconds`; those that failed and why.

    Cancellation from outside ends the run.
    """
    failed: dict[str, Exception] = {}
    for name in clauses(suite):
        try:
            with anyio.fail_after(seconds):
                await getattr(suite, name)()
        except Exception as error:  # a clause may fail in any way
            failed[name] = error
    return failed


async def assert_caught(suite: ContractSuite, *expected: str, seconds: float = 2.0) -> None:
    """Assert that a suite over a deliberately broken implementation fails the clauses named in `expected`.

    Each is given without its `test_`. Not every clause may fail: then more is broken than was meant, or the suite's
    hooks are, and the proof would be worth nothing.

    Raises:
        AssertionError: it is not so.
    """
    suite.patience = min(suite.patience, seconds / 10)
    failed = await failures(suite, seconds=seconds)
    missed = {f"test_{name}" for name in expected} - set(failed)
    assert not missed, f"not caught by {sorted(missed)}, but by {sorted(failed)}"
    assert len(failed) < len(clauses(suite)), f"everything fails, at first with {next(iter(failed.values()))!r}"
