"""`benchmarks.memory`, and the memory that the operator needs beside its result."""

from benchmarks import memory, workers
from benchmarks.cases import FORWARD, FORWARD_BACKWARD, PASSES, Candidate, Case

CASE = Case(2, 128, 128, 32)  # 4 MiB
CUMSUM = Candidate("cumsum+gather", 31)


def test_boxes_need_little_memory_and_cumulative_sums_need_a_table():
    with workers.Worker(1) as worker:
        box = {name: worker.call(memory._extra_memory, CASE, memory.BOX, name) for name in PASSES}
        cumsum = worker.call(memory._extra_memory, CASE, CUMSUM, FORWARD)
    assert all(value < memory.BUDGET for value in box.values())
    # The table alone is as large as the batch.
    assert cumsum > 4 > box[FORWARD]
    assert box[FORWARD_BACKWARD] < 16


def test_the_direct_calls_return_results_of_the_right_shapes():
    out = memory._call(CASE, memory.BOX, FORWARD)()
    assert out.shape == CASE.shape
    out, input_grad, boxes_grad = memory._call(CASE, memory.BOX, FORWARD_BACKWARD)()
    assert out.shape == input_grad.shape == CASE.shape and boxes_grad.shape == (32, 1, 4)
