"""`benchmarks.compiled`: compiled operators and training steps."""

from benchmarks.cases import FORWARD_BACKWARD, PASSES
from benchmarks.compiled import __main__ as compiled
from benchmarks.compiled import training
from benchmarks.compiled.operator import JAX, JAX_PORTABLE, TF, TF_JIT
from benchmarks.tables import console


def test_missed_budgets_are_named_and_times_are_in_the_table():
    seconds = {TF: 2.0, TF_JIT: 2.2, JAX: 3.0, JAX_PORTABLE: 9.0}
    times = {(name, by): [s] * 3 for name in PASSES for by, s in seconds.items()}
    steps = {training.PLAIN: [1.0] * 3, training.XLA: [1.01] * 3}
    missed = {check.name for check in compiled.checks(times, steps) if not check.kept}
    assert missed == {
        f"{FORWARD_BACKWARD}, {JAX} / {TF}",
        *(f"{name}, {JAX_PORTABLE} / {JAX}" for name in PASSES),
    }
    with console.capture() as capture:
        console.print(compiled.times_table(times, steps))
    assert "9000.00" in capture.get() and "1010.00" in capture.get()


def test_measures_a_training_step_with_and_without_xla():
    steps = training.measure(batch=1, size=6, channels=4, blocks=1, rounds=2)
    assert set(steps) == {training.PLAIN, training.XLA}
    assert all(len(samples) == 2 and min(samples) > 0 for samples in steps.values())
