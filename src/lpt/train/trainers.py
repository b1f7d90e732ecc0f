"""TRL's two trainers, made right where they are not, as little as that takes.

Both are handed token ids, labels and pixels that were made elsewhere, so what TRL does with text and images is not
used. What is changed beside that:

- `DPOTrainer`'s SFT term (`loss_type="sft"`) covers the whole chosen side and is a mean over the tokens of a batch:
  it would teach the wrong thought that an X→O pair begins with, and depends on how a batch is divided. Here it is
  the mean over pairs of the mean over what is learnt, as in LLaMA-Factory, which the published models came from.
- `DPOTrainer` refuses precomputed reference log-probabilities for vision data sets, since it prepares images on the
  way (huggingface/trl#5867). Ours are prepared, so it need not know of them.
- The reference must be what training starts from. TRL loads a missing one from the path in the configuration, which
  need not be it. Here the first step's loss is held against ln 2.
- transformers saves a Qwen2.5-VL's weights under other names than those they have while it is trained. `Trainer`
  looks for the latter, so that resuming, and going back to the best checkpoint, leave the weights as they are and
  only warn (huggingface/transformers#43701). Here they are read as `from_pretrained` reads them, and a weight that
  is missing is an error.
"""

import errno
import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.trainer_utils import EvalLoopOutput
from trl import DPOTrainer, SFTTrainer

from lpt.errors import StoreError, UserError

Judge = Callable[[Any], dict[str, float]]
"""A trainer, whose model is in evaluation mode → metrics by name, without the prefix."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_SAID = ("No space left", "file write failed", "unexpected pos", "File too large", "Read-only file system")
_LOOSE = 0.1
"""How far the first loss may be from ln 2 where log-probabilities were worked out in another batch, in bfloat16."""
_TIGHT = 1e-3


class _Ours:
    """What both have in common."""

    judge: Judge | None = None

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def evaluation_loop(self, *words: Any, **named: Any) -> EvalLoopOutput:
        """Evaluate, and grade what the model answers: in time for those who choose the best checkpoint."""
        out: EvalLoopOutput = super().evaluation_loop(*words, **named)  # type: ignore[misc]
        if self.judge and out.metrics is not None:
            prefix = named.get("metric_key_prefix", "eval")
            out.metrics.update({f"{prefix}_{name}": value for name, value in self.judge(self).items()})
        return out

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not self._load_whole(resume_from_checkpoint, model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]

    def _load_best_model(self) -> None:
        if not self._load_whole(self.state.best_model_checkpoint):  # type: ignore[attr-defined]
            super()._load_best_model()  # type: ignore[misc]

    def _load_whole(self, checkpoint: str, model: Any = None) -> bool:
        """Put a checkpoint's weights into the model; False where they are an adapter's, or sharded."""
        model = self.model if model is None else model  # type: ignore[attr-defined]
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled  # type: ignore[attr-defined]
        if sharded or not isinstance(model, PreTrainedModel):
            return False
        saved = type(model).from_pretrained(checkpoint, dtype=torch.float32)
        model.load_state_dict(saved.state_dict())
        return True

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
        except Exception as error:
            if not disk_failed(error):
                raise
            where = self.args.output_dir  # type: ignore[attr-defined]
            raise StoreError(
                f"a checkpoint could not be written to {where} ({str(error).splitlines()[0]}): make room; the same "
                "command with --resume goes on from the last one that is whole"
            ) from error


class Sft(_Ours, SFTTrainer):  # type: ignore[misc]
    """SFT on ready-made ids and labels."""


class Dpo(_Ours, DPOTrainer):  # type: ignore[misc]
    """DPO on ready-made ids and masks, with an SFT term of our own."""

    sft_weight = 0.0

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        mask = inputs["sft_mask"]
        inputs = {key: value for key, value in inputs.items() if key != "sft_mask"}
        seen: list[Any] = []

        def asked(**words: Any) -> Any:
            seen.append(model(**words))
            return seen[-1]

        found = super()._compute_loss(asked, inputs, return_outputs)
        loss, outputs = found if return_outputs else (found, None)
        mode = "train" if self.model.training else "eval"
        if mode == "train" and self.state.global_step == 0:
            self._held_to_its_start(float(loss.detach()))
        self._metrics[mode]["dpo_loss"].append(float(loss.detach()))
        if self.sft_weight:
            # The first call is the policy's; its log-probabilities are 0 wherever nothing is compared.
            chosen = seen[0].log_probs[:, -(mask.size(1) - 1) :].chunk(2)[0]
            learnt = mask[:, 1:].chunk(2)[0]
            term = -((chosen * learnt).sum(1) / learnt.sum(1).clamp(min=1)).mean()
            self._metrics[mode]["sft_loss"].append(float(term.detach()))
            loss = loss + self.sft_weight * term
        return (loss, outputs) if return_outputs else loss

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        """As TRL's, which knows nothing of our mask."""
        return super().compute_ref_log_probs(
            model, {key: value for key, value in inputs.items() if key != "sft_mask"}
        )

    def _held_to_its_start(self, loss: float) -> None:
        tolerance = _LOOSE if self.precompute_ref_logps and self.args.bf16 else _TIGHT
        if not abs(loss - math.log(2)) <= tolerance * max(1.0, self.beta):
            raise UserError(
                f"the first step's loss is {loss:.4f} and not ln 2 = 0.6931: the reference is not the model that "
                "training starts from. Were its weights changed after it was saved, or has it dropout?"
            )


def disk_failed(error: BaseException) -> bool:
    """Whether an error of a library that writes weights means the disk."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _FULL:
            return True
        if any(words in str(found) for words in _SAID):
            return True
        found = found.__cause__ or found.__context__
    return False
