// Each feature of the page once on a desktop and once on a phone, in a real browser with the real server and pico.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { startBrowser, visit } from './browser.mjs';
import { features } from './feature.mjs';
import {
  addFiles, answered, answerWith, ask, asset, checkAccess, closeSidebar, greedy, kept, openSidebar, questionsOf,
  setSettings, shown,
} from './page.mjs';
import { pdfOf } from './pdf.mjs';
import { startServer } from './server.mjs';

const program = process.env.MINICPM_PROGRAM;
const hearing = process.env.MINICPM_HEARING_MODEL;
let server, browser;

before(async () => {
  server = await startServer(program, ['pico', hearing]);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0);
});

const feature = features(() => ({ browser, server }), 60);

feature('a picture is read', async (page, size) => {
  await greedy(page);
  await addFiles(page, 'word.png');
  assert.equal(await ask(page, 'Read the text.'), 'HAPPINESS');
  const stats = await page.textContent('.stats');
  assert.match(stats, /first token .* s · ([\d.]+ tokens\/s · )?\d+ tokens · \d+ in the prompt/);
  if (size === 'desktop') assert.match(stats, / · pictures [\d.]+ s, \d+ tokens$/);  // the second time it is remembered
  await page.click('.question img');
  await page.waitForSelector('dialog.large img');
});

feature('several pictures, the last removed again', async (page) => {
  await greedy(page);
  await addFiles(page, 'first.png', 'second.png', 'word.png');
  await page.getByLabel('Remove word.png').click();
  await shown(page, '.composer .file', 2);
  assert.equal(await ask(page, 'Which picture has fewer shapes?'), 'second');
});

feature('pictures by drop and paste', async (page) => {
  const bytes = readFileSync(asset('shapes.png')).toString('base64');
  for (const kind of ['drop', 'paste']) {
    await page.evaluate(([type, data]) => {
      const file = new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], `${type}.png`, { type: 'image/png' });
      const transfer = new DataTransfer();
      transfer.items.add(file);
      const event = type === 'drop'
        ? new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true })
        : new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true });
      document.getElementById('message').dispatchEvent(event);
    }, [kind, bytes]);
    await page.waitForSelector(`.composer img[alt="${kind}.png"]`);
  }
});

const pdfFile = (name, buffer) => ({ name, mimeType: 'application/pdf', buffer });

feature('pages of a PDF as pictures', async (page) => {
  const word = readFileSync(asset('word.png')).toString('base64');
  const writer = await browser.newPage();
  await writer.setContent(`<h1>Words</h1><p style="break-after: page">of a page</p><img src="data:image/png;base64,${word}">`);
  const printed = await writer.pdf({ width: '400px', height: '300px' });
  await writer.close();
  const scripts = [];
  page.on('request', (request) => { if (request.url().includes('/page/')) scripts.push(request.url().split('/page/')[1]); });
  const questions = questionsOf(page);
  await page.setInputFiles('#files', pdfFile('printed.pdf', printed));
  await shown(page, '.pdf-pages img', 2);
  assert.deepEqual(scripts, ['pdf.js', 'pdf-worker.js']);
  await checkAccess(page, 'pages of a PDF');
  await page.getByRole('button', { name: 'page 2' }).click();
  await page.getByText('1 of 2 pages chosen').waitFor();
  await page.getByRole('button', { name: 'Add as pictures (1)' }).click();
  await page.waitForSelector('.composer img[alt="printed.pdf, page 2.png"]');
  await shown(page, 'dialog', 0);
  await ask(page, 'Read the text.');
  const png = Buffer.from(questions[0].messages[0].content[0].image_url.url.split(',')[1], 'base64');
  assert.equal(png.readUInt32BE(16), 1600);
  assert.ok(Math.abs(png.readUInt32BE(20) - 1200) < 3);  // points of paper are rounded
});

