// Code with its words coloured. The highlighter escapes the text; what it adds are spans with class names.
import hljs from 'highlight.js/lib/common';
import { useMemo } from 'preact/hooks';
import { CopyButton } from '../ui/buttons';

const LONGEST = 50_000;  // characters; longer code stays plain, or the page would stall

function coloured(text: string, language: string): string | undefined {
  if (!hljs.getLanguage(language) || text.length > LONGEST) return undefined;
  return hljs.highlight(text, { language, ignoreIllegals: true }).value;
}

export function CodeBlock({ text, language }: { text: string; language: string }) {
  const name = language.trim().split(/\s/)[0] ?? '';
  const html = useMemo(() => coloured(text, name), [text, name]);
  return (
    <div class="code">
      <div class="code-head"><span>{name}</span><CopyButton text={() => text} /></div>
      <pre tabIndex={0}>
        {html === undefined ? <code>{text}</code> : <code dangerouslySetInnerHTML={{ __html: html }} />}
      </pre>
    </div>
  );
}
