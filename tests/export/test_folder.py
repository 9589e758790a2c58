"""Output folders appear whole or not at all."""

import resource

import pytest
import torch
from safetensors.torch import save_file

from xtune.errors import XtuneError
from xtune.export.folder import whole_folder


def test_a_folder_appears_at_the_end(tmp_path):
    out = tmp_path / "new" / "输出"
    with whole_folder(out) as folder:
        (folder / "a").write_text("1")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_an_interrupted_one_leaves_nothing(tmp_path, stop):
    with pytest.raises(stop), whole_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        raise stop
    assert list(tmp_path.iterdir()) == []


def test_an_existing_one_is_replaced_only_with_force_and_only_at_the_end(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("1")
    with pytest.raises(XtuneError, match="output exists already: got `.*out`; choose another, or replace it with -"):
        whole_folder(out).__enter__()
    with pytest.raises(ValueError), whole_folder(out, force=True):
        raise ValueError
    assert (out / "old").exists()
    with whole_folder(out, force=True) as folder:
        (folder / "new").write_text("1")
    assert [path.name for path in out.iterdir()] == ["new"] and list(tmp_path.iterdir()) == [out]


def test_a_full_disk_is_one_line(tmp_path):
    with (
        pytest.raises(XtuneError, match="cannot be written: .*No space left on device; nothing was left there"),
        whole_folder(tmp_path / "out"),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def of_rust(folder):
    save_file({"weight": torch.zeros(10**6)}, folder / "model.safetensors")


def of_python(folder):
    (folder / "tokenizer.json").write_bytes(bytes(10**6))


@pytest.mark.parametrize("write", [of_rust, of_python])
@pytest.mark.parametrize("existing", [False, True])
def test_what_the_disk_does_not_take_is_one_line_whoever_writes(write, existing, tmp_path):
    out = tmp_path / "输出"
    if existing:
        (out / "old").mkdir(parents=True)
    before, kept = resource.getrlimit(resource.RLIMIT_FSIZE), "what was there is kept" if existing else "nothing was"
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with (
            pytest.raises(XtuneError, match=f"cannot be written: .*输出`: File too large; {kept}") as caught,
            whole_folder(out, force=True) as folder,
        ):
            write(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == (["old", "输出"] if existing else [])


def test_a_parent_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XtuneError, match="output cannot be written"):
        whole_folder(tmp_path / "file" / "out").__enter__()
