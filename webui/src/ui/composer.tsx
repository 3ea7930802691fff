// Where questions are written.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import { acceptedTypes } from '../media/files';
import { canCapture } from '../media/recorder';
import { ask, isRunning, stop } from '../state/answering';
import { callOpen, canCall } from '../state/call';
import { current } from '../state/chats';
import { addFiles, draftFiles, draftText, takeDraft } from '../state/draft';
import { model, modelFacts } from '../state/models';
import { thinking } from '../state/settings';
import { EditableFiles } from './attachments';
import { Chip, IconButton } from './buttons';
import { CameraDialog } from './camera';
import { Icon } from './icons';
import { RecordButton } from './record';
import { notify } from './toast';

function send(): void {
  const chat = current.value;
  if (isRunning(chat) || !model.value) return;
  if (!draftText.value.trim() && draftFiles.value.length === 0) return;
  const { text, files } = takeDraft();
  ask(chat.leaf, text, files).catch(notify);
}

/** Grows with its text. */
function useHeight(text: string) {
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    area.current!.style.height = 'auto';
    area.current!.style.height = `${area.current!.scrollHeight}px`;
  }, [text]);
  return area;
}

export function Composer({ onEditLast }: { onEditLast: () => void }) {
  const area = useHeight(draftText.value);
  useEffect(() => {
    if (matchMedia('(hover: hover)').matches) area.current!.focus();  // a phone would show its keyboard
  }, [current.value.id]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === 'ArrowUp' && draftText.value === '') {
      event.preventDefault();
      onEditLast();
    }
  };
  const onPaste = (event: ClipboardEvent) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    addFiles(files);
  };
  return (
    <form class="composer" onSubmit={(event) => { event.preventDefault(); send(); }}>
      <EditableFiles files={draftFiles.value} onChange={(files) => (draftFiles.value = files)} />
      <textarea id="message" ref={area} rows={1} aria-label={t('message')} placeholder={t('placeholder')}
                value={draftText.value} onInput={(event) => (draftText.value = event.currentTarget.value)}
                onKeyDown={onKeyDown} onPaste={onPaste} />
      <Tools />
    </form>
  );
}

function Tools() {
  const busy = isRunning(current.value);
  const empty = draftText.value.trim() === '' && draftFiles.value.length === 0;
  const facts = modelFacts.value;
  return (
    <div class="tools">
      {(facts?.vision || facts?.audio) && <ChooseFiles />}
      {facts?.vision && <CameraButton />}
      {facts?.audio && <RecordButton />}
      {canCall.value && (
        <Chip icon="phone" label={t('call')} hint={t('callHint')}
              onClick={() => (canCapture() ? (callOpen.value = true) : notify(t('needsHttps')))} />
      )}
      {facts?.thinking && (
        <Chip icon="bulb" label={t('thinking')} hint={t('thinkingHint')} pressed={thinking.value}
              onClick={() => (thinking.value = !thinking.value)} />
      )}
      <span class="grow" />
      {busy
        ? <IconButton icon="stop" class="send" label={t('stop')} onClick={() => stop(current.value.id)} />
        : <button type="submit" class="icon-button send" aria-label={t('send')} title={t('send')}
                  disabled={empty || !model.value}><Icon name="up" /></button>}
    </div>
  );
}

function ChooseFiles() {
  const input = useRef<HTMLInputElement>(null);
  const take = () => {
    addFiles([...(input.current!.files ?? [])]);
    input.current!.value = '';
  };
  return (
    <>
      <Chip icon="clip" label={t('attach')} onClick={() => input.current!.click()} />
      <input ref={input} id="files" type="file" multiple hidden accept={acceptedTypes()} aria-label={t('attach')}
             onChange={take} />
    </>
  );
}

function CameraButton() {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Chip icon="camera" label={t('camera')}
            onClick={() => (canCapture() ? setOpen(true) : notify(t('needsHttps')))} />
      {open && <CameraDialog onClose={() => setOpen(false)} />}
    </>
  );
}
