// Sound as WAV: one channel, 16 bits.

const RATE = 16_000;  // of what the models hear

/** Sound of any kind that the browser reads, at 16 kHz. Throws when the browser cannot read it. */
export async function toWav(blob: Blob): Promise<Blob> {
  const context = new OfflineAudioContext(1, 1, RATE);  // decodes to its own rate
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  return wavOf(Int16Array.from(mixed(sound), (value) => Math.max(-1, Math.min(1, value)) * 0x7fff), RATE);
}

function mixed(sound: AudioBuffer): Float32Array {
  const result = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((value, i) => (result[i]! += value / sound.numberOfChannels));
  }
  return result;
}

export function wavOf(samples: Int16Array, rate: number): Blob {
  const bytes = samples.length * 2;
  const view = new DataView(new ArrayBuffer(44 + bytes));
  const put = (at: number, text: string) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  put(0, 'RIFF');
  view.setUint32(4, 36 + bytes, true);
  put(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);        // bytes of the format
  view.setUint16(20, 1, true);         // PCM
  view.setUint16(22, 1, true);         // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true);  // bytes a second
  view.setUint16(32, 2, true);         // bytes a sample
  view.setUint16(34, 16, true);        // bits
  put(36, 'data');
  view.setUint32(40, bytes, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, value, true));
  return new Blob([view], { type: 'audio/wav' });
}
