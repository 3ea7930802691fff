// The official clients of OpenAI, Ollama and Anthropic, unchanged, against `minicpm serve pico`.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { startHub } from './hub.mjs';
import { startServer } from './server.mjs';

const program = process.env.MINICPM_PROGRAM;
const assets = process.env.MINICPM_ASSETS;
const key = 'a-key-for-this-test';
const picture = (name) => readFileSync(`${assets}/${name}`);
const base64 = (name) => picture(name).toString('base64');
let server, openai, ollama, anthropic;

before(async () => {
  server = await startServer(program, key);
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: key, maxRetries: 0 });
  ollama = new Ollama({ host: server.url, headers: { Authorization: `Bearer ${key}` } });
  anthropic = new Anthropic({ baseURL: server.url, apiKey: key, maxRetries: 0 });
});

after(async () => assert.equal(await server.stop(), 0));

// ---- OpenAI ----

const openaiQuestion = (text, ...names) => ({
  model: 'pico',
  temperature: 0,
  max_tokens: 64,
  messages: [{
    role: 'user',
    content: [
      ...names.map((name) => ({ type: 'image_url', image_url: { url: `data:image/png;base64,${base64(name)}` } })),
      { type: 'text', text },
    ],
  }],
});

test('openai: a picture', async () => {
  const answer = await openai.chat.completions.create(openaiQuestion('Read the text.', 'word.png'));
  assert.equal(answer.choices[0].message.content, 'HAPPINESS');
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.ok(answer.usage.total_tokens > 32);
});

