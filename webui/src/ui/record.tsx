import { useEffect, useState } from 'preact/hooks';
import { t } from '../i18n';
import { canCapture, startRecording, type Recording } from '../media/recorder';
import { addFiles } from '../state/draft';
import { Chip, IconButton } from './buttons';
import { notify } from './toast';

/** The microphone: one click begins, another ends and adds what was recorded. */
export function RecordButton() {
  const [recording, setRecording] = useState<Recording>();
  useEffect(() => () => { recording?.end(false); }, [recording]);
  const begin = async () => {
    if (!canCapture()) return notify(t('needsHttps'));
    try {
      setRecording(await startRecording());
    } catch {
      notify(t('microphoneFailed'));
    }
  };
  const end = async () => {
    const file = await recording!.end(true);
    setRecording(undefined);
    if (file) await addFiles([file]);
  };
  if (!recording) return <Chip icon="microphone" label={t('record')} onClick={begin} />;
  return (
    <span class="recording">
      <span class="pulse" /><Clock label={t('recording')} />
      <IconButton icon="check" label={t('recordEnd')} onClick={end} />
      <IconButton icon="close" label={t('recordDrop')} onClick={() => setRecording(undefined)} />
    </span>
  );
}

/** Counts from the moment it is shown. */
export function Clock({ label }: { label: string }) {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSeconds((before) => before + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const text = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  return <span role="timer" aria-label={label}>{text}</span>;
}
