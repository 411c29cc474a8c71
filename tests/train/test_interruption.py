"""Ctrl-C waits for the end of a step; a second one does not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from unshift.train.interruption import Interruption


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_shield_holds_back_until_its_end() -> None:
    done = False
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt), interruption.shield():  # noqa: PT012
        press()
        done = True
    assert done and not interruption.broken


def test_outside_of_the_shield_at_once() -> None:
    reached = False
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        press()
        reached = True
    assert not reached and not interruption.broken


def test_twice_within_one_shield_breaks_the_state() -> None:
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt), interruption.shield():  # noqa: PT012
        press()
        press()
    assert interruption.broken


def test_the_process_gets_its_own_handler_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_other_threads_install_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Interruption() as interruption, interruption.shield():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
