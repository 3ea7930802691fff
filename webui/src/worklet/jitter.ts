// Sound that comes in uneven pieces, handed out evenly: it waits until enough is there, and after a gap until more is.

const START_SECONDS = 0.12;  // of sound before it begins; pieces of the server are a tenth of a second at most
const MOST_SECONDS = 1;      // of waiting, however many gaps there were

export class JitterBuffer {
  /** Samples of the present answer that were handed out. */
  played = 0;

  private pieces: Int16Array[] = [];
  private at = 0;         // within the first piece
  private waiting = 0;    // samples that are there
  private running = false;
  private ended = false;  // no more of this answer comes
  private wanted: number;

  constructor(private readonly rate: number) {
    this.wanted = START_SECONDS * rate;
  }

  push(samples: Int16Array): void {
    if (this.ended) this.clear();  // another answer begins
    this.pieces.push(samples);
    this.waiting += samples.length;
  }

  /** The answer is complete: what is there need not wait for more. */
  end(): void {
    this.ended = true;
  }

  /** Everything was handed out that will come. */
  get drained(): boolean {
    return this.ended && this.waiting === 0;
  }

  /** Forgets what was not handed out; the next sample is of another answer. */
  clear(): void {
    this.pieces = [];
    this.at = this.waiting = this.played = 0;
    this.running = this.ended = false;
    this.wanted = START_SECONDS * this.rate;
  }

  /** Fills `out`, with silence where there is nothing to hand out. */
  pull(out: Float32Array): void {
    if (!this.running && this.waiting > 0) this.running = this.ended || this.waiting >= this.wanted;
    let filled = 0;
    while (this.running && filled < out.length && this.pieces.length > 0) {
      const piece = this.pieces[0]!;
      const count = Math.min(out.length - filled, piece.length - this.at);
      for (let i = 0; i < count; i++) out[filled + i] = piece[this.at + i]! / 0x8000;
      filled += count;
      this.at += count;
      if (this.at < piece.length) continue;
      this.pieces.shift();
      this.at = 0;
    }
    this.waiting -= filled;
    this.played += filled;
    out.fill(0, filled);
    if (!this.running || filled === out.length || this.ended) return;
    this.running = false;  // a gap: the next one is to be less likely
    this.wanted = Math.min(2 * this.wanted, MOST_SECONDS * this.rate);
  }
}
