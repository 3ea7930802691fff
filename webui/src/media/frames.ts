// A few frames of a video, as small pictures.

const HEIGHT = 54;

function seek(video: HTMLVideoElement, seconds: number): Promise<void> {
  return new Promise((resolve, reject) => {
    video.onseeked = () => resolve();
    video.onerror = () => reject(new Error('video'));
    video.currentTime = seconds;
  });
}

async function opened(url: string): Promise<HTMLVideoElement> {
  const video = document.createElement('video');
  video.muted = true;
  video.preload = 'auto';
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = () => reject(new Error('video'));
    video.src = url;
  });
  return video;
}

export interface Strip {
  seconds: number;
  frames: string[];  // data: URLs
}

/** `pick` says at which seconds of the video's length. Throws when the browser cannot play the video. */
export async function framesOf(url: string, pick: (seconds: number) => number[]): Promise<Strip> {
  const video = await opened(url);
  const canvas = document.createElement('canvas');
  canvas.height = HEIGHT;
  canvas.width = Math.max(1, Math.round((HEIGHT * video.videoWidth) / video.videoHeight));
  const context = canvas.getContext('2d')!;
  const frames: string[] = [];
  for (const time of pick(video.duration)) {
    await seek(video, time);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    frames.push(canvas.toDataURL('image/jpeg', 0.7));
  }
  const seconds = video.duration;
  video.removeAttribute('src');
  video.load();
  return { seconds, frames };
}
