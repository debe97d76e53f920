"""How `make gpu-check` runs its stages, and the counting of instructions in machine code."""

import sys

import pytest

from benchmarks.gpu import __main__ as gpu_check
from benchmarks.gpu import report


def python(code, name="stage", seconds=20):
    return gpu_check.Stage(name, [sys.executable, "-c", code], seconds)


@pytest.mark.parametrize(
    ("code", "seconds", "verdict"),
    [
        ("pass", 20, "ok"),
        ("raise SystemExit(9)", 20, "FAILED, exit status 9"),
        ("import os; os.abort()", 20, "FAILED, exit status -6"),
        ("import time; time.sleep(60)", 1, "KILLED after 1 s"),
    ],
)
def test_verdict_on_a_stage(code, seconds, verdict):
    assert gpu_check.run_group([python(code, seconds=seconds)]) == {"stage": verdict}


def test_stages_of_a_group_run_whatever_happens_to_the_others(capfd):
    verdicts = gpu_check.run_group(
        [
            python("print('one said so'); raise SystemExit(1)", "one"),
            gpu_check.Stage("two", None, 1),
            python("print('three said so')", "three"),
        ]
    )
    assert verdicts == {
        "one": "FAILED, exit status 1",
        "two": "NOT run: the tool is not installed",
        "three": "ok",
    }
    printed = capfd.readouterr().out
    assert "one said so" in printed
    assert "three said so" in printed


def test_a_stage_ends_with_its_time():
    # With the build and the time of tools to start, all must end within 15 minutes.
    groups = gpu_check.groups_of_stages("compute-sanitizer", "ncu")
    assert sum(max(stage.seconds for stage in stages) for stages in groups) <= 480


CODE = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/                   LDS R2, [R1] ;
        /*0020*/               @P0 BRA 0x50 ;
        /*0030*/                   FADD R3, R3, R2 ;
        /*0040*/                   FADD R3, R3, R2 ;
        /*0050*/                   STS [R1], R3 ;
        /*0060*/              @!P1 BRA 0x10 ;
        /*0070*/                   EXIT ;
"""


def test_instructions_of_a_loop():
    kernel = report.Kernel(report.basic_blocks(CODE), registers=8, spills=0)
    assert report.per_pixel(kernel, 1, [{r"LDS": 1}]) == 4  # past the additions
    assert report.per_pixel(kernel, 2, [{r"LDS": 1, r"FADD": 2}]) == 3
    with pytest.raises(report.GpuError, match="no loop has"):
        report.per_pixel(kernel, 1, [{r"LDS": 2}])
