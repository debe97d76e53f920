// Draws the skeleton, the heatmaps and the boxes.
"use strict";

const SIDE_COLORS = { right: "#ff951c", left: "#40acff", centre: "#faf6e8" };
const MIN_SCORE = 0.5; // The default --min_score of `examples.pose.predict`.

// Adds a canvas with a caption to `parent` and returns its context.
function addTile(parent, caption, width, height) {
  const figure = document.createElement("figure");
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const text = document.createElement("figcaption");
  text.textContent = caption;
  figure.append(canvas, text);
  parent.append(figure);
  return canvas.getContext("2d");
}

// Returns the side of a limb by the names of its joints; "centre" if they are on both sides or on none.
function sideOf(names) {
  const sides = new Set(names.map((name) => /^(right|left)_/.exec(name)?.[1] ?? "centre"));
  sides.delete("centre");
  return sides.size === 1 ? [...sides][0] : "centre";
}

function drawSkeleton(canvas, picture, pose, skeleton) {
  const zoom = Math.max(1, 480 / Math.max(picture.width, picture.height));
  canvas.width = Math.round(picture.width * zoom);
  canvas.height = Math.round(picture.height * zoom);
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // background of transparent pictures
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.lineCap = "round";
  const lineWidth = Math.max(canvas.width, canvas.height) / 90;
  const places = pose.joints.map(([x, y]) => [(x + 0.5) * zoom, (y + 0.5) * zoom]);
  for (const [a, b] of skeleton.limbs) {
    const certain = Math.min(pose.scores[a], pose.scores[b]) >= MIN_SCORE;
    context.globalAlpha = certain ? 1 : 0.35;
    const color = SIDE_COLORS[sideOf([skeleton.joint_names[a], skeleton.joint_names[b]])];
    for (const [style, width] of [["#141418", 1.7 * lineWidth], [color, lineWidth]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(...places[a]);
      context.lineTo(...places[b]);
      context.stroke();
    }
  }
  context.globalAlpha = 1;
}

function drawHeatmaps(parent, pose, skeleton) {
  parent.replaceChildren();
  for (const [joint, map] of pose.maps.entries()) {
    const name = skeleton.joint_names[joint].replaceAll("_", " ");
    const caption = `${name}, ${Math.round(100 * pose.scores[joint])} %`;
    const context = addTile(parent, caption, pose.columns, pose.rows);
    const highest = map.reduce((a, b) => Math.max(a, b));
    const image = context.createImageData(pose.columns, pose.rows);
    for (const [i, value] of map.entries()) {
      const shade = Math.sqrt(value / highest);
      // The cell's pixel in the square. A cell is two pixels wide, and a pixel has four bytes.
      const at = 4 * (2 * Math.floor(i / pose.columns) * pose.square.width + 2 * (i % pose.columns));
      const grey = 0.35 * (pose.square.data[at] + pose.square.data[at + 1] + pose.square.data[at + 2]) / 3;
      image.data.set([grey + shade * 255, grey + shade * 149, grey + shade * 28, 255], 4 * i);
    }
    context.putImageData(image, 0, 0);
  }
}

function drawBoxes(parent, layers) {
  const side = 160;
  for (const { name, max_size: [height, width], boxes } of layers) {
    const caption = `${name.split("/").pop().replaceAll("_", " ")}, ${height}x${width}`;
    const context = addTile(parent, caption, side, side);
    // Leaves a margin around the plane, to show boxes that extend beyond it.
    const scale = side / (1.6 * Math.max(height, width));
    context.translate(side / 2, side / 2);
    context.strokeStyle = "#9a9a94";
    context.strokeRect((-width * scale) / 2, (-height * scale) / 2, width * scale, height * scale);
    const allBoxes = boxes.flat(); // `boxes` is a list of channels.
    context.globalAlpha = Math.max(0.15, 4 / allBoxes.length);
    context.fillStyle = context.strokeStyle = "#1f7fd0";
    for (const [yMin, xMin, yMax, xMax] of allBoxes) {
      const rectangle = [xMin, yMin, xMax - xMin, yMax - yMin].map((value) => value * scale);
      context.strokeRect(...rectangle);
    }
    context.globalAlpha = 1;
    context.fillStyle = "#1e1e24";
    context.fillRect(-4, -0.5, 8, 1);
    context.fillRect(-0.5, -4, 1, 8);
  }
}
