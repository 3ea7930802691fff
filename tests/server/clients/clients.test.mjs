// The official clients of OpenAI, Ollama and Anthropic, unchanged, against `minicpm serve pico`.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
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

test('ollama: models and errors', async () => {
  assert.equal((await ollama.list()).models[0].name, 'pico');
  assert.equal((await ollama.ps()).models[0].name, 'pico');
  assert.ok((await ollama.show({ model: 'pico' })).capabilities.includes('vision'));
  assert.match((await ollama.version()).version, /^\d/);
  await assert.rejects(ollama.chat({ model: 'other', messages: [{ role: 'user', content: 'x' }] }),
    (error) => error.status_code === 404 && error.message.includes('pico'));
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
  assert.ok(message.usage.input_tokens > 64 && message.usage.output_tokens > 0);
});

test('anthropic: tokens and errors', async () => {
  const { model, messages } = anthropicQuestion('Read the text.', 'word.png');
  assert.ok((await anthropic.messages.countTokens({ model, messages })).input_tokens > 32);
  await assert.rejects(anthropic.messages.create({ ...anthropicQuestion('x'), model: 'other' }), Anthropic.NotFoundError);
});
