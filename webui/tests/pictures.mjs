// Makes the pictures of docs/webui.md: MINICPM_PROGRAM is the program. What is said in the call is made up: a small
// model that speaks and says something does not come with the program.
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startBrowser, visit } from './browser.mjs';
import { startServer } from './server.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
process.env.MINICPM_ASSETS = `${root}/assets/pico`;
process.env.MINICPM_MODELS = `${root}/models`;
const { addFiles, ask, greedy, openSidebar } = await import('./page.mjs');

const QUESTIONS = [
  ['Which picture has fewer shapes?', 'first.png', 'second.png'], ['What color appears first?', 'motion.mp4'],
  ['Which bar is the lowest?', 'chart.png'], ['Read the text.', 'word.png'], ['Describe the picture.', 'shapes.png'],
];

const server = await startServer(process.env.MINICPM_PROGRAM ?? `${root}/build/bin/minicpm`, ['pico']);
const browser = await startBrowser();
for (const [size, colorScheme] of [['desktop', 'light'], ['phone', 'dark']]) {
  const page = await visit(browser, server.url, size, [], { colorScheme });
  await page.waitForSelector('.welcome li');
  await greedy(page);
  for (const [question, ...files] of QUESTIONS) {
    await openSidebar(page);
    await page.locator('.new-chat').click();
    await addFiles(page, ...files);
    await ask(page, question);
  }
  if (size === 'desktop') {
    await addFiles(page, 'motion.mp4');
    await page.waitForSelector('.strip img');
    await page.fill('#message', 'What happens in the video?');
  }
  await page.mouse.move(5, 790);
  await page.screenshot({ path: `${root}/docs/webui-${size}.png` });
}

const CALL = [
  ['What do you see?', 'A test picture of a browser: a green field with a yellow disc that turns, and a clock below it.'],
  ['And what does the clock show?', 'Some seconds since the camera was opened. It counts the frames, too.'],
];

/** Plays the part of the server in a call: each turn ends, and is answered with text and a tone. */
async function playCall(page) {
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const tone = Buffer.from(Int16Array.from({ length: 2400 }, (_, i) => 2000 * Math.sin(0.05 * i)).buffer).toString('base64');
  let asked = 0;
  await page.route('**/v1/audio/transcriptions', (route) => route.fulfill({ json: { text: CALL[asked++][0] } }));
  await page.routeWebSocket('**/v1/realtime*', async (socket) => {
    const tell = (type, fields) => socket.send(JSON.stringify({ type, ...fields }));
    const configured = new Promise((resolve) => socket.onMessage((text) => {
      if (JSON.parse(text).type === 'session.update') resolve();
    }));
    tell('session.created', {});
    await configured;
    tell('session.updated', {});
    for (const [i, [, answer]] of CALL.entries()) {
      await sleep(1000);
      tell('input_audio_buffer.speech_started', { item_id: `user-${i}`, audio_start_ms: 0 });
      await sleep(300);
      tell('input_audio_buffer.speech_stopped', { item_id: `user-${i}`, audio_end_ms: 300 });
      tell('response.created', {});
      tell('conversation.item.added', { item: { id: `answer-${i}`, role: 'assistant' } });
      await sleep(250);
      for (const word of answer.split(/(?= )/)) {
        tell('response.output_audio_transcript.delta', { item_id: `answer-${i}`, delta: word });
        tell('response.output_audio.delta', { item_id: `answer-${i}`, delta: tone });
      }
      const last = i + 1 === CALL.length;
      if (!last) tell('response.done', { response: { status: 'completed' } });
      await sleep(last ? 0 : 2500);
    }
  });
}

const props = await (await fetch(`${server.url}/props`)).json();
props.models[0] = { ...props.models[0], audio: true, voices: ['default', 'female', 'male'] };
for (const [size, colorScheme] of [['desktop', 'light'], ['phone', 'dark']]) {
  const page = await visit(browser, 'about:blank', size, [], { colorScheme });
  await page.route('**/props', (route) => route.fulfill({ json: props }));
  await page.goto(server.url);
  await playCall(page);
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await page.getByRole('button', { name: 'Video call' }).click();
  await page.locator('.caption.assistant').nth(CALL.length - 1).locator('small', { hasText: 'sound after' }).waitFor();
  await page.locator('.caption.user').first().getByText(CALL[0][0]).waitFor();
  await page.screenshot({ path: `${root}/docs/webui-call${size === 'phone' ? '-phone' : ''}.png` });
}
await browser.close();
await server.stop();
