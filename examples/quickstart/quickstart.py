"""Quickstart: trains a Keras model with box convolutions, draws its boxes and exports it."""

import tempfile

import keras
import numpy as np
import onnxruntime
import tensorflow_datasets as tfds
from keras.layers import Conv2D
from keras.optimizers import Adam

import tf_boxconv
from tf_boxconv.layers import BoxConv2D

keras.utils.set_random_seed(0)
folder = tempfile.mkdtemp()


class Rectangles(tfds.core.GeneratorBasedBuilder):
    """Noisy images, and the class of each pixel: 0 background, 1 tall, 2 wide, 3 square."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        plane = tfds.features.Tensor(shape=(48, 48, 1), dtype=np.float32)
        features = tfds.features.FeaturesDict({"image": plane, "label": plane})
        keys = ("image", "label")
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=keys)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(1000, 1), "test": self._generate_examples(200, 2)}

    def _generate_examples(self, count, seed):
        rng = np.random.default_rng(seed)
        for index in range(count):
            label = np.zeros((48, 48, 1), "float32")
            for shape, height, width in rng.permutation([(1, 24, 8), (2, 8, 24), (3, 14, 14)]):
                y, x = rng.integers(49 - height), rng.integers(49 - width)
                label[y : y + height, x : x + width] = shape
            yield index, {"image": rng.normal(label > 0).astype("float32"), "label": label}


builder = Rectangles(data_dir=folder)
builder.download_and_prepare()
splits = builder.as_dataset(split=["train", "test"], batch_size=-1, as_supervised=True)
(images, labels), (test_images, test_labels) = tfds.as_numpy(splits)

conv = {"kernel_size": 3, "padding": "same", "activation": "relu"}


def build_model(*middle):
    """A 3x3 convolution, the layers `middle`, and the probability of each class at each pixel."""
    stem, head = Conv2D(16, **conv), Conv2D(4, 1, activation="softmax")
    return keras.Sequential([keras.Input((48, 48, 1)), stem, *middle, head])


model = build_model(BoxConv2D(16, activation="relu"), BoxConv2D(16, activation="relu"))
twin = build_model(Conv2D(16, **conv), Conv2D(16, **conv))
dilated = build_model(Conv2D(16, dilation_rate=3, **conv), Conv2D(16, dilation_rate=6, **conv))
initial_boxes = tf_boxconv.visualize.boxes_by_layer(model)

for name, trained in {"Conv2D": twin, "dilated Conv2D": dilated, "BoxConv2D": model}.items():
    print(f"\n{name}, {trained.count_params()} parameters")
    trained.compile(Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    trained.fit(images, labels, batch_size=16, epochs=8, verbose=2)
    trained.evaluate(test_images, test_labels, verbose=2)

figure = tf_boxconv.visualize.draw_boxes(model, initial_boxes=initial_boxes)
figure.savefig(f"{folder}/boxes.png", dpi=150)

outputs = model.predict(test_images, verbose=0)
model.save(f"{folder}/model.keras")
loaded = keras.models.load_model(f"{folder}/model.keras")
np.testing.assert_array_equal(loaded.predict(test_images, verbose=0), outputs)
tf_boxconv.export(loaded, f"{folder}/model.onnx")
session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
(exported,) = session.run(None, {session.get_inputs()[0].name: test_images})
print(f"\nONNX Runtime differs by {abs(exported - outputs).max():.0e}. Files: {folder}")
