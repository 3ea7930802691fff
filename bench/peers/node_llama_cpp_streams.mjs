// Times many answers at once from a GGUF language model in node-llama-cpp (llama.cpp's prebuilt libraries), whose
// context computes the tokens of its sequences in common batches: S sequences, each with a prompt of P random tokens of
// its own and N tokens decoded greedily. A sequence that has ended begins anew, up to S * R answers; S answers before
// them warm up. No HTTP server is between. Prints one JSON object with milliseconds from an answer's start to its first
// token, and between two tokens. NODE_PEER as for node_llama_cpp.mjs. The machine must be quiet: llama.cpp's threads
// wait for each other actively, and beside other busy programs a run takes a hundred times as long.
//   NODE_PEER=/path node bench/peers/node_llama_cpp_streams.mjs MODEL.gguf [S=8] [P=16] [N=64] [threads=2] [R=3]
import {createRequire} from "node:module";
import path from "node:path";
import {pathToFileURL} from "node:url";

const require = createRequire(path.join(process.env.NODE_PEER ?? ".", "package.json"));
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve("node-llama-cpp")));

const [modelPath, ...numbers] = process.argv.slice(2);
const [streams, prompt, generate, threads, rounds] = [8, 16, 64, 2, 3].map((n, i) => Number(numbers[i] ?? n));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath, useMmap: false});
const context = await model.createContext({
  contextSize: prompt + generate + 64, sequences: streams, batchSize: 512, threads: {ideal: threads, min: threads},
  flashAttention: true,
});

async function answer(sequence, number) {
  const tokens = Array.from({length: prompt}, (_, i) => ((i + 100 * number) * 7919 + 13) % 30000 + 100);
  await sequence.clearHistory();
  const times = [performance.now()];
  for await (const token of sequence.evaluate(tokens, {temperature: 0, yieldEogToken: true})) {
    times.push(performance.now());
    if (times.length > generate) break;
  }
  return times;
}

// They are kept: a sequence that is disposed of is not free at once.
const sequences = Array.from({length: streams}, () => context.getSequence());

/// Keeps all sequences at work until `count` answers are there.
async function answers(count) {
  const done = [];
  let next = 0;
  const work = async (sequence) => {
    while (next < count) done.push(await answer(sequence, next++));
  };
  await Promise.all(sequences.map(work));
  return done;
}

const percentile = (values, share) => {
  values.sort((a, b) => a - b);
  return Math.round(100 * values[Math.max(Math.ceil(share * values.length), 1) - 1]) / 100;
};
const spread = (values) => ({p50: percentile(values, 0.5), p99: percentile(values, 0.99), max: percentile(values, 1)});

await answers(streams);
const start = performance.now();
const all = await answers(streams * rounds);
const seconds = (performance.now() - start) / 1000;
const tokens = all.reduce((sum, times) => sum + times.length - 1, 0);
const gaps = all.flatMap((times) => times.slice(2).map((time, i) => time - times[i + 1]));
const firsts = all.map((times) => times[1] - times[0]);
console.log(JSON.stringify({peer: "node-llama-cpp", model: path.basename(modelPath), threads, streams, prompt, generate,
                            answers: all.length, tokens_per_second: Math.round(10 * tokens / seconds) / 10,
                            first_token_ms: spread(firsts), inter_token_ms: spread(gaps)}));
process.exit(0);
