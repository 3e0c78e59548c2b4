"""Supported architectures: the paths of their parts, and how to run a range of layers.

All are classes of transformers itself; code from a checkpoint is never run. State 0 is the output
of the embeddings, state l that of layer l, as ``model(..., output_hidden_states=True)`` gives them;
a norm after the last layer belongs to the last layer that is kept.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from midway.study.errors import InputError

if TYPE_CHECKING:
    import torch

SHORT = 256  # pieces; measured with benchmarks/training.py


@dataclass(frozen=True)
class Shape:
    """One architecture. Names of parts are attribute paths of the model."""

    cls: str  # module and class below transformers.models
    layers: str = "encoder.layer"
    embeddings: tuple[str, ...] = ("embeddings",)
    shared: tuple[str, ...] = ()  # parameters that every layer uses: frozen with the lowest layer
    norm: str | None = None  # after the last layer
    dropout: tuple[str, ...] = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    fused: bool = True  # knows torch's scaled_dot_product_attention
    pooler: bool = True  # the class takes add_pooling_layer


SHAPES = {  # by model_type of config.json
    "bert": Shape("bert.modeling_bert.BertModel"),
    "xlm-roberta": Shape("xlm_roberta.modeling_xlm_roberta.XLMRobertaModel"),
    "rembert": Shape(
        "rembert.modeling_rembert.RemBertModel", fused=False,
        embeddings=("embeddings", "encoder.embedding_hidden_mapping_in"),
    ),
    "deberta-v2": Shape(
        "deberta_v2.modeling_deberta_v2.DebertaV2Model", fused=False, pooler=False,
        shared=("encoder.rel_embeddings", "encoder.LayerNorm", "encoder.conv"),
    ),
    "modernbert": Shape(
        "modernbert.modeling_modernbert.ModernBertModel", "layers", norm="final_norm",
        dropout=("embedding_dropout", "attention_dropout", "mlp_dropout"), pooler=False,
    ),
    "eurobert": Shape(
        "eurobert.modeling_eurobert.EuroBertModel", "layers", ("embed_tokens",), norm="norm",
        dropout=("attention_dropout",), pooler=False,
    ),
}  # fmt: skip


def check(settings: dict, key: str) -> None:
    """Refuse a config.json whose architecture cannot be trained here, with the reason."""
    kind, known = settings.get("model_type"), ", ".join(SHAPES)
    if kind in SHAPES and not settings.get("is_decoder"):
        return
    if kind in SHAPES:
        reason = "is_decoder is true: it reads from left to right"
    elif settings.get("auto_map"):
        reason = f"model_type {kind!r} needs code from its own repository, which is never run here"
    else:
        reason = f"model_type {kind!r} is not supported"
    raise InputError(f"{key}: {reason}; use one of {known}")


def model_class(kind: str) -> Any:
    """The model's class, imported directly, because transformers' Auto classes import far more."""
    module, name = SHAPES[kind].cls.rsplit(".", 1)
    return getattr(import_module(f"transformers.models.{module}"), name)


def part(model, path: str):
    """A part of a model by its attribute path; None where this model has none."""
    for name in path.split("."):
        model = getattr(model, name, None)
    return model


def layers(model) -> "torch.nn.ModuleList":
    """The model's layers, lowest first."""
    return part(model, SHAPES[model.config.model_type].layers)


def frozen(model, embeddings: bool, lowest: int) -> "list[torch.nn.Module]":
    """The frozen modules: embeddings, the lowest layers and what layers share."""
    shape = SHAPES[model.config.model_type]
    names = shape.embeddings * embeddings + shape.shared * bool(lowest)
    found = [part(model, name) for name in names]
    return [m for m in [*found, *layers(model)[:lowest]] if m is not None]


def embed(model, ids, types=None, mask=None) -> "torch.Tensor":
    """State 0 of token ids (batch, pieces): (batch, pieces, hidden)."""
    kind = model.config.model_type
    if kind == "eurobert":
        return model.embed_tokens(ids)
    if kind == "modernbert":
        return model.embeddings(input_ids=ids)
    if kind == "deberta-v2":  # sets padding to zero
        return model.embeddings(input_ids=ids, token_type_ids=types, mask=mask)
    state = model.embeddings(input_ids=ids, token_type_ids=types)
    return model.encoder.embedding_hidden_mapping_in(state) if kind == "rembert" else state


def run(model, state, mask=None, first: int = 0, last: int | None = None) -> tuple:
    """Run layers ``first`` + 1 to ``last`` (counted from 1; None: all) of the encoder.

    state: (batch, pieces, hidden), of layer ``first``; mask: (batch, pieces), 1 at pieces, 0 at
    padding. Returns the states ``first`` (which is ``state``) to ``last``.
    """
    shape, kind = SHAPES[model.config.model_type], model.config.model_type
    if state.is_cuda:
        import torch

        # cuDNN's attention plans each new shape for 0.2 to 2 s; only training has few shapes
        torch.backends.cuda.enable_cudnn_sdp(torch.is_grad_enabled())
    if shape.fused:
        # On a CPU the fused kernel's backward took a quarter of a training step of short sequences.
        short = state.device.type == "cpu" and state.shape[1] <= SHORT
        wanted = "eager" if short else "sdpa"
        if model.config._attn_implementation != wanted:  # setting it walks all modules
            model.set_attn_implementation(wanted)
    stack, states = layers(model), [state]
    last = len(stack) if last is None else last
    options = _options(model, kind, state, mask)
    for i, layer in enumerate(stack[first:last], first + 1):
        out = layer(states[-1], **options[getattr(layer, "attention_type", None)])
        out = out[0] if isinstance(out, tuple) else out
        if i == 1 and part(model, "encoder.conv") is not None:
            ones = state.new_ones(state.shape[:2]) if mask is None else mask
            out = model.encoder.conv(state, out, ones)
        if i == len(stack) and shape.norm:
            out = part(model, shape.norm)(out)
        states.append(out)
    return tuple(states)


def _options(model, kind, state, mask) -> dict:
    """Arguments of a layer besides its input, by the kind of attention."""
    import torch
    from transformers import masking_utils as masks

    given = {"config": model.config, "inputs_embeds": state, "attention_mask": mask}
    if kind == "deberta-v2":
        stack = model.encoder
        ones = state.new_ones(state.shape[:2]) if mask is None else mask
        return {None: {
            "attention_mask": stack.get_attention_mask(ones),
            "relative_pos": stack.get_rel_pos(state), "rel_embeddings": stack.get_rel_embedding(),
        }}  # fmt: skip
    full = {"attention_mask": masks.create_bidirectional_mask(**given)}
    if kind in ("bert", "xlm-roberta", "rembert"):
        return {None: full}
    places = torch.arange(state.shape[1], device=state.device)[None]
    if kind == "eurobert":
        return {None: full | {"position_embeddings": model.rotary_emb(state, places)}}
    near = {"attention_mask": masks.create_bidirectional_sliding_window_mask(**given)}
    both = {"full_attention": full, "sliding_attention": near}
    return {
        name: masked | {"position_embeddings": model.rotary_emb(state, places, name)}
        for name, masked in both.items()
        if name in model.config.layer_types
    }
