// Debian's chromium, without a screen, with a camera and a microphone of its own making.
import { chromium } from 'playwright-core';

export const SIZES = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true },
};

/** `more`: further switches of the browser. */
export async function startBrowser(...more) {
  return chromium.launch({
    executablePath: process.env.MINICPM_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
      '--force-color-profile=srgb', '--font-render-hinting=none', ...more],
  });
}

/** A fresh visitor. `problems` collects what the browser complains of. */
export async function visit(browser, url, size, problems, more = {}) {
  const context = await browser.newContext({ ...SIZES[size], locale: 'en-US', ...more });
  await context.grantPermissions(['camera', 'microphone', 'clipboard-read', 'clipboard-write']);
  const page = await context.newPage();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(String(error)));
  await page.goto(url);
  return page;
}
