// Starts `minicpm serve` and stops it again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';

/** Serves `models`, with a folder of its own for what it keeps; returns {url, stop}. */
export async function startServer(program, models, ...more) {
  const words = ['serve', ...models, '--port', '0', '--log', 'off', '-t', '1', ...more];
  const state = mkdtempSync(`${tmpdir()}/minicpm-state-`);
  const env = { ...process.env, XDG_STATE_HOME: state };
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'], env });
  child.once('exit', () => rmSync(state, { recursive: true }));
  const lines = createInterface({ input: child.stdout });
  const [line] = await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([code]) => { throw new Error(`the server ended with exit code ${code}`); }),
  ]);
  const stop = async () => {
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    return code;
  };
  return { url: line.split(' ')[0], stop };
}
