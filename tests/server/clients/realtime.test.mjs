// OpenAI's realtime clients, unchanged, against `minicpm serve` with a certificate of its own.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { WebSocket } from 'ws';
import { startServer } from './server.mjs';

const key = 'a-key-for-this-test';
const model = 'o26-hf';
const data = mkdtempSync(`${tmpdir()}/minicpm-realtime-`);
const folder = `${data}/minicpm/tls`;
let server, client, ca;

before(async () => {
  const words = [process.env.MINICPM_O26, '--tls-self-signed', '--vad', 'energy'];
  server = await startServer(process.env.MINICPM_PROGRAM, key, words, { XDG_DATA_HOME: data });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: key });
  ca = readFileSync(`${folder}/cert.pem`);
});

after(async () => {
  assert.equal(await server.stop(), 0);
  rmSync(data, { recursive: true });
});

const tone = (seconds) => {
  const samples = Int16Array.from({ length: seconds * 24000 }, (_, i) => 9000 * Math.sin(0.11 * i));
  return Buffer.from(samples.buffer).toString('base64');
};

/** One turn; resolves with the transcript of the deltas, the bytes of sound, and response.done. */
const talk = (live) => new Promise((resolve, reject) => {
  let text = '', bytes = 0;
  live.on('error', reject);
  live.on('session.created', () => live.send({
    type: 'session.update',
    session: { type: 'realtime', max_output_tokens: 8, audio: { input: { turn_detection: null } } },
  }));
  live.on('session.updated', () => {
    live.send({ type: 'input_audio_buffer.append', audio: tone(1) });
    live.send({ type: 'input_audio_buffer.commit' });
    live.send({ type: 'response.create' });
  });
  live.on('response.output_audio_transcript.delta', (event) => { text += event.delta; });
  live.on('response.output_audio.delta', (event) => { bytes += Buffer.from(event.delta, 'base64').length; });
  live.on('response.done', (event) => resolve({ text, bytes, response: event.response }));
});

test('openai/realtime/ws', async () => {
  const live = new OpenAIRealtimeWS({ model, options: { ca } }, client);
  const { text, bytes, response } = await talk(live);
  assert.ok(['completed', 'incomplete'].includes(response.status));
  assert.equal(response.output[0].content[0].transcript, text);
  assert.ok(bytes > 0 && bytes % 2 === 0);
  assert.ok(response.usage.total_tokens > 25);
  const closed = new Promise((resolve) => live.socket.on('close', resolve));
  live.close();
  assert.equal(await closed, 1000);
});

test('openai/realtime/websocket, with the key as a protocol', async () => {
  globalThis.WebSocket = class extends WebSocket {
    constructor(url, protocols) { super(url, protocols, { ca }); }
  };
  const live = new OpenAIRealtimeWebSocket({ model, dangerouslyAllowBrowser: true }, client);
  const { bytes } = await talk(live);
  assert.ok(bytes > 0);
  assert.equal(live.socket.protocol, 'realtime');
  live.close();
});

test('errors come as errors', async () => {
  const live = new OpenAIRealtimeWS({ model, options: { ca } }, client);
  const error = new Promise((resolve) => live.on('error', resolve));
  live.on('session.created', () => live.send({ type: 'response.cancel', event_id: 'mine' }));
  const { error: details } = await error;
  assert.equal(details.code, 'response_cancel_not_active');
  assert.equal(details.event_id, 'mine');
  live.close();
});

test('a wrong key', async () => {
  const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'another-key' });
  const live = new OpenAIRealtimeWS({ model, options: { ca } }, stranger);
  const error = await new Promise((resolve) => live.on('error', resolve));
  assert.match(error.message, /401/);
});

test('the key of the certificate is for its owner', () => {
  assert.equal(statSync(`${folder}/key.pem`).mode & 0o777, 0o600);
});
