"""convert pth_to_hf: a checkpoint becomes a plain peft adapter (LoRA, QLoRA) or transformers folder (full)."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtune.checkpoints.checkpoint import find_checkpoint, read_manifest, while_there
from xtune.errors import CheckpointError
from xtune.export.chat_files import save_chat_files
from xtune.export.config_file import save_config
from xtune.export.folder import refuse_needed, whole_folder
from xtune.export.source import carry, source_folder
from xtune.export.weights import StoredWeights, write_weights
from xtune.models.config_file import read_config
from xtune.models.identity import recorded_base, save_base
from xtune.models.load import load_tokenizer
from xtune.templates.store import load_template

if TYPE_CHECKING:
    from xtune.config.schema import Config


def pth_to_hf(config: Config, checkpoint: str | Path, out: str | Path, *, force: bool = False) -> Path:
    """Writes the weights of `checkpoint` (a checkpoint, or a work dir: its newest good one) to `out`, with the
    tokenizer and the chat template that were trained. Returns the checkpoint that was taken.

    Raises CheckpointError where it is damaged, or was trained with another model or tuning than `config` says.
    """
    source = find_checkpoint(checkpoint)
    with while_there(source):
        trained, template, base = _trained_config(source), load_template(source), recorded_base(source)
    for section in ("model", "tuning"):
        wanted, found = getattr(config, section).name, trained[section]["name"]
        if wanted != found:
            raise CheckpointError(
                f"checkpoint {source} has another {section} than the config: got `{found}`, the config says {wanted}",
                "give the config that it was trained with",
            )
    path, tokenizer_path = trained["model"]["path"], trained["model"].get("tokenizer") or trained["model"]["path"]
    refuse_needed(out, source, path, tokenizer_path)
    with whole_folder(out, force=force) as folder:
        with while_there(source):
            names = [name for name in read_manifest(source)["files"] if "/" not in name and name[:6] != "xtune_"]
            if adapter := "adapter_config.json" in names:
                for name in names:
                    shutil.copyfile(source / name, folder / name)
            else:
                _save_full(source, source_folder(path), folder, tokenizer=tokenizer_path == path)
        if adapter:
            _name_base(folder, path)
            save_base(base, folder)
        save_chat_files(template, load_tokenizer(tokenizer_path), source_folder(tokenizer_path), folder)
    return source


def _trained_config(checkpoint: Path) -> dict[str, Any]:
    """The values of the config that a checkpoint was trained with."""
    values: dict[str, Any] = json.loads((checkpoint / "xtune_config.json").read_text(encoding="utf-8"))
    return values


def _save_full(checkpoint: Path, base: Path, folder: Path, *, tokenizer: bool) -> None:
    """Writes a model that was trained whole as the base is stored, but in the dtype that was trained."""
    carry(base, folder, tokenizer=tokenizer)
    weights = StoredWeights(checkpoint)
    write_weights(weights, StoredWeights(base), folder, as_stored=False)
    save_config(read_config(checkpoint)[0], base, folder, str(weights.usual_dtype()).removeprefix("torch."))


def _name_base(folder: Path, base: str) -> None:
    """Writes the model's path into an adapter's config, as the run had it (peft puts the folder that was loaded), but
    for a relative one: the adapter will be used from other places.
    """
    file = folder / "adapter_config.json"
    if file.is_file():
        values = json.loads(file.read_text(encoding="utf-8"))
        values["base_model_name_or_path"] = os.path.abspath(base) if os.path.exists(base) else base
        file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
