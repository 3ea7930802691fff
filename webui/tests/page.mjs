// What a visitor does with the page, in words.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const assets = process.env.MINICPM_ASSETS;
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const asset = (name) => `${assets}/${name}`;

/** Puts files into the message and waits until they are shown. */
export async function addFiles(page, ...names) {
  const before = await page.locator('.composer .file').count();
  await page.setInputFiles('#files', names.map(asset));
  await shown(page, '.composer .file', before + names.length);
}

export async function shown(page, selector, count) {
  await page.waitForFunction(([wanted, number]) => document.querySelectorAll(wanted).length === number, [selector, count]);
}

/** Sends a question and returns the text of its answer. */
export async function ask(page, text) {
  const before = await page.locator('.question').count();
  await page.fill('#message', text);
  await page.keyboard.press('Enter');
  await shown(page, '.question', before + 1);
  return answered(page);
}

/** Waits for the end of the last answer. */
export async function answered(page) {
  await page.waitForSelector('.answer:last-child[aria-busy="false"] .actions');
  return page.evaluate(() => document.querySelector('.answer:last-child > .markdown')?.textContent ?? '');
}

/** The bodies of the questions that the page sends from now on. */
export function questionsOf(page) {
  const bodies = [];
  page.on('request', (request) => {
    if (request.url().endsWith('/v1/chat/completions')) bodies.push(request.postDataJSON());
  });
  return bodies;
}

/** The next questions are answered with these pieces, as the server would. */
export async function answerWith(page, pieces) {
  const event = (data) => `data: ${JSON.stringify(data)}\n\n`;
  const chunk = (delta, finish = null) => event({ choices: [{ delta, finish_reason: finish }] });
  const usage = { prompt_tokens: 50, completion_tokens: 200 };
  const body = [...pieces.map((piece) => chunk(piece)), chunk({}, 'stop'), event({ choices: [], usage }), 'data: [DONE]\n\n'];
  await page.route('**/v1/chat/completions', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: body.join('') }));
}

export async function setSettings(page, tab, values) {
  await page.click('[aria-label="Settings"]');
  await page.click(`#tab-${tab}`);
  for (const [label, value] of Object.entries(values)) await page.getByLabel(label, { exact: true }).fill(String(value));
  await page.keyboard.press('Escape');
  await shown(page, 'dialog', 0);
}

/** Answers are the same each time. */
export const greedy = (page) => setSettings(page, 'answers', { Temperature: 0 });

export async function openSidebar(page) {
  if (!(await page.locator('#sidebar').isVisible())) await page.click('[aria-controls="sidebar"]');
}

export async function closeSidebar(page) {
  if (await page.locator('.veil').isVisible()) await page.mouse.click(380, 600);
}

/** Fails when axe finds something that shuts a reader out. */
export async function checkAccess(page, where) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  const problems = found.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html).join(' ')}`);
  assert.deepEqual(problems, [], where);
}

/** Waits until the browser keeps so many conversations, with their answers. */
export async function kept(page, count) {
  await page.waitForFunction((wanted) => new Promise((resolve) => {
    const opening = indexedDB.open('minicpm', 1);
    opening.onsuccess = () => {
      const reading = opening.result.transaction('chats').objectStore('chats').getAll();
      reading.onsuccess = () => {
        opening.result.close();
        const messages = reading.result.flatMap((chat) => Object.values(chat.messages));
        const whole = messages.every(({ role, finish }) => role === 'user' || finish);
        resolve(whole && reading.result.length === wanted);
      };
    };
  }), count);
}
