import { useEffect, useState } from 'preact/hooks';
import { needsKey } from '../api/http';
import { t } from '../i18n';
import { isRunning, stop } from '../state/answering';
import { callOpen } from '../state/call';
import { current, pathOf, storageFailed } from '../state/chats';
import { addFiles } from '../state/draft';
import { sidebarOpen } from '../state/settings';
import { CallDialog } from './call';
import { Composer } from './composer';
import { Conversation } from './conversation';
import { NotesAt } from './dialog';
import { KeyDialog } from './key';
import { PdfDialogs } from './pdf';
import { SettingsDialog } from './settings';
import { Sidebar } from './sidebar';
import { settingsOpen, TopBar } from './topbar';
import { Welcome } from './welcome';

function typing(target: EventTarget | null): boolean {
  return target instanceof Element && target.matches('input, textarea, select');
}

function onKey(event: KeyboardEvent): void {
  if (document.querySelector('dialog[open]')) return;
  if (event.key === 'Escape') return stop(current.value.id);
  if (event.key === 'k' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    sidebarOpen.value = true;
    setTimeout(() => document.getElementById('search')?.focus());
  } else if (event.key === '/' && !typing(event.target)) {
    event.preventDefault();
    document.getElementById('message')?.focus();
  }
}

/** Whether files are being dragged over the page. */
function useDrop(): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    let depth = 0;
    const move = (step: number) => (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      depth = Math.max(0, depth + step);
      setOver(depth > 0);
    };
    const enter = move(1), leave = move(-1);
    const allow = (event: DragEvent) => event.preventDefault();
    const drop = (event: DragEvent) => {
      event.preventDefault();
      depth = 0;
      setOver(false);
      addFiles([...(event.dataTransfer?.files ?? [])]);
    };
    const listeners = { dragenter: enter, dragleave: leave, dragover: allow, drop };
    const each = Object.entries(listeners) as [string, EventListener][];
    for (const [name, listener] of each) window.addEventListener(name, listener);
    return () => {
      for (const [name, listener] of each) window.removeEventListener(name, listener);
    };
  }, []);
  return over;
}

export function App() {
  const [editing, setEditing] = useState<string | null>(null);
  const over = useDrop();
  useEffect(() => {
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
  const chat = current.value;
  const editLast = () => {
    const last = pathOf(chat).filter((message) => message.role === 'user').at(-1);
    if (last && !isRunning(chat)) setEditing(last.id);
  };
  return (
    <div class={sidebarOpen.value ? 'layout with-sidebar' : 'layout'}>
      {sidebarOpen.value && <Sidebar />}
      {sidebarOpen.value && <div class="veil" onClick={() => (sidebarOpen.value = false)} />}
      <div class="page">
        <TopBar />
        <main class={chat.leaf === null ? 'empty' : undefined}>
          {chat.leaf === null ? <Welcome /> : <Conversation editing={editing} onEdit={setEditing} />}
          {storageFailed.value && <p class="hint center">{t('storageFailed')}</p>}
          <Composer onEditLast={editLast} />
        </main>
      </div>
      {over && <div class="drop">{t('dropHere')}</div>}
      {settingsOpen.value && <SettingsDialog onClose={() => (settingsOpen.value = false)} />}
      {callOpen.value && <CallDialog />}
      <PdfDialogs />
      {needsKey.value && <KeyDialog />}
      <NotesAt depth={0} />
    </div>
  );
}