test('openai: two pictures, streamed', async () => {
  const stream = await openai.chat.completions.create({
    ...openaiQuestion('Which picture has fewer shapes?', 'first.png', 'second.png'),
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = '', usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? '';
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, 'second');
  assert.ok(usage.completion_tokens > 0);
});

test('openai: the streaming helper', async () => {
  const stream = openai.chat.completions.stream(openaiQuestion('Describe the picture.', 'shapes.png'));
  assert.equal(await stream.finalContent(), 'a yellow cross and a gray circle');
});

test('openai: a video', async () => {
  const question = openaiQuestion('What color appears first?');
  const url = `data:video/mp4;base64,${base64('motion.mp4')}`;
  question.messages[0].content.unshift({ type: 'video_url', video_url: { url, fps: 2 } });
  const answer = await openai.chat.completions.create(question);
  assert.equal(answer.choices[0].message.content, 'purple');
});

test('openai: models and errors', async () => {
  const names = [];
  for await (const model of openai.models.list()) names.push(model.id);
  assert.deepEqual(names, ['pico']);
  assert.equal((await openai.models.retrieve('pico')).id, 'pico');
  await assert.rejects(openai.chat.completions.create({ ...openaiQuestion('x'), model: 'gpt-4o' }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === 'model_not_found');
  await assert.rejects(openai.chat.completions.create({ ...openaiQuestion('x'), temperature: -1 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === 'temperature');
  const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'another-key', maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

const drawTool = {
  type: 'function',
  function: {
    name: 'draw',
    parameters: { type: 'object', properties: { color: { enum: ['red', 'blue'] } }, required: ['color'] },
  },
};

test('openai: an answer in the form of a schema', async () => {
  const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] };
  const answer = await openai.chat.completions.parse({
    ...openaiQuestion('Read the text.', 'word.png'),
    response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } },
  });
  assert.equal(typeof JSON.parse(answer.choices[0].message.content).ok, 'boolean');
});

test('openai: log probabilities and several choices', async () => {
  const answer = await openai.chat.completions.create({
    ...openaiQuestion('Read the text.', 'word.png'), logprobs: true, top_logprobs: 2, n: 2,
  });
  assert.deepEqual(answer.choices.map((choice) => choice.message.content), ['HAPPINESS', 'HAPPINESS']);
  const { content } = answer.choices[1].logprobs;
  assert.equal(content.map((token) => token.token).join(''), 'HAPPINESS');
  assert.ok(content.every((token) => token.top_logprobs.length === 2));
});

test('openai: a call of a tool, streamed, and its result', async () => {
  const question = {
    ...openaiQuestion('Draw.'), max_tokens: 300, tools: [drawTool], tool_choice: 'required', parallel_tool_calls: false,
  };
  const message = await openai.chat.completions.stream(question).finalMessage();
  const [call] = message.tool_calls;
  assert.equal(call.function.name, 'draw');
  assert.ok(['red', 'blue'].includes(JSON.parse(call.function.arguments).color));
  const answer = await openai.chat.completions.create({
    ...question,
    max_tokens: 4,
    tool_choice: 'none',
    messages: [...question.messages, message, { role: 'tool', tool_call_id: call.id, content: 'done' }],
  });
  assert.equal(answer.choices[0].message.role, 'assistant');
});

test('openai: completions', async () => {
  const answer = await openai.completions.create({ model: 'pico', prompt: 'red', max_tokens: 4, temperature: 0, echo: true });
  assert.ok(answer.choices[0].text.startsWith('red'));
});

const responseQuestion = {
  model: 'pico',
  temperature: 0,
  input: [{
    role: 'user',
    content: [
      { type: 'input_image', detail: 'auto', image_url: `data:image/png;base64,${base64('word.png')}` },
      { type: 'input_text', text: 'Read the text.' },
    ],
  }],
};

test('openai: responses, whole and streamed', async () => {
  const response = await openai.responses.create(responseQuestion);
  assert.equal(response.output_text, 'HAPPINESS');
  const stream = openai.responses.stream(responseQuestion);
  let text = '';
  for await (const event of stream) {
    if (event.type === 'response.output_text.delta') text += event.delta;
  }
  assert.equal(text, 'HAPPINESS');
  const last = await stream.finalResponse();
  assert.equal(last.output_text, 'HAPPINESS');
  const more = await openai.responses.create({
    ...responseQuestion,
    max_output_tokens: 4,
    input: [...responseQuestion.input, ...last.output, { role: 'user', content: 'And now?' }],
  });
  assert.ok(more.usage.input_tokens_details.cached_tokens > 32);
});

test('openai: responses that are kept', async () => {
  const first = await openai.responses.create(responseQuestion);
  const next = await openai.responses.create({
    model: 'pico', temperature: 0, max_output_tokens: 4, previous_response_id: first.id, input: 'And now?',
  });
  assert.equal(next.previous_response_id, first.id);
  assert.ok(next.usage.input_tokens > first.usage.input_tokens);
  assert.equal((await openai.responses.retrieve(first.id)).output_text, 'HAPPINESS');
  const types = [];
  for await (const item of openai.responses.inputItems.list(next.id, { limit: 1, order: 'asc' })) types.push(item.role);
  assert.deepEqual(types, ['user', 'assistant', 'user']);
  await assert.rejects(openai.responses.cancel(first.id), OpenAI.BadRequestError);
  await openai.responses.delete(first.id);
  await assert.rejects(openai.responses.retrieve(first.id), OpenAI.NotFoundError);
});

test('openai: embeddings', async () => {
  const input = ['a red square', 'a blue circle'];
  const floats = await openai.embeddings.create({ model: 'pico', input, encoding_format: 'float' });
  const { data, usage } = await openai.embeddings.create({ model: 'pico', input });  // base64, decoded by the client
  assert.equal(data.length, 2);
  assert.ok(usage.prompt_tokens > 2);
  const length = data[0].embedding.reduce((sum, value) => sum + value * value, 0);
  assert.ok(Math.abs(length - 1) < 1e-5);
  data[1].embedding.forEach((value, i) => assert.ok(Math.abs(value - floats.data[1].embedding[i]) < 1e-6));
});

test('openai: files and batches', async () => {
  const request = (id) => JSON.stringify({
    custom_id: id, method: 'POST', url: '/v1/chat/completions', body: openaiQuestion('Read the text.', 'word.png'),
  });
  const file = await openai.files.create({
    purpose: 'batch', file: await OpenAI.toFile(Buffer.from(`${request('a')}\n${request('b')}\n`), 'requests.jsonl'),
  });
  let batch = await openai.batches.create({
    input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h',
  });
  while (!['completed', 'failed'].includes(batch.status)) batch = await openai.batches.retrieve(batch.id);
  assert.deepEqual(batch.request_counts, { total: 2, completed: 2, failed: 0 });
  const lines = (await (await openai.files.content(batch.output_file_id)).text()).trim().split('\n').map(JSON.parse);
  assert.deepEqual(lines.map((line) => line.response.body.choices[0].message.content), ['HAPPINESS', 'HAPPINESS']);
  const names = [];
  for await (const one of openai.files.list({ purpose: 'batch' })) names.push(one.filename);
  assert.deepEqual(names, ['requests.jsonl']);
  for await (const one of openai.batches.list()) assert.equal(one.id, batch.id);
  assert.equal((await openai.files.delete(file.id)).deleted, true);
  await assert.rejects(openai.files.retrieve(file.id), OpenAI.NotFoundError);
});

test('openai: leaving a stream', async () => {
  const stream = await openai.chat.completions.create(
    { ...openaiQuestion('Hello'), max_tokens: 100000, min_tokens: 100000, stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content) break;
  }
  const answer = await openai.chat.completions.create(openaiQuestion('Read the text.', 'word.png'));
  assert.equal(answer.choices[0].message.content, 'HAPPINESS');
});

// ---- Ollama ----

test('ollama: chat with a picture, whole and streamed', async () => {
  const messages = [{ role: 'user', content: 'Read the text.', images: [new Uint8Array(picture('word.png'))] }];
  const options = { temperature: 0 };
  const answer = await ollama.chat({ model: 'pico', messages, options });
  assert.equal(answer.message.content, 'HAPPINESS');
  assert.equal(answer.done, true);
  let text = '';
  for await (const part of await ollama.chat({ model: 'pico', messages, options, stream: true })) {
    text += part.message.content;
  }
  assert.equal(text, 'HAPPINESS');
});

test('ollama: generate', async () => {
  const request = { model: 'pico', prompt: 'Describe the picture.', images: [base64('shapes.png')], options: { temperature: 0 } };
  const answer = await ollama.generate(request);
  assert.equal(answer.response, 'a yellow cross and a gray circle');
  let text = '';
  for await (const part of await ollama.generate({ ...request, stream: true })) text += part.response;
  assert.equal(text, answer.response);
});

test('ollama: a format and tools', async () => {
  const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] };
  const messages = [{ role: 'user', content: 'Is it?' }];
  const answer = await ollama.chat({ model: 'pico', messages, format: schema, options: { temperature: 0 } });
  assert.equal(typeof JSON.parse(answer.message.content).ok, 'boolean');
  const after = await ollama.chat({
    model: 'pico',
    messages: [...messages, { role: 'assistant', content: '', tool_calls: [{ function: { name: 'draw', arguments: { color: 'red' } } }] },
      { role: 'tool', tool_name: 'draw', content: 'done' }],
    tools: [drawTool],
    logprobs: true,
    options: { temperature: 0, num_predict: 4 },
  });
  assert.equal(after.message.role, 'assistant');
});

