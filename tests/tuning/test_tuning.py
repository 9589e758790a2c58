"""Tuning strategies: what they train, how the base is held, and that they learn."""

import pytest
import torch

import xtune
from xtune.config.schema import ComponentSettings
from xtune.errors import ConfigError
from xtune.registries import components
from xtune.resolve import make
from xtune.tuning import TUNING


def trained(model) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("name", list(TUNING))
def test_each_strategy_trains_its_weights_and_lowers_the_loss(tiny_model, name):
    tuning = TUNING[name](**({} if name == "full" else {"rank": 8, "alpha": 16, "dropout": 0.0}))
    base = xtune.load_model(tiny_model, quantization=tuning.quantization(torch.float32))
    model = tuning.prepare(base).train()
    names = trained(model)
    if name == "full":
        assert names == {name for name, _ in model.named_parameters()}
    else:
        # 7 linear layers a block, two blocks, A and B each; the head gets none
        assert len(names) == 28 and all("lora_" in name for name in names)
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=3e-3)
    ids = torch.randint(3, 200, (2, 24), generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(8):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_quantized_bases_hold_packed_weights(tiny_model):
    qlora = TUNING["qlora"]()
    model = xtune.load_model(tiny_model, quantization=qlora.quantization(torch.float32))
    weight = model.model.layers[0].self_attn.q_proj.weight
    assert weight.dtype == torch.uint8 and weight.quant_type == "nf4" and weight.quant_state.nested
    int8 = xtune.load_model(tiny_model, quantization=TUNING["int8_lora"]().quantization(torch.float32))
    assert int8.model.layers[0].self_attn.q_proj.weight.dtype == torch.int8


def test_a_module_that_is_not_there_is_one_line(tiny_model):
    with pytest.raises(
        ConfigError, match="tuning.targets names no module of this model: got no_such_proj; did you mean"
    ):
        TUNING["lora"](targets=["no_such_proj"]).prepare(xtune.load_model(tiny_model))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rnk": 8}, r"tuning lora: unknown key: got `rnk`; did you mean rank\?"),
        ({"rank": 0}, "tuning lora: rank should be greater than 0: got `0`"),
        ({"bits": 4}, "tuning lora: unknown key: got `bits`; known here: rank, alpha"),
    ],
)
def test_options_are_checked_by_the_strategy(options, message):
    with pytest.raises(ConfigError, match=message):
        make(ComponentSettings(name="lora", **options), "tuning", components([]).strategies)


def test_an_evaluation_leaves_the_gradients_of_qlora_as_they_are(tiny_model):
    def gradients(evaluate: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        tuning = TUNING["qlora"](rank=8, dropout=0.0)
        base = xtune.load_model(tiny_model, quantization=tuning.quantization(torch.float32))
        tuning.base_quantization().prepare(base)
        model = tuning.prepare(base)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        ids = torch.arange(3, 40)[None]
        if evaluate:
            with torch.inference_mode():
                model.eval()(ids)
        model.train()(input_ids=ids, labels=ids).loss.backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

    without, after = gradients(False), gradients(True)
    assert len(without) == len(after) == 28
    assert all(torch.equal(without[name], after[name]) for name in without)
