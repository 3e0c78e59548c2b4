"""Masked-language modelling together with an intermediate task (the variants ``+mlm``)."""

import numpy as np
import torch

from midway.data import sources
from midway.encoder.device import Inputs
from midway.encoder.heads import loss
from midway.kinds.tokens import texts


class MLM:
    """Masked-language modelling on sentences of the target languages, one batch per step.

    15 % of the pieces are predicted; of these 80 % are masked, 10 % replaced, 10 % kept (BERT).
    Languages are drawn with probability proportional to n ** alpha (X-STILTs v1: alpha 0.3).
    """

    def __init__(self, run, batch_size: int = 16):
        self.run, self.batch_size = run, batch_size
        study, tokenizer = run.study, run.encoded.tokenizer
        lines = sources.sentences(study.data)
        self.features = {
            lang: texts(found, tokenizer, study.intermediate.max_length)
            for lang, found in lines.items()
        }
        counts = np.array([len(f.sequences) for f in self.features.values()], float)
        self.shares = counts**study.intermediate.mlm_alpha
        self.shares /= self.shares.sum()
        self.mask, self.special = tokenizer.mask_token_id, set(tokenizer.all_special_ids)
        self.weight = study.intermediate.mlm_share

    def __call__(self, step: int):
        rng = np.random.default_rng([self.run.seed, 17, step])  # of the step: resumable
        lang = list(self.features)[rng.choice(len(self.shares), p=self.shares)]
        f = self.features[lang]
        chosen = rng.choice(len(f.sequences), min(self.batch_size, len(f.sequences)), replace=False)
        batch = Inputs(f, self.run.model, self.run.machine, None).tensors(chosen)
        ids = batch["ids"].cpu().numpy()
        open_ = batch["mask"].cpu().numpy() & ~np.isin(ids, list(self.special))
        asked = open_ & (rng.random(ids.shape) < 0.15)
        if not asked.any():
            asked.flat[np.flatnonzero(open_)[:1]] = True
        gold, how = ids[asked], rng.random(ids.shape)
        words = self.run.encoded.model.config.vocab_size
        ids = np.where(asked & (how < 0.8), self.mask, ids)
        ids = np.where(asked & (how >= 0.9), rng.integers(5, words - 1, ids.shape), ids)
        device = batch["ids"].device
        for name, value in {"ids": ids, "masked": asked, "tags": gold}.items():
            batch[name] = torch.from_numpy(value).to(device)
        return loss(self.run.model(batch, "mlm"), batch, "mlm") * self.weight
