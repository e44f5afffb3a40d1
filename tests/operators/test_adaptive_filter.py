"""AdaptiveFilter: torch, portable body and native library against float64."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument, RuntimeException
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from adroit.deploy.parity.tolerance import compare
from adroit.deploy.runtimes.native import instruction_set, native_library
from adroit.errors import EnvironmentFault, UsageError
from adroit.models.operators.adaptive_filter import adaptive_filter
from tests.operators.cases.adaptive_filter import CASES, Case, exact_and_limit, make_inputs
from tests.operators.harness import FORMS, node_model, run_node

BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def model_of(case: Case, inputs: dict[str, np.ndarray]) -> object:
    attributes = {
        "kernel_size": case.kernel_size,
        "stride": case.stride,
        "groups": case.groups,
        "joint_softmax": int(case.joint),
    }
    return node_model("AdaptiveFilter", inputs, attributes)


def run_torch(case: Case, x: Tensor, logits: Tensor) -> Tensor:
    return adaptive_filter(x, logits, case.kernel_size, case.stride, case.groups, case.joint)


@BY_NAME
@pytest.mark.parametrize("form", FORMS)
def test_onnx_is_within_the_limit(case: Case, form: str) -> None:
    inputs = make_inputs(case)
    (y,) = run_node(model_of(case, inputs), inputs, form)
    result = compare(y, *exact_and_limit(inputs, case))
    assert result.passed, result


@BY_NAME
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_torch_is_within_the_limit(case: Case, dtype: torch.dtype) -> None:
    inputs = make_inputs(case)
    y = run_torch(case, *(torch.tensor(value, dtype=dtype) for value in inputs.values())).numpy()
    result = compare(y, *exact_and_limit(inputs, case, str(dtype).removeprefix("torch.")))
    assert result.passed, result


def test_the_limit_is_not_met_by_the_wrong_softmax() -> None:
    """The limits are tight enough to tell the two softmax modes, and a shift by a pixel, apart."""
    case = Case("joint", (1, 8, 12, 12), groups=4)
    inputs = make_inputs(case)
    (y,) = run_node(model_of(Case("per group", (1, 8, 12, 12), groups=4, joint=False), inputs), inputs, "native")
    assert not compare(y, *exact_and_limit(inputs, case)).passed
    (y,) = run_node(model_of(case, inputs), inputs, "native")
    assert not compare(np.roll(y, 1, 3), *exact_and_limit(inputs, case)).passed


@pytest.mark.parametrize("joint", [False, True], ids=["per group", "joint"])
def test_a_constant_map_keeps_the_sum_of_the_weights(joint: bool) -> None:
    """Per group every sum is 1; with a joint softmax the sums of all groups together are 1."""
    case = Case("constant", (1, 8, 20, 20), stride=2, groups=4, joint=joint)
    inputs = {**make_inputs(case), "X": np.full(case.x, 3.0, np.float32)}
    (y,) = run_node(model_of(case, inputs), inputs, "native")
    sums = y[:, ::2] / 3.0
    np.testing.assert_allclose(sums.sum(1) if joint else sums, 1.0, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("joint", [0, 1])
def test_a_logit_of_minus_infinity_closes_its_tap(form: str, joint: int) -> None:
    case = Case("closed", (1, 4, 8, 21), groups=2, joint=bool(joint))
    inputs = make_inputs(case)
    inputs["logits"][:, [0, 8, 13]] = -np.inf
    lower = {**inputs, "logits": np.where(np.isinf(inputs["logits"]), np.float32(-1e4), inputs["logits"])}
    (y,) = run_node(model_of(case, inputs), inputs, form)
    assert compare(y, *exact_and_limit(lower, case)).passed


def test_not_a_number_stays_where_it_is() -> None:
    case = Case("nan", (1, 4, 9, 37), groups=2, joint=True)
    inputs = make_inputs(case)
    inputs["logits"][0, 5, 4, 18] = np.nan
    (y,) = run_node(model_of(case, inputs), inputs, "native")
    wrong = np.argwhere(np.isnan(y))
    assert wrong.tolist() == [[0, c, 4, 18] for c in range(4)]


def test_torch_takes_non_contiguous_inputs() -> None:
    case = Case("views", (2, 6, 9, 12), stride=2, groups=3)
    x, logits = torch.randn(2, 6, 12, 9).transpose(2, 3), torch.randn(2, 5, 6, 27).permute(0, 3, 1, 2)
    assert torch.equal(run_torch(case, x, logits), run_torch(case, x.contiguous(), logits.contiguous()))


@pytest.mark.parametrize("stride", [1, 2])
def test_results_do_not_depend_on_threads(stride: int) -> None:
    case = Case("threads", (5, 12, 61, 67), stride=stride, groups=4)
    inputs = make_inputs(case)
    one, four = (run_node(model_of(case, inputs), inputs, "native", threads)[0] for threads in (1, 4))
    np.testing.assert_array_equal(one, four)


def test_results_do_not_depend_on_batch_mates() -> None:
    case = Case("batch", (3, 8, 20, 20), stride=2, groups=2)
    inputs = make_inputs(case)
    (together,) = run_node(model_of(case, inputs), inputs, "native")
    for n in range(3):
        single = {name: value[n : n + 1] for name, value in inputs.items()}
        (alone,) = run_node(model_of(case, single), single, "native")
        np.testing.assert_array_equal(together[n : n + 1], alone)


@pytest.mark.parametrize("name", ["generic", "avx2", "avx512"])
def test_every_instruction_set_is_within_the_limit(name: str) -> None:
    """This file's native cases again in a process with that instruction set."""
    environment = {**os.environ, "ADROIT_INSTRUCTION_SET": name}
    try:
        library = str(native_library())
    except EnvironmentFault as error:
        pytest.skip(error.message)
    probe = "import sys; from adroit.deploy.runtimes.native import *; print(instruction_set(Path(sys.argv[1])))"
    probed = subprocess.run([sys.executable, "-c", probe, library], env=environment, capture_output=True, text=True)
    if probed.stdout.strip() != name:
        pytest.skip(f"this CPU or build has no {name} (it has {instruction_set(native_library())})")
    chosen = "(test_onnx_is_within_the_limit and native) or closes_its_tap or not_a_number"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__, "-k", chosen]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:]
    assert f"{len(CASES) + 5} passed" in run.stdout


