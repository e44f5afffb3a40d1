"""Self-regulation's losses against their formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from adroit.models.losses.self_regulation import (
    ExitAnswers,
    deep_to_shallow,
    deep_to_shallow_binary,
    pixel_cross_entropy,
    present_classes,
    shallow_to_deep,
    shallow_to_deep_hard,
    teaching,
    tempered_cross_entropy,
)
from tests.models.losses.direct import Array, numeric_gradient, softmax, some_places


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exits(count: int = 3, of_pixels: bool = True) -> list[ExitAnswers]:
    """Features [2,5,4,6], pixels [2,3,8,12] and images [2,3] of each."""
    return [
        ExitAnswers(
            numbers(2, 5, 4, 6, seed=3 * i), numbers(2, 3, 8, 12, seed=3 * i + 1), numbers(2, 3, seed=3 * i + 2)
        )
        for i in range(count)
    ]


def normalized(vector: Array, how: str) -> Array:
    if how == "softmax":
        return softmax(vector)
    positive = np.maximum(vector, 0) + 1e-6
    return positive / positive.sum()


def direct(teacher: Array, student: Array, temperature: float, how: str = "softmax", literal: bool = False) -> float:
    """- sum_j t_j^(1/tau) log s_j^(1/tau), position by position, of [N,M,h,w]."""
    values = []
    for sample in range(len(teacher)):
        for place in np.ndindex(teacher.shape[2:]):
            t = normalized(teacher[(sample, slice(None), *place)], how) ** (1 / temperature)
            s = normalized(student[(sample, slice(None), *place)], how) ** (1 / temperature)
            if not literal:
                t, s = t / t.sum(), s / s.sum()
            values.append(-sum(t[j] * np.log(s[j]) for j in range(len(t))))
    return float(np.mean(values))


def check_gradient(loss: Callable[[Tensor], Tensor], by_hand: Callable[[Array], float], at: Tensor) -> None:
    """The loss's gradient is the derivative of the formula."""
    at = at.clone().requires_grad_()
    loss(at).backward()
    assert at.grad is not None
    places = some_places(tuple(at.shape), 10)
    expected = numeric_gradient(by_hand, at.detach().numpy(), places)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose([at.grad.numpy()[p] for p in places], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("how", ["softmax", "sum"])
@pytest.mark.parametrize("temperature", [1.0, 3.0, 0.5])
def test_teaching_is_the_formula_less_its_least_value(temperature: float, how: str, literal: bool) -> None:
    teacher, student = numbers(2, 5, 3, 4), numbers(2, 5, 3, 4, seed=1)
    t, s = teacher.numpy(), student.numpy()
    result = tempered_cross_entropy(teacher, student, temperature, how, literal)
    np.testing.assert_allclose(result.item(), direct(t, s, temperature, how, literal), rtol=1e-12)
    taught = teaching(teacher, student, temperature, how, literal)
    least = direct(t, t, temperature, how, literal)
    np.testing.assert_allclose(taught.item(), result.item() - least, rtol=1e-9)
    check_gradient(
        lambda x: teaching(teacher, x, temperature, how, literal),
        lambda x: direct(t, x, temperature, how, literal),
        student,
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equal_exits_teach_nothing(temperature: float) -> None:
    same = exits(1)[0]
    copies = [
        ExitAnswers(*(x.clone().requires_grad_() for x in (same.features, same.of_pixels, same.image)))
        for _ in range(4)
    ]
    total = (
        shallow_to_deep(copies, temperature)
        + deep_to_shallow(copies, temperature)
        + deep_to_shallow(copies, temperature, of_pixels=True)
    )
    total.backward()
    assert abs(total.item()) < 1e-12
    for answers in copies:
        for x in (answers.features, answers.of_pixels, answers.image):
            assert x.grad is None or float(x.grad.abs().max()) < 1e-15


def test_unequal_exits_are_above_zero_and_literal_powers_are_zero_at_equality_too() -> None:
    """With literal powers equality is no minimum: that is why they are not the default."""
    a, b = exits(2)
    assert shallow_to_deep([a, b], 2.0).item() > 0.01 and deep_to_shallow([a, b], 2.0).item() > 0.01
    assert abs(shallow_to_deep([a, a], 2.0, literal=True).item()) < 1e-12


def test_shallow_teaches_deep_and_deep_teaches_shallow() -> None:
    answers = exits(3)
    f, p, i = ([getattr(e, name) for e in answers] for name in ("features", "pixels", "image"))
    image = [x[..., None, None] for x in i]
    pairs = {
        shallow_to_deep(answers, 2.0): [(f[0], f[1]), (f[0], f[2])],
        deep_to_shallow(answers, 2.0): [(image[2], image[0]), (image[2], image[1])],
        deep_to_shallow(answers, 2.0, of_pixels=True): [(p[2], p[0]), (p[2], p[1])],
    }
    for result, taught in pairs.items():
        expected = sum(direct(t.numpy(), s.numpy(), 2.0) - direct(t.numpy(), t.numpy(), 2.0) for t, s in taught)
        assert result.item() == pytest.approx(expected, rel=1e-10)


def test_teachers_get_no_gradient() -> None:
    answers = exits(3)
    for e in answers:
        for x in (e.features, e.of_pixels, e.image):
            x.requires_grad_()
    (
        shallow_to_deep(answers)
        + deep_to_shallow(answers)
        + shallow_to_deep_hard(answers)
        + deep_to_shallow_binary(answers)
    ).backward()
    assert answers[0].features.grad is None and answers[0].of_pixels.grad is None and answers[2].image.grad is None
    taught = [answers[1].features, answers[2].features, answers[2].of_pixels, answers[0].image, answers[1].image]
    assert all(x.grad is not None and bool((x.grad != 0).all()) for x in taught)


def test_a_smaller_student_is_resized() -> None:
    teacher, student = numbers(1, 5, 8, 12), numbers(1, 5, 4, 6, seed=1)
    resized = functional.interpolate(student, (8, 12), mode="bilinear", align_corners=False)
    assert teaching(teacher, student).item() == teaching(teacher, resized).item()
    assert shallow_to_deep([exits(1)[0], ExitAnswers(numbers(2, 5, 2, 3), None, numbers(2, 3))]).item() > 0


def test_the_codes_hard_labels() -> None:
    answers = exits(3)
    first, *others = (e.of_pixels.numpy() for e in answers)
    labels = first.argmax(1)

    def by_hand(student: Array) -> float:
        places = list(np.ndindex(labels.shape))
        return -float(np.mean([np.log(softmax(student[n, :, r, c])[labels[n, r, c]]) for n, r, c in places]))

    assert shallow_to_deep_hard(answers).item() == pytest.approx(sum(map(by_hand, others)), rel=1e-12)
    a, b = answers[:2]
    check_gradient(lambda x: shallow_to_deep_hard([a, ExitAnswers(b.features, x, b.image)]), by_hand, b.of_pixels)


def test_the_codes_binary_scores() -> None:
    answers = exits(3)
    last = 1 / (1 + np.exp(-answers[2].image.numpy()))

    def by_hand(student: Array) -> float:
        scores = 1 / (1 + np.exp(-student))
        return -float(np.mean(last * np.log(scores) + (1 - last) * np.log(1 - scores)))

    expected = sum(by_hand(e.image.numpy()) for e in answers[:2])
    assert deep_to_shallow_binary(answers).item() == pytest.approx(expected, rel=1e-12)
    a, c = answers[0], answers[2]
    check_gradient(lambda x: deep_to_shallow_binary([ExitAnswers(a.features, None, x), c]), by_hand, a.image)


def test_present_classes_are_those_of_the_labels_and_void_is_none() -> None:
    labels = torch.tensor([[[0, 11], [2, 2]], [[11, 11], [11, 11]]])
    assert present_classes(labels, 4).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]


def test_pixels_that_do_not_count_have_no_influence() -> None:
    logits, labels = numbers(2, 3, 4, 5).requires_grad_(), torch.randint(0, 3, (2, 4, 5))
    labels[0, 2] = 11
    counted = labels != 11
    loss = pixel_cross_entropy(logits, labels, 11)
    loss.backward()
    expected = functional.cross_entropy(logits.movedim(1, 3)[counted], labels[counted])
    assert logits.grad is not None and bool((logits.grad.movedim(1, 3)[~counted] == 0).all())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert pixel_cross_entropy(logits, torch.full_like(labels, 11), 11).item() == 0.0
    assert pixel_cross_entropy(logits, labels.clamp(max=2), None).item() > 0


def test_short_types_are_summed_in_float32() -> None:
    teacher, student = numbers(2, 64, 8, 8).half(), numbers(2, 64, 8, 8, seed=1).half()
    result = teaching(teacher, student)
    assert result.dtype == torch.float32
    assert result.item() == pytest.approx(teaching(teacher.double(), student.double()).item(), rel=1e-5)