feature('pictures of a PDF that browsers cannot read themselves', async (page) => {
  const picture = { name: 'word.png', mimeType: 'image/png', buffer: readFileSync(asset('word.png')) };
  await page.setInputFiles('#files', [pdfFile('scan.pdf', pdfOf(['red', 'black', 'red'])), picture]);
  await shown(page, '.pdf-pages img', 3);
  await page.getByRole('button', { name: 'All pages' }).click();
  await page.getByRole('button', { name: 'Add as pictures (3)' }).click();
  await shown(page, '.composer img[alt^="scan"]', 3);
  const colours = await page.evaluate(() => Promise.all([...document.querySelectorAll('.composer img[alt^="scan"]')].map(async (img) => {
    await img.decode();
    const context = new OffscreenCanvas(1, 1).getContext('2d');
    context.drawImage(img, 400, 800, 1, 1, 0, 0, 1, 1);
    return [img.naturalWidth, img.naturalHeight, ...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  })));
  assert.deepEqual(colours.map(([width, height, red, green, blue]) => [width, height, red > 200, green > 50, blue > 50]),
    [[800, 1600, true, false, false], [800, 1600, false, false, false], [800, 1600, true, false, false]]);
});

feature('a PDF that is broken or locked is named', async (page) => {
  await page.setInputFiles('#files', [pdfFile('none.pdf', Buffer.from('%PDF-1.4 nothing')),
    pdfFile('locked.pdf', pdfOf(['red'], { locked: true }))]);
  await page.locator('.toast', { hasText: 'none.pdf' }).waitFor();
  await page.locator('.toast', { hasText: 'locked.pdf: protected by a password' }).waitFor();
  await shown(page, 'dialog', 0);
});

feature('files of a wrong kind are named', async (page) => {
  await page.setInputFiles('#files', asset('demo.tsv'));
  await page.waitForSelector('.toast');
  assert.match(await page.textContent('.toast'), /demo\.tsv/);
  assert.equal(await page.locator('.composer .file').count(), 0);
});

feature('a picture by camera', async (page) => {
  const questions = questionsOf(page);
  await page.getByRole('button', { name: 'Camera' }).click();
  await page.click('dialog .primary:enabled');
  await page.waitForSelector('.composer img[alt="camera.jpg"]');
  await shown(page, 'dialog', 0);
  await ask(page, 'What do you see?');
  assert.match(questions[0].messages[0].content[0].image_url.url, /^data:image\/jpeg;base64,/);
});

feature('a video, and how the model looks at it', async (page) => {
  await greedy(page);
  const questions = questionsOf(page);
  await addFiles(page, 'motion.mp4');
  await shown(page, '.composer .strip img', 4);
  await page.click('.composer .video');
  await page.getByText(/^The model sees about \d+ frames, 1 in a pack/).waitFor();
  await page.getByLabel('Frames a second').fill('2');
  await page.waitForFunction(() => {
    const seconds = Number.parseFloat(document.querySelector('dialog .strip b')?.textContent);
    const [, frames] = /about (\d+) frames/.exec(document.querySelector('dialog').textContent) ?? [];
    return Number(frames) === Math.round(2 * seconds)
      && document.querySelectorAll('dialog .strip img').length === Math.min(12, Number(frames));
  });
  await page.getByLabel('Frames in a pack').fill('7');  // out of range: not taken
  await page.keyboard.press('Escape');
  assert.equal(await ask(page, 'What color appears first?'), 'purple');
  const { url, ...settings } = questions[0].messages[0].content[0].video_url;
  assert.match(url, /^data:video\/mp4;base64,/);
  assert.deepEqual(settings, { fps: 2 });
});

feature('sound by microphone, for a model that hears', async (page) => {
  const questions = questionsOf(page);
  assert.equal(await page.getByRole('button', { name: 'Record' }).count(), 0);
  await page.getByLabel('Model', { exact: true }).selectOption({ index: 1 });
  await setSettings(page, 'answers', { 'Most tokens': 3 });
  await page.getByRole('button', { name: 'Record' }).click();
  await page.getByRole('timer').getByText('0:01').waitFor();
  await page.getByLabel('Use recording').click();
  await page.waitForSelector('.composer audio');
  await ask(page, 'What is said?');
  assert.equal(await page.locator('.answer .error').count(), 0);
  const { data, format } = questions[0].messages[0].content[0].input_audio;
  const wav = Buffer.from(data, 'base64');
  assert.equal(format, 'wav');
  assert.equal(wav.readUInt32LE(24), 16000);
  assert.equal(wav.readUInt16LE(22), 1);
  assert.ok(wav.length > 44 + 16000, `${wav.length} bytes`);
});

feature('thinking is asked for and folded away', async (page) => {
  const questions = questionsOf(page);
  await page.getByRole('button', { name: 'Thinking' }).click();
  await ask(page, 'Hello');
  assert.equal(questions[0].enable_thinking, true);
  await answerWith(page, [{ reasoning_content: 'First **this**.' }, { content: 'Then that.' }]);
  assert.equal(await ask(page, 'And?'), 'Then that.');
  const reasoning = page.locator('.answer:last-child .reasoning');
  assert.match(await reasoning.locator('summary').textContent(), /^Thought for [\d.]+ s$/);
  assert.equal(await reasoning.locator('strong').isVisible(), false);
  await reasoning.locator('summary').click();
  assert.equal(await reasoning.locator('strong').textContent(), 'this');
});

feature('an answer is stopped', async (page) => {
  await setSettings(page, 'answers', { 'Most tokens': 100000, 'Fewest tokens': 100000 });
  await page.fill('#message', 'Hello');
  await page.click('.send');
  await page.waitForSelector('.answer .markdown');
  await page.getByLabel('Stop').click();
  await answered(page);
  assert.match(await page.textContent('.stats'), /^Stopped/);
  await page.waitForFunction(async () => /requests_running 1\n/.test(await (await fetch('/metrics')).text()));
});

feature('answers again, changed questions and their versions', async (page) => {
  await greedy(page);
  await addFiles(page, 'word.png');
  await ask(page, 'Read the text.');
  await page.getByLabel('Answer again').click();
  await page.getByText('2/2').waitFor();
  await answered(page);
  await page.hover('.question');
  await page.getByLabel('Edit').click();
  await page.fill('.editor textarea', 'Hello');
  await page.click('.editor .primary');
  await page.waitForSelector('.question .versions');
  await answered(page);
  assert.equal(await page.textContent('.bubble'), 'Hello');
  await page.locator('.question').getByLabel('Previous version').click();
  assert.equal(await page.textContent('.bubble'), 'Read the text.');
  assert.equal(await page.textContent('.answer .versions > span'), '2/2');
  await page.locator('.answer').getByLabel('Previous version').click();
  assert.equal(await page.textContent('.answer .versions > span'), '1/2');
  assert.equal(await answered(page), 'HAPPINESS');
});

feature('settings reach the server', async (page) => {
  const questions = questionsOf(page);
  await page.click('[aria-label="Settings"]');
  await page.getByLabel('System prompt').fill('Be brief.');
  await page.getByText('Add an example').click();
  await page.setInputFiles('.example-files', asset('shapes.png'));
  await page.waitForSelector('.example img');
  await page.getByLabel('Example 1: Question').fill('What is it?');
  await page.getByLabel('Example 1: Right answer').fill('shapes');
  await page.click('#tab-answers');
  assert.equal(await page.getByLabel('Temperature').getAttribute('placeholder'), '0.7');
  await page.getByLabel('Beams').fill('2');
  assert.equal(await page.getByLabel('Repetition penalty').getAttribute('placeholder'), '1.2');
  await page.getByLabel('Seed').fill('7');
  await page.getByLabel('Top-p').pressSequentially('0.35');
  await page.getByText('beam search (officially 3)').waitFor();
  await page.keyboard.press('Escape');
  await ask(page, 'Hello');
  const { messages, num_beams, seed, temperature, top_p } = questions[0];
  assert.deepEqual(messages.map(({ role }) => role), ['system', 'user', 'assistant', 'user']);
  assert.equal(messages[1].content[1].text, 'What is it?');
  assert.equal(messages[2].content, 'shapes');
  assert.deepEqual({ num_beams, seed, temperature, top_p }, { num_beams: 2, seed: 7, temperature: undefined, top_p: 0.35 });
  assert.equal(await page.locator('.answer .error').count(), 0);
});

const RICH = [
  '# Title', 'Some **bold** text, `code` and $E=mc^2$, costs $5 and $6.', '| a | b |\n|---|--:|\n| 1 | $\\sqrt{2}$ |',
  '$$\\int_0^1 x\\,dx$$', '```python\ndef f(x):\n    return "<b>" + x\n```', '- [x] done\n- one\n  - inner',
  '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"> [x](javascript:window.hacked=3)',
  '[link](https://example.org) ![far](https://example.org/a.png) \\(\\href{javascript:alert(1)}{y}\\)',
].join('\n\n');

feature('markdown, formulas and code, and nothing that a text brings', async (page) => {
  await answerWith(page, [{ content: RICH.slice(0, 100) }, { content: RICH.slice(100) }]);
  await ask(page, 'Hello');
  const count = (selector) => page.locator(`.answer ${selector}`).count();
  assert.equal(await count('.markdown .level-1'), 1);
  assert.equal(await count('td math'), 1);
  assert.equal(await count('.math.block math'), 1);
  assert.equal(await count('p > .math > math'), 1);
  assert.match(await page.textContent('.answer p'), /costs \$5 and \$6\.$/);
  assert.equal(await count('.code .hljs-keyword'), 2);
  assert.ok((await page.textContent('.code pre')).includes('return "<b>" + x'));
  assert.equal(await count('ul ul li'), 1);
  assert.equal(await count('script'), 0);
  assert.equal(await count('img'), 0);
  const links = await page.locator('.answer a').evaluateAll((all) => all.map((link) => [link.href, link.rel]));
  assert.deepEqual(links, [['https://example.org/', 'noopener noreferrer'], ['https://example.org/a.png', 'noopener noreferrer']]);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  await page.locator('.code').getByLabel('Copy').click();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^def f/);
});

