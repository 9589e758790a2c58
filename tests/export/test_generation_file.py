"""generation_config.json: every end token, and nothing that ends an export."""

import json

import pytest
from transformers import GenerationConfig

import xtune
from xtune.export.generation_file import save_generation_config
from xtune.registries import components

CONFIG = {"model_type": "llama", "bos_token_id": 1, "eos_token_id": 2}


def written(folder, tokenizer, stored=None, template="yi_chat", **config):
    """The values after saving, from those `stored` or from config.json; that transformers writes them again."""
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    file = folder / "generation_config.json"
    if stored is not None:
        file.write_text(stored if isinstance(stored, str) else json.dumps(stored))
    save_generation_config(components([]).templates[template] if template else None, tokenizer, folder)
    GenerationConfig.from_pretrained(folder).save_pretrained(folder / "again")
    return json.loads(file.read_text())


@pytest.fixture
def tokenizer(tiny_model):
    return xtune.load_tokenizer(tiny_model)


@pytest.mark.parametrize(
    ("own", "ends"),
    [(2, 2), ([2, 0], [2, 0]), ([7, 2, 0], [7, 2, 0]), (0, [0, 2]), (None, 2), ([], 2), ([None, 0], [0, 2])],
)
def test_the_end_tokens_of_the_base_stay_and_the_templates_come_along(own, ends, tokenizer, tmp_path):
    stored = {"eos_token_id": own, "do_sample": True, "temperature": 0.6}
    assert written(tmp_path, tokenizer, stored) == stored | {"eos_token_id": ends}


def test_one_that_need_not_change_stays_byte_for_byte(tokenizer, tmp_path):
    text = '{"eos_token_id": [2,0],\n "made_by":  "us"}'
    written(tmp_path, tokenizer, text)
    assert (tmp_path / "generation_config.json").read_text() == text


def test_without_any_end_none_is_made_up(tokenizer, tmp_path):
    tokenizer.eos_token = None
    assert written(tmp_path, tokenizer, {"max_new_tokens": 5}, template=None) == {"max_new_tokens": 5}


REFUSED = {
    "sampling without sampling": (
        {"do_sample": False, "temperature": 0.9, "top_p": 0.6, "top_k": 5},
        {"do_sample": False},
    ),
    "beams without beams": ({"num_beams": 1, "early_stopping": True, "length_penalty": 2.0}, {"num_beams": 1}),
    "both": ({"temperature": 0.9, "length_penalty": 2.0, "max_new_tokens": 9}, {"max_new_tokens": 9}),
    "more answers than beams": ({"num_return_sequences": 3, "max_new_tokens": 9}, {"max_new_tokens": 9}),
    "of another type": ({"max_new_tokens": -1, "do_sample": True, "bos_token_id": 1}, {"bos_token_id": 1}),
    "no place for it": ({"cache_implementation": "nonesuch", "pad_token_id": 2}, {"pad_token_id": 2}),
}


@pytest.mark.parametrize(("stored", "kept"), REFUSED.values(), ids=REFUSED)
def test_what_transformers_refuses_is_left_out_and_said_in_one_line(stored, kept, tokenizer, tmp_path, caplog):
    found = written(tmp_path, tokenizer, stored | {"eos_token_id": 2})
    assert found == {key: value for key, value in stored.items() if key in found} | {"eos_token_id": 2}
    assert found.items() >= kept.items()
    (record,) = (record for record in caplog.records if record.name.startswith("xtune."))
    for key in stored.keys() - found.keys():
        assert key in record.getMessage()
    assert "which transformers refuses to write: " in record.getMessage() and "\n" not in record.getMessage()


def test_what_config_json_says_of_it_moves_along_and_is_mended_alike(tokenizer, tmp_path, caplog):
    found = written(tmp_path, tokenizer, temperature=0.7, top_p=0.8, max_length=50, pad_token_id=None)
    assert {key: value for key, value in found.items() if not key.startswith("_")} == {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "max_length": 50,
        "pad_token_id": 2,
    }
    assert "left out temperature, top_p" in caplog.text
    (tmp_path / "generation_config.json").unlink()
    assert written(tmp_path, tokenizer, temperature=0.7, do_sample=True)["temperature"] == 0.7


@pytest.mark.parametrize("broken", ["{", "[]", "\ufeff{]", '{"eos_token_id": "x"'])
def test_a_broken_one_is_made_anew(broken, tokenizer, tmp_path, caplog):
    assert written(tmp_path, tokenizer, broken)["eos_token_id"] == 2
    assert "generation_config.json of the base is made anew: generation config" in caplog.text