test('ollama: embeddings', async () => {
  const { embeddings, prompt_eval_count } = await ollama.embed({ model: 'pico', input: ['a red square', 'a blue circle'] });
  assert.equal(embeddings.length, 2);
  assert.ok(prompt_eval_count > 2);
  const { embedding } = await ollama.embeddings({ model: 'pico', prompt: 'a red square' });
  assert.equal(embedding.length, embeddings[0].length);
  embedding.forEach((value, i) => assert.ok(Math.abs(value - embeddings[0][i]) < 1e-3));
});

test('ollama: models and errors', async () => {
  assert.equal((await ollama.list()).models[0].name, 'pico');
  assert.equal((await ollama.ps()).models[0].name, 'pico');
  assert.ok((await ollama.show({ model: 'pico' })).capabilities.includes('vision'));
  assert.match((await ollama.version()).version, /^\d/);
  await assert.rejects(ollama.chat({ model: 'other', messages: [{ role: 'user', content: 'x' }] }),
    (error) => error.status_code === 404 && error.message.includes('pico'));
});

test('ollama: a model is fetched and deleted', async () => {
  await assert.rejects(ollama.pull({ model: 'someone/small' }), (error) => error.status_code === 403);
  const hub = await startHub('someone/small', join(process.env.MINICPM_MODELS, 'pico'));
  const cache = mkdtempSync(join(tmpdir(), 'minicpm-hub-'));
  const second = await startServer(program, key, ['--store', '--allow-pull'], { HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache });
  const client = new Ollama({ host: second.url, headers: { Authorization: `Bearer ${key}` } });
  assert.deepEqual((await client.list()).models, []);
  const states = [];
  for await (const state of await client.pull({ model: 'someone/small', stream: true })) states.push(state);
  assert.equal(states.at(-1).status, 'success');
  assert.equal(states.at(-2).completed, states.at(-2).total);
  const messages = [{ role: 'user', content: 'Read the text.', images: [base64('word.png')] }];
  const answer = await client.chat({ model: 'someone/small', messages, options: { temperature: 0 } });
  assert.equal(answer.message.content, 'HAPPINESS');
  await assert.rejects(client.pull({ model: 'someone/other' }), (error) => error.status_code === 404 || /other/.test(error.message));
  await assert.rejects(client.copy({ source: 'someone/small', destination: 'x' }), (error) => error.status_code === 400);
  await client.chat({ model: 'someone/small', messages: [], keep_alive: 0 });
  assert.equal((await client.delete({ model: 'someone/small' })).status, 'success');
  assert.deepEqual((await client.list()).models, []);
  assert.equal(await second.stop(), 0);
  hub.close();
  rmSync(cache, { recursive: true });
});

