// Starts `minicpm serve` and stops it again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Returns {url, stop}. `key`: the API key that the server wants; `model`: the model, and further options. */
export async function startServer(program, key, model = ['pico'], environment = {}) {
  const state = mkdtempSync(join(tmpdir(), 'minicpm-state-'));
  const words = ['serve', ...model, '--port', '0', '--log', 'off', '-t', '1', '--api-key', key, '--state', state];
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...environment } });
  const lines = createInterface({ input: child.stdout });
  const [line] = await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([code]) => { throw new Error(`the server ended with exit code ${code}`); }),
  ]);
  const stop = async () => {
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    rmSync(state, { recursive: true });
    return code;
  };
  return { url: line.split(' ')[0], stop };
}
