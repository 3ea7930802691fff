import { signal } from '@preact/signals';
import { t } from '../i18n';
import { exportJson, exportMarkdown } from '../state/export';
import { current } from '../state/chats';
import {
  isLoaded, isModelLoaded, loadModel, loading, model, modelFacts, modelIds,
} from '../state/models';
import { modelName, sidebarOpen } from '../state/settings';
import { IconButton } from './buttons';
import { Icon } from './icons';
import { Clock } from './record';
import { newChat } from './sidebar';
import { notify } from './toast';

export const settingsOpen = signal(false);

export function TopBar() {
  return (
    <header class="topbar">
      <button type="button" class="icon-button" aria-label={t('sidebar')} title={t('sidebar')}
              aria-expanded={sidebarOpen.value} aria-controls="sidebar"
              onClick={() => (sidebarOpen.value = !sidebarOpen.value)}>
        <Icon name="menu" />
      </button>
      <ModelPicker />
      <span class="grow" />
      <IconButton icon="plus" class="phone" label={t('newChat')} onClick={newChat} />
      {current.value.leaf !== null && <ExportMenu />}
      <IconButton icon="settings" label={t('settings')} onClick={() => (settingsOpen.value = true)} />
    </header>
  );
}

function ModelPicker() {
  return (
    <>
      <h1 class="model" title={modelFacts.value?.title}>
        {modelIds.value.length < 2 ? model.value || 'minicpm' : <ModelSelect />}
      </h1>
      {model.value && <LoadState />}
    </>
  );
}

function load(id: string): void {
  loadModel(id).catch(notify);
}

function ModelSelect() {
  const choose = (id: string) => {
    modelName.value = id;
    if (!isModelLoaded(id)) load(id);
  };
  return (
    <select aria-label={t('model')} value={model.value} onChange={(event) => choose(event.currentTarget.value)}>
      {modelIds.value.map((id) => (
        <option key={id} value={id}>{isModelLoaded(id) ? id : t('modelNotLoaded', { model: id })}</option>
      ))}
    </select>
  );
}

/** Of a model that is not loaded: a button that loads it; then how long it has taken so far, and a button that stops. */
function LoadState() {
  const present = loading.value;
  if (!present) {
    if (isLoaded.value) return null;
    return <button type="button" class="load" onClick={() => load(model.value)}>{t('modelLoad')}</button>;
  }
  return (
    <span class="loading" role="status" aria-label={t('modelLoads')}>
      <progress aria-label={t('modelLoads')} /><Clock label={t('modelLoads')} key={present.id} />
      <IconButton icon="close" label={t('cancel')} onClick={() => present.stop.abort()} />
    </span>
  );
}

function ExportMenu() {
  const close = (event: Event) => (event.currentTarget as Element).closest('details')!.removeAttribute('open');
  const pick = (write: () => void) => (event: Event) => {
    close(event);
    write();
  };
  return (
    <details class="menu" onFocusOut={(event) => {
      if (!event.currentTarget.contains(event.relatedTarget as Node | null)) event.currentTarget.open = false;
    }}>
      <summary class="icon-button" aria-label={t('export')} title={t('export')}><Icon name="down" /></summary>
      <div>
        <button type="button" onClick={pick(() => exportMarkdown(current.value))}>{t('exportMarkdown')}</button>
        <button type="button" onClick={pick(() => exportJson(current.value))}>{t('exportJson')}</button>
      </div>
    </details>
  );
}