feature('boxes are drawn on the picture', async (page) => {
  await answerWith(page, [{ content: '<ref>circle</ref><box>100 200 500 700</box> and <box>900 100 100 200</box>' }]);
  await addFiles(page, 'shapes.png');
  await ask(page, 'Where?');
  await page.waitForFunction(() => document.querySelector('.boxes img')?.complete);
  const [picture, mark] = await Promise.all(['.boxes img', '.boxes .mark'].map((one) => page.locator(one).boundingBox()));
  assert.ok(Math.abs(mark.x - picture.x - picture.width * 0.1) < 1 && Math.abs(mark.height - picture.height * 0.5) < 1);
  assert.equal(await page.textContent('.boxes .mark'), 'circle');
  assert.equal(await page.locator('.mark').count(), 1);  // the second one is none
});

feature('copies and exports', async (page) => {
  await greedy(page);
  await addFiles(page, 'word.png');
  await ask(page, 'Read the text.');
  await page.locator('.answer').getByLabel('Copy').click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'HAPPINESS');
  const saved = async (name) => {
    await page.click('[aria-label="Export"]');
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByText(name).click()]);
    return [file.suggestedFilename(), readFileSync(await file.path(), 'utf8')];
  };
  const [markdownName, markdown] = await saved('as Markdown');
  assert.equal(markdownName, 'Read-the-text.md');
  assert.equal(markdown, '# Read the text.\n\n## You\n\n*[image: word.png]*\n\nRead the text.\n\n## pico\n\nHAPPINESS\n');
  const [, json] = await saved('as JSON');
  assert.deepEqual(Object.values(JSON.parse(json).messages).map(({ text }) => text), ['Read the text.', 'HAPPINESS']);
});

