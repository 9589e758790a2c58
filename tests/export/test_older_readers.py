"""What leaves is read by transformers 4 as by 5: config values, ids and logits.

transformers 4 is installed into a folder of its own, beside this environment's torch, at the first run.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import read_folder
import torch
from bases import SCALING, change, logits, publish, random_adapter
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

import xtune
from xtune.cli import main
from xtune.export.merge import merge
from xtune.export.spelling import both_spellings

pytestmark = pytest.mark.slow
OLDER = ["transformers==4.57.1", "huggingface_hub==0.36.2", "tokenizers==0.22.2"]
INSTALL = ["--quiet", "--retries", "1", "--no-deps", "--target"]
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def older():
    """The folder of transformers 4; skips where it cannot be installed."""
    folder = Path(sys.prefix) / "transformers4"
    if not (folder / "transformers").is_dir():
        pip = [sys.executable, "-m", "pip", "install", *INSTALL, str(folder), *OLDER]
        if subprocess.run(pip, check=False).returncode:
            pytest.skip("transformers 4 cannot be installed: there is no package index")
    return folder


def read(what, *folders, by=None):
    """What transformers sees in each folder: this one, or that in the folder `by`."""
    places = list(map(str, folders))
    if by is None:
        found = read_folder.read(what, places)
    else:
        with tempfile.NamedTemporaryFile() as out:
            command = [sys.executable, str(HERE / "read_folder.py"), what, out.name, *places]
            subprocess.run(command, env=os.environ | {"PYTHONPATH": str(by)}, check=True, capture_output=True)
            version, found = torch.load(out.name)
        assert version.startswith("4.")
    return [found[place] for place in places]


SMALL = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
LAYERS = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 3e4},
}
MODELS = {
    "llama": {"rope_parameters": {"rope_theta": 5e5, **SCALING}, "tie_word_embeddings": True},
    "qwen2": {"rope_parameters": {"rope_theta": 1e6, "rope_type": "yarn", "factor": 4.0}},
    "qwen3": {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}},
    "qwen3_moe": EXPERTS,
    "mixtral": {**EXPERTS, "rope_parameters": {"rope_theta": 1e6}},
    "gemma3_text": {"rope_parameters": LAYERS, "layer_types": ["full_attention", "sliding_attention"]},
    "glm4": {"rope_parameters": {"rope_theta": 2e4, "partial_rotary_factor": 0.5}},
    "gpt_neox": {"rope_parameters": {"rope_theta": 2e4, "partial_rotary_factor": 0.5}},
    "phi3": {"rope_parameters": {"rope_theta": 2e4, **LONG}, "original_max_position_embeddings": 128},
    "olmo2": {"rope_parameters": {"rope_theta": 2e4, "rope_type": "linear", "factor": 3.0}},
}
TARGETS = {"gpt_neox": ["query_key_value"], "phi3": ["qkv_proj"]}


OFFICIAL = {
    "vendor/llama3_1": (
        "llama3_chat",
        {"vocab_size": 128256, "bos_token_id": 128000, "eos_token_id": [128001, 128009]},
    ),
    "vendor/qwen3": ("qwen3_chat", {"vocab_size": 151936, "bos_token_id": 151643, "eos_token_id": 151645}),
    "vendor/llama2": ("llama2_chat", {"vocab_size": 32000, "eos_token_id": 2}),
}
"""Vendors' tokenizers, the templates of their models, and what their configs say of tokens."""


def small_model(folder, kind, **settings):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SMALL | settings)).save_pretrained(folder)
    return folder


def merged(folder, template, **adapter):
    """Merges folder/base with a random adapter into folder/out; the logits of both together."""
    wanted = random_adapter(folder / "base", folder / "adapter", template, **adapter)
    merge(str(folder / "base"), folder / "adapter", folder / "out")
    return wanted[0]


def legacy_model(folder, shared):
    sys.path.insert(0, str(HERE.parent / "legacy"))
    from legacy_vendors import variant

    variant("internlm2", folder)
    for file in (shared / "data" / "tokenizers" / "internlm2").iterdir():
        if file.name != "config.json":
            (folder / file.name).write_bytes(file.read_bytes())
    change(folder / "config.json", rope_theta=20000.0, rope_scaling={"type": "dynamic", "factor": 2.0})


