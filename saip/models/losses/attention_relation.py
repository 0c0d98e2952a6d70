"""Distance between token relations of student and expert."""

from torch import Tensor

from saip.models.ops.precision import widen

EPSILON = 1e-10


def relation_kl(student: Tensor, expert: Tensor) -> Tensor:
    """Mean KL(expert || student) over batch, heads and queries.

    Args:
        student: (B, H, T, T) probabilities, rows sum to 1.
        expert: likewise.

    Returns:
        Scalar.
    """
    s, t = widen(student), expert
    t = t.to(s.dtype) + EPSILON
    return (t * (t.log() - (s + EPSILON).log())).sum(-1).mean()
