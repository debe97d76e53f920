// Runs a TensorFlow.js graph model in Node: node run_tfjs.js RUNTIME MODEL_FOLDER FEEDS RESULTS
// FEEDS is JSON, {input: {shape, data}} for each call; RESULTS gets [{output: {shape, data}}].
const fs = require("fs");
const path = require("path");
const [runtime, folder, feedsPath, resultsPath] = process.argv.slice(2);
const tf = require(runtime);

function readModel() {
  const model = JSON.parse(fs.readFileSync(path.join(folder, "model.json")));
  const manifest = model.weightsManifest;
  const shards = manifest.flatMap((group) => group.paths);
  const data = Buffer.concat(shards.map((name) => fs.readFileSync(path.join(folder, name))));
  return {
    format: model.format,
    signature: model.signature,
    modelTopology: model.modelTopology,
    weightSpecs: manifest.flatMap((group) => group.weights),
    weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength),
  };
}

async function main() {
  await tf.setBackend("cpu");
  const model = await tf.loadGraphModel({ load: async () => readModel() });
  const results = [];
  for (const feed of JSON.parse(fs.readFileSync(feedsPath))) {
    const inputs = {};
    for (const [name, { shape, data }] of Object.entries(feed)) {
      inputs[name] = tf.tensor(data, shape);
    }
    const names = Object.keys(model.modelSignature.outputs);
    const answer = [model.predict(inputs)].flat();
    const result = {};
    for (const [i, name] of names.entries()) {
      result[name] = { shape: answer[i].shape, data: Array.from(await answer[i].data()) };
    }
    results.push(result);
  }
  fs.writeFileSync(resultsPath, JSON.stringify(results));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
