// Code with its words coloured: the highlighter's tree of scopes as elements.
import hljs from 'highlight.js/lib/common';
import type { ComponentChildren } from 'preact';
import { useMemo } from 'preact/hooks';
import { CopyButton } from '../ui/buttons';

const LONGEST = 50_000;  // characters; longer code stays plain, or the page would stall

interface Scope {
  scope?: string;  // "title.function"
  children: (Scope | string)[];
}

function view(node: Scope | string, key: number): ComponentChildren {
  if (typeof node === 'string') return node;
  const inside = node.children.map(view);
  return node.scope ? <span key={key} class={`hljs-${node.scope.split('.')[0]}`}>{inside}</span> : inside;
}

function coloured(text: string, language: string): ComponentChildren {
  if (!hljs.getLanguage(language) || text.length > LONGEST) return text;
  const { _emitter } = hljs.highlight(text, { language, ignoreIllegals: true });
  return view((_emitter as unknown as { rootNode: Scope }).rootNode, 0);
}

export function CodeBlock({ text, language }: { text: string; language: string }) {
  const name = language.trim().split(/\s/)[0] ?? '';
  const inside = useMemo(() => coloured(text, name), [text, name]);
  return (
    <div class="code">
      <div class="code-head"><span>{name}</span><CopyButton text={() => text} /></div>
      <pre tabIndex={0}><code>{inside}</code></pre>
    </div>
  );
}
