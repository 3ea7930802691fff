// A sound like that of a voice, for the microphone of the browser: a buzz at 130 Hz, louder and softer like syllables.
import { writeFileSync } from 'node:fs';

const RATE = 48_000;

function sample(seconds) {
  let sum = 0;
  for (let k = 1; k <= 24; k++) sum += Math.sin(2 * Math.PI * 130 * k * seconds) / k;
  return sum * (0.55 + 0.45 * Math.sin(2 * Math.PI * 4 * seconds));
}

/** A WAV file that speaks for some seconds and then is silent for some. */
export function writeVoice(path, spokenSeconds, silentSeconds) {
  const samples = Math.round(RATE * (spokenSeconds + silentSeconds));
  const bytes = Buffer.alloc(44 + 2 * samples);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + 2 * samples, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(RATE, 24);
  bytes.writeUInt32LE(2 * RATE, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(2 * samples, 40);
  for (let i = 0; i < spokenSeconds * RATE; i++) bytes.writeInt16LE(Math.round(9000 * sample(i / RATE)), 44 + 2 * i);
  writeFileSync(path, bytes);
}
