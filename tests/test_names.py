"""Config files: read as data, checked by the schema, errors in one line."""

import textwrap

import pytest

import xtune
from xtune.errors import ConfigError, UnknownName

CONFIG = """
model = dict(name="smollm2_135m_instruct", path="somewhere/else")
template = "chatml"
tuning = dict(name="qlora", rank=8)
data = [dict(path="rows.json", mapper="alpaca")]
optimizer = dict(lr=2e-4)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    return path


def test_a_file_becomes_a_typed_config(file):
    config = xtune.load_config(file)
    assert config.optimizer.lr == 2e-4
    assert config.tuning.name == "qlora" and config.tuning.options == {"rank": 8}
    assert config.data[0].mapper == "alpaca" and config.max_length == 2048


def test_overrides_take_effect_as_pairs_and_as_a_mapping(file):
    assert xtune.load_config(file, ["optimizer.lr=1e-5", "tuning.rank=4"]).tuning.options == {"rank": 4}
    assert xtune.load_config(file, {"optimizer.lr": 1e-5, "pack": False}).optimizer.lr == 1e-5


def test_a_file_may_inherit(file, tmp_path):
    child = tmp_path / "child.py"
    child.write_text(f"_base_ = '{file.name}'\noptimizer = dict(betas=(0.9, 0.95))\n")
    config = xtune.load_config(child)
    assert config.optimizer.lr == 2e-4 and config.optimizer.betas == (0.9, 0.95)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lrr=1", r"unknown key: got `optimizer\.lrr`; did you mean optimizer\.lr\?"),
        ("optimiser.lr=1", r"unknown key: got `optimiser`; did you mean optimizer\?"),
        ("data.0.maper=alpaca", r"unknown key: got `data\.0\.maper`; did you mean data\.0\.mapper\?"),
        ("lr=1e-4", r"unknown key: got `lr`; did you mean optimizer\.lr\?"),
        ("qqqqqq=1", "unknown key: got `qqqqqq`; known here: model, template, objective, tuning"),
        (
            "optimizer.lr=fast",
            r"optimizer\.lr should be a valid number: got `'fast'`; write for instance optimizer.lr=",
        ),
        ("optimizer.lr=-1", r"optimizer\.lr should be greater than 0: got `-1`"),
        ("train.batch_size=1.5", r"train\.batch_size should be a valid integer: got `1\.5`"),
        ("too_long=cut", r"too_long should be 'drop_turns', 'truncate' or 'error': got `'cut'`"),
        ("optimizer.betas=[2,3]", r"optimizer\.betas\.0 should be less than 1: got `2` .and 1 more"),
        ("data.0.weight=1e9", r"data\.0\.weight should be less than or equal to 1000: got `1000000000"),
        ("seed=99999999999999", "seed should be less than 4294967296: got `99999999999999`"),
        ("data=[]", r"data should have at least one entry: got `\[\]`; see `xtune show-cfg NAME`"),
        ("data.0=x", r"data\.0 should be a section with keys: got `'x'`"),
        ("model=x", "model should be a section with keys: got `'x'`"),
    ],
)
def test_a_wrong_key_or_value_is_one_line(file, override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        xtune.load_config(file, [override])
    told = str(caught.value)
    assert "\n" not in told and str(file) not in told, "the file is not what has to be mended"


def test_a_wrong_value_of_a_file_names_the_file(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(CONFIG + "max_length = 'long'\n")
    with pytest.raises(ConfigError, match=r"wrong\.py: max_length should be a valid integer: got `'long'`"):
        xtune.load_config(path, ["optimizer.lr=1e-4"])


def test_a_missing_key_is_named(tmp_path):
    path = tmp_path / "short.py"
    path.write_text(CONFIG.replace('template = "chatml"', ""))
    with pytest.raises(ConfigError, match="key `template` is missing"):
        xtune.load_config(path)


def test_files_that_cannot_be_read(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("model = dict(\n")
    with pytest.raises(ConfigError, match=r"broken\.py, line 1: .* was never closed; xtune copy-cfg NAME DIR"):
        xtune.load_config(broken)
    broken.write_text("model = 1 / 0\n")
    with pytest.raises(ConfigError, match="line 1: ZeroDivisionError: division by zero"):
        xtune.load_config(broken)
    broken.write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(ConfigError, match="line 1: `import sys` is code, not data"):
        xtune.load_config(broken)
    with pytest.raises(ConfigError, match="config file does not exist: got `.*absent.py`"):
        xtune.load_config(tmp_path / "absent.py")


def test_an_unknown_name_lists_the_nearest():
    known = xtune.list_configs()[0]
    stem, epochs = known.rsplit("_", 1)
    with pytest.raises(UnknownName, match=f"unknown config: got `{known}x`; did you mean {known}"):
        xtune.load_config(known + "x")
    with pytest.raises(UnknownName, match="no data set `alpacax`; did you mean `alpaca`"):
        xtune.load_config(f"{stem}x_{epochs}")


def test_a_chinese_path_works(tmp_path):
    folder = tmp_path / "配置 文件"
    folder.mkdir()
    path = folder / "我的.py"
    path.write_text(textwrap.dedent(CONFIG) + 'evaluation = dict(system="你好")\n', encoding="utf-8")
    assert xtune.load_config(path).evaluation.system == "你好"