feature('conversations are kept, found, renamed and deleted', async (page, size) => {
  await greedy(page);
  await addFiles(page, 'word.png');
  await ask(page, 'Read the text.');
  await kept(page, 1);
  await page.reload();
  await page.waitForSelector('.welcome li');
  await openSidebar(page);
  await page.getByRole('button', { name: 'New conversation' }).first().click();
  await ask(page, 'Hello');
  await openSidebar(page);
  await shown(page, '.chat', 2);
  await page.keyboard.press('Control+k');
  await page.waitForSelector('#search:focus');
  await page.keyboard.type('happiness');
  await shown(page, '.chat', 1);
  await page.click('.chat .title');
  await page.waitForSelector('.question img');
  assert.equal(await answered(page), 'HAPPINESS');
  await openSidebar(page);
  await page.hover('.chat');
  await page.getByLabel('Rename: Read the text.').click();
  await page.fill('.rename', 'A word');
  await page.keyboard.press('Enter');
  await page.fill('#search', '');
  await page.hover('.chat.chosen');
  await page.getByLabel('Delete: A word').click();
  await page.click('dialog .danger');
  await kept(page, 1);
  await page.reload();
  await page.waitForSelector('.welcome li');
  await openSidebar(page);
  await shown(page, '.chat', 1);
  if (size === 'phone') await closeSidebar(page);
});

feature('keys', async (page) => {
  await answerWith(page, [{ content: 'Yes.' }]);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('/');
  await page.keyboard.type('one');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('two');
  assert.equal(await page.inputValue('#message'), 'one\ntwo');
  await page.keyboard.press('Enter');
  await answered(page);
  await page.focus('#message');
  await page.keyboard.press('ArrowUp');
  assert.equal(await page.inputValue('.editor textarea'), 'one\ntwo');
  await page.keyboard.press('Escape');
  await shown(page, '.editor', 0);
});

