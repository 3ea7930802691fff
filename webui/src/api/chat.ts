// POST /v1/chat/completions as a stream of pieces.
import { request, ServerError } from './http';

export interface Piece {
  text?: string;
  reasoning?: string;
  finish?: 'stop' | 'length';
  promptTokens?: number;
  completionTokens?: number;
  imageTokens?: number;
  imageMs?: number;
}

interface Chunk {
  choices?: { delta: { content?: string; reasoning_content?: string }; finish_reason: Piece['finish'] | null }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { image_tokens?: number };
  };
  timings?: { image_ms?: number };
  error?: { message: string };
}

/** The "data:" lines of an event stream. */
async function* eventData(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let text = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) {
        if (line.startsWith('data: ')) yield line.slice(6);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function pieceOf(chunk: Chunk): Piece {
  if (chunk.error) throw new ServerError(chunk.error.message, 500);
  const choice = chunk.choices?.[0];
  return {
    text: choice?.delta.content,
    reasoning: choice?.delta.reasoning_content,
    finish: choice?.finish_reason ?? undefined,
    promptTokens: chunk.usage?.prompt_tokens,
    completionTokens: chunk.usage?.completion_tokens,
    imageTokens: chunk.usage?.prompt_tokens_details?.image_tokens,
    imageMs: chunk.timings?.image_ms,
  };
}

/** Throws ServerError also when the stream ends before the answer does. */
export async function* streamChat(body: object, signal: AbortSignal): AsyncGenerator<Piece> {
  const response = await request('/v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const data of eventData(response.body!)) {
    if (data === '[DONE]') return;
    yield pieceOf(JSON.parse(data));
  }
  throw new ServerError('the connection ended before the answer did', 0);
}
