"""Runs commands with `--help` and with an unknown argument, and prints the results as JSON.

    python -m tests.examples.command_help examples.pose.train ...

All commands run in this process. The result of each lists the frameworks that it imported: they are
slow to import, so `--help` must not import them.
"""

import argparse
import contextlib
import io
import json
import runpy
import sys

FRAMEWORKS = {"tensorflow", "keras", "jax", "torch", "tensorflow_datasets", "matplotlib"}


def run(module: str, argument: str) -> dict:
    """Runs a module as `python -m` does."""
    parsers = []
    parse = argparse.ArgumentParser.parse_known_args

    def remember(parser, *arguments, **keywords):
        parsers.append(parser)
        return parse(parser, *arguments, **keywords)

    output, errors = io.StringIO(), io.StringIO()
    sys.argv, before, status = [module, argument], set(sys.modules), None
    argparse.ArgumentParser.parse_known_args = remember
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        status = stop.code
    finally:
        argparse.ArgumentParser.parse_known_args = parse
    return {
        "status": status,
        "output": output.getvalue(),
        "errors": errors.getvalue(),
        "frameworks": sorted(FRAMEWORKS & (set(sys.modules) - before)),
        "defaults": [default for parser in parsers for default in defaults(parser)],
    }


def defaults(parser: argparse.ArgumentParser):
    """Yields name, default as text, and help of each option that has a default."""
    for action in parser._actions:
        value = action.default
        if (
            not action.option_strings
            or value is None
            or isinstance(value, bool)
            or value in ([], argparse.SUPPRESS)
        ):
            continue
        text = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        yield action.option_strings[0], text, action.help


if __name__ == "__main__":
    results = {
        module: {argument: run(module, argument) for argument in ("--help", "--no_such_argument")}
        for module in sys.argv[1:]
    }
    print(json.dumps(results))
