// The camera of a call: its picture for the page, and one frame a second for the model.

const EVERY_MS = 1000;    // a session looks at one frame of each second
const LONGEST_SIDE = 960; // pixels; a frame is looked at in 448 x 448, or in slices of that

export interface Camera {
  stream: MediaStream;
  close(): void;
}

/** Without a `device` the one that faces the user. Throws when there is none or the user does not allow it. */
export async function openCamera(device: string | undefined, onFrame: (dataUrl: string) => void): Promise<Camera> {
  const which = device ? { deviceId: { exact: device } } : { facingMode: 'user' };
  const stream = await navigator.mediaDevices.getUserMedia({ video: { ...which, width: { ideal: 1280 } } });
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = stream;
  const canvas = document.createElement('canvas');
  const look = () => {
    if (video.videoWidth === 0) return;
    const scale = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext('2d')!.drawImage(video, 0, 0, canvas.width, canvas.height);
    onFrame(canvas.toDataURL('image/jpeg', 0.8));
  };
  video.onloadeddata = look;
  const timer = setInterval(look, EVERY_MS);
  await video.play();
  return {
    stream,
    close() {
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      video.srcObject = null;
    },
  };
}

/** The camera after this one, for a button that goes through them; nothing where there is no other. */
export async function nextCamera(stream: MediaStream): Promise<string | undefined> {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter((device) => device.kind === 'videoinput').map((device) => device.deviceId);
  const present = stream.getVideoTracks()[0]?.getSettings().deviceId ?? '';
  const next = cameras[(cameras.indexOf(present) + 1) % cameras.length];
  return next === present ? undefined : next;
}
