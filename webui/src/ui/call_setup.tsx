// What is chosen before a call.
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import { startRecording, type Recording } from '../media/recorder';
import { toWav } from '../media/wav';
import { startCall } from '../state/call';
import { OWN_VOICE } from '../state/call_session';
import { modelFacts } from '../state/models';
import { callSettings } from '../state/settings';
import { dropFile, keepFile, mediaBlob } from '../state/store';
import type { CallSettings } from '../types';
import { IconButton } from './buttons';
import { Check, Choice, NumberField } from './fields';
import { Icon } from './icons';
import { Clock } from './record';
import { notify } from './toast';

function set(change: Partial<CallSettings>): void {
  callSettings.value = { ...callSettings.value, ...change };
}

export function CallSetup() {
  const [busy, setBusy] = useState(false);
  const settings = callSettings.value;
  const begin = (video: boolean) => async () => {
    if (callSettings.value.voice === 'own' && !(await mediaBlob(OWN_VOICE))) return notify(t('voiceMissing'));
    setBusy(true);
    await startCall(video).catch(notify);
    setBusy(false);
  };
  return (
    <>
      <Voice />
      <Choice label={t('callLanguage')} value={settings.language} choices={[['en', 'English'], ['zh', '中文']]}
              onChange={(language) => set({ language })} />
      <Check label={t('talkInterrupts')} hint={t('talkInterruptsHint')} value={settings.interrupts}
             onChange={(interrupts) => set({ interrupts })} />
      <Check label={t('writesDown')} hint={t('writesDownHint')} value={settings.writesDown}
             onChange={(writesDown) => set({ writesDown })} />
      <details class="more">
        <summary>{t('more')}</summary>
        <div class="field">
          <label for="call-instructions">{t('callInstructions')}</label>
          <textarea id="call-instructions" rows={3} aria-describedby="call-instructions-hint"
                    value={settings.instructions}
                    onInput={(event) => set({ instructions: event.currentTarget.value })} />
          <small id="call-instructions-hint">{t('callInstructionsHint')}</small>
        </div>
        <NumberField label={t('pauseMs')} hint={t('pauseMsHint')} value={settings.pauseMs} placeholder={800} min={200}
                     max={5000} onChange={(pauseMs) => set({ pauseMs })} />
        {modelFacts.value?.vision && (
          <Check label={t('closely')} hint={t('closelyHint')} value={settings.closely}
                 onChange={(closely) => set({ closely })} />
        )}
      </details>
      <footer>
        <button type="button" class="primary" disabled={busy} onClick={begin(false)}>
          <Icon name="phone" />{t('voiceCall')}
        </button>
        {modelFacts.value?.vision && (
          <button type="button" class="primary" disabled={busy} onClick={begin(true)}>
            <Icon name="video" />{t('videoCall')}
          </button>
        )}
      </footer>
    </>
  );
}

const NAMES: Record<string, 'voiceDefault' | 'voiceFemale' | 'voiceMale'> =
  { default: 'voiceDefault', female: 'voiceFemale', male: 'voiceMale' };

function Voice() {
  const id = useId();
  const [clip, setClip] = useState<Blob>();
  useEffect(() => { mediaBlob(OWN_VOICE).then(setClip, () => {}); }, []);
  const voices = modelFacts.value?.voices ?? [];
  const { voice } = callSettings.value;
  const take = async (file: Blob) => {
    try {
      const wav = await toWav(file);
      await keepFile(OWN_VOICE, wav);
      setClip(wav);
    } catch {
      notify(t('fileBroken', { name: t('voiceOwn') }));
    }
  };
  const drop = () => {
    dropFile(OWN_VOICE);
    setClip(undefined);
  };
  return (
    <div class="field">
      <label for={id}>{t('voice')}</label>
      <select id={id} value={voice} onChange={(event) => set({ voice: event.currentTarget.value })}>
        {voices.map((name) => <option key={name} value={name}>{NAMES[name] ? t(NAMES[name]) : name}</option>)}
        <option value="own">{t('voiceOwn')}</option>
      </select>
      {voice === 'own' && <OwnVoice clip={clip} onTake={take} onDrop={drop} />}
    </div>
  );
}

interface OwnVoiceProps {
  clip: Blob | undefined;
  onTake: (file: Blob) => void;
  onDrop: () => void;
}

/** A clip of some seconds, from a file or by microphone. */
function OwnVoice({ clip, onTake, onDrop }: OwnVoiceProps) {
  const input = useRef<HTMLInputElement>(null);
  const [recording, setRecording] = useState<Recording>();
  const [url, setUrl] = useState<string>();
  useEffect(() => () => { recording?.end(false); }, [recording]);
  useEffect(() => {
    const made = clip && URL.createObjectURL(clip);
    setUrl(made);
    return () => { if (made) URL.revokeObjectURL(made); };
  }, [clip]);
  const record = () => startRecording().then(setRecording, () => notify(t('microphoneFailed')));
  const end = async () => {
    const file = await recording!.end(true);
    setRecording(undefined);
    if (file) onTake(file);
  };
  return (
    <div class="own-voice">
      {url && <audio controls src={url} aria-label={t('voiceOwn')} />}
      {recording && <span class="recording"><span class="pulse" /><Clock label={t('recording')} /></span>}
      <IconButton icon="clip" label={t('voiceFile')} onClick={() => input.current!.click()} />
      {recording
        ? <IconButton icon="check" label={t('recordEnd')} onClick={end} />
        : <IconButton icon="microphone" label={t('voiceRecord')} onClick={record} />}
      {clip && <IconButton icon="trash" label={t('remove', { name: t('voiceOwn') })} onClick={onDrop} />}
      <input ref={input} id="voice-file" type="file" hidden accept="audio/*" aria-label={t('voiceFile')}
             onChange={() => { if (input.current!.files?.[0]) onTake(input.current!.files[0]); }} />
      <small>{t('voiceOwnHint')}</small>
    </div>
  );
}
