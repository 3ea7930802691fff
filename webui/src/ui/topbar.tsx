import { signal } from '@preact/signals';
import { t } from '../i18n';
import { exportJson, exportMarkdown } from '../state/export';
import { current } from '../state/chats';
import { model, modelFacts, modelIds } from '../state/models';
import { modelName, sidebarOpen } from '../state/settings';
import { IconButton } from './buttons';
import { Icon } from './icons';
import { newChat } from './sidebar';

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
  if (modelIds.value.length < 2) {
    return <h1 class="model" title={modelFacts.value?.title}>{model.value || 'minicpm'}</h1>;
  }
  return (
    <h1 class="model">
      <select aria-label={t('model')} value={model.value}
              onChange={(event) => (modelName.value = event.currentTarget.value)}>
        {modelIds.value.map((id) => <option key={id} value={id}>{id}</option>)}
      </select>
    </h1>
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
