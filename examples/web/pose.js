// From a picture of any size to joints in its pixels: the letterbox, the network, the decoding.
// The same as examples/pose/predictor.py, which says why.
"use strict";

const GREY = 128; // The network's zero is 127.5; canvases hold integers.
const HEATMAP_STRIDE = 2;
const SCORE_RADIUS = 4;

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

// The picture in the middle of a grey square, and the way back from the square's pixels.
function letterbox(picture, size) {
  const { width, height } = picture;
  const scale = size / Math.max(width, height);
  const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const [left, top] = [w, h].map((side) => Math.floor((size - side) / 2));
  const canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = `rgb(${GREY}, ${GREY}, ${GREY})`;
  context.fillRect(0, 0, size, size);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, left, top, w, h);
  const toPicture = ([x, y]) => [
    ((x + 0.5 - left) * width) / w - 0.5,
    ((y + 0.5 - top) * height) / h - 0.5,
  ];
  return { square: context.getImageData(0, 0, size, size), toPicture };
}

// Logits [rows, columns, joints] as one probability map a joint.
function probabilityMaps(logits, cells, joints) {
  return Array.from({ length: joints }, (_, joint) => {
    const map = Float32Array.from({ length: cells }, (_, i) => logits[i * joints + joint]);
    const highest = map.reduce((a, b) => Math.max(a, b));
    const exponentials = map.map((value) => Math.exp(value - highest));
    const sum = exponentials.reduce((a, b) => a + b);
    return exponentials.map((value) => value / sum);
  });
}

// The peak, a quarter cell towards its larger neighbour, in pixels of the square; and its score.
function readJoint(map, rows, columns) {
  const peak = map.indexOf(map.reduce((a, b) => Math.max(a, b)));
  const [row, column] = [Math.floor(peak / columns), peak % columns];
  const clamp = (value, size) => Math.min(Math.max(value, 0), size - 1);
  const at = (i, j) => map[clamp(i, rows) * columns + clamp(j, columns)];
  const x = column + Math.sign(at(row, column + 1) - at(row, column - 1)) / 4;
  const y = row + Math.sign(at(row + 1, column) - at(row - 1, column)) / 4;
  let score = 0;
  for (let i = Math.max(0, row - SCORE_RADIUS); i <= Math.min(rows - 1, row + SCORE_RADIUS); i++) {
    for (let j = Math.max(0, column - SCORE_RADIUS); j <= Math.min(columns - 1, column + SCORE_RADIUS); j++) {
      score += at(i, j);
    }
  }
  const toPixels = (cell) => cell * HEATMAP_STRIDE + (HEATMAP_STRIDE - 1) / 2;
  return { place: [toPixels(x), toPixels(y)], score: Math.min(score, 1) };
}

async function findPose(network, picture, size) {
  const start = performance.now();
  const { square, toPicture } = letterbox(picture, size);
  const logits = tf.tidy(() => {
    const image = tf.browser.fromPixels(square).toFloat().expandDims(0);
    return network.predict(image);
  });
  const [, rows, columns, joints] = logits.shape;
  const maps = probabilityMaps(await logits.data(), rows * columns, joints);
  logits.dispose();
  const found = maps.map((map) => readJoint(map, rows, columns));
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
