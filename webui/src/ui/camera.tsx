import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import { jpegOf } from '../media/files';
import { addFiles } from '../state/draft';
import { Dialog } from './dialog';

/** The camera's picture, taken by a click. */
export function CameraDialog({ onClose }: { onClose: () => void }) {
  const video = useRef<HTMLVideoElement>(null);
  const [state, setState] = useState<'waiting' | 'ready' | 'failed'>('waiting');
  useEffect(() => {
    const wanted = { facingMode: 'environment', width: { ideal: 1920 } };
    const camera = navigator.mediaDevices.getUserMedia({ video: wanted });
    camera.then((stream) => { if (video.current) video.current.srcObject = stream; }, () => setState('failed'));
    return () => {
      camera.then((stream) => stream.getTracks().forEach((track) => track.stop()), () => {});
    };
  }, []);
  const take = async () => {
    const canvas = document.createElement('canvas');
    canvas.width = video.current!.videoWidth;
    canvas.height = video.current!.videoHeight;
    canvas.getContext('2d')!.drawImage(video.current!, 0, 0);
    const blob = await jpegOf(canvas);
    onClose();
    await addFiles([new File([blob], 'camera.jpg', { type: blob.type })]);
  };
  return (
    <Dialog title={t('camera')} onClose={onClose} class="camera">
      <video ref={video} autoplay playsInline muted aria-label={t('camera')} onPlaying={() => setState('ready')} />
      {state !== 'ready' && <p class="hint" role="status">{t(state === 'failed' ? 'cameraFailed' : 'cameraWait')}</p>}
      <footer>
        <button type="button" class="primary" disabled={state !== 'ready'} onClick={take}>{t('takePicture')}</button>
      </footer>
    </Dialog>
  );
}
