"""What a person sees of a run."""

from __future__ import annotations

import io
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from engine_standins import TinyRun, tiny_config

from xtune.callbacks import plot
from xtune.callbacks.callback import Callback, RunFacts
from xtune.callbacks.progress import ProgressCallback, clock
from xtune.callbacks.report import render_report
from xtune.callbacks.together import Together
from xtune.callbacks.visualizers import Visualizer
from xtune.data.report import Report
from xtune.errors import UnknownName
from xtune.objectives.sft import Sft
from xtune.terminal import console
from xtune.training.train import train_run


def row(step, loss=2.0):
    numbers = {"lr": 1e-4, "grad_norm": 0.5, "tokens": 1000, "learnt": 400, "seconds": 2.0, "memory_gib": 1.5}
    return {"step": step, "loss": loss, **numbers}


def facts(tmp_path, steps=30):
    report = Report(read=10, trained=9, dropped={"empty": 1}, examples={"empty": ["a.jsonl, line 3"]}, samples=9)
    return RunFacts(
        work_dir=tmp_path,
        first_step=0,
        last_step=steps,
        objective=Sft(),
        about={
            "summary": "tiny on CPU",
            "config": tiny_config().model_dump(mode="json"),
            "data": {"report": report.to_json()},
            "ranks": 2,
            "device": "CPU",
            "versions": {"torch": "2"},
            "plugins": {"xtune-greet": "1.0"},
        },
        metrics=[row(step, 3.0 - step / 30) for step in range(1, steps + 1)],
        evaluations=[{"step": 10, "loss": 2.5, "perplexity": 12.18, "learnt": 50}],
        answers=[{"step": 0, "prompt": "Who <are> you?", "answer": "I & you"}],
        choices=[{"step": 10, "name": "mmlu.json", "questions": 8, "right": 3, "accuracy": 0.375, "too_long": 1}],
    )


def test_plain_lines_where_there_is_no_terminal(tmp_path):
    file = io.StringIO()
    hook = ProgressCallback(console(file=file, width=120))
    hook.started(facts(tmp_path))
    for step in (1, 2, 30):
        hook.stepped(row(step))
    hook.evaluated({"step": 30, "loss": 2.0, "perplexity": 7.39})
    hook.answered([{"step": 30, "prompt": "[bold]Who?", "answer": "Me"}])
    hook.chosen([{"step": 30, "name": "mmlu.json", "questions": 8, "right": 3, "accuracy": 0.375, "too_long": 1}])
    hook.ended("finished")
    text = file.getvalue()
    assert "mmlu.json after step 30: 37.5% of 8 questions right (1 too long to ask)" in text
    assert "tiny on CPU" in text and "dropped: empty" in text
    assert "step 1/30  loss 2.0000  lr 1.00e-04  500 tokens/s  1.5 GiB  0:00:58 left" in text
    assert "step 2/30" not in text and "step 30/30" in text  # a line every LINE_EVERY seconds, and the last
    assert "evaluation after step 30: loss 2.0000, perplexity 7.39" in text
    assert "answers after step 30:\n[bold]Who?\nMe" in text


def test_a_bar_on_a_terminal(tmp_path):
    file = io.StringIO()
    hook = ProgressCallback(console(file=file, width=100, force_terminal=True, color_system=None))
    hook.started(facts(tmp_path))
    hook.stepped(row(15))
    hook.answered([{"step": 15, "prompt": "Who?", "answer": ""}])
    hook.ended("finished")
    assert "15/30" in file.getvalue() and "500 tokens/s" in file.getvalue()
    assert "answers after step 15" in file.getvalue() and "(nothing)" in file.getvalue()


def test_clock():
    assert [clock(5), clock(3725)] == ["0:00:05", "1:02:05"]


def test_the_report_escapes_and_needs_nothing_beside_it(tmp_path):
    page = render_report(facts(tmp_path), "early stop")
    assert "Who &lt;are&gt; you?" in page and "I &amp; you" in page
    assert "dropped: empty" in page and "a.jsonl, line 3" in page
    assert "Step 30 of 30: early stop." in page and "xtune-greet 1.0" in page
    assert "max_length = 64" in page
    assert page.count("<svg") == 2 and "src=" not in page and "@import" not in page


def test_curves_are_drawn_for_short_and_long_runs(tmp_path):
    short, long = [row(1)], [row(step, 3 / step) for step in range(1, 60)]
    for metrics in (short, long):
        for text in (plot.loss_svg(metrics, [], "loss a pair"), plot.small_svg(metrics)):
            ElementTree.fromstring(text)
    plot.save_loss(long, [], "loss", tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_smoothing_is_unbiased_at_its_start():
    assert plot.smooth([4.0, 4.0, 4.0], 0.9) == pytest.approx([4.0, 4.0, 4.0])
    assert plot.smooth([0.0, 1.0], 0.5)[1] == pytest.approx(2 / 3)


def test_visualizers_by_name(tmp_path):
    with pytest.raises(UnknownName, match="unknown visualizer: got `TensorboardBackend`; did you mean Tensorboard"):
        Visualizer(backend="TensorboardBackend").check()
    evaluation = {"holdout": 0.2, "every": 4}
    config = tiny_config(visualizers=["LocalVisBackend", "TensorboardVisBackend"], evaluation=evaluation)
    train_run(TinyRun(config), tmp_path)
    assert '"train/loss"' in (tmp_path / "visualizers" / "scalars.json").read_text()
    assert list((tmp_path / "visualizers").glob("events.out.tfevents.*"))


def test_an_answer_that_fails_never_stops_a_run(tmp_path, monkeypatch, caplog):
    from xtune.generate.session import Session

    def broken(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Session, "prompt_ids", broken)
    config = tiny_config(evaluation={"prompts": ["w5"]}, train={"max_steps": 2})
    result = train_run(TinyRun(config), tmp_path)
    assert result.reason == "finished" and result.answers == []
    assert "no answers to the prompts: RuntimeError: out of luck" in caplog.text


class Refused(Callback):
    def stepped(self, row):
        raise OSError(28, "No space left on device")


def test_a_hook_that_cannot_write_costs_what_it_shows_and_not_the_run(tmp_path, caplog):
    shown = []
    watching = type("Watching", (Callback,), {"stepped": lambda self, row: shown.append(row)})
    together = Together([Refused(), watching()])
    together.started(facts(tmp_path))
    for number in (1, 2):
        together.stepped(row(number))
    assert [one["step"] for one in shown] == [1, 2]
    assert caplog.text.count("Refused shows nothing more: No space left on device; training goes on") == 1


def test_a_reader_that_leaves_does_not_end_the_process(tmp_path):
    """`xtune train | head`: what is printed after that goes nowhere, and the exit code is that of the run."""
    script = (
        "import sys, time; from xtune import terminal; from xtune.callbacks.callback import Callback\n"
        "from xtune.callbacks.together import Together\n"
        "class Prints(Callback):\n    def stepped(self, row): made.print('x' * 99_999)\n"
        "made, shown = terminal.console(), Together([Prints()])\n"
        "shown.started(None)\n"
        "for row in range(9): shown.stepped(row); time.sleep(0.05)\n"
        "with terminal.readers_may_leave(): print('the end')\n"
        "sys.exit(7 if not shown._running else 1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 7, errors
    assert "Exception ignored" not in errors and "Traceback" not in errors
