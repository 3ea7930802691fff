// Makes the pictures of docs/webui.md: MINICPM_PROGRAM is the program.
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
await browser.close();
await server.stop();
