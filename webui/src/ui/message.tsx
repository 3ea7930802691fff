import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import { Markdown } from '../markdown/view';
import { answer, ask, isRunning } from '../state/answering';
import { current, showVersion, versionsOf } from '../state/chats';
import { isLoaded } from '../state/models';
import type { Attachment, Message, Stats } from '../types';
import { secondsText } from '../util';
import { EditableFiles, SentFiles } from './attachments';
import { Boxes } from './boxes';
import { CopyButton, IconButton } from './buttons';
import { notify } from './toast';

interface QuestionProps {
  message: Message;
  editing: boolean;
  onEdit: (editing: boolean) => void;
}

export function Question({ message, editing, onEdit }: QuestionProps) {
  return (
    <article class="question" aria-label={t('you')}>
      {editing
        ? <Editor message={message} onDone={() => onEdit(false)} />
        : (
          <>
            <SentFiles files={message.attachments ?? []} />
            {message.text && <div class="bubble">{message.text}</div>}
          </>
        )}
      <div class="actions">
        <Versions message={message} />
        <CopyButton text={() => message.text} />
        <IconButton icon="edit" label={t('edit')} disabled={isRunning(current.value)} onClick={() => onEdit(true)} />
      </div>
    </article>
  );
}

/** A changed question is a version of its own, with answers of its own. */
function Editor({ message, onDone }: { message: Message; onDone: () => void }) {
  const [text, setText] = useState(message.text);
  const [files, setFiles] = useState(message.attachments ?? []);
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => area.current!.focus(), []);
  const send = () => {
    if (!text.trim() && files.length === 0) return;
    onDone();
    ask(message.parent, text.trim(), files).catch(notify);
  };
  return (
    <div class="editor">
      <EditableFiles files={files} onChange={setFiles} />
      <textarea aria-label={t('edit')} value={text} rows={Math.min(12, text.split('\n').length + 1)}
                ref={area}
                onInput={(event) => setText(event.currentTarget.value)}
                onKeyDown={(event) => {
                  if (event.key === 'Escape') onDone();
                  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
                  event.preventDefault();
                  send();
                }} />
      <footer>
        <button type="button" onClick={onDone}>{t('cancel')}</button>
        <button type="button" class="primary" onClick={send}>{t('send')}</button>
      </footer>
    </div>
  );
}

export function Answer({ message, question }: { message: Message; question?: Message }) {
  const chat = current.value;
  const writing = isRunning(chat) && chat.leaf === message.id;
  const picture = onlyPicture(question?.attachments);
  return (
    <article class="answer" aria-label={t('answer')} aria-busy={writing}>
      {message.reasoning && <Reasoning message={message} writing={writing} />}
      {message.text && <Markdown text={message.text} />}
      {writing && !message.text && !message.reasoning && <Waiting />}
      {picture && <Boxes text={message.text} picture={picture} />}
      {message.finish === 'error' && <p class="error" role="alert">{message.error}</p>}
      {!writing && <AnswerFoot message={message} />}
    </article>
  );
}

/** Nothing of the answer is there yet. */
function Waiting() {
  return <p class="waiting"><span class="pulse" />{t(isLoaded.value ? 'writing' : 'modelLoads')}</p>;
}

/** Boxes belong to a picture only where there is one. */
function onlyPicture(files: Attachment[] = []): Attachment | undefined {
  const pictures = files.filter((file) => file.kind === 'image');
  return pictures.length === 1 ? pictures[0] : undefined;
}

function AnswerFoot({ message }: { message: Message }) {
  const chat = current.value;
  const again = () => answer(chat.id, message.parent!).catch(notify);
  return (
    <div class="actions">
      <Versions message={message} />
      <CopyButton text={() => message.text} />
      <IconButton icon="again" label={message.finish === 'error' ? t('retry') : t('regenerate')}
                  disabled={isRunning(chat)} onClick={again} />
      <StatsLine message={message} />
    </div>
  );
}

function Reasoning({ message, writing }: { message: Message; writing: boolean }) {
  const thinking = writing && !message.text;
  const time = secondsText(message.stats?.reasoningMs ?? 0);
  return (
    <details class="reasoning">
      <summary>{thinking ? <><span class="pulse" />{t('thinks')}</> : t('thought', { time })}</summary>
      <Markdown text={message.reasoning!} />
    </details>
  );
}

function Versions({ message }: { message: Message }) {
  const chat = current.value;
  const versions = versionsOf(chat, message);
  if (versions.length < 2) return null;
  const at = versions.findIndex((version) => version.id === message.id);
  const show = (index: number) => showVersion(chat.id, versions[index]!.id);
  return (
    <span class="versions">
      <IconButton icon="left" label={t('versionBefore')} disabled={at === 0 || isRunning(chat)}
                  onClick={() => show(at - 1)} />
      <span role="img" aria-label={t('versionOf', { n: at + 1, all: versions.length })}>
        {at + 1}/{versions.length}
      </span>
      <IconButton icon="right" label={t('versionNext')} disabled={at === versions.length - 1 || isRunning(chat)}
                  onClick={() => show(at + 1)} />
    </span>
  );
}

/** Tokens a second while they came; the first one's time is the prompt's. Too short a time says nothing. */
function rate(stats: Stats): string | undefined {
  const seconds = (stats.totalMs - stats.firstTokenMs) / 1000;
  const tokens = (stats.completionTokens ?? 0) - 1;
  return tokens > 0 && seconds > 0.02 ? (tokens / seconds).toPrecision(3) : undefined;
}

function StatsLine({ message }: { message: Message }) {
  const { stats, finish } = message;
  const parts: string[] = [];
  if (finish === 'stopped') parts.push(t('stopped'));
  if (finish === 'length') parts.push(t('cutOff'));
  if (stats && message.text) {
    parts.push(t('firstToken', { time: secondsText(stats.firstTokenMs) }));
    const speed = rate(stats);
    if (speed) parts.push(t('tokensPerSecond', { rate: Number(speed) }));
    if (stats.completionTokens) parts.push(t('tokens', { n: stats.completionTokens }));
    if (stats.promptTokens) parts.push(t('promptTokens', { n: stats.promptTokens }));
    if (stats.imageTokens && stats.imageMs) {
      parts.push(t('imageTime', { time: secondsText(stats.imageMs), n: stats.imageTokens }));
    }
  }
  return <span class="stats">{parts.join(' · ')}</span>;
}
