// Short notes at the edge of the page.
import { signal } from '@preact/signals';
import { t } from '../i18n';
import { IconButton } from './buttons';

const SHOWN_MS = 7000;

const notes = signal<{ id: number; text: string }[]>([]);
let last = 0;

function drop(id: number): void {
  notes.value = notes.value.filter((note) => note.id !== id);
}

export function notify(error: unknown): void {
  const id = ++last;
  notes.value = [...notes.value, { id, text: error instanceof Error ? error.message : String(error) }];
  setTimeout(() => drop(id), SHOWN_MS);
}

export function Toasts() {
  return (
    <div class="toasts" role="alert">
      {notes.value.map(({ id, text }) => (
        <div class="toast" key={id}>
          <span>{text}</span>
          <IconButton icon="close" label={t('close')} onClick={() => drop(id)} />
        </div>
      ))}
    </div>
  );
}
