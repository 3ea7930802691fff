import { useLayoutEffect, useRef } from 'preact/hooks';
import { t } from '../i18n';
import { current, pathOf } from '../state/chats';
import { announced } from '../state/answering';
import { Answer, Question } from './message';

const NEAR = 80;  // pixels from the end within which the page follows an answer

interface Props {
  editing: string | null;  // the question that is being changed
  onEdit: (id: string | null) => void;
}

/** The messages; follows an answer as it grows, unless the reader has scrolled away. */
export function Conversation({ editing, onEdit }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const chat = current.value;
  const path = pathOf(chat);
  useLayoutEffect(() => { follows.current = true; }, [chat.id, chat.leaf]);
  const follow = () => {
    if (follows.current) place.current!.scrollTop = place.current!.scrollHeight;
  };
  useLayoutEffect(follow);
  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = place.current!;
    follows.current = scrollHeight - scrollTop - clientHeight < NEAR;
  };
  return (
    <div class="conversation" ref={place} onScroll={onScroll} onLoadCapture={follow} tabIndex={0} role="region"
         aria-label={t('messages')}>
      <h2 class="unseen">{t('messages')}</h2>
      <div class="column">
        {path.map((message, i) => message.role === 'user'
          ? <Question key={message.id} message={message} editing={editing === message.id}
                      onEdit={(on) => onEdit(on ? message.id : null)} />
          : <Answer key={message.id} message={message} question={path[i - 1]} />)}
      </div>
      <div class="unseen" role="status">{announced.value}</div>
    </div>
  );
}
