"""convert merge: a base model and an adapter become one plain transformers folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xtune.export.folder import whole_folder
from xtune.export.layout import Layout, save_layout
from xtune.export.source import source_folder
from xtune.export.tokenizer_choice import trained_tokenizer
from xtune.export.weights import StoredWeights
from xtune.models.adapter import load_adapter
from xtune.models.adapter_files import check_adapter
from xtune.models.config_file import load_config_file
from xtune.models.identity import recorded_base, refuse_other_base
from xtune.models.load import load_model
from xtune.models.vocabulary import added_beyond, embedding_rows
from xtune.quantization.stored import refuse_quantized
from xtune.templates.store import load_template

UNQUANTIZED = "merge into the model that is not quantized, with --other-base"

if TYPE_CHECKING:
    from peft import PeftModel


def merge(
    model: str,
    adapter: str | Path,
    out: str | Path,
    *,
    dtype: str = "auto",
    layout: Layout = "original",
    force: bool = False,
    other_base: bool = False,
) -> None:
    """Writes `model` with `adapter` merged into its weights to `out`, with the tokenizer and chat template that were
    trained. The base is loaded unquantized, in the dtype it is stored in unless `dtype` names another: merging into
    4-bit weights would round the adapter away. `layout` is a choice for the legacy families only (see
    `xtune.export.layout`). `other_base` allows a model with other weights than the adapter was trained on.
    Raises ModelError and XtuneError; `out` appears whole or not at all.
    """
    with whole_folder(out, force=force) as folder:
        check_adapter(adapter)  # a wrong folder is reported before minutes of loading
        source = source_folder(model)
        config = load_config_file(model)
        refuse_quantized(model, config, "no adapter can be merged into it", UNQUANTIZED)
        refuse_other_base(f"adapter {adapter}", recorded_base(adapter), model, other_base=other_base)
        template = load_template(adapter)
        tokenizer, its_files = trained_tokenizer(Path(adapter), source, template)
        added_beyond(tokenizer, embedding_rows(config))  # another model's tokenizer is refused
        loaded_as = StoredWeights(source).usual_dtype() if dtype == "auto" else dtype
        tuned = load_adapter(load_model(model, dtype=loaded_as, device="cpu"), adapter)
        untie(tuned)
        save_layout(
            tuned.merge_and_unload(),
            source,
            layout,
            folder,
            tokenizer=(tokenizer, its_files),
            template=template,
            dtype=None if dtype == "auto" else dtype,
            added=1,  # a head that shared its weight with the embeddings and no longer does
        )


def untie(model: PeftModel) -> None:
    """Gives head and embeddings that share a weight one each, where an adapter is on either: merging it would change
    the other one too.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    base = model.get_base_model()
    head, embeddings = base.get_output_embeddings(), base.get_input_embeddings()
    if head is None or head.weight is not embeddings.weight:
        return
    if any(isinstance(module, BaseTunerLayer) for module in (head, embeddings)):
        layer = head.get_base_layer() if isinstance(head, BaseTunerLayer) else head
        layer.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        base.config.tie_word_embeddings = False
