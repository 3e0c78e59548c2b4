"""The encoder with new task heads, and the loss of each kind of task.

Examples
--------
>>> import torch
>>> from midway import heads
>>> hidden = torch.tensor([[[1.0], [3.0], [9.0]]])  # (batch, pieces, size)
>>> heads.pool(hidden, torch.tensor([[1, 1, 0]]), "mean").tolist()
[[2.0]]
"""

import torch
from torch import nn

from midway import kinds
from midway.encoder import architectures


class LayerAttention(nn.Module):
    """Attention over layers, one mixture per token (feature aggregation, arXiv 2205.08497).

    The last layer asks, all layers answer: softmax(q(h_L) . k(h_l) / sqrt(d)) weights the layers;
    the mixture is added to the last layer. The key projection starts at zero, so that training
    starts from the uniform mixture.
    """

    def __init__(self, size: int, inner: int = 64):
        super().__init__()
        self.query, self.key = nn.Linear(size, inner), nn.Linear(size, inner)
        nn.init.zeros_(self.key.weight)
        nn.init.zeros_(self.key.bias)

    def forward(self, states) -> torch.Tensor:
        stack = torch.stack(states, 2)  # (batch, tokens, layers, size)
        q = self.query(states[-1]).unsqueeze(-1)
        weights = (self.key(stack) @ q).squeeze(-1) / q.shape[-2] ** 0.5
        mixture = (weights.softmax(-1).unsqueeze(-1) * stack).sum(2)
        return (states[-1] + mixture) / 2


class MaskedLM(nn.Module):
    """A language-modelling head tied to the (frozen or trained) input embeddings.

    The packaged encoder ships none, so transform and bias start fresh; the output matrix is the
    embedding matrix itself and gets no gradient from this head when embeddings are frozen.
    """

    def __init__(self, embeddings: nn.Embedding, hidden: int):
        super().__init__()
        size = embeddings.embedding_dim  # RemBERT's is smaller than its hidden size
        self.transform = nn.Sequential(nn.Linear(hidden, size), nn.GELU(), nn.LayerNorm(size))
        self.bias = nn.Parameter(torch.zeros(embeddings.num_embeddings))
        self._tied = [embeddings]  # in a list: not a submodule, so it is not saved twice

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.transform(hidden), self._tied[0].weight, self.bias)


class Model(nn.Module):
    """Encoder, optional layer aggregation, and one head per task trained together.

    Parameters
    ----------
    encoded : encoder.Encoded
    options : params.Encoder
        Frozen parts, pooling, aggregation.
    outputs : dict of str to (kind, size)
        Heads: ``{"mnli": ("pair", 3)}``; size 1 for choice, 2 for span.
    seed : int
        Initialises the heads: the same seed gives every variant the same fresh head.
    """

    def __init__(self, encoded, options, outputs: dict[str, tuple[str, int]], seed: int):
        super().__init__()
        self.encoder, self.options = encoded.model, options
        self.fingerprint = encoded.fingerprint
        self.pad = encoded.tokenizer.pad_token_id
        self.depth, self.longest = encoded.layers, encoded.max_length
        self.encoder.requires_grad_(True)
        for module in self._frozen():
            module.requires_grad_(False)
        self.kinds = {name: kind for name, (kind, _) in outputs.items()}
        self.heads, hidden = nn.ModuleDict(), encoded.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            attends = options.aggregation == "attention"
            self.aggregate = LayerAttention(hidden) if attends else None
            for name, (kind, size) in outputs.items():
                if kind == "mlm":
                    self.heads[name] = MaskedLM(self.encoder.get_input_embeddings(), hidden)
                else:
                    self.heads[name] = head = nn.Linear(hidden, size)
                    nn.init.normal_(head.weight, std=0.02)
                    nn.init.zeros_(head.bias)

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    def train(self, mode: bool = True):
        """Frozen parts stay in evaluation mode: their output does not depend on dropout."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        options = self.options
        return architectures.frozen(self.encoder, options.frozen_embeddings, options.frozen_layers)

    def groups(self, lr: float, head_lr: float | None, weight_decay: float) -> list[dict]:
        """Optimiser groups: encoder and heads, each with and without weight decay."""
        groups: dict[tuple[bool, bool], list] = {}
        for name, p in self.named_parameters():
            if p.requires_grad:
                decays = p.ndim > 1 and "LayerNorm" not in name
                groups.setdefault((name.startswith("encoder."), decays), []).append(p)
        rates = {True: lr, False: head_lr or lr}
        return [
            {"params": ps, "lr": rates[encoder], "weight_decay": weight_decay * decays}
            for (encoder, decays), ps in groups.items()
        ]

    def states(self, batch: dict) -> tuple[torch.Tensor, ...]:
        """Hidden states from the frozen trunk's output (index 0) to the last layer.

        Without a frozen trunk index 0 is the embeddings' output. ``batch["trunk"]`` holds the
        trunk's output where it was computed before.
        """
        frozen, mask, start = self.options.frozen_layers, batch["mask"], batch.get("trunk")
        if start is None and self.options.frozen_embeddings:
            with torch.no_grad():
                start = self.all_states(batch, last=frozen)[-1]
        if start is None:
            return self.all_states(batch)
        return architectures.run(self.encoder, start, mask, first=frozen)

    def all_states(self, batch: dict, last: int | None = None) -> tuple[torch.Tensor, ...]:
        """Hidden states from the embeddings' output (index 0) to layer ``last``."""
        mask = batch["mask"]
        start = architectures.embed(self.encoder, batch["ids"], batch.get("types"), mask)
        return architectures.run(self.encoder, start, mask, last=last)

    def forward(self, batch: dict, task: str) -> torch.Tensor:
        """Logits: (sequences, classes) for pair, (sequences, 1) choice, (sequences, pieces,
        classes) for span and tags, (masked, vocabulary) for mlm."""
        states = self.states(batch)
        top = self.aggregate(states) if self.aggregate is not None else states[-1]
        kind = self.kinds[task]
        if kind == "mlm":
            top = top[batch["masked"]]
        elif kinds.get(kind).pooled:
            top = pool(top, batch["mask"], self.options.head_pooling)
        return self.heads[task](top).float()


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """(batch, size): first token, or the mean over real tokens (specials included, as XTREME's
    evaluate_retrieval.py does)."""
    if how == "cls":
        return hidden[:, 0]
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp_min(1)


def loss(logits: torch.Tensor, batch: dict, kind: str) -> torch.Tensor:
    """Mean cross-entropy in nats per example (pair, choice, span) or word (tags, mlm)."""
    if kind == "mlm":
        return nn.functional.cross_entropy(logits, batch["tags"])
    return kinds.get(kind).loss(logits, batch)
