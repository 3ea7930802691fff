// Times many answers at once from a GGUF language model in node-llama-cpp (llama.cpp's prebuilt libraries), whose context
// computes the tokens of its sequences in common batches: S sequences, each with a prompt of P random tokens of its own and
// N tokens decoded greedily. Prints one JSON object. NODE_PEER as for node_llama_cpp.mjs.
//   NODE_PEER=/path node bench/peers/node_llama_cpp_streams.mjs MODEL.gguf [S=8] [P=16] [N=64] [threads=2] [repetitions=3]
import {createRequire} from "node:module";
import path from "node:path";
import {pathToFileURL} from "node:url";

const require = createRequire(path.join(process.env.NODE_PEER ?? ".", "package.json"));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve("node-llama-cpp")));

const [modelPath, ...numbers] = process.argv.slice(2);
const [streams, prompt, generate, threads, repetitions] = [8, 16, 64, 2, 3].map((n, i) => Number(numbers[i] ?? n));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath, useMmap: false});
const context = await model.createContext({
  contextSize: prompt + generate + 64, sequences: streams, batchSize: 512, threads: {ideal: threads, min: threads},
  flashAttention: true,
});

async function answer(number) {
  const sequence = context.getSequence();
  const tokens = Array.from({length: prompt}, (_, i) => ((i + 100 * number) * 7919 + 13) % 30000 + 100);
  let made = 0;
  for await (const token of sequence.evaluate(tokens, {temperature: 0, yieldEogToken: true})) {
    if (++made >= generate) break;
  }
  sequence.dispose();
  return made;
}

const speeds = [];
for (let r = 0; r <= repetitions; ++r) {  // the first round warms up
  const start = performance.now();
  const made = await Promise.all(Array.from({length: streams}, (_, i) => answer(i)));
  const seconds = (performance.now() - start) / 1000;
  if (r > 0) speeds.push(made.reduce((sum, count) => sum + count, 0) / seconds);
}
speeds.sort((a, b) => a - b);
console.log(JSON.stringify({peer: "node-llama-cpp", model: path.basename(modelPath), threads, streams, prompt, generate,
                            tokens_per_second: speeds[Math.floor(speeds.length / 2)]}));
process.exit(0);