@pytest.fixture(scope="module")
def made(older, tiny_model, tmp_path_factory):
    """Folders by name, each with base/ and out/, and the logits that out/ should have; all are read at once."""
    root, wanted = tmp_path_factory.mktemp("made"), {}
    for number, (kind, settings) in enumerate(MODELS.items()):
        publish(small_model(root / kind / "base", kind, **settings), tiny_model, spelled_for=5)
        template, targets = ("yi_chat", "chatml")[number % 2], TARGETS.get(kind, ["q_proj"])
        wanted[kind] = merged(root / kind, template, target_modules=targets)
    publish(small_model(root / "published" / "base", "llama", **MODELS["llama"]), tiny_model)
    wanted["published"] = merged(root / "published", "yi_chat", lora_alpha=1e-9)
    shared = HERE.parents[2].parent / "shared"
    for name, (template, numbers) in OFFICIAL.items() if shared.is_dir() else ():
        vendor = shared / "data" / "tokenizers" / Path(name).name
        AutoTokenizer.from_pretrained(vendor).save_pretrained(root / "again" / name)
        for case, files in ((name, vendor), (f"{name} written by 5", root / "again" / name)):
            base = small_model(root / case / "base", "llama", **{"pad_token_id": None} | numbers)
            for file in files.iterdir():
                (base / file.name).write_bytes(file.read_bytes())
            wanted[case] = merged(root / case, template)
    if shared.is_dir():
        legacy_model(root / "legacy" / "base", shared)
        assert main(["convert", "layout", str(root / "legacy" / "base"), str(root / "legacy" / "out")]) == 0
        wanted["legacy"] = logits(xtune.load_model(root / "legacy" / "base"))[0]
    return root, wanted


@pytest.fixture(scope="module")
def seen(made, older):
    """What both see in every out/ and base/: (place, "4" or "5") to findings. transformers 4 reads only some bases."""
    places = [made[0] / case / part for case in made[1] for part in ("out", "base")]
    found = {"4": read("all", *places, by=older), "5": read("all", *places)}
    return {(place, reader): one for reader in found for place, one in zip(places, found[reader], strict=True)}


VENDORS = [case for name in OFFICIAL for case in (name, f"{name} written by 5")]
READ_OTHERWISE = {
    "vendor/llama2": "transformers 5 makes another pre-tokenizer of the same files, with one space less in front",
    "vendor/llama2 written by 5": "it then leaves out `legacy`, and takes tokenizer.json for something else again",
}
"""Bases that the two transformers read differently themselves."""


@pytest.mark.parametrize("case", [*MODELS, "published", *VENDORS, "legacy"])
def test_it_is_read_alike(case, made, seen):
    root, wanted = made
    if case not in wanted:
        pytest.skip("the vendors' tokenizers are not beside the project")
    there, here = seen[root / case / "out", "4"], seen[root / case / "out", "5"]
    assert isinstance(there, dict), there
    for found in (there, here):
        assert (found["logits"] - wanted[case]).abs().max() < 2e-5
    ids = [{**found, "logits": None} for found in (there, here)]
    assert (ids[0] == ids[1]) == (case not in READ_OTHERWISE)


@pytest.mark.parametrize(
    ("case", "reader"), [*((case, "5") for case in ["published", *VENDORS]), *((case, "4") for case in OFFICIAL)]
)
def test_each_reads_the_tokenizer_as_it_reads_the_bases(case, reader, made, seen):
    root, wanted = made
    if case not in wanted:
        pytest.skip("the vendors' tokenizers are not beside the project")
    base, out = seen[root / case / "base", reader], seen[root / case / "out", reader]
    known = out["ids"][: len(base["ids"])]  # a base without a chat template has one less
    assert {**base, "logits": None} == {**out, "logits": None, "ids": known} and len(known) >= 5


