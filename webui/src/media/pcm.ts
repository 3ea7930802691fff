// Samples of 16 bits as base64 and back.

export function toBase64(samples: Int16Array): string {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

export function fromBase64(text: string): Int16Array {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Int16Array(bytes.buffer);
}

/** The last so many samples of a stream, found by their place in the whole of it. */
export class Recent {
  private pieces: Int16Array[] = [];
  private begin = 0;
  private end = 0;

  constructor(private readonly most: number) {}

  get length(): number {
    return this.end;
  }

  push(piece: Int16Array): void {
    this.pieces.push(piece);
    this.end += piece.length;
    while (this.pieces.length > 0 && this.end - this.begin - this.pieces[0]!.length >= this.most) {
      this.begin += this.pieces.shift()!.length;
    }
  }

  /** Samples from `from` up to `to`, as far as they are there. */
  slice(from: number, to: number): Int16Array {
    const begin = Math.max(from, this.begin), end = Math.min(to, this.end);
    const result = new Int16Array(Math.max(0, end - begin));
    let at = this.begin;
    for (const piece of this.pieces) {
      const first = Math.max(begin, at), last = Math.min(end, at + piece.length);
      if (first < last) result.set(piece.subarray(first - at, last - at), first - begin);
      at += piece.length;
    }
    return result;
  }
}
