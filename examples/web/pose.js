// Finds joints in a picture of any size: letterbox, network, decoding. The steps are the same as in
// examples/pose/inference/predictor.py, which explains them. Resampling differs slightly.
"use strict";

const GREY = 128; // The network maps 127.5 to zero, but canvases hold integers.
const HEATMAP_STRIDE = 2; // In pixels per cell, as in examples/pose/models/heatmaps.py.
const SCORE_RADIUS = 4; // In cells, likewise.

function decodeBase64(text) {
  const bytes = atob(text);
  return Uint8Array.from(bytes, (character) => character.charCodeAt(0)).buffer;
}

async function loadNetwork({ model, weights }) {
  const preferred = new URLSearchParams(location.search).get("backend");
  for (const backend of [preferred, "webgl", "cpu"]) {
    if (backend && (await tf.setBackend(backend).catch(() => false))) break;
  }
  await tf.ready();
  const artifacts = {
    format: model.format,
    signature: model.signature,
    modelTopology: model.modelTopology,
    weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
    weightData: decodeBase64(weights),
  };
  return tf.loadGraphModel({ load: async () => artifacts });
}

// Rounds like TensorFlow: halves to even.
function roundHalfToEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

// Draws the picture in the centre of a grey square. `toPicture` maps coordinates of the square back to the
// picture.
function letterbox(picture, size) {
  const { width, height } = picture;
  const scale = Math.fround(size / Math.max(width, height)); // In float32, as in predictor.py.
  const [w, h] = [width, height].map((side) =>
    Math.max(1, roundHalfToEven(Math.fround(side * scale))),
  );
  const [left, top] = [w, h].map((side) => Math.floor((size - side) / 2));
  const canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = `rgb(${GREY}, ${GREY}, ${GREY})`;
  context.fillRect(0, 0, size, size);
  context.fillStyle = "white"; // background of transparent pictures
  context.fillRect(left, top, w, h);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, left, top, w, h);
  const toPicture = ([x, y]) => [
    ((x + 0.5 - left) * width) / w - 0.5,
    ((y + 0.5 - top) * height) / h - 0.5,
  ];
  return { square: context.getImageData(0, 0, size, size), toPicture };
}

// Extracts the map of one joint from logits [rows, columns, joints].
function mapOf(logits, cells, joints, joint) {
  return Float32Array.from({ length: cells }, (_, i) => logits[i * joints + joint]);
}

function softmax(map) {
  const highest = map.reduce((a, b) => Math.max(a, b));
  const exponentials = map.map((value) => Math.exp(value - highest));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((value) => value / sum);
}

// Offset of a quarter cell towards the larger neighbour; 0 at the border, where a neighbour is missing.
function quarterOffset(before, after) {
  return before === undefined || after === undefined ? 0 : Math.sign(after - before) / 4 || 0;
}

// Returns the refined peak of one joint's logits, in pixels of the square, and its score: the sum of the
// probabilities near the peak.
function readJoint(logits, probabilities, rows, columns) {
  const peak = Math.max(0, logits.indexOf(logits.reduce((a, b) => Math.max(a, b))));
  const [row, column] = [Math.floor(peak / columns), peak % columns];
  const inside = (i, j) => i >= 0 && i < rows && j >= 0 && j < columns;
  const at = (i, j) => (inside(i, j) ? logits[i * columns + j] : undefined);
  const x = column + quarterOffset(at(row, column - 1), at(row, column + 1));
  const y = row + quarterOffset(at(row - 1, column), at(row + 1, column));
  let score = 0;
  for (let i = row - SCORE_RADIUS; i <= row + SCORE_RADIUS; i++) {
    for (let j = column - SCORE_RADIUS; j <= column + SCORE_RADIUS; j++) {
      if (inside(i, j)) score += probabilities[i * columns + j];
    }
  }
  const toPixels = (cell) => cell * HEATMAP_STRIDE + (HEATMAP_STRIDE - 1) / 2;
  return { place: [toPixels(x), toPixels(y)], score: Math.min(score, 1) };
}

// Averages the logits of an image [1, size, size, 3] and of its mirror image.
function predictWithFlipTest(network, image, flipOrder) {
  const mirrored = network.predict(image.reverse(2)).reverse(2);
  return network.predict(image).add(mirrored.gather(tf.tensor1d(flipOrder, "int32"), 3)).div(2);
}

async function findPose(network, picture, { image_size: size, flip_order: flipOrder }) {
  const start = performance.now();
  const { square, toPicture } = letterbox(picture, size);
  const logits = tf.tidy(() => {
    const image = tf.browser.fromPixels(square).toFloat().expandDims(0);
    return predictWithFlipTest(network, image, flipOrder);
  });
  const [, rows, columns, joints] = logits.shape;
  const data = await logits.data();
  logits.dispose();
  if (!data.every(Number.isFinite)) throw new Error("the network's output is NaN or infinite");
  const logitMaps = Array.from({ length: joints }, (_, j) => mapOf(data, rows * columns, joints, j));
  const maps = logitMaps.map(softmax);
  const found = maps.map((map, j) => readJoint(logitMaps[j], map, rows, columns));
  return {
    joints: found.map(({ place }) => toPicture(place)),
    scores: found.map(({ score }) => score),
    maps,
    rows,
    columns,
    square,
    milliseconds: performance.now() - start,
    backend: tf.getBackend(),
  };
}
