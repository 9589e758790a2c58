"""Base models as publishers write them, small, and random adapters for them."""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import xtune
from xtune.registries import components
from xtune.templates.store import save_template

CHATML = (
    "{%- if tools %}{{ '<|im_start|>system\n' ~ (tools | tojson) ~ '<|im_end|>\n' }}{% endif %}"
    "{%- for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Gives the ids of the template yi_chat, and has a place for tools besides."""

SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
BESIDE = {
    "LICENSE": "licence",
    "NOTICE.txt": "notice",
    "README.md": "# card",
    "USE_POLICY.md": "policy",
    "modeling_x.py": "raise SystemExit('their code ran')",
    "preprocessor_config.json": "{}",
    "generation_config.json": '{"eos_token_id": [2, 0], "do_sample": true,\n "temperature": 0.6, "made_by": "us"}',
    "special_tokens_map.json": '{"eos_token": "<|im_end|>"}',
}
"""Files that belong to a base. Spelled as no library would write them."""
NOT_OF_THE_MODEL = [
    *(".gitattributes", "original/consolidated.00.pth", "onnx/model.onnx", "consolidated.safetensors", "params.json"),
    *("tf_model.h5", "flax_model.msgpack", "model.gguf", "training_args.bin"),
]


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def change(file: Path, *gone: str, **values) -> None:
    """Changes a JSON file and leaves it in an order and form that is nobody's."""
    found = json.loads(file.read_text()) | values
    for key in gone:
        found.pop(key, None)
    file.write_text(json.dumps(dict(reversed(found.items())), indent=3))


def publish(folder: Path, tokenizer: Path, *, spelled_for: int = 4, template: str | None = CHATML) -> None:
    """Makes a published model of a folder with config.json and weights: files beside, as transformers 4 spells them."""
    for file in tokenizer.glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    settings, config = folder / "tokenizer_config.json", folder / "config.json"
    for name, text in BESIDE.items():
        write(folder, name, text)
    for name in NOT_OF_THE_MODEL:
        write(folder, name, "x")
    change(settings, **({"chat_template": template} if template else {}))
    if spelled_for == 4:
        rope = json.loads(config.read_text()).get("rope_parameters", {})
        theta, kind = rope.pop("rope_theta", None), rope.get("rope_type", "default")
        dtype = json.loads(config.read_text())["dtype"]
        older = {"rope_theta": theta, "rope_scaling": None if kind == "default" else rope, "torch_dtype": dtype}
        change(config, "rope_parameters", "dtype", transformers_version="4.42.3", **older)
        extra = {"additional_special_tokens": json.loads(settings.read_text()).get("extra_special_tokens", [])}
        change(settings, "extra_special_tokens", tokenizer_class="PreTrainedTokenizerFast", **extra)


def stored(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of every file."""
    return {file.name: load_file(file) for file in folder.glob("model*.safetensors")}


def add_tensors(file: Path, **tensors: torch.Tensor) -> None:
    save_file(load_file(file) | tensors, file, metadata={"format": "pt"})


def random_adapter(base: Path, folder: Path, template: str | None, **options) -> torch.Tensor:
    """Writes an adapter of `base` with random weights; returns the logits of both together."""
    settings = {"r": 4, "target_modules": ["q_proj"], "init_lora_weights": False, **options}
    torch.manual_seed(1)
    tuned = get_peft_model(xtune.load_model(base, dtype="float32"), LoraConfig(**settings)).eval()
    tuned.save_pretrained(folder)
    if template is not None:
        save_template(components([]).templates[template], folder)
    return logits(tuned)


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.arange(3, 60)[None]).logits
