"""Adapters of every kind: a run that is resumed, and what plain peft, merge and chat make of its checkpoint."""

import shutil

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

import xtune
from xtune.checkpoints import checkpoint
from xtune.config.validate import validate
from xtune.errors import ConfigError, ModelError
from xtune.export.merge import merge
from xtune.export.pth_to_hf import pth_to_hf
from xtune.generate.open import open_session
from xtune.registries import components
from xtune.training import build

HEADS = ["embed_tokens", "lm_head"]
ON_HEAD, ON_EMBEDDING = ["q_proj", "lm_head"], ["q_proj", "embed_tokens"]
CASES = {
    "pissa": {"init": "pissa"},
    "olora": {"init": "olora", "use_rslora": True},
    "pissa, dora, head": {"init": "pissa", "use_dora": True, "use_rslora": True, "targets": ON_HEAD},
    "olora, heads whole": {"init": "olora", "train_also": HEADS},
    "gaussian, rslora": {"init": "gaussian", "use_rslora": True},
    "dora": {"use_dora": True},
    "heads whole": {"train_also": HEADS},
    "tied, heads whole": {"train_also": HEADS},
    "tied, embedding whole": {"train_also": ["embed_tokens"]},
    "tied, head": {"targets": ON_HEAD},
    "tied, embedding": {"targets": ON_EMBEDDING},
    "qlora, dora": {"name": "qlora", "use_dora": True},
    "qlora, heads whole": {"name": "qlora", "train_also": HEADS},
    "int8, rslora": {"name": "int8_lora", "use_rslora": True},
}
BITS = {"lora": None, "qlora": 4, "int8_lora": 8}


@pytest.fixture(scope="module")
def tied_model(tiny_model, tmp_path_factory):
    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("tied") / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.tie_word_embeddings = True
    type(model)(model.config).save_pretrained(folder)
    return folder


def settings(model, rows, **tuning):
    return validate(
        {
            "model": {"name": "smollm2_135m_instruct", "path": str(model)},
            "template": "chatml",
            "tuning": {"name": "lora", "rank": 4, "dropout": 0.1} | tuning,
            "data": [{"path": str(rows), "mapper": "alpaca"}],
            "max_length": 256,
            "optimizer": {"lr": 3e-3},
            "train": {"max_steps": 4},
            "checkpoint": {"every": 2, "keep": 9},
        },
        "test",
    )


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.arange(3, 60)[None]).logits


def differ(model, wanted):
    return (logits(model) - wanted).abs().max()


def adapted(model, bits, adapter):
    """The untouched base with the adapter, as plain peft loads it."""
    base = xtune.load_model(model, quantization=bits)
    for module in base.modules():  # training computes without this kernel, which rounds to bfloat16
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return PeftModel.from_pretrained(base, adapter)


@pytest.mark.parametrize("case", CASES)
def test_what_comes_out_is_what_was_trained(case, request, tiny_model, rows, tmp_path, monkeypatch):
    model = request.getfixturevalue("tied_model") if case.startswith("tied") else tiny_model
    config = settings(model, rows, **CASES[case])
    bits = BITS[config.tuning.name]
    trained = []
    real = build.build_model
    monkeypatch.setattr(build, "build_model", lambda *args: trained.append(real(*args)) or trained[-1])
    whole = xtune.train(config, tmp_path / "run")
    wanted = logits(trained[0])
    assert differ(xtune.load_model(model), wanted) > 1e-2

    shutil.copytree(tmp_path / "run", tmp_path / "again")
    checkpoint.discard(tmp_path / "again" / "checkpoints" / "step_4")
    resumed = xtune.train(config, tmp_path / "again", resume="auto")
    for file in ("adapter_model.safetensors", "adapter_config.json", "state/rank_0.safetensors"):
        assert (resumed.checkpoint / file).read_bytes() == (whole.checkpoint / file).read_bytes()
    assert torch.equal(logits(trained[1]), wanted)

    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    pth_to_hf(config, tmp_path / "run", adapter)
    assert differ(adapted(model, bits, adapter), wanted) < 1e-5
    merge(str(model), adapter, merged)
    unquantized = logits(adapted(model, None, adapter))
    assert differ(AutoModelForCausalLM.from_pretrained(merged), unquantized) < 1e-5
    session = open_session(str(model), components([]), adapter=str(adapter), bits=bits)
    exact = bits != 4 or config.tuning.options.get("use_dora")
    assert differ(session.model, wanted) < (1e-5 if exact else 5e-2)


@pytest.mark.parametrize("tuning", [{"init": "pissa"}, {"train_also": HEADS}], ids=["pissa", "heads whole"])
def test_in_bfloat16_it_is_the_same_to_rounding(tuning, tiny_model, rows, tmp_path, monkeypatch):
    config = settings(tiny_model, rows, **tuning)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})})
    trained = []
    real = build.build_model
    monkeypatch.setattr(build, "build_model", lambda *args: trained.append(real(*args)) or trained[-1])
    xtune.train(config, tmp_path / "run")
    pth_to_hf(config, tmp_path / "run", tmp_path / "adapter")
    session = open_session(str(tiny_model), components([]), adapter=str(tmp_path / "adapter"), dtype="bfloat16")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = logits(trained[0])
    assert differ(session.model, wanted) < 2e-2 < differ(xtune.load_model(tiny_model), wanted)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_run_from_the_base_begins_with_the_base(init, tiny_model, rows):
    from xtune.resolve import resolve

    run = resolve(settings(tiny_model, rows, init=init, rank=64, alpha=64, targets=["q_proj"]))
    model = build.build_model(run, None)
    assert differ(model, logits(xtune.load_model(tiny_model))) < 1e-5
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    # of a square weight of rank 64, all 64 ranks are taken out
    assert layer.base_layer.weight.abs().max() < 1e-6 < layer.lora_B["default"].weight.abs().max()


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        (
            {"init": "pissa", "targets": ON_EMBEDDING},
            "init=pissa is for linear layers: got `model.embed_tokens`, a Emb",
        ),
        (
            {"init": "olora", "rank": 33},
            r"init=olora takes at most the rank .* got tuning\.rank=33, .*k_proj is 32 x 64",
        ),
        (
            {"train_also": ["emb_tokens"]},
            r"tuning\.train_also names no module of this model: got emb_tokens; try embed",
        ),
        ({"name": "qlora", "train_also": ["q_proj"]}, r"train_also names quantized weights, .*: got q_proj; take it"),
        ({"name": "int8_lora", "use_dora": True}, "DoRA on 8-bit weights needs a CUDA device: got cpu; set tuning"),
    ],
)
def test_what_cannot_be_is_one_line(tuning, message, tiny_model, rows, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        xtune.train(settings(tiny_model, rows, **tuning), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_head_that_is_the_embedding_cannot_be_taken_out_of(tied_model, rows, tmp_path):
    with pytest.raises(ConfigError, match=r"init=pissa changes the base weight, which lm_head shares with the embed"):
        xtune.train(settings(tied_model, rows, init="pissa", targets=ON_HEAD), tmp_path / "run")


def test_dora_on_eight_bits_is_one_line_in_a_chat(tiny_model, rows, tmp_path):
    config = settings(tiny_model, rows, use_dora=True)
    xtune.train(config, tmp_path / "run")
    pth_to_hf(config, tmp_path / "run", tmp_path / "adapter")
    with pytest.raises(ModelError, match="DoRA on 8-bit weights needs a CUDA device: got cpu; load the model unquant"):
        open_session(str(tiny_model), components([]), adapter=str(tmp_path / "adapter"), bits=8)
