import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { t } from '../i18n';
import { chats, current, deleteChat, openChat, renameChat, startChat } from '../state/chats';
import { running, stop } from '../state/answering';
import { sidebarOpen } from '../state/settings';
import type { Chat } from '../types';
import { IconButton } from './buttons';
import { Dialog } from './dialog';
import { Icon } from './icons';

const PHONE = '(max-width: 760px)';

export const query = signal('');

function matches(chat: Chat, wanted: string): boolean {
  const texts = [chat.title, ...Object.values(chat.messages).map((message) => message.text)];
  return texts.some((text) => text.toLowerCase().includes(wanted));
}

/** On a phone the list covers the page: it goes when something was chosen. */
function chosen(): void {
  if (matchMedia(PHONE).matches) sidebarOpen.value = false;
}


export function newChat(): void {
  startChat();
  chosen();
  document.getElementById('message')?.focus();
}

export function Sidebar() {
  const wanted = query.value.trim().toLowerCase();
  const found = wanted ? chats.value.filter((chat) => matches(chat, wanted)) : chats.value;
  return (
    <nav id="sidebar" class="sidebar" aria-label={t('chats')}>
      <button type="button" class="new-chat" onClick={newChat}><Icon name="plus" />{t('newChat')}</button>
      <label class="search">
        <Icon name="search" />
        <input id="search" type="search" placeholder={t('search')} aria-label={t('search')} value={query.value}
               onInput={(event) => (query.value = event.currentTarget.value)} />
      </label>
      {found.length > 0
        ? <ul>{found.map((chat) => <Row key={chat.id} chat={chat} />)}</ul>
        : <p class="hint">{wanted ? t('noneFound') : t('noChats')}</p>}
    </nav>
  );
}

function Row({ chat }: { chat: Chat }) {
  const [mode, setMode] = useState<'shown' | 'rename' | 'delete'>('shown');
  const title = chat.title || t('untitled');
  if (mode === 'rename') return <li><RenameForm chat={chat} onDone={() => setMode('shown')} /></li>;
  return (
    <li class={chat.id === current.value.id ? 'chat chosen' : 'chat'}>
      <button type="button" class="title" aria-current={chat.id === current.value.id ? 'page' : undefined}
              onClick={() => { openChat(chat.id); chosen(); }}>
        {running.value[chat.id] && <span class="pulse" />}{title}
      </button>
      <IconButton icon="edit" label={`${t('rename')}: ${title}`} onClick={() => setMode('rename')} />
      <IconButton icon="trash" label={`${t('delete')}: ${title}`} onClick={() => setMode('delete')} />
      {mode === 'delete' && <DeleteDialog chat={chat} title={title} onClose={() => setMode('shown')} />}
    </li>
  );
}

function RenameForm({ chat, onDone }: { chat: Chat; onDone: () => void }) {
  const save = (text: string) => {
    renameChat(chat.id, text);
    onDone();
  };
  return (
    <input class="rename" aria-label={t('rename')} value={chat.title} ref={(input) => input?.focus()}
           onBlur={(event) => save(event.currentTarget.value)}
           onKeyDown={(event) => {
             if (event.key === 'Enter') save(event.currentTarget.value);
             if (event.key === 'Escape') onDone();
           }} />
  );
}

function DeleteDialog({ chat, title, onClose }: { chat: Chat; title: string; onClose: () => void }) {
  const remove = () => {
    stop(chat.id);
    deleteChat(chat.id);
  };
  return (
    <Dialog title={t('delete')} onClose={onClose} class="small">
      <p>{t('deleteReally', { title })}</p>
      <footer>
        <button type="button" onClick={onClose}>{t('cancel')}</button>
        <button type="button" class="danger" onClick={remove}>{t('delete')}</button>
      </footer>
    </Dialog>
  );
}
