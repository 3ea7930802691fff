// Starts `minicpm serve` and stops it again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** Serves `models`; returns {url, stop}. */
export async function startServer(program, models, ...more) {
  const words = ['serve', ...models, '--port', '0', '--log', 'off', '-t', '1', ...more];
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] });
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
