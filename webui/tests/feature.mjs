import assert from 'node:assert/strict';
import { test } from 'node:test';
import { visit } from './browser.mjs';

/**
 * A function that makes a test at both sizes, in which the browser must have nothing to complain of. `place` returns
 * {browser, server} once they are there; a test may take so many seconds, and what it waits for a third of them.
 */
export function features(place, seconds) {
  return (name, run, options = {}) => {
    for (const size of ['desktop', 'phone']) {
      test(`${name} (${size})`, { timeout: seconds * 1000 }, async () => {
        const { browser, server } = place();
        const problems = [];
        const page = await visit(browser, server.url, size, problems, options);
        page.setDefaultTimeout(seconds * 1000 / 3);
        try {
          await page.waitForSelector('.welcome li');
          await run(page, size);
        } finally {
          await page.context().close();
        }
        assert.deepEqual(problems, []);
      });
    }
  };
}
