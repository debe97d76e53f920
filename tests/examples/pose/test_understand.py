"""`understand` as a command, and the pictures it draws of a box network."""

import inspect

import numpy as np
import pytest
from PIL import Image

from examples.pose import datasets, models, understand
from examples.pose.cli import command_line
from examples.pose.datasets.skeletons import LSP_SKELETON
from examples.pose.evaluation import understanding
from examples.pose.training import session
from examples.pose.training.run_folder import RunFolder
from tests.examples.pose import drawn_figures
from tf_boxconv import description, visualize
from tf_boxconv.visualize import BoxLogger


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", drawn_figures.load)
    run = RunFolder(tmp_path / "run")
    config = {"dataset": "stick_figures", "image_size": 32, "data_dir": None, "prepared_dir": None}
    run.begin({**config, "skeleton": LSP_SKELETON.to_metadata()})
    run.save_model(models.build("u_net", image_size=32, width=8))
    return run


def test_command_writes_pictures(run, tmp_path, capsys):
    (run.path / "boxes.gif").write_bytes(b"an animation")
    understand.main(["--run", str(run.path)])
    folder = run.path / "understanding"
    names = ["boxes.png", "histograms.png", "kernel.png", "receptive_field.png"]
    assert sorted(p.name for p in folder.iterdir()) == sorted([*names, "boxes.gif"])
    printed = capsys.readouterr().out
    for name in names:
        assert np.ptp(np.asarray(Image.open(folder / name).convert("L"))) > 100
        assert str(folder / name) in printed
    understand.main(["--run", str(run.path), "--output", str(tmp_path / "elsewhere")])
    assert len(list((tmp_path / "elsewhere").iterdir())) == 5


@pytest.mark.parametrize("arguments, wanted", [([], False), (["--skip_broken"], True)])
def test_broken_pictures_are_left_out_on_request(run, monkeypatch, arguments, wanted):
    def load(*arguments):
        loaded.append(inspect.signature(drawn_figures.load).bind(*arguments).arguments)
        return drawn_figures.load(*arguments)

    loaded = []
    monkeypatch.setattr(datasets, "load", load)
    understand.main(["--run", str(run.path), *arguments])
    assert [call["skip_broken"] for call in loaded] == [wanted]


def test_the_strongest_filter_of_the_layer_is_drawn(run):
    model = run.load_model()
    layer = list(description.box_layers(model))[2]
    mixing = visualize.mixing_weights(layer)
    index = int(np.argmax((mixing**2).sum(axis=0)))
    axes = understanding.draw_strongest_kernel(layer).axes[0]
    assert axes.get_title() == f"{layer.name}, filter {index}"
    kernel = visualize.effective_kernel(layer, index, mixing).sum(axis=-1)
    np.testing.assert_allclose(axes.images[0].get_array(), kernel)


def test_errors_are_clear(run, capsys):
    assert command_line.run(lambda: understand.main(["--run", str(run.path), "--layer", "x"])) == 1
    assert "--layer must be one of encoder" in capsys.readouterr().err
    run.save_model(models.build("u_net", context="depthwise", image_size=32, width=8))
    assert command_line.run(lambda: understand.main(["--run", str(run.path)])) == 1
    assert "has no box layers" in capsys.readouterr().err


def test_training_logs_boxes_where_that_is_wanted(tmp_path):
    run = RunFolder(tmp_path)
    config = {"log_boxes": True, "context": "box", "steps_per_epoch": 250, "epochs": 2}
    (logger,) = session.box_loggers(run, config, done=250)
    assert isinstance(logger, BoxLogger)
    assert (logger.animation, logger.every) == (tmp_path / "boxes.gif", 25)
    assert logger.first_batch == 250
    assert session.box_loggers(run, {**config, "log_boxes": False}, done=0) == []
    assert session.box_loggers(run, {**config, "context": "depthwise"}, done=0) == []
    # A training that was over, and only had to be measured, leaves the animation as it is.
    assert session.box_loggers(run, config, done=500) == []


def test_what_is_read_is_not_replaced(run, tmp_path, monkeypatch, capsys):
    """The animation of the run itself, and pictures of the data set."""
    monkeypatch.chdir(tmp_path)
    (run.path / "boxes.gif").write_bytes(b"animation")
    for folder in (run.path, run.path / "understanding" / ".."):
        arguments = ["--run", str(run.path), "--output", str(folder)]
        assert command_line.run(lambda given=arguments: understand.main(given)) == 1
        assert "would overwrite the input" in capsys.readouterr().err
    (tmp_path / "data" / "lsp").mkdir(parents=True)
    (tmp_path / "data" / "lsp" / "boxes.png").write_text("mine")
    arguments = ["--run", str(run.path), "--output", "data/lsp", "--data_dir", "data"]
    assert command_line.run(lambda: understand.main(arguments)) == 1
    assert "which is read" in capsys.readouterr().err
    assert (tmp_path / "data" / "lsp" / "boxes.png").read_text() == "mine"
    assert (run.path / "boxes.gif").read_bytes() == b"animation"
    (run.path / "boxes.gif").unlink()
