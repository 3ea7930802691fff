// The files of a message: small while it is written, larger once it is sent.
import { useEffect, useState } from 'preact/hooks';
import { t } from '../i18n';
import { knownUrl, mediaUrl } from '../state/store';
import type { Attachment } from '../types';
import { bytesText } from '../util';
import { IconButton } from './buttons';
import { Dialog } from './dialog';
import { Icon } from './icons';
import { VideoDialog, VideoStrip } from './video';

export function useMediaUrl(id: string): string | undefined {
  const [url, setUrl] = useState(knownUrl(id));
  useEffect(() => {
    mediaUrl(id).then(setUrl, () => setUrl(undefined));
  }, [id]);
  return url;
}

interface EditableProps {
  files: Attachment[];
  onChange: (files: Attachment[]) => void;
}

export function EditableFiles({ files, onChange }: EditableProps) {
  if (files.length === 0) return null;
  const replace = (changed: Attachment) => onChange(files.map((file) => (file.id === changed.id ? changed : file)));
  return (
    <ul class="files">
      {files.map((file) => (
        <li key={file.id} class={`file ${file.kind}`}>
          <Thumbnail file={file} onChange={replace} />
          <IconButton icon="close" class="remove" label={t('remove', { name: file.name })}
                      onClick={() => onChange(files.filter((other) => other.id !== file.id))} />
        </li>
      ))}
    </ul>
  );
}

function Thumbnail({ file, onChange }: { file: Attachment; onChange: (file: Attachment) => void }) {
  const url = useMediaUrl(file.id);
  const [open, setOpen] = useState(false);
  if (file.kind === 'image') return url ? <img src={url} alt={file.name} /> : null;
  if (file.kind === 'audio') return <Sound file={file} url={url} />;
  return (
    <>
      <button type="button" class="video" title={t('videoOf', { name: file.name })} onClick={() => setOpen(true)}>
        {url && <VideoStrip url={url} count={4} />}
        <span class="name"><Icon name="film" />{file.name} · {bytesText(file.size)}<Icon name="settings" /></span>
      </button>
      {open && url && <VideoDialog file={file} url={url} onChange={onChange} onClose={() => setOpen(false)} />}
    </>
  );
}

function Sound({ file, url }: { file: Attachment; url?: string }) {
  return (
    <div class="sound">
      <span class="name"><Icon name="sound" />{file.name}</span>
      {url && <audio controls src={url} aria-label={file.name} />}
    </div>
  );
}

/** Of a message that was sent. */
export function SentFiles({ files }: { files: Attachment[] }) {
  if (files.length === 0) return null;
  return <div class="sent-files">{files.map((file) => <Sent key={file.id} file={file} />)}</div>;
}

function Sent({ file }: { file: Attachment }) {
  const url = useMediaUrl(file.id);
  if (!url) return <span class="name">{file.name}</span>;
  if (file.kind === 'audio') return <Sound file={file} url={url} />;
  if (file.kind === 'video') return <video controls src={url} aria-label={file.name} />;
  return <Picture file={file} url={url} />;
}

/** A click shows it as large as the page allows. */
function Picture({ file, url }: { file: Attachment; url: string }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" class="picture" onClick={() => setOpen(true)}><img src={url} alt={file.name} /></button>
      {open && (
        <Dialog title={file.name} onClose={() => setOpen(false)} class="large">
          <img src={url} alt={file.name} />
        </Dialog>
      )}
    </>
  );
}
