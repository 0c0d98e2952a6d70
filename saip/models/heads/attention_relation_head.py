"""Loss of the relation objective."""

from mmengine.model import BaseModule
from torch import Tensor

from saip.models.losses.attention_relation import relation_kl
from saip.registry import MODELS
from saip.structures import Relations


@MODELS.register_module()
class AttentionRelationHead(BaseModule):
    """KL between last-block relations, the query-key and the value-value part added."""

    def loss(self, student: Relations, expert: Relations) -> Tensor:
        """Scalar loss between (B, H, T, T) relations of the same views."""
        return relation_kl(student.query_key, expert.query_key) + relation_kl(
            student.value_value, expert.value_value
        )
