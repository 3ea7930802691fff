import { render } from 'preact';
import { openStore } from './state/chats';
import { loadModels } from './state/models';
import { sidebarOpen } from './state/settings';
import { App } from './ui/app';
import './styles/base.css';
import './styles/layout.css';
import './styles/messages.css';
import './styles/controls.css';
import './styles/call.css';
import './styles/code.css';

if (matchMedia('(max-width: 760px)').matches) sidebarOpen.value = false;  // it would cover the page
render(<App />, document.getElementById('page')!);
openStore();
loadModels();
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') loadModels();  // models may have come and gone meanwhile
});
