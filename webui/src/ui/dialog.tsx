import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { t } from '../i18n';
import { IconButton } from './buttons';

interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  class?: string;
}

/** A dialog over the page; Esc and a click beside it close it. */
export function Dialog({ title, onClose, children, ...rest }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current!.showModal(), []);
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
    </dialog>
  );
}
