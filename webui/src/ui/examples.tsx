// Few-shot examples of a conversation.
import { useRef } from 'preact/hooks';
import { t } from '../i18n';
import { attach } from '../media/files';
import { current, putChat } from '../state/chats';
import { modelFacts } from '../state/models';
import type { Example } from '../types';
import { newId } from '../util';
import { EditableFiles } from './attachments';
import { IconButton } from './buttons';
import { Icon } from './icons';
import { notify } from './toast';

function put(examples: Example[]): void {
  putChat({ ...current.value, examples });
}

function change(changed: Example): void {
  put(current.value.examples.map((example) => (example.id === changed.id ? changed : example)));
}

export function Examples() {
  const { examples } = current.value;
  const add = () => put([...examples, { id: newId(), attachments: [], question: '', answer: '' }]);
  return (
    <section class="examples" aria-label={t('examples')}>
      <h3>{t('examples')}</h3>
      <p class="hint">{t('examplesHint')}</p>
      {examples.map((example, i) => <ExampleRow key={example.id} example={example} number={i + 1} />)}
      <button type="button" onClick={add}><Icon name="plus" />{t('exampleAdd')}</button>
    </section>
  );
}

function ExampleRow({ example, number }: { example: Example; number: number }) {
  const title = t('example', { n: number });
  const drop = () => put(current.value.examples.filter((other) => other.id !== example.id));
  return (
    <fieldset class="example">
      <legend>{title}</legend>
      <EditableFiles files={example.attachments} onChange={(attachments) => change({ ...example, attachments })} />
      <div class="row">
        {modelFacts.value?.vision && <ExampleFiles example={example} />}
        <input aria-label={`${title}: ${t('exampleQuestion')}`} placeholder={t('exampleQuestion')}
               value={example.question} onInput={(event) => change({ ...example, question: event.currentTarget.value })} />
        <input aria-label={`${title}: ${t('exampleAnswer')}`} placeholder={t('exampleAnswer')}
               value={example.answer} onInput={(event) => change({ ...example, answer: event.currentTarget.value })} />
        <IconButton icon="trash" label={t('remove', { name: title })} onClick={drop} />
      </div>
    </fieldset>
  );
}

function ExampleFiles({ example }: { example: Example }) {
  const input = useRef<HTMLInputElement>(null);
  const take = async () => {
    const files = [...(input.current!.files ?? [])];
    input.current!.value = '';
    try {
      const attachments = await Promise.all(files.map(attach));
      change({ ...example, attachments: [...example.attachments, ...attachments] });
    } catch (error) {
      notify(error);
    }
  };
  return (
    <>
      <IconButton icon="clip" label={t('attach')} onClick={() => input.current!.click()} />
      <input ref={input} class="example-files" type="file" multiple hidden accept="image/*" aria-label={t('attach')}
             onChange={take} />
    </>
  );
}