feature('Chinese, and dark', async (page) => {
  await page.click('[aria-label="Settings"]');
  await page.click('#tab-page');
  await page.getByText('中文').click();
  await page.getByText('深色').click();
  await page.keyboard.press('Escape');
  assert.equal(await page.textContent('.welcome h2'), '想了解什么？');
  const colour = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  assert.equal(await colour(), 'rgb(23, 25, 27)');
  await page.reload();
  await page.waitForSelector('.welcome li');
  assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
  assert.equal(await colour(), 'rgb(23, 25, 27)');
  await checkAccess(page, 'dark, Chinese');
});

for (const colorScheme of ['light', 'dark']) {
  feature(`readable for all, ${colorScheme}`, async (page, size) => {
    await checkAccess(page, 'before anything was asked');
    await answerWith(page, [{ reasoning_content: 'So.' }, { content: `${RICH}\n\n<ref>x</ref><box>10 10 500 500</box>` }]);
    await addFiles(page, 'shapes.png');
    await ask(page, 'Hello');
    await page.locator('.reasoning summary').click();
    await addFiles(page, 'motion.mp4');
    await checkAccess(page, 'a conversation');
    await openSidebar(page);
    await checkAccess(page, 'the list');
    if (size === 'phone') await closeSidebar(page);
    await page.click('[aria-label="Settings"]');
    await page.getByText('Add an example').click();
    for (const tab of ['conversation', 'answers', 'page']) {
      await page.click(`#tab-${tab}`);
      await checkAccess(page, tab);
    }
  }, { colorScheme });
}

test('nothing is wider than a phone', async () => {
  const problems = [];
  const page = await visit(browser, server.url, 'phone', problems);
  await page.waitForSelector('.welcome li');
  const wide = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(await wide(), 0);
  await answerWith(page, [{ content: `${RICH}\n\n${'long'.repeat(200)}` }]);
  await ask(page, 'long'.repeat(100));
  assert.equal(await wide(), 0);
  await page.context().close();
  assert.deepEqual(problems, []);
});

test('a server with a key asks for it', async () => {
  const key = 'a-key-for-this-test';
  const closed = await startServer(program, ['pico'], '--api-key', key);
  try {
    const page = await visit(browser, closed.url, 'desktop', []);
    for (const tried of ['not-the-key', key]) {
      await page.fill('dialog input', tried);
      await page.click('dialog .primary');
    }
    await page.waitForSelector('.welcome li');
    await shown(page, 'dialog', 0);
    await greedy(page);
    await addFiles(page, 'word.png');
    assert.equal(await ask(page, 'Read the text.'), 'HAPPINESS');
    await page.context().close();
  } finally {
    assert.equal(await closed.stop(), 0);
  }
});

test('what goes wrong is told, and can be tried again', async () => {
  const page = await visit(browser, server.url, 'desktop', []);
  await page.waitForSelector('.welcome li');
  const error = { error: { message: 'the prompt is too long', type: 'invalid_request_error' } };
  await page.route('**/v1/chat/completions', (route) => route.fulfill({ status: 400, json: error }));
  await ask(page, 'Hello');
  assert.equal(await page.textContent('.answer .error'), 'the prompt is too long');
  await page.unroute('**/v1/chat/completions');
  await page.route('**/v1/chat/completions', (route) =>
    route.fulfill({ contentType: 'text/event-stream', body: 'data: {"choices":[{"delta":{"content":"Half"},"finish_reason":null}]}\n\n' }));
  await page.getByLabel('Try again').click();
  await page.getByText('2/2').waitFor();
  assert.equal(await answered(page), 'Half');
  assert.match(await page.textContent('.answer .error'), /ended before the answer did/);
  await page.context().close();
});

test('penalties and stop strings reach the server', async () => {
  const page = await visit(browser, server.url, 'desktop', []);
  await page.waitForSelector('.welcome li');
  const questions = questionsOf(page);
  await page.click('[aria-label="Settings"]');
  await page.click('#tab-answers');
  assert.equal(await page.getByLabel('Presence penalty').getAttribute('placeholder'), '0');
  await page.keyboard.press('Escape');
  await setSettings(page, 'answers', {
    'Presence penalty': 0.5, 'Frequency penalty': -0.5, 'Min-p': 0.05, 'Most tokens': 5, 'Stop at': 'END\n\n\\nUser:',
  });
  await ask(page, 'Hello');
  const { presence_penalty, frequency_penalty, min_p, stop } = questions[0];
  assert.deepEqual({ presence_penalty, frequency_penalty, min_p, stop },
    { presence_penalty: 0.5, frequency_penalty: -0.5, min_p: 0.05, stop: ['END', '\nUser:'] });
  assert.equal(await page.locator('.answer .error').count(), 0);
  await page.context().close();
});

