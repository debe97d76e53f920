// Connects the page's elements to the network and the drawings.
"use strict";

const byId = (id) => document.getElementById(id);
let network;
let latest; // The picture file that was given last.

// Sets the state of the page and its status line.
function setStatus(state, message) {
  document.body.dataset.state = state;
  byId("status").textContent = message;
}

// Applies the EXIF orientation but no colour conversion, like examples/pose/images/image_files.py.
function readPicture(file) {
  return createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
}

// Finds the pose in a picture file and draws it.
async function showPose(file) {
  latest = file;
  setStatus("working", `Looking at ${file.name}`);
  let picture;
  try {
    picture = await readPicture(file);
  } catch {
    if (file !== latest) return;
    setStatus("error", `${file.name} is not a picture that this browser can read.`);
    return;
  }
  await new Promise(requestAnimationFrame); // Show the message before the computation blocks.
  const pose = await findPose(network, picture, POSE);
  if (file !== latest) return;
  document.querySelector("main").hidden = false;
  drawSkeleton(byId("skeleton"), picture, pose, POSE.skeleton);
  drawHeatmaps(byId("heatmaps"), pose, POSE.skeleton);
  const { joints, scores, backend, milliseconds } = pose;
  document.body.dataset.pose = JSON.stringify({ joints, scores, backend, milliseconds });
  setStatus("done", `${file.name}: ${Math.round(milliseconds)} ms (${backend})`);
}

function listen() {
  const drop = byId("drop");
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) showError(showPose(file));
  });
  for (const type of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", type === "dragover");
    });
  }
  document.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (file) showError(showPose(file));
  });
}

// Shows the error of a promise that fails.
function showError(promise) {
  promise.catch((error) => setStatus("error", `This did not work: ${error.message}`));
}

async function start() {
  drawBoxes(byId("boxes"), POSE.layers);
  network = await loadNetwork(POSE);
  listen();
  setStatus("ready", "Ready");
}

showError(start());
