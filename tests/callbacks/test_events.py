"""What callbacks are given, which ones a run has, and that none of them can stop it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from engine_standins import TinyRun, tiny_config, weights_of

from xtune import Callback
from xtune.callbacks.callback import Hook
from xtune.callbacks.progress import ProgressCallback
from xtune.callbacks.report import ReportCallback
from xtune.checkpoints.checkpoint import verify
from xtune.errors import ConfigError, UnknownName
from xtune.registries import components
from xtune.registry import Registry
from xtune.resolve import find_callbacks
from xtune.training.train import train_run

EVENTS = ("started", "stepped", "evaluated", "answered", "chosen", "saved", "ended")


class Recorder(Callback):
    """Remembers what it is told."""

    shout: bool = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told = []

    def __getattribute__(self, name: str) -> Any:
        if name in EVENTS:
            return lambda *given: self.told.append((name, *given))
        return super().__getattribute__(name)

    def of(self, event: str) -> list[Any]:
        return [given[0] for name, *given in self.told if name == event]


@dataclass
class Watched(TinyRun):
    """A TinyRun with these callbacks alone."""

    callbacks: tuple[Callback, ...] = field(default=())


def run_with(*callbacks: Callback, folder: Any, **settings: Any) -> Any:
    evaluation = {"holdout": 0.2, "every": 4, "prompts": ["w5"], "max_new_tokens": 2}
    config = tiny_config(
        **{"evaluation": evaluation, "checkpoint": {"every": 4}, "train": {"max_steps": 6}, **settings}
    )
    return train_run(Watched(config, callbacks=callbacks), folder)


def test_events_carry_what_the_journals_hold_in_the_order_of_the_run(tmp_path):
    result = run_with(recorder := Recorder(), folder=tmp_path)
    assert recorder.of("stepped") == result.metrics and len(result.metrics) == 6
    assert recorder.of("evaluated") == result.evaluations and len(result.evaluations) == 3
    assert [row for rows in recorder.of("answered") for row in rows] == result.answers != []
    assert recorder.of("saved") == [4, 6] and recorder.of("ended") == ["finished"]
    (facts,) = recorder.of("started")
    assert (facts.work_dir, facts.first_step, facts.last_step) == (tmp_path, 0, 6) and facts.metrics == result.metrics
    order = [name for name, *_ in recorder.told if name not in ("answered", "chosen", "evaluated")]
    assert order == ["started", *["stepped"] * 4, "saved", *["stepped"] * 2, "saved", "ended"]


def test_a_checkpoint_is_whole_when_a_callback_hears_of_it(tmp_path):
    class Uploader(Callback):
        def saved(self, step, folder):
            assert verify(folder)["step"] == step
            self.seen = [*getattr(self, "seen", []), folder.name]

    run_with(uploader := Uploader(), folder=tmp_path)
    assert uploader.seen == ["step_4", "step_6"]


FAULTS = [ConnectionError("no network"), SystemExit(3), AssertionError()]


@pytest.mark.parametrize(
    ("event", "raised"), [("started", FAULTS[0]), *((event, fault) for event in EVENTS[1:] for fault in FAULTS)]
)
def test_a_callback_that_fails_is_named_and_left_out_and_the_run_goes_on(tmp_path, caplog, event, raised):
    class Broken(Recorder):
        def __getattribute__(self, name):
            if name == event:
                self.told.append((name, None))
                return lambda *_: (_ for _ in ()).throw(raised)
            return super().__getattribute__(name)

    result = run_with(broken := Broken(), recorder := Recorder(), folder=tmp_path / "broken")
    assert result.reason == "finished" and recorder.of("ended") == ["finished"]
    assert len(broken.of(event)) == 1 and len(recorder.of("stepped")) == 6
    (line,) = [line for line in caplog.messages if "Broken" in line]
    said = "no network" if isinstance(raised, OSError) else f"{event}: {type(raised).__name__}"
    assert line.startswith(f"Broken shows nothing more: {said}") and line.endswith("; training goes on")
    plain = run_with(folder=tmp_path / "plain")
    found, wanted = weights_of(result.checkpoint), weights_of(plain.checkpoint)
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_one_that_cannot_start_is_an_error_of_one_line_before_the_first_step(tmp_path):
    class Broken(Callback):
        def started(self, facts):
            raise RuntimeError("no login")

    with pytest.raises(ConfigError, match="^callback Broken cannot start: no login; leave it out of the config$"):
        run_with(recorder := Recorder(), Broken(), folder=tmp_path)
    assert recorder.of("stepped") == [] and recorder.of("ended") == ["an error"]


def test_what_the_machine_lacks_is_said_before_anything_is_loaded(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(Watched, "tokenizer", property(lambda self: loaded.append("tokenizer")))
    monkeypatch.setattr(Watched, "open_data", lambda self: loaded.append("data"))
    lacking = find_callbacks(tiny_config(visualizers=["NoVisBackend"]), components([]).callbacks)
    with pytest.raises(UnknownName, match="unknown visualizer: got `NoVisBackend`"):
        run_with(*lacking, folder=tmp_path)
    assert loaded == []


def test_only_the_first_rank_has_callbacks(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("xtune.callbacks.together.Together.__init__", lambda self, chosen=(): made.append(chosen))
    monkeypatch.setattr("xtune.dist.ranks.rank", lambda: 1)
    with pytest.raises(AttributeError):
        run_with(Recorder(), folder=tmp_path)
    assert made == [()]


def registry(**kinds: Any) -> Registry[Any]:
    found: Registry[Any] = Registry("callback")
    for name, kind in kinds.items():
        found.add(name, kind)
    return found


def test_a_run_has_what_the_config_names_beside_what_every_run_has():
    class Everywhere(Recorder):
        always = True

    known = registry(everywhere=Everywhere, recorder=Recorder, other=Recorder)
    named = tiny_config(callbacks=[{"name": "recorder", "shout": True}])
    first, second = find_callbacks(named, known)
    assert type(first) is Everywhere and (type(second), second.shout) == (Recorder, True)
    (only,) = find_callbacks(tiny_config(callbacks=[{"name": "everywhere", "shout": True}]), known)
    assert type(only) is Everywhere and only.shout
    plain = find_callbacks(tiny_config(), components([]).callbacks)
    assert [type(one) for one in plain] == [ProgressCallback, ReportCallback]


@pytest.mark.parametrize(
    ("setting", "error", "told"),
    [
        ({"name": "recoder"}, UnknownName, "unknown callback: got `recoder`; did you mean recorder"),
        ({"name": "recorder", "shuot": True}, ConfigError, "shuot"),
        ({"name": "recorder", "shout": "loud"}, ConfigError, "callbacks recorder"),
    ],
)
def test_wrong_names_and_options_are_errors_of_the_config(setting, error, told):
    with pytest.raises(error, match=told):
        list(find_callbacks(tiny_config(callbacks=[setting]), registry(recorder=Recorder)))


def test_a_backend_takes_arguments_of_its_class(tmp_path):
    named = tiny_config(
        callbacks=[{"name": "visualizer", "backend": "LocalVisBackend", "arguments": {"scalar_save_file": "a.json"}}]
    )
    run_with(*find_callbacks(named, components([]).callbacks), folder=tmp_path)
    assert (tmp_path / "visualizers" / "a.json").read_text().count('"train/loss"') == 6
    wrong = find_callbacks(
        tiny_config(callbacks=[{"name": "visualizer", "arguments": {"folder": 1}}]), components([]).callbacks
    )
    with pytest.raises(ConfigError, match="visualizer TensorboardVisBackend cannot start: .*folder"):
        run_with(*wrong, folder=tmp_path / "wrong")


def test_the_old_name_is_the_same_class():
    assert Hook is Callback
