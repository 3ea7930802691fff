// Which pages of a PDF are sent, as pictures.
import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import { openPdf, type Pdf } from '../media/pdf';
import { addFiles, draftFiles, pdfFiles } from '../state/draft';
import { limits } from '../state/models';
import { Dialog } from './dialog';
import { notify } from './toast';

const PAGE_SIDE = 1600;      // pixels of a page's longest side: models see about 1350, in slices
const THUMBNAIL_SIDE = 240;

export function PdfDialogs() {
  const file = pdfFiles.value[0];
  if (!file) return null;
  const close = () => (pdfFiles.value = pdfFiles.value.filter((one) => one !== file));
  return <PdfDialog key={`${file.name} ${pdfFiles.value.length}`} file={file} onClose={close} />;
}

function PdfDialog({ file, onClose }: { file: File; onClose: () => void }) {
  const [pdf, setPdf] = useState<Pdf>();
  const [chosen, setChosen] = useState<number[]>([]);
  const [busy, setBusy] = useState(false);
  const most = limits.value.files - draftFiles.value.length;
  useEffect(() => {
    const opening = openPdf(file);
    opening.then((opened) => {
      setPdf(opened);
      if (opened.pages === 1) setChosen([1]);
    }, ({ name }: Error) => {
      notify(t(name === 'PasswordException' ? 'pdfLocked' : 'fileBroken', { name: file.name }));
      onClose();
    });
    return () => { opening.then((opened) => opened.close(), () => {}); };
  }, [file]);
  const toggle = (page: number) =>
    setChosen(chosen.includes(page) ? chosen.filter((one) => one !== page) : [...chosen, page].sort((a, b) => a - b));
  const add = async () => {
    setBusy(true);
    try {
      for (const page of chosen) {
        const picture = await pdf!.picture(page, PAGE_SIDE);
        await addFiles([new File([picture], `${file.name}, ${t('pdfPage', { n: page })}.png`, { type: picture.type })]);
      }
    } catch {
      notify(t('fileBroken', { name: file.name }));
    }
    onClose();
  };
  return (
    <Dialog title={file.name} onClose={onClose} class="pdf">
      <p class="hint" role="status">
        {pdf ? t('pdfChoose', { n: chosen.length, pages: pdf.pages, most }) : t('pdfWait')}
      </p>
      {pdf && (
        <ul class="pdf-pages">
          {Array.from({ length: pdf.pages }, (_, i) => (
            <PageRow key={i} pdf={pdf} page={i + 1} chosen={chosen.includes(i + 1)} onToggle={() => toggle(i + 1)} />
          ))}
        </ul>
      )}
      <footer>
        <button type="button" disabled={!pdf || busy}
                onClick={() => setChosen(chosen.length > 0 ? [] : firstOf(pdf!, most))}>
          {t(chosen.length > 0 ? 'pdfNone' : 'pdfAll')}
        </button>
        <button type="button" class="primary" disabled={busy || chosen.length === 0 || chosen.length > most}
                onClick={add}>
          {busy ? t('pdfDrawing') : t('pdfAdd', { n: chosen.length })}
        </button>
      </footer>
    </Dialog>
  );
}

function firstOf(pdf: Pdf, most: number): number[] {
  return Array.from({ length: Math.min(pdf.pages, most) }, (_, i) => i + 1);
}

interface PageRowProps {
  pdf: Pdf;
  page: number;
  chosen: boolean;
  onToggle: () => void;
}

/** Drawn when it is first seen. */
function PageRow({ pdf, page, chosen, onToggle }: PageRowProps) {
  const place = useRef<HTMLLIElement>(null);
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    let made = '', gone = false;
    const watcher = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      pdf.picture(page, THUMBNAIL_SIDE).then((picture) => {
        if (gone) return;
        made = URL.createObjectURL(picture);
        setUrl(made);
      }, () => {});
    });
    watcher.observe(place.current!);
    return () => {
      gone = true;
      watcher.disconnect();
      if (made) URL.revokeObjectURL(made);
    };
  }, [pdf, page]);
  return (
    <li ref={place}>
      <button type="button" aria-pressed={chosen} onClick={onToggle}>
        {url ? <img src={url} alt="" /> : <i />}
        <span>{t('pdfPage', { n: page })}</span>
      </button>
    </li>
  );
}
