// Runs a TensorFlow.js graph model in Node: node run_tfjs.js RUNTIME MODEL_FOLDER
// The model has one input. Each line of standard input holds an input, {shape, data}, or {}, which runs the
// last input again. Each is answered by a line with a list of the outputs, {shape, data}, or with [].
const fs = require("fs");
const path = require("path");
const readline = require("readline");
const [runtime, folder] = process.argv.slice(2);
// TensorFlow.js prints messages, but standard output is for answers only.
console.log = console.info = console.warn = () => {};
const tf = require(runtime);

function readModel() {
  const { format, signature, modelTopology, weightsManifest } = JSON.parse(
    fs.readFileSync(path.join(folder, "model.json")),
  );
  const shards = weightsManifest.flatMap((group) => group.paths);
  const data = Buffer.concat(shards.map((name) => fs.readFileSync(path.join(folder, name))));
  return {
    format,
    signature,
    modelTopology,
    weightSpecs: weightsManifest.flatMap((group) => group.weights),
    weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength),
  };
}

async function main() {
  await tf.setBackend("cpu");
  const model = await tf.loadGraphModel({ load: async () => readModel() });
  let input;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { shape, data } = JSON.parse(line);
    if (shape) input = tf.tensor(data, shape, model.inputs[0].dtype);
    const outputs = [model.predict(input)].flat();
    const values = await Promise.all(outputs.map((output) => output.data()));
    const answer = outputs.map(({ shape }, i) => ({ shape, data: Array.from(values[i]) }));
    tf.dispose(outputs);
    process.stdout.write(JSON.stringify(shape ? answer : []) + "\n");
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
