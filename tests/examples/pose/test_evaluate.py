"""Tests of `evaluate`: its numbers, compared with COCO's own evaluation, and its files."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from examples.pose import datasets, evaluate
from examples.pose.datasets import __file__ as _datasets_file
from examples.pose.datasets import in_memory, skeletons
from examples.pose.evaluation import accuracy, coco_evaluation, cost, metrics, plots
from tests.examples.pose import people
from tests.examples.pose.tiny_run import write_tiny_run

_DUMMY = {
    name: _datasets_file.replace("__init__.py", f"{name}/dummy_data")
    for name in ("mpii", "coco_keypoints", "lsp")
}
SOURCES = {"drawn": people.drawn_coco, "coco_mini": people.coco_mini}


@pytest.fixture(params=SOURCES)
def sample(request):
    if request.param == "coco_mini" and not people.COCO_MINI.is_dir():
        pytest.skip("no photographs here")
    return SOURCES[request.param]()


def official_numbers(folder, annotations, images, joints, scores):
    """Returns the numbers of `COCOeval`, run on files without the code of `examples`."""
    truth = {
        "images": [
            {"id": a["image_id"], "height": i.shape[0], "width": i.shape[1]}
            for a, i in zip(annotations, images, strict=True)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    results = [
        {
            "image_id": annotation["image_id"],
            "category_id": 1,
            "keypoints": np.column_stack([places, np.ones(17)]).ravel().tolist(),
            "score": float(np.mean(score)),
        }
        for annotation, places, score in zip(annotations, joints, scores, strict=True)
    ]
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    coco = COCO(str(folder / "truth.json"))
    evaluation = COCOeval(coco, coco.loadRes(str(folder / "results.json")), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_coco_numbers_are_cocos_own(sample, noise, tmp_path):
    annotations, images = sample
    photographs = people.photographs_of(annotations, images)
    model, _ = people.model_with_known_answers(photographs, noise)
    coco = coco_evaluation.CocoAP()
    result = accuracy.evaluate_joints(
        model, photographs, skeletons.COCO_SKELETON, False, "dark", coco
    )
    # Joints in pixels of the photographs.
    joints, scores = accuracy.predict_people(
        model, photographs, skeletons.COCO_SKELETON, False, "dark"
    )
    expected = official_numbers(tmp_path, annotations, images, joints, scores)
    assert 0.1 < expected[0] < 1  # Some joints are found, and not all.
    for (name, got), want in zip(result["coco"].items(), expected, strict=True):
        assert name in coco_evaluation.NUMBERS
        if want < 0:
            assert got is None
        else:
            assert got == pytest.approx(want, abs=1e-6), name
    np.testing.assert_allclose(coco.result(), expected[0], atol=1e-6)
    # The results file is one that COCO's evaluation reads, with the same outcome.
    accuracy.write_results(tmp_path / "evaluation", result, coco)
    truth = COCO(str(tmp_path / "truth.json"))
    found = truth.loadRes(str(tmp_path / "evaluation-coco-results.json"))
    evaluation = COCOeval(truth, found, "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    np.testing.assert_allclose(evaluation.stats, expected, atol=1e-6)


def test_predictions_are_in_the_photographs_pixels(sample):
    annotations, images = sample
    photographs = people.photographs_of(annotations, images)
    model, answers = people.model_with_known_answers(photographs, noise=1.0)
    joints, scores = accuracy.predict_people(
        model, photographs, skeletons.COCO_SKELETON, False, "dark"
    )
    assert joints.shape == (len(images), 17, 2) and scores.shape == (len(images), 17)
    tested = 0
    for i, image in enumerate(images):
        # The photograph's longer side fills the square; pixel centres are half a pixel inside.
        height, width = image.shape[:2]
        sides = np.array([width, height])
        scaled = np.maximum(np.round(sides * 64 / sides.max()), 1)
        before = (64 - scaled.astype(int)) // 2
        expected = (answers[i] + 0.5 - before) * sides / scaled - 0.5
        # Where the smoothing reaches beyond the border, joints lean away from it a little.
        inside = ((answers[i] > 11) & (answers[i] < 52)).all(axis=-1)
        tolerance = 0.02 * sides.max() / 64
        tested += np.count_nonzero(inside)
        np.testing.assert_allclose(joints[i][inside], expected[inside], atol=tolerance)
    assert tested > 30


def test_pck_of_known_answers():
    annotations, images = people.drawn_coco(count=30)
    photographs = people.photographs_of(annotations, images)
    model, _ = people.model_with_known_answers(photographs, noise=0.0)
    result = accuracy.evaluate_joints(model, photographs, skeletons.COCO_SKELETON, False, "dark")
    assert result["pck"] > 99 and result["pck_auc"] > 90
    assert "pckh" not in result  # No heads.
    order = {}
    for decoding in ("peak", "quarter", "dark"):
        measured = accuracy.evaluate_joints(
            model, photographs, skeletons.COCO_SKELETON, False, decoding
        )
        order[decoding] = measured["pck_auc"]
    assert order["peak"] < order["quarter"] < order["dark"]


def test_other_data_sets_have_no_coco_numbers():
    assert not coco_evaluation.applies(skeletons.COCO_SKELETON, {"origin": 0})
    everything = dict.fromkeys(coco_evaluation.NEEDED)
    assert coco_evaluation.applies(skeletons.COCO_SKELETON, everything)
    assert not coco_evaluation.applies(skeletons.MPII_SKELETON, everything)


def test_coco_metric_starts_afresh():
    metric = coco_evaluation.CocoAP()
    assert np.isnan(metric.result())
    annotations, images = people.drawn_coco(count=3)
    photographs = people.photographs_of(annotations, images)
    y_true = {
        "joints": np.array([np.reshape(a["keypoints"], (17, 3))[:, :2] for a in annotations]),
        "visibility": photographs.visibility,
        "person": photographs.person,
    }
    metric.update_state(y_true, {"predicted": y_true["joints"], "scores": np.ones((3, 17))})
    assert float(metric.result()) == pytest.approx(1)
    metric.reset_state()
    assert metric.numbers() == dict.fromkeys(coco_evaluation.NUMBERS)


@pytest.fixture
def six_people():
    """Arguments of `update_people` for six people in two images, with the truth as prediction."""
    rng = np.random.default_rng(0)
    joints = rng.uniform(0, 100, (6, 17, 2))
    return {
        "joints": joints,
        "visibility": np.full((6, 17), 2),
        "person": {
            "origin": np.arange(12.0).reshape(6, 2),
            "box": np.tile([0.0, 0.0, 100.0, 100.0], (6, 1)),
            "area": np.full(6, 5000.0),
            "is_crowd": np.zeros(6, bool),
            "image_id": np.array([7, 7, 7, 8, 8, 8]),
            "person_id": np.arange(6),
        },
        "predicted": joints.copy(),
        "scores": np.linspace(0.5, 1, 6)[:, None].repeat(17, axis=1),
    }


def _coco(people):
    metric = coco_evaluation.CocoAP()
    metric.update_people(**people)
    return metric


@pytest.mark.parametrize(
    "ids",
    [
        [0, 1, 2, 3, 4, 5],  # pycocotools takes 0 for "no match".
        [0, 0, 0, 0, 0, 0],
        [-3, -2, -1, 0, 1, 2],
        [2**62 + i for i in range(6)],
        [float(2**53)] * 6,
        ["a", "b", "c", "d", "e", "f"],
    ],
    ids=str,
)
def test_the_truth_scores_one_whatever_the_person_ids(six_people, ids):
    six_people["person"]["person_id"] = np.array(ids)
    assert _coco(six_people).numbers()["AP"] == pytest.approx(1)
    del six_people["person"]["person_id"]
    assert _coco(six_people).numbers()["AR"] == pytest.approx(1)


@pytest.mark.parametrize(
    "ids",
    [[0, 0, 0, 1, 1, 1], [2**62] * 3 + [2**62 + 1] * 3, [7.0] * 3 + [8.0] * 3, [*"aaabbb"]],
    ids=str,
)
def test_image_ids_of_any_kind(six_people, ids):
    six_people["person"]["image_id"] = np.array(ids)
    metric = _coco(six_people)
    assert metric.numbers()["AP"] == pytest.approx(1)
    assert [r["image_id"] for r in json.loads(json.dumps(metric.results))] == ids


@pytest.mark.parametrize("image_id", [0.5, np.nan, 2.0**53, np.float32(2**24)])
def test_image_ids_that_are_not_exact_are_refused(six_people, image_id):
    six_people["person"]["image_id"] = np.full(6, image_id)
    with pytest.raises(ValueError, match="`image_id` must hold integers"):
        _coco(six_people)


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf, 1e30])
def test_coco_does_not_find_joints_that_are_not_finite(six_people, lost):
    six_people["predicted"][:] = lost
    assert _coco(six_people).numbers()["AP"] == 0
    six_people["predicted"] = six_people["joints"].copy()
    six_people["predicted"][:, 0] = lost  # 16 of 17 joints are found: an OKS of 0.94.
    metric = _coco(six_people)
    numbers = metric.numbers()
    assert numbers["AP50"] == pytest.approx(1) and numbers["AP"] == pytest.approx(0.9)
    assert np.isfinite([r["keypoints"] for r in json.loads(json.dumps(metric.results))]).all()


def test_a_lost_person_counts_as_a_false_prediction(six_people):
    """The effect is the same as of a person that is predicted elsewhere."""
    numbers = []
    for place in (np.nan, 1e30, 350.0):
        six_people["predicted"][5] = place  # The one with the highest score.
        numbers.append(_coco(six_people).numbers()["AP"])
    assert numbers[0] == numbers[1] == numbers[2] < 0.8


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_count_as_zero(six_people, score):
    six_people["scores"][0] = score
    metric = _coco(six_people)
    assert metric.results[0]["score"] == 0
    assert metric.numbers()["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    "name,value",
    [
        ("area", 0.0),
        ("area", -5000.0),
        ("area", np.nan),
        ("area", np.inf),
        ("box", np.nan),
        ("origin", np.inf),
        ("joints", np.nan),
        ("visibility", 3),
        ("visibility", -1),
        ("is_crowd", np.nan),
    ],
)
def test_an_invalid_label_raises_and_nobody_is_added(six_people, name, value):
    place = six_people if name in six_people else six_people["person"]
    place[name] = np.array(place[name], float)
    place[name][2] = value
    metric = coco_evaluation.CocoAP()
    with pytest.raises(ValueError, match=f"`{name}` of person 2 must"):
        metric.update_people(**six_people)
    assert not metric.labels and not metric.results


def test_shapes_that_do_not_match_are_refused(six_people):
    with pytest.raises(ValueError, match=r"`predicted` must have shape \(6, 17, 2\), got"):
        _coco({**six_people, "predicted": six_people["predicted"][:5]})


def test_unlabelled_people_and_crowds_are_ignored(six_people):
    six_people["visibility"][4] = 0
    six_people["joints"][4] = np.nan
    six_people["person"]["is_crowd"][5] = True
    six_people["predicted"][4:] = np.nan
    assert _coco(six_people).numbers()["AR"] == pytest.approx(1)
    six_people["visibility"][:] = 0
    assert _coco(six_people).numbers() == dict.fromkeys(coco_evaluation.NUMBERS)


def test_nobody_and_no_predictions(six_people):
    nobody = {k: v[:0] for k, v in six_people.items() if k != "person"}
    nobody["person"] = {k: v[:0] for k, v in six_people["person"].items()}
    metric = _coco(nobody)
    assert metric.numbers() == dict.fromkeys(coco_evaluation.NUMBERS)
    labels = _coco(six_people).labels
    assert coco_evaluation.evaluate(labels, [])["AP"] == 0


def test_twenty_predictions_count_in_an_image(six_people):
    """By a rule of COCO's evaluation, only the 20 best predictions in an image count."""
    many = {k: np.repeat(v, 4, axis=0) for k, v in six_people.items() if k != "person"}
    many["person"] = {k: np.repeat(v, 4, axis=0) for k, v in six_people["person"].items()}
    many["person"]["image_id"][:] = 1
    many["joints"] = many["predicted"] = many["joints"] + 200 * np.arange(24)[:, None, None]
    assert _coco(many).numbers()["AR"] == pytest.approx(20 / 24)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(cost, "TIMED_SECONDS", 0.0)