test('stop strings end an answer, and all settings can be taken back', async () => {
  const page = await visit(browser, server.url, 'desktop', []);
  await page.waitForSelector('.welcome li');
  await setSettings(page, 'answers', { Temperature: 0, 'Stop at': 'PI' });
  await addFiles(page, 'word.png');
  assert.equal(await ask(page, 'Read the text.'), 'HAP');
  await page.click('[aria-label="Settings"]');
  await page.click('#tab-answers');
  await page.getByText('Reset all').click();
  assert.equal(await page.getByLabel('Stop at').inputValue(), '');
  assert.equal(await page.getByLabel('Temperature').inputValue(), '');
  await page.context().close();
});

for (const size of ['desktop', 'phone']) {
  test(`a model that is not loaded is loaded when it is chosen (${size})`, async () => {
    const lazy = await startServer(program, ['pico', hearing], '--keep-alive', '300');
    const problems = [];
    try {
      const page = await visit(browser, lazy.url, size, problems);
      const picker = page.getByLabel('Model', { exact: true });
      await page.getByRole('button', { name: 'Load', exact: true }).waitFor();
      assert.deepEqual(await picker.locator('option').allTextContents(), ['pico (not loaded)', 'o26-hf (not loaded)']);
      await checkAccess(page, 'a model that is not loaded');
      // Progress is shown for as long as the server takes; the user may stop it.
      await page.route('**/api/generate', () => {});
      await page.getByRole('button', { name: 'Load', exact: true }).click();
      await page.getByRole('timer', { name: 'Loading the model …' }).getByText('0:01').waitFor();
      await checkAccess(page, 'a model that is being loaded');
      await page.locator('.loading').getByLabel('Cancel').click();
      await page.getByRole('button', { name: 'Load', exact: true }).waitFor();
      await page.unroute('**/api/generate');
      await picker.selectOption('o26-hf');
      await page.getByRole('button', { name: 'Call', exact: true }).waitFor();
      await page.waitForFunction(() => [...document.querySelectorAll('h1 option')].at(-1).textContent === 'o26-hf');
      // A question loads its model, too.
      await picker.selectOption('pico');
      await page.waitForFunction(() => document.querySelector('h1 option').textContent === 'pico');
      await page.context().close();
      assert.deepEqual(problems, []);
    } finally {
      assert.equal(await lazy.stop(), 0);
    }
  });
}

test('what is told of a model that is not loaded is used', async () => {
  const page = await visit(browser, 'about:blank', 'desktop', []);
  await page.route('**/props', async (route) => {
    const props = await (await route.fetch()).json();
    props.models[0].loaded = false;
    await route.fulfill({ json: props });
  });
  await page.goto(server.url);
  await page.getByRole('button', { name: 'Load', exact: true }).waitFor();
  const names = await page.getByLabel('Model', { exact: true }).locator('option').allTextContents();
  assert.deepEqual(names, ['pico (not loaded)', 'o26-hf']);
  await page.getByRole('button', { name: 'Camera' }).waitFor();
  await page.getByLabel('Model', { exact: true }).selectOption('o26-hf');
  await shown(page, '.load', 0);
  await page.context().close();
});

test('a question loads its model', async () => {
  const lazy = await startServer(program, ['pico'], '--keep-alive', '300');
  try {
    const page = await visit(browser, lazy.url, 'desktop', []);
    await page.getByRole('button', { name: 'Load', exact: true }).waitFor();
    await page.fill('#message', 'Hello');
    await page.click('.send');
    await answered(page);
    await page.waitForSelector('#files', { state: 'attached' });  // what the model can is known now
    await shown(page, '.load', 0);
    await page.context().close();
  } finally {
    assert.equal(await lazy.stop(), 0);
  }
});

test('a model that does not speak cannot be called', async () => {
  const page = await visit(browser, server.url, 'desktop', []);
  await page.waitForSelector('.welcome li');
  assert.equal(await page.getByRole('button', { name: 'Call', exact: true }).count(), 0);
  await page.getByLabel('Model', { exact: true }).selectOption({ index: 1 });
  await page.getByRole('button', { name: 'Call', exact: true }).waitFor();
  await page.context().close();
});
