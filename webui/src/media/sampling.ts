// Which moments of a video the model looks at (docs/video.md), as far as they follow from its length: a video of fewer
// frames a second gives fewer.
import type { VideoSettings } from '../types';

export interface Sampling {
  times: number[];  // seconds
  pack: number;     // frames that share their tokens
}

/** The middles of `count` equal parts of a length. */
function middles(length: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => ((i + 0.5) * length) / count);
}

/** Every 1 / fps seconds from the first frame; of too many, the middles of equal parts. */
function single(seconds: number, { fps = 1, max_frames = 64 }: VideoSettings): Sampling {
  const count = Math.max(1, Math.ceil(seconds * fps));
  const places = middles(count, Math.min(count, max_frames)).map(Math.floor);
  return { times: places.map((place) => place / fps), pack: 1 };
}

/** The middles of equal parts, in packs where there are too many. */
function packed(seconds: number, { fps = 3, max_frames: most = 180, pack }: VideoSettings): Sampling {
  const largest = pack ?? 3;
  let needed = 1, count = Math.round(fps * Math.min(most, seconds));
  if (fps * Math.trunc(seconds) > most) {
    needed = Math.ceil((seconds * fps) / most);
    count = needed > largest ? most * largest : Math.round(seconds * fps);
  }
  return { times: middles(seconds, Math.max(1, count)), pack: pack ?? Math.min(needed, largest) };
}

export function sampled(seconds: number, settings: VideoSettings, packs: boolean): Sampling {
  return packs ? packed(seconds, settings) : single(seconds, settings);
}