// ---- Anthropic ----

const anthropicQuestion = (text, ...names) => ({
  model: 'pico',
  temperature: 0,
  max_tokens: 64,
  messages: [{
    role: 'user',
    content: [
      ...names.map((name) => ({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: base64(name) } })),
      { type: 'text', text },
    ],
  }],
});

test('anthropic: a picture', async () => {
  const message = await anthropic.messages.create(anthropicQuestion('Read the text.', 'word.png'));
  assert.equal(message.content[0].text, 'HAPPINESS');
  assert.equal(message.stop_reason, 'end_turn');
});

test('anthropic: streamed', async () => {
  const stream = anthropic.messages.stream(
    anthropicQuestion('Which picture has fewer shapes?', 'first.png', 'second.png'));
  const message = await stream.finalMessage();
  assert.equal(message.content[0].text, 'second');
  const { usage } = message;
  assert.ok(usage.input_tokens + usage.cache_read_input_tokens > 64 && usage.output_tokens > 0);
});

test('anthropic: a call of a tool, streamed, and its result', async () => {
  const question = {
    ...anthropicQuestion('Draw.'),
    max_tokens: 300,
    tools: [{ name: 'draw', input_schema: drawTool.function.parameters }],
    tool_choice: { type: 'any', disable_parallel_tool_use: true },
  };
  const message = await anthropic.messages.stream(question).finalMessage();
  assert.equal(message.stop_reason, 'tool_use');
  const [call] = message.content;
  assert.ok(['red', 'blue'].includes(call.input.color));
  const after = await anthropic.messages.create({
    ...question,
    max_tokens: 4,
    tool_choice: { type: 'none' },
    messages: [...question.messages, { role: 'assistant', content: message.content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'done' }] }],
  });
  assert.equal(after.role, 'assistant');
});

test('anthropic: thinking, streamed', async () => {
  const stream = anthropic.messages.stream({
    ...anthropicQuestion('Read the text.', 'word.png'), thinking: { type: 'enabled', budget_tokens: 1024 },
  });
  const message = await stream.finalMessage();
  assert.equal(message.content.at(-1).type, 'text');
});

test('anthropic: tokens and errors', async () => {
  const { model, messages } = anthropicQuestion('Read the text.', 'word.png');
  assert.ok((await anthropic.messages.countTokens({ model, messages })).input_tokens > 32);
  await assert.rejects(anthropic.messages.create({ ...anthropicQuestion('x'), model: 'other' }), Anthropic.NotFoundError);
});
