"""A batch keeps samples apart: packed and separate samples give a real model the same loss and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from xtune.conversation import IGNORE
from xtune.data.collate import Batch, collate
from xtune.data.pack import Pack

VOCABULARY = 61


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(request: pytest.FixtureRequest) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.4,  # large weights, so that attending to a neighbour would show
        attn_implementation=request.param,
    )
    return LlamaForCausalLM(config).train()


def sample(length: int, seed: int) -> Pack:
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCABULARY, length).astype(np.int32)
    labels = np.where(random.random(length) < 0.6, ids, IGNORE).astype(np.int32)
    labels[0] = IGNORE
    return Pack(ids, labels, np.array([length], dtype=np.int32))


def join(samples: list[Pack]) -> Pack:
    return Pack(*(np.concatenate(parts) for parts in zip(*(one[:3] for one in samples), strict=True)))


def loss_and_gradients(model: LlamaForCausalLM, batches: list[Batch]) -> tuple[float, torch.Tensor]:
    """Summed cross entropy over all batches and the gradient of every weight."""
    model.zero_grad(set_to_none=True)
    total = 0.0
    for batch in batches:
        logits = model(**batch.model_inputs()).logits.flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(
            logits, batch.labels_BT.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        loss.backward()
        total += loss.item()
    return total, torch.cat([weight.grad.flatten() for weight in model.parameters()])


def same(model: LlamaForCausalLM, one: list[Batch], other: list[Batch]) -> None:
    trained = sum(batch.trained for batch in one)
    assert trained == sum(batch.trained for batch in other) > 0
    (loss, gradients), (other_loss, other_gradients) = (loss_and_gradients(model, side) for side in (one, other))
    assert loss / trained == pytest.approx(other_loss / trained, abs=1e-5)
    torch.testing.assert_close(gradients / trained, other_gradients / trained, atol=1e-5, rtol=1e-5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=4), min_size=1, max_size=3))
def test_packed_and_separate_give_the_same_loss_and_gradients(model: LlamaForCausalLM, rows: list[list[int]]) -> None:
    """Rows of unequal length, so the padded tails of the shorter ones are tried too."""
    rows = [*rows, [9, 1, 5]]
    attention = model.config._attn_implementation
    samples = [
        [sample(length, seed=31 * row + at) for at, length in enumerate(lengths)] for row, lengths in enumerate(rows)
    ]
    packed = collate([join(row) for row in samples], pad_id=0, attention=attention)
    assert packed.contract == "positions"
    separate = [collate([one], pad_id=0, attention=attention) for row in samples for one in row]
    same(model, [packed], separate)


def test_unpacked_batch_equals_its_rows(model: LlamaForCausalLM) -> None:
    samples = [sample(length, seed=length) for length in (3, 11, 7)]
    padded = collate(samples, pad_id=5, attention="sdpa")
    assert padded.contract == "padded"
    same(model, [padded], [collate([one], pad_id=5, attention="sdpa") for one in samples])


def test_a_sample_does_not_notice_what_it_is_packed_with(model: LlamaForCausalLM) -> None:
    first, others = sample(6, seed=1), [sample(4, seed=2), sample(8, seed=3)]
    alone = model(**collate([first], pad_id=0, attention="sdpa").model_inputs()).logits[0]
    for neighbours in others:
        batch = collate([join([neighbours, first]), join([neighbours, sample(20, seed=9)])], pad_id=0, attention="sdpa")
        logits = model(**batch.model_inputs()).logits[0]
        at = len(neighbours.ids)
        torch.testing.assert_close(logits[at : at + 6], alone, atol=1e-4, rtol=0)


def test_shapes_and_padding_of_a_packed_batch() -> None:
    batch = collate(
        [join([sample(2, 0), sample(3, 1)]), join([sample(1, 2), sample(1, 3)])], pad_id=7, attention="eager"
    )
    assert batch.position_ids_BT.tolist() == [[0, 1, 0, 1, 2], [0, 0, 0, 1, 2]]
    assert batch.input_ids_BT[1, 2:].tolist() == [7, 7, 7]
    assert batch.labels_BT[1].tolist() == [IGNORE] * 5
    assert set(batch.model_inputs()) == {"input_ids", "position_ids", "use_cache"}
    assert batch.model_inputs()["use_cache"] is False
    assert batch.trained == int((batch.labels_BT != IGNORE).sum())


def test_flash_attention_gets_the_borders_that_transformers_derives_itself() -> None:
    from transformers.modeling_flash_attention_utils import prepare_fa_kwargs_from_position_ids

    batch = collate(
        [join([sample(2, 0), sample(3, 1)]), join([sample(1, 2), sample(2, 3)])],
        pad_id=7,
        attention="flash_attention_2",
    )
    assert batch.contract == "varlen"
    (borders, _), (longest, _) = prepare_fa_kwargs_from_position_ids(batch.position_ids_BT)
    inputs = batch.model_inputs()
    assert (
        inputs["cu_seq_lens_q"].tolist() == inputs["cu_seq_lens_k"].tolist() == borders.tolist() == [0, 2, 5, 6, 8, 10]
    )
    assert inputs["cu_seq_lens_q"].dtype == torch.int32
    assert inputs["max_length_q"] == inputs["max_length_k"] == int(longest) == 3
    assert "attention_mask" not in inputs


def test_flash_attention_of_single_samples_takes_a_mask() -> None:
    batch = collate([sample(2, 0), sample(4, 1)], pad_id=0, attention="flash_attention_2")
    assert batch.contract == "padded"
    assert batch.model_inputs()["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert "cu_seq_lens_q" not in batch.model_inputs()


def test_to_moves_every_tensor() -> None:
    batch = collate([join([sample(2, 0), sample(3, 1)])], pad_id=0, attention="flash_attention_2").to("meta")
    assert {value.device.type for value in vars(batch).values() if isinstance(value, torch.Tensor)} == {"meta"}
    assert batch.contract == "varlen" and batch.max_length == 3