def _run(tmp_path, name, skeleton, *arguments):
    run = write_tiny_run(
        tmp_path / "run", skeleton, dataset=name, model="box", data_dir=None, prepared_dir=None
    )
    places = ["--data_dir", _DUMMY[name], "--prepared_dir", str(tmp_path / "prepared")]
    evaluate.main(["--run", str(run), *places, *arguments])
    return run, json.loads((run / f"evaluation-{name}.json").read_text())


def test_command_on_mpii(tmp_path, quick, capsys):
    run, result = _run(tmp_path, "mpii", skeletons.MPII_SKELETON, "--decoding", "dark")
    printed = capsys.readouterr().out
    assert "PCK@0.2" in printed and "PCKh@0.5" in printed and "COCO" not in printed
    assert result["split"] == "validation" and result["decoding"] == "dark"
    assert result["pckh_joints_counted"] == 16  # All joints of the one person there.
    assert set(result["pckh_per_joint"]) == set(skeletons.MPII_SKELETON.joint_names)
    pictures = sorted(path.name for path in run.glob("*.png"))
    assert pictures == [
        f"evaluation-mpii-{m}-{p}.png" for m in ("pck", "pckh") for p in ("curve", "joints")
    ]
    for name in pictures:
        assert np.ptp(np.asarray(Image.open(run / name))) > 200
    assert not list(run.glob("*coco-results*"))