REFUSED = [
    ("channels", (1, 6, 8, 8), (1, 36, 8, 8), (3, 1, 4, 1), "do not divide"),
    ("small map", (1, 4, 8, 2), (1, 25, 8, 2), (5, 1, 1, 1), "too small to reflect"),
    ("logits of another stride", (1, 4, 8, 8), (1, 9, 8, 8), (3, 2, 1, 1), "logits has shape"),
    ("logits of another group count", (1, 4, 8, 8), (1, 9, 8, 8), (3, 1, 2, 1), "logits has shape"),
    ("logits of another batch", (2, 4, 8, 8), (1, 9, 8, 8), (3, 1, 1, 1), "logits has shape"),
    ("empty batch", (0, 4, 8, 8), (0, 9, 8, 8), (3, 1, 1, 1), "empty input"),
    ("even kernel", (1, 4, 8, 8), (1, 16, 8, 8), (4, 1, 1, 1), "kernel_size"),
    ("large kernel", (1, 4, 20, 20), (1, 81, 20, 20), (9, 1, 1, 1), "kernel_size"),
    ("large stride", (1, 4, 9, 9), (1, 9, 3, 3), (3, 3, 1, 1), "stride"),
    ("no groups", (1, 4, 8, 8), (1, 0, 8, 8), (3, 1, 0, 1), "groups"),
]


