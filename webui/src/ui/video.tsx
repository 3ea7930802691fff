// Videos: a strip of their frames, and how the model is to look at them.
import { useEffect, useState } from 'preact/hooks';
import { t } from '../i18n';
import { framesOf, type Strip } from '../media/frames';
import { sampled } from '../media/sampling';
import { modelFacts } from '../state/models';
import type { Attachment, VideoSettings } from '../types';
import { Dialog } from './dialog';
import { NumberField } from './fields';

const SHOWN = 12;  // frames of a video in its dialog

interface VideoStripProps {
  url: string;
  count: number;  // of frames that are shown, at most
  /** The moments to choose them from; without it they are evenly spread. */
  moments?: (seconds: number) => number[];
  of?: string;  // changes when the moments do
  onLength?: (seconds: number) => void;
}

/** At most `count` of the moments, evenly spread. */
function thinned(moments: number[], count: number): number[] {
  const shown = Math.min(count, moments.length);
  return Array.from({ length: shown }, (_, i) => moments[Math.floor(((i + 0.5) * moments.length) / shown)]!);
}

export function VideoStrip({ url, count, moments, of, onLength }: VideoStripProps) {
  const [strip, setStrip] = useState<Strip | null>();
  useEffect(() => {
    let shown = true;
    const spread = (seconds: number) => Array.from({ length: count }, (_, i) => ((i + 0.5) / count) * seconds);
    const take = (made: Strip) => {
      if (!shown) return;
      setStrip(made);
      onLength?.(made.seconds);
    };
    framesOf(url, (seconds) => thinned((moments ?? spread)(seconds), count)).then(take, () => shown && setStrip(null));
    return () => { shown = false; };
  }, [url, count, of]);
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
  const [seconds, setSeconds] = useState<number>();
  const moments = (length: number) => sampled(length, settings, packs).times;
  const seen = seconds === undefined ? undefined : sampled(seconds, settings, packs);
  return (
    <Dialog title={t('videoOf', { name: file.name })} onClose={onClose}>
      <VideoStrip url={url} count={SHOWN} moments={moments} of={JSON.stringify(settings)} onLength={setSeconds} />
      {seen && (
        <p class="hint" role="status">
          {t('videoSees', { n: seen.times.length, pack: seen.pack, shown: Math.min(SHOWN, seen.times.length) })}
        </p>
      )}
      <div class="fields">
        <NumberField label={t('fps')} value={settings.fps} placeholder={packs ? 3 : 1} min={0.001} max={1000} step="any"
                     onChange={(fps) => set({ fps })} />
        <NumberField label={t(packs ? 'maxPacks' : 'maxFrames')} value={settings.max_frames}
                     placeholder={packs ? 180 : 64} min={1} max={1080} onChange={(max_frames) => set({ max_frames })} />
        {packs && (
          <NumberField label={t('pack')} hint={t('packHint')} value={settings.pack} placeholder="auto" min={1} max={6}
                       onChange={(pack) => set({ pack })} />
        )}
      </div>
    </Dialog>
  );
}
