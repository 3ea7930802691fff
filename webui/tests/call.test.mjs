// Calls: microphone and camera of the browser's own making to the real server, with a small model of random weights
// that hears and speaks. Its words mean nothing; that they come, and what stops them, is what counts.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { startBrowser, visit } from './browser.mjs';
import { features } from './feature.mjs';
import { checkAccess, kept, shown } from './page.mjs';
import { startServer } from './server.mjs';
import { writeVoice } from './voice.mjs';

const folder = mkdtempSync(`${tmpdir()}/minicpm-call-`);
let server, browser;

before(async () => {
  writeVoice(`${folder}/voice.wav`, 1.5, 3);
  writeVoice(`${folder}/clip.wav`, 1, 0);
  server = await startServer(process.env.MINICPM_PROGRAM, [process.env.MINICPM_HEARING_MODEL], '--vad', 'energy');
  browser = await startBrowser(`--use-file-for-fake-audio-capture=${folder}/voice.wav`,
    '--use-fake-device-for-media-stream=device-count=2');
});

after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
  assert.equal(await server?.stop(), 0);
});

const feature = features(() => ({ browser, server }), 90);

/** What the page and the server tell each other from now on. */
function eventsOf(page) {
  const events = { sent: [], received: [] };
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => events.sent.push(JSON.parse(payload)));
    socket.on('framereceived', ({ payload }) => events.received.push(JSON.parse(payload)));
  });
  return events;
}

const ofType = (events, type) => events.filter((event) => event.type === type);

