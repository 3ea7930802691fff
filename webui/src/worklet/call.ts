// The sound of a call, on the browser's thread of sound. The page loads this from /page/call.js.
import { JitterBuffer } from './jitter';

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;
declare const sampleRate: number;

const PIECE_SECONDS = 0.04;

/** What the microphone hears, as 16-bit samples in pieces of 40 ms. */
class Microphone extends AudioWorkletProcessor {
  private piece = new Int16Array(Math.round(sampleRate * PIECE_SECONDS));
  private length = 0;

  process(inputs: Float32Array[][]): boolean {
    const samples = inputs[0]?.[0];
    if (!samples) return true;
    for (const sample of samples) {
      this.piece[this.length++] = Math.max(-1, Math.min(1, sample)) * 0x7fff;
      if (this.length < this.piece.length) continue;
      this.port.postMessage(this.piece.slice().buffer);
      this.length = 0;
    }
    return true;
  }
}

type Order = { samples: ArrayBuffer } | 'end' | 'clear';

/** Plays what it is sent. Tells how many samples were heard whenever that has changed for a tenth of a second. */
class Player extends AudioWorkletProcessor {
  private readonly buffer = new JitterBuffer(sampleRate);
  private told = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<Order>) => {
      if (data === 'end') return this.buffer.end();
      if (data !== 'clear') return this.buffer.push(new Int16Array(data.samples));
      this.buffer.clear();
      this.tell();
    };
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const before = this.buffer.played;
    this.buffer.pull(outputs[0]![0]!);
    const began = before === 0 && this.buffer.played > 0;
    if (began || this.buffer.played - this.told >= sampleRate / 10 || this.buffer.drained) this.tell();
    return true;
  }

  private tell(): void {
    if (this.buffer.played !== this.told) this.port.postMessage(this.buffer.played);
    this.told = this.buffer.played;
  }
}

registerProcessor('microphone', Microphone);
registerProcessor('player', Player);
