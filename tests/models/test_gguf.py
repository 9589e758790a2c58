"""GGUF files are read once, to a folder that holds the same model. The file is written as by llama.cpp."""

from pathlib import Path

import numpy as np
import pytest
import torch

import xtune
from xtune.errors import ModelError
from xtune.paths import cache_root


def as_llama_cpp_orders(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a q or k projection as GGUF holds them: the two halves of a rotary head interleaved."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(model, tokenizer, path: Path, *, lost: str = "") -> None:
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3 if token.startswith("<|") else 1 for token, _ in vocabulary])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
        "model.layers": "blk",
    }  # fmt: skip
    for name, weight in model.state_dict().items():
        if "q_proj" in name:
            weight = as_llama_cpp_orders(weight, config.num_attention_heads)
        if "k_proj" in name:
            weight = as_llama_cpp_orders(weight, config.num_key_value_heads)
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        if name != lost:
            writer.add_tensor(name, np.ascontiguousarray(weight.numpy(), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def file(tiny_model, tmp_path):
    path = tmp_path / "模型.gguf"
    write_gguf(xtune.load_model(tiny_model), xtune.load_tokenizer(tiny_model), path)
    return path


def test_a_gguf_file_gives_the_model_that_was_written(file, tiny_model):
    ids = torch.arange(3, 60)[None]
    expected = xtune.load_model(tiny_model)(ids).logits
    assert torch.allclose(xtune.load_model(file)(ids).logits, expected, atol=1e-5)
    (folder,) = (cache_root() / "gguf").glob("模型-*")
    made = (folder / "model.safetensors").stat().st_mtime_ns
    quantized = xtune.load_model(file, quantization=4)
    assert type(quantized.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    assert (folder / "model.safetensors").stat().st_mtime_ns == made  # converted once
    assert not list(folder.parent.glob(".stage-*"))
    text = "abba, 你好"
    assert xtune.load_tokenizer(file)(text)["input_ids"] == xtune.load_tokenizer(tiny_model)(text)["input_ids"]


def test_a_damaged_gguf_file_is_one_line_and_leaves_nothing(file):
    file.write_bytes(file.read_bytes()[:1500])
    with pytest.raises(ModelError, match="GGUF file .* cannot be converted: ") as caught:
        xtune.load_model(file)
    assert "\n" not in str(caught.value)
    assert not list((cache_root() / "gguf").glob(".stage-*"))


@pytest.mark.parametrize("lost", ["blk.1.ffn_up.weight", "output_norm.weight", "token_embd.weight"])
def test_a_gguf_file_without_a_weight_is_refused(tiny_model, tmp_path, lost):
    file = tmp_path / "lost.gguf"
    write_gguf(xtune.load_model(tiny_model), xtune.load_tokenizer(tiny_model), file, lost=lost)
    with pytest.raises(ModelError, match=r"lost\.gguf is not whole: 1 weight is not in its files"):
        xtune.load_model(file)
    assert not list((cache_root() / "gguf").glob("lost-*"))


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_gguf_file_that_was_not_downloaded_whole_is_one_line(file, part):
    file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    with pytest.raises(ModelError, match="GGUF file .* cannot be converted: |is empty; download it again") as caught:
        xtune.load_model(file)
    assert "\n" not in str(caught.value)
