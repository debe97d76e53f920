"""`benchmarks.memory`, and the memory that the operator and the layer need beside results."""

import pytest

from benchmarks import memory, workers
from benchmarks.cases import FORWARD, FORWARD_BACKWARD, PASSES, Candidate, Case

CASE = Case(2, 128, 128, 32)  # 4 MiB
CUMSUM = Candidate("cumsum+gather", 31)


@pytest.mark.long
def test_boxes_need_little_memory_and_cumulative_sums_need_a_table():
    with workers.Worker(1) as worker:
        box = {name: worker.call(memory._extra_memory, CASE, memory.BOX, name) for name in PASSES}
        cumsum = worker.call(memory._extra_memory, CASE, CUMSUM, FORWARD)
    assert all(value < memory.BUDGETS[memory.BOX] for value in box.values())
    # The table alone is as large as the batch.
    assert cumsum > 4 > box[FORWARD]
    assert box[FORWARD_BACKWARD] < 16


def test_the_direct_calls_return_results_of_the_right_shapes():
    out = memory._call(CASE, memory.BOX, FORWARD)()
    assert out.shape == CASE.shape
    out, input_grad, boxes_grad = memory._call(CASE, memory.BOX, FORWARD_BACKWARD)()
    assert out.shape == input_grad.shape == CASE.shape and boxes_grad.shape == (32, 1, 4)


@pytest.mark.long
def test_the_fused_layer_does_not_store_all_responses():
    case = Case(4, 128, 128, 32, multiplier=4)
    responses = 4 * case.outputs / 2**20  # MiB
    with workers.Worker(1) as worker:
        unfused = worker.call(memory._extra_memory, case, memory.UNFUSED_LAYER, FORWARD)
        fused = worker.call(memory._extra_memory, case, memory.LAYER, FORWARD_BACKWARD)
    assert fused < 0.75 * responses < unfused


def test_the_calls_of_the_layer_return_results_of_the_right_shapes():
    case = Case(2, 9, 8, 6, multiplier=2)
    out, x_grad, *weight_grads = memory._call(case, memory.LAYER, FORWARD_BACKWARD)()
    assert out.shape == x_grad.shape == case.shape
    assert sorted(tuple(grad.shape) for grad in weight_grads) == [(6,), (6, 2, 4), (12, 6)]
