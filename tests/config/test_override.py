"""--cfg-options: text to typed values, dotted keys to places."""

import pytest

from xtune.config.override import apply_overrides, parse_overrides, parse_value
from xtune.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("3", 3),
        ("true", True),
        ("False", False),
        ("none", None),
        ("[1, 2]", [1, 2]),
        ("(0.9, 0.95)", (0.9, 0.95)),
        ("[q_proj,v_proj]", ["q_proj", "v_proj"]),
        ("[]", []),
        ("'007'", "007"),
        ("hello, world", "hello, world"),
        ("小明", "小明"),
        ("a=b", "a=b"),
        ("", ""),
        ("path/to/file.json", "path/to/file.json"),
        ("[unclosed", "[unclosed"),
    ],
)
def test_values(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_pairs_split_at_the_first_equals_sign():
    assert parse_overrides(["a.b=x=y", "c=1"]) == {"a.b": "x=y", "c": 1}
    with pytest.raises(ConfigError, match="given as KEY=VALUE: got `optimizer.lr`"):
        parse_overrides(["optimizer.lr"])


def test_overrides_leave_the_original_alone():
    config = {"data": [{"path": "a"}, {"path": "b"}], "train": {"epochs": 1}}
    changed = apply_overrides(config, {"data.1.path": "c", "train.epochs": 2, "data.0.options.name": "Mia"})
    assert changed == {
        "data": [{"path": "a", "options": {"name": "Mia"}}, {"path": "c"}],
        "train": {"epochs": 2},
    }
    assert config == {"data": [{"path": "a"}, {"path": "b"}], "train": {"epochs": 1}}


def test_a_path_that_leads_nowhere_is_refused():
    config = {"data": [{"path": "a"}], "template": "chatml"}
    with pytest.raises(ConfigError, match=r"the list there has 1 entries, numbered from 0: got `1`"):
        apply_overrides(config, {"data.1.path": "c"})
    with pytest.raises(ConfigError, match="`template` is a value, not a section: got `chatml`"):
        apply_overrides(config, {"template.name": "x"})
