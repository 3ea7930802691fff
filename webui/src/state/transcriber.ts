// Writes down what the user said, one turn after another and never while an answer is made: the answer goes first.
import { transcribe } from '../api/transcribe';

interface Job {
  wav: Blob;
  done: (text: string) => void;
}

export class Transcriber {
  private jobs: Job[] = [];
  private held = false;
  private busy = false;
  private closed = false;

  constructor(private readonly model: string, private readonly language: string) {}

  /** `done` gets the text, or nothing where it could not be found out. */
  add(wav: Blob, done: (text: string) => void): void {
    this.held = true;  // until the answer to it is made
    this.jobs.push({ wav, done });
  }

  hold(on: boolean): void {
    this.held = on;
    this.next();
  }

  close(): void {
    this.closed = true;
  }

  private async next(): Promise<void> {
    if (this.held || this.busy || this.closed) return;
    const job = this.jobs.shift();
    if (!job) return;
    this.busy = true;
    const text = await transcribe(this.model, this.language, job.wav).catch(() => '');
    this.busy = false;
    job.done(text);
    this.next();
  }
}
