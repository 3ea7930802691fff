// Times a GGUF language model in node-llama-cpp (llama.cpp's prebuilt libraries): prefill of P random tokens and N decoded
// ones. Prints one JSON object. Needs `npm install --ignore-scripts node-llama-cpp @node-llama-cpp/linux-x64` in the
// folder that NODE_PEER names (a package that is only measured against, never part of the build).
//   NODE_PEER=/path node bench/peers/node_llama_cpp.mjs MODEL.gguf [P=512] [N=64] [threads=2] [repetitions=3]
import {createRequire} from "node:module";
import path from "node:path";
import {pathToFileURL} from "node:url";

const require = createRequire(path.join(process.env.NODE_PEER ?? ".", "package.json"));
const entry = require.resolve("node-llama-cpp");
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(entry));

const [modelPath, prompt = "512", generate = "64", threads = "2", repetitions = "3"] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath, useMmap: false});
const context = await model.createContext({contextSize: Number(prompt) + Number(generate) + 64, batchSize: 512,
                                           threads: {ideal: Number(threads), min: Number(threads)},
                                           flashAttention: true});
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const prefill = [], decode = [];
for (let r = 0; r <= Number(repetitions); ++r) {  // the first round warms up
  const sequence = context.getSequence();
  const tokens = Array.from({length: Number(prompt)}, (_, i) => (i * 7919 + 13) % 30000 + 100);
  let start = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(tokens);
  const prefillMs = performance.now() - start;
  let made = 0;
  start = performance.now();
  for await (const token of sequence.evaluate([1000], {temperature: 0, yieldEogToken: true})) {
    if (++made >= Number(generate)) break;
  }
  const decodeMs = performance.now() - start;
  sequence.dispose();
  if (r === 0) continue;
  prefill.push(1000 * tokens.length / prefillMs);
  decode.push(1000 * made / decodeMs);
}
console.log(JSON.stringify({peer: "node-llama-cpp", model: path.basename(modelPath), threads: Number(threads),
                            prefill_tokens_per_second: median(prefill), decode_tokens_per_second: median(decode)}));
process.exit(0);
