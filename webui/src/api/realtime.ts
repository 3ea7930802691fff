// A live session with the server: events of OpenAI's Realtime API as JSON over a WebSocket (docs/realtime.md).
import { currentKey } from './http';

export interface ServerEvent {
  type: string;
  item_id?: string;
  delta?: string;
  audio_start_ms?: number;
  audio_end_ms?: number;
  error?: { message: string; code: string | null };
  item?: { id: string; role: string };
  response?: { id: string; status: string };
}

export interface SessionHandlers {
  onEvent: (event: ServerEvent) => void;
  /** Once, whoever ended it; `reason` is empty where nobody gave one. */
  onClose: (reason: string) => void;
}

const MOST_WAITING = 1 << 20;  // bytes that the network has not taken: more would only be heard later and later

export class RealtimeSession {
  private readonly socket: WebSocket;

  constructor(model: string, handlers: SessionHandlers) {
    const url = new URL(`/v1/realtime?model=${encodeURIComponent(model)}`, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    const key = currentKey();
    const protocols = key ? ['realtime', `openai-insecure-api-key.${key}`] : ['realtime'];
    this.socket = new WebSocket(url, protocols);
    this.socket.onmessage = ({ data }: MessageEvent<string>) => handlers.onEvent(JSON.parse(data) as ServerEvent);
    this.socket.onclose = ({ reason }) => handlers.onClose(reason);
  }

  send(event: { type: string; [field: string]: unknown }): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  /** Whether the network keeps up. */
  get keepsUp(): boolean {
    return this.socket.bufferedAmount < MOST_WAITING;
  }

  close(): void {
    this.socket.close(1000);
  }
}
