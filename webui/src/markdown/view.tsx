// Tokens of Markdown as elements.
import { Component, Fragment, type ComponentChildren, type JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import type { Token, Tokens } from 'marked';
import { CodeBlock } from './code';
import { MathView } from './math';
import { tokensOf, type BoxToken, type MathToken } from './rules';

const LINK = /^(https?:|mailto:)/i;
const ENTITIES: Record<string, string> =
  { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&nbsp;': '\u00a0' };

type AnyToken = Token | MathToken | BoxToken;

export function Markdown({ text }: { text: string }) {
  const tokens = useMemo(() => tokensOf(text), [text]);
  return <div class="markdown">{tokens.map((token, i) => <Block key={i} token={token} />)}</div>;
}

/** While an answer grows only its last block changes: the others are not made anew. */
class Block extends Component<{ token: Token }> {
  shouldComponentUpdate(next: { token: Token }): boolean {
    return next.token.raw !== this.props.token.raw || next.token.type !== this.props.token.type;
  }
  render() {
    return view(this.props.token);
  }
}

function views(tokens: AnyToken[] = []): ComponentChildren {
  return tokens.map((token, i) => <Fragment key={i}>{view(token)}</Fragment>);
}

function blocks(tokens: Token[] = []): ComponentChildren {
  return tokens.map((token, i) => <Block key={i} token={token} />);
}

function plain(text: string): string {
  return text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (entity) => ENTITIES[entity] ?? entity);
}

function view(any: AnyToken): ComponentChildren {
  const token = any as Tokens.Generic;
  switch (token.type) {
    case 'space': case 'def': return null;
    case 'heading': return heading(token as Tokens.Heading);
    case 'paragraph': return <p>{views(token.tokens)}</p>;
    case 'blockquote': return <blockquote>{blocks(token.tokens)}</blockquote>;
    case 'code': return <CodeBlock text={token.text} language={token.lang ?? ''} />;
    case 'list': return list(token as Tokens.List);
    case 'table': return table(token as Tokens.Table);
    case 'hr': return <hr />;
    case 'math': return <MathView text={token.text} block={token.block} />;
    case 'box': return <code class="box">{(token as unknown as BoxToken).corners.join(' ')}</code>;
    case 'text': return token.tokens ? views(token.tokens) : plain(token.text);
    case 'escape': return token.text;
    case 'strong': return <strong>{views(token.tokens)}</strong>;
    case 'em': return <em>{views(token.tokens)}</em>;
    case 'del': return <del>{views(token.tokens)}</del>;
    case 'codespan': return <code>{token.text}</code>;
    case 'br': return <br />;
    case 'link': return link(token as Tokens.Link);
    case 'image': return link({ ...token, tokens: [] } as unknown as Tokens.Link, token.text || token.href);
    case 'html': return /^<\/?ref>$/.test(token.text) ? null : token.text;  // shown as it was written
    default: return token.raw;
  }
}

function heading(token: Tokens.Heading) {
  const Tag = `h${Math.min(6, token.depth + 2)}` as 'h3';  // the page has its own first two levels
  return <Tag class={`level-${token.depth}`}>{views(token.tokens)}</Tag>;
}

/** Pictures of other places are not loaded: they are links, too. */
function link(token: Tokens.Link, text?: string) {
  const inside = text ?? views(token.tokens);
  if (!LINK.test(token.href)) return inside;
  return <a href={token.href} target="_blank" rel="noopener noreferrer">{inside}</a>;
}

function list(token: Tokens.List) {
  const items = token.items.map((item, i) => (
    <li key={i} class={item.task ? 'task' : undefined}>{listItem(item)}</li>
  ));
  return token.ordered ? <ol start={token.start || 1}>{items}</ol> : <ul>{items}</ul>;
}

function listItem(item: Tokens.ListItem) {
  const inside = item.tokens.filter((token) => token.type !== 'checkbox');
  return <>{item.task && (item.checked ? '☑ ' : '☐ ')}{blocks(inside)}</>;
}

function table(token: Tokens.Table): JSX.Element {
  const style = (i: number) => ({ textAlign: token.align[i] ?? 'start' });
  return (
    <div class="table" role="region" aria-label="table" tabIndex={0}>
      <table>
        <thead><tr>{token.header.map((cell, i) => <th key={i} style={style(i)}>{views(cell.tokens)}</th>)}</tr></thead>
        <tbody>
          {token.rows.map((row, k) => (
            <tr key={k}>{row.map((cell, i) => <td key={i} style={style(i)}>{views(cell.tokens)}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