def test_pckh_counts_separated_people_only(tmp_path):
    """The mean leaves out pelvis, thorax, and the person who is not `is_single`."""
    dataset, skeleton = datasets.load("mpii", "train", _DUMMY["mpii"], tmp_path)
    photographs = in_memory.read_photographs(dataset, 64, "reading")
    model, _ = people.model_with_known_answers(photographs, noise=5.0)
    result = accuracy.evaluate_joints(model, photographs, skeleton, False, "quarter")
    predicted, _ = accuracy.predict_people(model, photographs, skeleton, False, "quarter")
    found = counted = 0
    for i, example in enumerate(dataset.as_numpy_iterator()):
        person = example["person"]
        diagonal = np.hypot(*(person["head_box"][2:] - person["head_box"][:2]))
        for j, name in enumerate(skeleton.joint_names):
            if name in ("pelvis", "thorax") or not person["is_single"]:
                continue
            if example["visibility"][j] == 0:
                continue
            counted += 1
            error = np.hypot(*(predicted[i, j] - example["joints"][j]))
            found += error <= 0.5 * 0.6 * diagonal
    assert 0 < found < counted
    assert result["pckh"] == pytest.approx(100 * found / counted, abs=0.01)


def test_command_on_coco(tmp_path, quick, capsys):
    run, result = _run(tmp_path, "coco_keypoints", skeletons.COCO_SKELETON)
    assert set(result["coco"]) == set(coco_evaluation.NUMBERS)
    page = np.asarray(Image.open(run / "evaluation-coco_keypoints-examples.jpg"))
    assert page.shape[1] > 2 * 192
    printed = capsys.readouterr().out
    for title in coco_evaluation.NUMBERS.values():
        assert title in printed
    results = json.loads((run / "evaluation-coco_keypoints-coco-results.json").read_text())
    assert sorted(r["image_id"] for r in results) == [201, 201, 202]