@pytest.mark.parametrize(
    ("x", "logits", "attributes", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
@pytest.mark.parametrize("where", ["torch", "native"])
def test_what_does_not_fit_is_refused(
    x: tuple[int, ...], logits: tuple[int, ...], attributes: tuple[int, int, int, int], message: str, where: str
) -> None:
    kernel_size, stride, groups, joint = attributes
    inputs = {"X": np.zeros(x, np.float32), "logits": np.zeros(logits, np.float32)}
    if where == "torch":
        with pytest.raises(UsageError, match=message):
            adaptive_filter(*map(torch.tensor, inputs.values()), kernel_size, stride, groups, bool(joint))
        return
    names = {"kernel_size": kernel_size, "stride": stride, "groups": groups, "joint_softmax": joint}
    with pytest.raises((InvalidArgument, RuntimeException), match=message):
        run_node(node_model("AdaptiveFilter", inputs, names), inputs, "native")


def unfold_form(case: Case, x: Tensor, logits: Tensor) -> Tensor:
    """The official code's way, at the kept positions."""
    padded = functional.pad(x, [case.kernel_size // 2] * 4, mode="reflect")
    columns = functional.unfold(padded, case.kernel_size, stride=case.stride)
    grouped = logits.unflatten(1, (case.groups, case.taps))
    weights = logits.softmax(1).view_as(grouped) if case.joint else grouped.softmax(2)
    windows = columns.view(x.shape[0], case.groups, -1, case.taps, *case.kept)
    return (windows * weights[:, :, None]).sum(3).flatten(1, 2)


@BY_NAME
def test_gradients_are_those_of_the_unfold_form(case: Case) -> None:
    x, logits = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in make_inputs(case).values())
    expected = unfold_form(case, x, logits)
    g = torch.randn_like(expected)
    for mine, theirs in zip(
        torch.autograd.grad(run_torch(case, x, logits), (x, logits), g),
        torch.autograd.grad(expected, (x, logits), g),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_gradients_of_one_input_alone() -> None:
    case = Case("alone", (1, 6, 9, 8), stride=2, groups=3)
    values = [torch.tensor(v, dtype=torch.float64) for v in make_inputs(case).values()]
    for index in (0, 1):
        ours, theirs = ([v.clone() for v in values] for _ in range(2))
        for inputs, form in ((ours, run_torch), (theirs, unfold_form)):
            inputs[index].requires_grad_()
            form(case, *inputs).square().sum().backward()
        torch.testing.assert_close(ours[index].grad, theirs[index].grad, rtol=1e-12, atol=1e-12)
        assert ours[1 - index].grad is None


def test_torch_says_the_output_size_of_symbolic_inputs() -> None:
    class Layer(torch.nn.Module):
        def forward(self, x: Tensor, logits: Tensor) -> Tensor:
            return adaptive_filter(x, logits, 3, 2, 2, True)

    n, rows, columns = torch.export.Dim("n"), torch.export.Dim("rows", min=4), torch.export.Dim("columns", min=4)
    shapes = ({0: n, 2: 2 * rows, 3: 2 * columns}, {0: n, 2: rows, 3: columns})
    example = (torch.randn(2, 4, 10, 12), torch.randn(2, 18, 5, 6))
    program = torch.export.export(Layer(), example, dynamic_shapes=shapes)
    (node,) = [n for n in program.graph.nodes if n.op == "call_function"]
    assert str(node.target).startswith("adroit.adaptive_filter")
    other = (torch.randn(3, 4, 14, 8), torch.randn(3, 18, 7, 4))
    assert torch.equal(program.module()(*other), Layer()(*other))
    torch.library.opcheck(adaptive_filter, (*example, 3, 2, 2, True))


def peak_bytes(form: Callable[[Case, Tensor, Tensor], Tensor], case: Case) -> int:
    """The most bytes of tensors that are alive at once during a training step, inputs and gradients included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        x = torch.randn(case.x).requires_grad_()
        logits = torch.randn(case.x[0], case.groups * case.taps, *case.kept).requires_grad_()
        y = form(case, x, logits)
        y.backward(torch.ones_like(y))
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return int(np.cumsum(changes).max())


@pytest.mark.parametrize("stride", [1, 2])
def test_a_training_step_needs_less_than_three_times_its_input_and_output(stride: int) -> None:
    case = Case("memory", (1, 64, 112, 112), stride=stride, groups=8)
    logits = case.groups * case.taps * case.kept[0] * case.kept[1]
    output = case.x[1] * case.kept[0] * case.kept[1]
    size = 4 * (np.prod(case.x) + logits + output)
    ours, unfolded = peak_bytes(run_torch, case) / size, peak_bytes(unfold_form, case) / size
    assert ours < 3.0, ours
    assert unfolded > 1.5 * ours, (unfolded, ours)
    if stride == 2:
        # Here even without counting the logits as input.
        assert ours * size < 3.0 * 4 * (np.prod(case.x) + output)
    print(f"stride {stride}: {ours:.2f} times, unfold form {unfolded:.2f} times")