@pytest.mark.parametrize("case", MODELS)
def test_transformers_5_has_the_values_of_the_base(case, made):
    before, after = (AutoConfig.from_pretrained(made[0] / case / part).to_dict() for part in ("base", "out"))
    rope = after["rope_parameters"]
    if rope.get("type") == rope.get("rope_type"):  # the name that transformers 4 needs for some
        rope.pop("type", None)
    assert {key: after[key] for key in before} == {**before, "_name_or_path": after["_name_or_path"]}


def test_a_published_model_is_to_the_older_one_what_its_base_was(made, seen, older):
    root = made[0] / "published"
    base, out = seen[root / "base", "4"], seen[root / "out", "4"]
    assert {**base, "logits": None} == {**out, "logits": None}
    one, other = read("config", root / "base", root / "out", by=older)
    assert one == other and one["rope_scaling"] == SCALING


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_vendors_files_stay_byte_for_byte(name, made, shared):
    for file in (shared / "data" / "tokenizers" / Path(name).name).iterdir():
        assert (made[0] / name / "out" / file.name).read_bytes() == file.read_bytes()


def test_the_native_layout_of_a_legacy_model_names_its_rope(made, older, shared):
    (config,) = read("config", made[0] / "legacy" / "out", by=older)
    assert (config["rope_theta"], config["rope_scaling"]["factor"]) == (20000.0, 2.0)


PERTURBED = """
import sys
from pathlib import Path
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES
SCALED = {"rope_type": "linear", "factor": 3.0}
for kind in sys.argv[2:]:
    if kind not in CONFIG_MAPPING_NAMES:
        continue
    try:
        config = CONFIG_MAPPING[kind]()
    except ValueError:  # it consists of parts
        continue
    for key, value in config.to_dict().items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if number and ("theta" in key or key in ("rope_local_base_freq", "rotary_emb_base")):
            setattr(config, key, value * 7)
        elif key in ("partial_rotary_factor", "rotary_pct"):
            setattr(config, key, 0.75)
        elif key == "rope_scaling":
            setattr(config, key, SCALED)
        elif number and "expert" in key and value > 1:
            setattr(config, key, value * 2)
    config.torch_dtype = "bfloat16"
    try:
        text = config.to_json_string()
    except (AttributeError, TypeError):  # it cannot write what it has itself
        continue
    place = Path(sys.argv[1], kind)
    place.mkdir()
    (place / "config.json").write_text(text)
"""
NOT_COMPARED = {
    "zamba": "transformers 5 writes other names of layer types, which only a base that it wrote has",
    "zamba2": "the same",
    "granitemoehybrid": "the same",
    "mamba2": "transformers 5 writes infinity as an object, which only a base that it wrote has",
    "bamba": "transformers 5 takes one partial_rotary_factor only",
    "dbrx": "transformers 4 does not read what it wrote",
    **dict.fromkeys(("olmo", "olmo2", "phi3", "phimoe"), "transformers 4 refuses this rope_scaling of its own writing"),
    **dict.fromkeys(("hunyuan_v1_dense", "hunyuan_v1_moe"), "it takes `type` for `rope_type`"),
    "xlm": "its end tokens have names of their own",
    "mistral": "head_dim is written out",
}


def test_every_causal_model_of_one_part_has_the_values_that_it_had(older, tmp_path):
    kinds = [kind for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if kind not in NOT_COMPARED]
    command = [sys.executable, "-c", PERTURBED, str(tmp_path), *kinds]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(older)}, check=True, capture_output=True)
    wanted, compared = read("config", *(places := sorted(tmp_path.iterdir())), by=older), 0
    for place in places:
        config = AutoConfig.from_pretrained(place)
        if not config.sub_configs:
            (place / "config.json").write_text(json.dumps(both_spellings(json.loads(config.to_json_string()))))
    for place, before, after in zip(places, wanted, read("config", *places, by=older), strict=True):
        if isinstance(before, dict):
            assert isinstance(after, dict), (place.name, after)
            compared += 1
            differing = {key: (value, after.get(key)) for key, value in before.items() if after.get(key) != value}
            assert differing == {}, place.name
    assert compared > 60