async function until(what, wanted) {
  const end = Date.now() + 30_000;
  while (!wanted()) {
    assert.ok(Date.now() < end, `${what} did not come`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function begin(page, kind) {
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await page.getByRole('button', { name: kind }).click();
  await page.waitForSelector('dialog.call');
}

const phase = (page, text) => page.locator('.phase', { hasText: text }).waitFor();

feature('a call with sound and pictures, in which talking interrupts', async (page) => {
  const events = eventsOf(page);
  await begin(page, 'Video call');
  await page.waitForSelector('.caption.assistant small');
  await until('an interruption', () => ofType(events.received, 'input_audio_buffer.speech_started').length > 1);
  await phase(page, 'Hearing you');
  const { session } = ofType(events.sent, 'session.update')[0];
  assert.equal(session.mode, 'omni');
  assert.deepEqual(session.audio.input.turn_detection, { type: 'server_vad', interrupt_response: true });
  assert.match(ofType(events.sent, 'input_video_frame.append')[0].image, /^data:image\/jpeg;base64,/);
  assert.ok(ofType(events.received, 'response.output_audio.delta').length > 0);
  assert.match(await page.textContent('.caption.assistant small'), /text after [\d.]+ s · sound after [\d.]+ s/);
  await page.getByText(/^Answered in [\d.]+ s$/).waitFor();
  // What the answer wrote is what the page shows.
  const { item_id } = ofType(events.received, 'response.output_audio_transcript.delta')[0];
  const deltas = events.received.filter((event) => event.item_id === item_id && event.type.endsWith('transcript.delta'));
  const shownText = await page.locator('.caption.assistant p').first().textContent();
  assert.ok(deltas.map(({ delta }) => delta).join('').startsWith(shownText));
  assert.equal(ofType(events.received, 'error').length, 0);
});

feature('what the user says is written down', async (page) => {
  const [request] = await Promise.all([
    page.waitForRequest('**/v1/audio/transcriptions'),
    begin(page, 'Voice call'),
  ]);
  assert.match(request.headers()['content-type'], /^multipart\/form-data/);
  const { text } = await (await request.response()).json();
  await page.waitForFunction((wanted) =>
    [...document.querySelectorAll('.caption.user p')].some((one) => one.textContent === wanted), text.trim() || '(spoken)');
});

feature('mute, camera, interrupt, hang up', async (page) => {
  const events = eventsOf(page);
  await begin(page, 'Voice call');
  await phase(page, 'Speaking');
  await page.getByRole('button', { name: 'Interrupt' }).click();
  await page.getByText(/interrupted/).waitFor();
  const cut = ofType(events.sent, 'conversation.item.truncate').at(-1);
  await until('the cut', () => ofType(events.received, 'conversation.item.truncated').some((one) => one.item_id === cut.item_id));

  await page.getByRole('button', { name: 'Mute' }).click();
  await page.getByText('muted').waitFor();
  const before = events.sent.length;
  await until('sound', () => events.sent.length > before + 20);
  const silent = ofType(events.sent.slice(before + 10), 'input_audio_buffer.append');
  for (const { audio } of silent) assert.match(audio, /^A*=*$/);

  assert.equal(ofType(events.sent, 'input_video_frame.append').length, 0);
  await page.locator('.call-bar').getByLabel('Camera', { exact: true }).click();
  await page.waitForSelector('.stage video');
  await until('a frame', () => ofType(events.sent, 'input_video_frame.append').length > 0);
  const device = () => page.evaluate(() => document.querySelector('.stage video').srcObject?.getVideoTracks()[0].getSettings().deviceId);
  const first = await device();
  await page.getByRole('button', { name: 'Switch camera' }).click();
  await page.waitForFunction((id) =>
    document.querySelector('.stage video')?.srcObject?.getVideoTracks()[0].getSettings().deviceId !== id, first);
  await page.evaluate(() => { navigator.mediaDevices.enumerateDevices = async () => []; });
  await page.getByRole('button', { name: 'Switch camera' }).click();
  await page.locator('dialog.call .toast', { hasText: 'There is no other camera.' }).waitFor();
  await page.locator('.call-bar').getByLabel('Camera', { exact: true }).click();
  await page.waitForSelector('.stage .disc');

  await page.getByRole('button', { name: 'Hang up' }).click();
  await shown(page, 'dialog', 0);
  await page.waitForSelector('.answer');
  assert.ok(await page.locator('.question').count() > 0);
  await kept(page, 1);
  await page.waitForFunction(async () => /requests_running 1\n/.test(await (await fetch('/metrics')).text()));
});

feature('a voice of one’s own, and the settings of a call', async (page) => {
  const events = eventsOf(page);
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await page.getByLabel('Voice', { exact: true }).selectOption('own');
  await page.getByRole('button', { name: 'Voice call' }).click();
  await page.locator('.toast', { hasText: 'There is no voice yet' }).waitFor();
  await page.setInputFiles('#voice-file', `${folder}/clip.wav`);
  await page.waitForSelector('.own-voice audio');
  await page.getByLabel('Talking interrupts').uncheck();
  await page.getByText('More', { exact: true }).click();
  await page.getByLabel('Instructions').fill('Be brief.');
  await page.getByLabel('Pause that ends a turn (ms)').fill('500');
  await page.getByLabel('Look closely').check();
  await page.getByRole('button', { name: 'Voice call' }).click();
  await phase(page, 'Speaking');
  const { session } = ofType(events.sent, 'session.update')[0];
  const wav = Buffer.from(session.voice_clip, 'base64');
  assert.equal(wav.readUInt32LE(24), 16000);
  assert.ok(Math.abs(wav.length - 44 - 32000) < 200, `${wav.length} bytes`);
  assert.deepEqual([session.mode, session.instructions, session.hd], ['assistant', 'Be brief.', true]);
  assert.deepEqual(session.audio.input.turn_detection,
    { type: 'server_vad', interrupt_response: false, silence_duration_ms: 500 });
  assert.equal(ofType(events.received, 'session.updated')[0].session.voice_clip, true);
  assert.equal(ofType(events.received, 'error').length, 0);
  await page.reload();  // the voice stays in the browser
  await page.waitForSelector('.welcome li');
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await page.waitForSelector('.own-voice audio');
});

for (const colorScheme of ['light', 'dark']) {
  feature(`readable for all, ${colorScheme}`, async (page) => {
    await page.getByRole('button', { name: 'Call', exact: true }).click();
    await page.getByText('More', { exact: true }).click();
    await checkAccess(page, 'before a call');
    await page.getByRole('button', { name: 'Voice call' }).click();
    await page.waitForSelector('.caption.assistant small');
    await checkAccess(page, 'a call');
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  }, { colorScheme });
}

feature('a call in Chinese', async (page) => {
  await page.evaluate(() => localStorage.setItem('minicpm.language', '"zh"'));
  await page.reload();
  await page.getByRole('button', { name: '通话', exact: true }).click();
  await page.getByText('更多', { exact: true }).click();
  await checkAccess(page, 'before a call, Chinese');
  await page.getByRole('button', { name: '语音通话' }).click();
  await page.locator('.phase', { hasText: '正在说话' }).waitFor();
  await checkAccess(page, 'a call, Chinese');
});

/** Runs the page's player, as it is, over pieces of 100 ms, and gives what is heard of a second and a half. */
const heard = (page, plan) => page.evaluate(async (steps) => {
  const context = new OfflineAudioContext(1, 36_000, 24_000);
  await context.audioWorklet.addModule('/page/call.js');
  const node = new AudioWorkletNode(context, 'player', { numberOfInputs: 0, outputChannelCount: [1] });
  node.connect(context.destination);
  const tellAt = async (seconds, orders) => {
    await context.suspend(seconds);
    for (const order of orders) {
      if (typeof order === 'string') node.port.postMessage(order);
      else node.port.postMessage({ samples: new Int16Array(2400).fill(order * 0x4000).buffer });
    }
    await new Promise((resolve) => setTimeout(resolve, 50));  // for the messages to arrive
    context.resume();
  };
  for (const [seconds, orders] of steps) tellAt(seconds, orders);
  const samples = (await context.startRendering()).getChannelData(0);
  return Array.from({ length: 15 }, (_, i) => samples[i * 2400 + 2300]);  // near the end of each tenth
}, plan);

test('the player waits a little, plays evenly, and is silent at once', async () => {
  const page = await visit(browser, server.url, 'desktop', []);
  const silence = Array(15).fill(0), half = (count) => Array(count).fill(0.5);
  // One piece is not enough to begin with; two are.
  assert.deepEqual(await heard(page, [[0.2, [1]], [0.6, [1]]]), [...Array(6).fill(0), ...half(2), ...Array(7).fill(0)]);
  // The end of an answer need not wait for more.
  assert.deepEqual(await heard(page, [[0.2, [1, 'end']]]), [0, 0, 0.5, ...silence.slice(3)]);
  // After "clear" not one more sample is heard, and the next answer begins anew.
  assert.deepEqual(await heard(page, [[0, [1, 1, 1, 1, 1, 1]], [0.4, ['clear']], [0.8, [-1, -1]]]),
    [...half(4), ...Array(4).fill(0), -0.5, -0.5, ...Array(5).fill(0)]);
  // After a gap it waits for twice as much.
  assert.deepEqual(await heard(page, [[0, [1, 1]], [0.5, [1, 1]], [0.8, [1]]]),
    [...half(2), ...Array(6).fill(0), ...half(3), ...Array(4).fill(0)]);
  await page.context().close();
});

test('a server whose sessions are all taken says so', async () => {
  const small = await startServer(process.env.MINICPM_PROGRAM, [process.env.MINICPM_HEARING_MODEL], '--live-sessions', '1');
  try {
    const pages = [await visit(browser, small.url, 'desktop', []), await visit(browser, small.url, 'desktop', [])];
    for (const page of pages) await page.waitForSelector('.welcome li');
    await begin(pages[0], 'Voice call');
    await phase(pages[0], 'Listening');
    await pages[1].getByRole('button', { name: 'Call', exact: true }).click();
    await pages[1].getByRole('button', { name: 'Voice call' }).click();
    await pages[1].locator('.toast', { hasText: 'takes no call now' }).waitFor();
    await pages[0].getByRole('button', { name: 'Hang up' }).click();
    for (const page of pages) await page.context().close();
  } finally {
    assert.equal(await small.stop(), 0);
  }
});
