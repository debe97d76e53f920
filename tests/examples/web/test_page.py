"""Builds the page with a small network and tests it in a real browser."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from examples.pose.datasets.stick_figures.figure import draw_figure
from examples.pose.images import geometry
from examples.pose.images.image_files import decode_image
from examples.pose.inference.predictor import load_run
from examples.pose.models import heatmaps
from examples.pose.training.run_folder import RunFolder
from examples.web import browser, build, runtime
from tests.examples.commands import refused
from tests.examples.pose.picture_kinds import KINDS
from tests.examples.pose.tiny_run import IMAGE_SIZE, write_tiny_run

# Kinds of files that browsers show with the pixels that `predict` reads. CMYK is left out, because
# each browser converts it in its own way. Chromium ignores the orientation in a WebP, and in a PNG
# that stores it after the pixels.
SHOWN_BY_BROWSERS = [
    kind
    for kind in KINDS
    if kind.startswith(("jpeg", "png", "bmp", "gif", "webp"))
    and not kind.startswith("webp_orientation")
    and kind not in ("jpeg_cmyk", "png_16_transparent", "png_turned_after_pixels")
]
BROWSER_TOLERANCE = 2


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


def test_the_page_needs_no_file_outside_its_folder(page):
    names = {entry.name for entry in page.parent.iterdir()}
    assert names == {*build.PAGE_FILES, "tf.min.js", "model.js"}
    assert "http" not in page.read_text()


def test_an_existing_page_is_not_overwritten_by_default(page, run_folder):
    assert " exists" in refused(build.main, "--run", run_folder, "--output", page.parent)


@pytest.mark.parametrize("output", ["run", ".", "photos"])
def test_other_folders_are_not_replaced(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    write_tiny_run(tmp_path / "run")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("mine")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    message = refused(build.main, "--run", "run", "--output", output, "--overwrite")
    assert re.match(r"error: --output (is not|exists and is not|is the current)", message)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_only_an_earlier_page_is_replaced(page, run_folder, tmp_path):
    arguments = ["--run", str(run_folder), "--overwrite", "--output"]
    shutil.copytree(page.parent, tmp_path / "page")
    (tmp_path / "page" / "mine").touch()
    message = refused(build.main, *arguments, tmp_path / "page")
    assert "other files, which would be lost: 'mine'" in message
    (tmp_path / "page" / "mine").unlink()
    build.main([*arguments, str(tmp_path / "page")])


def test_poses_are_those_of_the_predictor(opened, run_folder):
    # The image has the network's size, because each browser resamples in its own way.
    image = draw_figure(0, "test", 3, size=IMAGE_SIZE).image
    opened.drop("figure.png", png(image))
    assert opened.wait_for("done", "error") == "done"
    joints, scores = load_run(run_folder).predict(image)
    pose = opened.pose()
    np.testing.assert_allclose(pose["joints"], joints, atol=1e-3)
    np.testing.assert_allclose(pose["scores"], scores, atol=1e-4)


@pytest.mark.parametrize("kind", SHOWN_BY_BROWSERS)
def test_pictures_have_the_pixels_that_predict_reads(opened, kind):
    """The square has the size of the picture, so that nothing is resampled."""
    opened.drop(f"picture.{kind.split('_')[0]}", KINDS[kind], f"image/{kind.split('_')[0]}")
    assert opened.wait_for("done", "error") == "done"
    script = """
    const [data, type] = arguments;
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    return (async () => {
      const picture = await readPicture(new File([bytes], "file", { type }));
      const { square } = letterbox(picture, Math.max(picture.width, picture.height));
      return [picture.width, picture.height, Array.from(square.data)];
    })();
    """
    data = base64.b64encode(KINDS[kind]).decode()
    width, height, pixels = opened.run(script, data, f"image/{kind.split('_')[0]}")
    expected = decode_image(KINDS[kind], kind)
    assert expected.shape == (height, width, 3)
    side = max(width, height)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.array(pixels, np.uint8).reshape(side, side, 4)
    seen = square[top : top + height, left : left + width, :3]
    # Browsers store colours multiplied by alpha, which rounds.
    np.testing.assert_allclose(seen.astype(int), expected, atol=BROWSER_TOLERANCE)


def test_the_letterbox_rounds_sides_as_the_predictor_does(opened):
    script = """
    return arguments[0].map(([width, height]) => {
      const { toPicture } = letterbox(new OffscreenCanvas(width, height), 32);
      return [...toPicture([0, 0]), ...toPicture([31, 31])];
    });
    """
    sizes = [(64, 33), (64, 35), (64, 37), (33, 64), (61, 47), (200, 3), (1, 1), (639, 481)]
    for (width, height), corners in zip(sizes, opened.run(script, sizes), strict=True):
        _, affine = geometry.letterbox(np.zeros((height, width, 3), np.uint8), 32)
        points = np.array([[[0, 0], [31, 31]]], np.float32)
        expected = geometry.transform_points(geometry.invert_affine(affine[np.newaxis]), points)
        np.testing.assert_allclose(np.ravel(expected), corners, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("seed", [0])
def test_heatmaps_are_decoded_as_the_predictor_does(opened, seed):
    """Peaks anywhere, at borders and in corners, plateaus, and maps one cell wide."""
    random = np.random.default_rng(seed)
    for rows, columns in ((6, 9), (1, 7), (7, 1), (1, 1)):
        logits = random.normal(0, 3, (40, rows, columns)).astype(np.float32)
        logits[:5] = np.round(logits[:5])  # so that there are ties
        logits[5:8] -= 500  # so that float32 probabilities are zero
        script = """
        const [maps, rows, columns] = arguments;
        return maps.map((map) => {
          const logits = Float32Array.from(map);
          const { place, score } = readJoint(logits, softmax(logits), rows, columns);
          return [...place, score];
        });
        """
        flat = logits.reshape(len(logits), -1).tolist()
        found = np.array(opened.run(script, flat, rows, columns))
        joints, scores = heatmaps.decode(logits[..., np.newaxis])
        np.testing.assert_allclose(found[:, :2], joints[:, 0], atol=1e-5)
        np.testing.assert_allclose(found[:, 2], scores[:, 0], atol=1e-4)


def test_the_page_draws_skeleton_heatmaps_and_boxes(opened):
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
    assert all(count > 3 for count in opened.run(colours))  # none is blank
    assert Image.open(io.BytesIO(opened.screenshot())).size[0] > 500


def test_joints_are_finite_in_pictures_of_any_shape(opened, run_folder):
    for shape in ((20, 61, 3), (90, 7, 3), (1, 1, 3)):
        opened.drop("shape.png", png(np.full(shape, 90, np.uint8)))
        assert opened.wait_for("done", "error") == "done"
        (low_x, low_y), (high_x, high_y) = (
            np.min(opened.pose()["joints"], 0),
            np.max(opened.pose()["joints"], 0),
        )
        assert np.isfinite([low_x, low_y, high_x, high_y]).all()


def test_a_file_that_is_no_picture_gives_an_error_and_the_page_works_on(opened):
    opened.drop("notes.txt", b"no picture", "text/plain")
    assert opened.wait_for("done", "error") == "error"
    assert "notes.txt is not a picture" in opened.run("return document.body.innerText")
    opened.drop("figure.png", png(draw_figure(0, "test", 4).image))
    assert opened.wait_for("done", "error") == "done"


def test_the_letterbox_maps_points_back_to_the_picture(opened):
    script = """
    const picture = new OffscreenCanvas(arguments[0], arguments[1]);
    picture.getContext("2d");
    const { toPicture } = letterbox(picture, 32);
    return [toPicture([-0.5, -0.5]), toPicture([31.5, 31.5])];
    """
    # A wide picture fills the width of the square, with grey above and below.
    (left, top), (right, bottom) = opened.run(script, 64, 32)
    assert (left, right) == (-0.5, 63.5)
    assert (top, bottom) == (-16.5, 47.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--page", "none.html", "--picture", "a.png"], "--page none.html"),
        (["--page", ".", "--picture", "a.png"], "--page ."),
        (["--page", "p/index.html", "--picture", "none.png"], "none.png"),
        (["--page", "p/index.html", "--picture", "p"], "p"),
        (["--page", "p/index.html", "--picture", "a.png", "--screenshot", "a.png"], "overwrite"),
        (["--page", "p/index.html", "--picture", "a.png", "--screenshot", "./p/x.png"], "overwr"),
        (["--page", "p/index.html", "--picture", "a.png", "--screenshot", "s.txt"], ".png"),
    ],
)
def test_errors_of_the_browser_command_are_one_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    for name in ("a.png", "p/index.html", "p/x.png"):
        (tmp_path / name).write_text("mine")
    assert words in refused(browser.main, *arguments)
    assert (tmp_path / "a.png").read_text() == (tmp_path / "p/x.png").read_text() == "mine"


def test_the_error_about_a_missing_browser_names_it(tmp_path, monkeypatch):
    (tmp_path / "index.html").touch()
    monkeypatch.setattr(browser, "is_installed", lambda: False)
    page = str(tmp_path / "index.html")
    message = refused(browser.main, "--page", page, "--picture", page)
    assert message.startswith("error: Chromium or its driver is missing")


def test_the_reason_of_chromedriver_is_shown(monkeypatch):
    if not browser.is_installed():
        pytest.skip("Chromium or its driver is missing")
    monkeypatch.setattr(browser, "_CHROMIUM_FLAGS", ["--user-data-dir=/proc/none"])
    with pytest.raises(browser.BrowserError, match="cannot create default"), browser.chromium():
        pass


def test_the_command_writes_a_screenshot(page, tmp_path, capsys):
    if not browser.is_installed():
        pytest.skip("Chromium or its driver is missing")
    picture = tmp_path / "figure.png"
    picture.write_bytes(png(draw_figure(0, "test", 3).image))
    shot = tmp_path / "new" / "shot.png"
    arguments = ["--page", str(page), "--screenshot", str(shot), "--picture"]
    browser.main([*arguments, str(picture)])
    assert "figure.png: " in capsys.readouterr().out and shot.exists()
    picture.write_bytes(b"no picture")
    message = refused(browser.main, *arguments, picture)
    assert message.startswith("error: figure.png is not a picture")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    refused(build.main, "--run", tmp_path, "--output", tmp_path / "web")
    assert not list(tmp_path.iterdir())


def test_the_page_holds_the_description_of_the_boxes(page):
    text = (page.parent / "model.js").read_text()
    content = json.loads(text.removeprefix("const POSE = ").removesuffix(";\n"))
    (layer,) = content["layers"]
    assert np.shape(layer["boxes"]) == (8, 2, 4)
