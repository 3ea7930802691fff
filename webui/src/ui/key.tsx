import { useRef } from 'preact/hooks';
import { needsKey, setKey } from '../api/http';
import { t } from '../i18n';
import { loadModels } from '../state/models';
import { Dialog } from './dialog';

/** Asks for the server's key. */
export function KeyDialog() {
  const input = useRef<HTMLInputElement>(null);
  const use = (event: Event) => {
    event.preventDefault();
    setKey(input.current!.value.trim());
    loadModels();
  };
  return (
    <Dialog title={t('key')} onClose={() => (needsKey.value = false)} class="small">
      <form onSubmit={use}>
        <p>{t('keyText')}</p>
        <input ref={input} type="password" autocomplete="off" aria-label={t('key')} required />
        <footer><button type="submit" class="primary">{t('keyUse')}</button></footer>
      </form>
    </Dialog>
  );
}