def test_another_data_set_than_the_run_was_trained_on(tmp_path, quick):
    run = write_tiny_run(
        tmp_path / "run", dataset="lsp", model="box", data_dir=None, prepared_dir=None
    )
    places = ["--data_dir", _DUMMY["mpii"], "--prepared_dir", str(tmp_path / "prepared")]
    evaluate.main(["--run", str(run), "--dataset", "mpii", *places])
    result = json.loads((run / "evaluation-mpii.json").read_text())
    assert set(result["pckh_per_joint"]) == set(skeletons.LSP_SKELETON.joint_names)
    assert result["pckh_joints_counted"] == 14


def test_pictures_show_what_was_measured():
    result = {
        "pck": 40.0,
        "pck_auc": 20.0,
        "pck_per_joint": {"left_hip": 60.0, "right_hip": 20.0, "neck": None},
        "pck_curve": {"thresholds": [0.0, 0.1, 0.2], "pck": [0.0, 20.0, 40.0]},
    }
    (axes,) = plots.draw_curve(result, "pck").axes
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0, 0], [0.1, 20], [0.2, 40]])
    assert "PCK@0.2 40.0" in axes.get_title() and "20.0" in axes.get_title()
    (axes,) = plots.draw_joints(result, "pck").axes
    assert [bar.get_width() for bar in axes.patches] == [60, 20, 0]
    assert [text.get_text() for text in axes.texts] == ["60.0", "20.0", "-"]
    nobody = metrics.PCK(3, (0, 1))
    empty = metrics.summary(nobody, ["a", "b", "c"])
    assert plots.draw_curve(empty, "pck") and plots.draw_joints(empty, "pck")
