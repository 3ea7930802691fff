import type { ComponentChildren } from 'preact';
import { signal } from '@preact/signals';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import { IconButton } from './buttons';
import { Toasts } from './toast';

const openDialogs = signal(0);

/** Opens a dialog over those that are open; its depth among them, from 1. */
export function useModal() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [depth, setDepth] = useState(0);
  useLayoutEffect(() => {
    dialog.current!.showModal();
    setDepth(++openDialogs.value);
    return () => { --openDialogs.value; };
  }, []);
  return { dialog, depth };
}

/** Notes belong to the dialog on top: what lies below it can be neither seen nor used. Depth 0 is the page. */
export function NotesAt({ depth }: { depth: number }) {
  return openDialogs.value === depth ? <Toasts /> : null;
}

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  class?: string;
}

/** A dialog over the page; Esc and a click beside it close it. */
export function Dialog({ title, onClose, children, ...rest }: DialogProps) {
  const { dialog, depth } = useModal();
  return (
    <dialog ref={dialog} class={rest.class} aria-label={title} onClose={onClose}
            onMouseDown={(event) => { if (event.target === dialog.current) dialog.current!.close(); }}>
      <div class="dialog">
        <header>
          <h2>{title}</h2>
          <IconButton icon="close" label={t('close')} onClick={() => dialog.current!.close()} />
        </header>
        {children}
      </div>
      {depth > 0 && <NotesAt depth={depth} />}
    </dialog>
  );
}
