// Videos: a strip of their frames, and how the model is to look at them.
import { useEffect, useState } from 'preact/hooks';
import { t } from '../i18n';
import { framesOf, type Strip } from '../media/frames';
import { modelFacts } from '../state/models';
import type { Attachment, VideoSettings } from '../types';
import { Dialog } from './dialog';
import { NumberField } from './fields';

export function VideoStrip({ url, count }: { url: string; count: number }) {
  const [strip, setStrip] = useState<Strip | null>();
  useEffect(() => {
    let shown = true;
    framesOf(url, count).then((made) => shown && setStrip(made), () => shown && setStrip(null));
    return () => { shown = false; };
  }, [url, count]);
  if (strip === null) return <span class="hint">{t('videoNoPreview')}</span>;
  return (
    <span class="strip">
      {strip ? strip.frames.map((frame, i) => <img key={i} src={frame} alt="" />)
        : Array.from({ length: count }, (_, i) => <i key={i} />)}
      {strip && <b>{t('videoSeconds', { seconds: strip.seconds.toFixed(1) })}</b>}
    </span>
  );
}

interface VideoDialogProps {
  file: Attachment;
  url: string;
  onChange: (file: Attachment) => void;
  onClose: () => void;
}

export function VideoDialog({ file, url, onChange, onClose }: VideoDialogProps) {
  const packs = modelFacts.value?.packed_video ?? false;
  const settings = file.video ?? {};
  const set = (changed: VideoSettings) => onChange({ ...file, video: { ...settings, ...changed } });
  return (
    <Dialog title={t('videoOf', { name: file.name })} onClose={onClose}>
      <VideoStrip url={url} count={10} />
      <div class="fields">
        <NumberField label={t('fps')} value={settings.fps} placeholder={packs ? 3 : 1} min={0.001} max={1000} step="any"
                     onChange={(fps) => set({ fps })} />
        <NumberField label={t('maxFrames')} value={settings.max_frames} placeholder={packs ? 540 : 64} min={1}
                     max={1080} onChange={(max_frames) => set({ max_frames })} />
        {packs && (
          <NumberField label={t('pack')} hint={t('packHint')} value={settings.pack} placeholder="auto" min={1} max={6}
                       onChange={(pack) => set({ pack })} />
        )}
      </div>
    </Dialog>
  );
}
