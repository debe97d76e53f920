"""The page, built with a small network, in a real browser."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from examples.pose.datasets.stick_figures.figure import draw_figure
from examples.pose.predictor import load_run
from examples.pose.run_folder import RunFolder
from examples.web import browser, build, runtime
from tests.examples.pose.tiny_run import IMAGE_SIZE, write_tiny_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return write_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def page(run_folder):
    try:
        runtime.tfjs_runtime()
    except runtime.RuntimeMissingError as error:
        pytest.skip(str(error))
    return build.build(RunFolder(run_folder), run_folder / "web")


@pytest.fixture(scope="module")
def opened(page):
    if not browser.is_installed():
        pytest.skip("Chromium or its driver is missing (apt install chromium chromium-driver)")
    with browser.chromium() as session:
        session.open(page)
        assert session.wait_for("ready", "error") == "ready", session.run(
            "return document.body.innerText"
        )
        yield session


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def test_everything_is_in_one_folder(page):
    names = {entry.name for entry in page.parent.iterdir()}
    assert names == {*build.PAGE_FILES, "tf.min.js", "model.js"}
    assert "http" not in page.read_text()


def test_existing_pages_stay(page, run_folder):
    with pytest.raises(SystemExit, match="error: `path` exists"):
        build.main(["--run", str(run_folder), "--output", str(page.parent)])


def test_only_a_page_is_replaced(page, run_folder, tmp_path):
    arguments = ["--run", str(run_folder), "--overwrite", "--output"]
    (tmp_path / "mine").touch()
    with pytest.raises(SystemExit, match=r"error: .*is not a page that this command wrote"):
        build.main([*arguments, str(tmp_path)])
    with pytest.raises(SystemExit, match=r"error: .*is not a page that this command wrote"):
        build.main([*arguments, str(run_folder)])
    shutil.copytree(page.parent, tmp_path / "page")
    (tmp_path / "page" / "mine").touch()
    with pytest.raises(SystemExit, match=r"error: .*other files, which would be lost: 'mine'"):
        build.main([*arguments, str(tmp_path / "page")])
    (tmp_path / "page" / "mine").unlink()
    build.main([*arguments, str(tmp_path / "page")])


def test_finds_what_the_predictor_finds(opened, run_folder):
    # Of the network's own size: nothing is resampled, which browsers do in their own way.
    image = draw_figure(0, "test", 3, size=IMAGE_SIZE).image
    opened.drop("figure.png", png(image))
    assert opened.wait_for("done", "error") == "done"
    joints, scores = load_run(run_folder).predict(image)
    pose = opened.pose()
    np.testing.assert_allclose(pose["joints"], joints, atol=1e-3)
    np.testing.assert_allclose(pose["scores"], scores, atol=1e-4)


def test_draws_skeleton_heatmaps_and_boxes(opened):
    opened.drop("figure.png", png(draw_figure(0, "test", 4).image))
    opened.wait_for("done")
    assert opened.run("return document.querySelectorAll('#heatmaps canvas').length") == 14
    assert opened.run("return document.querySelectorAll('#boxes canvas').length") == 1
    colours = """
    return [...document.querySelectorAll("canvas")].map((canvas) => {
      const { width, height } = canvas;
      const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      return new Set(new Uint32Array(data.buffer)).size;
    });"""
    assert all(count > 3 for count in opened.run(colours))  # None is blank.
    assert Image.open(io.BytesIO(opened.screenshot())).size[0] > 500


def test_pictures_of_other_shapes(opened, run_folder):
    """Wide and tall: the page's own letterbox leads back to the picture's pixels."""
    for shape in ((20, 61, 3), (90, 7, 3), (1, 1, 3)):
        opened.drop("shape.png", png(np.full(shape, 90, np.uint8)))
        assert opened.wait_for("done", "error") == "done"
        (low_x, low_y), (high_x, high_y) = (
            np.min(opened.pose()["joints"], 0),
            np.max(opened.pose()["joints"], 0),
        )
        assert np.isfinite([low_x, low_y, high_x, high_y]).all()


def test_what_is_no_picture(opened):
    opened.drop("notes.txt", b"no picture", "text/plain")
    assert opened.wait_for("done", "error") == "error"
    assert "notes.txt is no picture" in opened.run("return document.body.innerText")
    opened.drop("figure.png", png(draw_figure(0, "test", 4).image))
    assert opened.wait_for("done", "error") == "done"


def test_letterbox_leads_back(opened):
    script = """
    const picture = new OffscreenCanvas(arguments[0], arguments[1]);
    picture.getContext("2d");
    const { toPicture } = letterbox(picture, 32);
    return [toPicture([-0.5, -0.5]), toPicture([31.5, 31.5])];
    """
    # A wide picture fills the square from side to side, and has grey above and below.
    (left, top), (right, bottom) = opened.run(script, 64, 32)
    assert (left, right) == (-0.5, 63.5)
    assert (top, bottom) == (-16.5, 47.5)


def test_no_run(tmp_path):
    with pytest.raises(SystemExit, match="error: "):
        build.main(["--run", str(tmp_path), "--output", str(tmp_path / "web")])
    assert not list(tmp_path.iterdir())


def test_the_description_of_boxes_is_in_the_page(page):
    text = (page.parent / "model.js").read_text()
    content = json.loads(text.removeprefix("const POSE = ").removesuffix(";\n"))
    (layer,) = content["layers"]
    assert np.shape(layer["boxes"]) == (8, 2, 4)
