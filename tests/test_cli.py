"""The command line as a user meets it: exit codes, one sentence for every failure, quick answers."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from limbeck import __version__, cli
from limbeck.commands import methods as methods_command
from limbeck.errors import DataError


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    try:
        code = cli.main(arguments)
    except SystemExit as end:  # argparse's --help
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


def test_help_lists_every_command_and_each_has_its_own(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    for name in cli.COMMANDS:
        assert f"  {name} " in out
        code, own, _ = call(capsys, name, "--help")
        assert code == 0
        assert "example" in own
    assert call(capsys)[0] == 2
    assert call(capsys, "--version")[1] == f"limbeck {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demp"], "did you mean 'demo'?"),
        (["methods", "bagdk"], "did you mean 'bagkd'"),
        (["methods", "--jsn"], "did you mean '--json'?"),
        (["bank", "biuld"], "did you mean 'build'?"),
        (["bank", "verify"], "required: bank"),
        (["demo", "--steps", "many"], "whole number"),
        (["demo", "--seeds", "0"], "--seeds: must be at least 1"),
        (["demo", "--arms", "supervised,bagd"], "did you mean 'bagged'?"),
        (["demo", "--controls", "shufled"], "did you mean 'shuffled'?"),
        (["demo", "--arms", ","], "names no arm"),
        (["distill", "--config", "av_digits_pair"], "'av_digits_paired'"),
    ],
)
def test_wrong_use_is_one_sentence_and_2(capsys, arguments, words):
    code, out, err = call(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("limbeck: ")
    assert words in err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("strange\nand long"), "ValueError: strange (not foreseen; --debug shows where)"),
        (FileExistsError(errno.EEXIST, "File exists", "here"), "here is a file where a folder is needed"),
        (
            PermissionError(errno.EACCES, "Permission denied", "here"),
            "There is no permission to use here; mend the rights",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "here"),
            "There is no space left for here; free some",
        ),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "here"),
            "here cannot be used (file name too long)",
        ),
        (MemoryError(), "There is too little memory for what is being done"),
        (ModuleNotFoundError("No module", name="soundfile"), "The package 'soundfile' is missing"),
    ],
)
def test_every_failure_is_a_sentence_and_debug_shows_where(capsys, monkeypatch, error, words):
    def fail(arguments):
        raise error

    monkeypatch.setattr(methods_command, "command", fail)
    code, _, err = call(capsys, "methods")
    assert (code, err.count("\n")) == (1, 1)
    assert words in err
    code, _, err = call(capsys, "methods", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert words in err


def test_debug_keeps_the_exit_code_of_wrong_use(capsys):
    code, _, err = call(capsys, "demp", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_an_interruption_says_how_to_go_on(capsys, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(methods_command, "command", interrupted)
    assert call(capsys, "methods")[::2] == (130, "limbeck: interrupted; start again.\n")


def test_a_good_file_is_not_blamed_for_the_machine(capsys, monkeypatch):
    def fail(arguments):
        try:
            raise PermissionError(errno.EACCES, "Permission denied", "bank.json")
        except OSError as error:
            raise DataError("bank.json is damaged; delete it.") from error

    monkeypatch.setattr(methods_command, "command", fail)
    assert "no permission to use bank.json" in call(capsys, "methods")[2]


def test_sigterm_stops_as_an_interruption_does():
    """In a process of its own: a test process may have a handler of some library's."""
    program = """
import os, signal, sys, time
from limbeck.cli import main
from limbeck.commands import methods

def stopped(arguments):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    except KeyboardInterrupt:  # what ends cleanly at Ctrl-C does so here
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "a second one ends the process at once"
        raise

methods.command = stopped
code = main(["methods"])
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "limbeck: stopped (SIGTERM); start again.\n")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["methods"], ["methods", "kd"], ["demo", "--help"], ["demp"]]
)
def test_quick_answers_import_no_torch(arguments):
    program = (
        "import sys; from limbeck import cli\ntry: cli.main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
    assert done.returncode == 0


def test_a_reader_that_stops_early_is_no_error():
    program = "import sys; from limbeck import cli; sys.exit(cli.main(['methods', '--json']))"
    shown = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    shown.stdout.close()
    assert shown.wait(20) == 0
    assert shown.stderr.read() == b""
