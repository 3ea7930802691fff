// A call with the model: what it shows while it lasts.
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { t } from '../i18n';
import type { Words } from '../i18n/en';
import { call, callOpen, type CallPhase, type Caption } from '../state/call';
import type { Call } from '../state/call_session';
import { model } from '../state/models';
import { secondsText } from '../util';
import { IconButton } from './buttons';
import { CallSetup } from './call_setup';
import { Clock } from './record';
import { Dialog, NotesAt, useModal } from './dialog';

export function CallDialog() {
  const present = call.value;
  const close = () => {
    call.value?.hangUp();
    callOpen.value = false;
  };
  if (!present) {
    return (
      <Dialog title={t('callWith', { model: model.value })} onClose={close} class="call-setup"><CallSetup /></Dialog>
    );
  }
  return <CallView call={present} key="view" />;
}

function CallView({ call: present }: { call: Call }) {
  const { dialog, depth } = useModal();
  const onCancel = (event: Event) => {  // Esc stops the answer, as elsewhere on the page
    event.preventDefault();
    present.interrupt();
  };
  return (
    <dialog ref={dialog} class="call" aria-label={t('callWith', { model: present.model })} onCancel={onCancel}
            onClose={() => present.hangUp()}>
      <Stage call={present} />
      <Captions call={present} />
      <Bar call={present} />
      {depth > 0 && <NotesAt depth={depth} />}
    </dialog>
  );
}

const PHASES = {
  connecting: 'callConnecting', listening: 'callListening', hearing: 'callHearing', thinking: 'callThinking',
  speaking: 'callSpeaking',
} as const satisfies Record<CallPhase, keyof Words>;

/** The camera's picture or, without it, a disc that follows the voice. */
function Stage({ call: present }: { call: Call }) {
  const camera = present.camera.value;
  const phase = present.phase.value;
  const latency = present.captions.value.filter((caption) => caption.firstSoundMs !== undefined).at(-1)?.firstSoundMs;
  return (
    <div class={`stage ${phase}`}>
      {camera ? <CameraView stream={camera.stream} /> : <Disc call={present} />}
      <header>
        <h2>{present.model}</h2>
        <Clock label={t('callTime')} />
        {latency !== undefined && (
          <span class="latency" title={t('latencyHint')}>{t('latency', { time: secondsText(latency) })}</span>
        )}
      </header>
      <p class="phase" role="status">
        <span class="pulse" />{t(PHASES[phase])}{present.muted.value && ` · ${t('muted')}`}
      </p>
    </div>
  );
}

function Disc({ call: present }: { call: Call }) {
  const heard = present.phase.value === 'hearing' || present.phase.value === 'listening';
  const scale = heard && !present.muted.value ? 1 + present.level.value / 2 : 1;
  return <div class="disc" style={{ transform: `scale(${scale.toFixed(2)})` }} />;
}

function CameraView({ stream }: { stream: MediaStream }) {
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => { video.current!.srcObject = stream; }, [stream]);
  const front = stream.getVideoTracks()[0]?.getSettings().facingMode !== 'environment';
  return (
    <video ref={video} class={front ? 'mirrored' : undefined} autoplay playsInline muted aria-label={t('camera')} />
  );
}

/** What both sides said, the newest below. Not announced: the answer is heard. */
function Captions({ call: present }: { call: Call }) {
  const place = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => { place.current!.scrollTop = place.current!.scrollHeight; });
  return (
    <div class="captions" ref={place} role="log" aria-live="off" aria-label={t('captions')}
         tabIndex={0}>
      {present.captions.value.length === 0 && <p class="hint">{t('captionsEmpty')}</p>}
      {present.captions.value.map((caption) => <CaptionRow key={caption.id} caption={caption} />)}
    </div>
  );
}

function CaptionRow({ caption }: { caption: Caption }) {
  const { role, text, open, cut, firstTextMs, firstSoundMs } = caption;
  const notes: string[] = [];
  if (firstTextMs !== undefined) notes.push(t('firstText', { time: secondsText(firstTextMs) }));
  if (firstSoundMs !== undefined) notes.push(t('firstSound', { time: secondsText(firstSoundMs) }));
  if (cut) notes.push(t('interrupted'));
  return (
    <div class={`caption ${role}`}>
      <span class="unseen">{role === 'user' ? t('you') : t('answer')}: </span>
      <p>{text || (open ? '…' : role === 'user' ? t('spoken') : '')}</p>
      {notes.length > 0 && <small>{notes.join(' · ')}</small>}
    </div>
  );
}

function Bar({ call: present }: { call: Call }) {
  const answering = present.phase.value === 'thinking' || present.phase.value === 'speaking';
  const filming = present.camera.value !== null;
  return (
    <div class="call-bar" role="group" aria-label={t('call')}>
      <IconButton icon={present.muted.value ? 'muted' : 'microphone'} label={t('mute')} pressed={present.muted.value}
                  onClick={() => present.mute()} />
      <IconButton icon={filming ? 'video' : 'noVideo'} label={t('camera')} pressed={filming}
                  onClick={() => present.toggleCamera()} />
      {filming && <IconButton icon="swap" label={t('switchCamera')} onClick={() => present.switchCamera()} />}
      <IconButton icon="stop" label={t('interrupt')} disabled={!answering} onClick={() => present.interrupt()} />
      <IconButton icon="hangUp" class="hang-up" label={t('hangUp')} onClick={() => present.hangUp()} />
    </div>
  );
}
