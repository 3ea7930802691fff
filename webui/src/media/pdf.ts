// Pages of PDF files as pictures. The reader is large: it comes from /page/ when the first PDF is opened.
import type * as Reader from 'pdfjs-dist';

const FOLDER = '/page/';

let reader: Promise<typeof Reader> | undefined;

async function load(): Promise<typeof Reader> {
  const path = `${FOLDER}pdf.js`;
  const loaded = (await import(/* @vite-ignore */ path)) as typeof Reader;
  loaded.GlobalWorkerOptions.workerSrc = `${FOLDER}pdf-worker.js`;
  return loaded;
}

export interface Pdf {
  pages: number;
  /** A page, from 1, as PNG. One at a time is drawn; throws when it cannot be, and after close(). */
  picture(page: number, longestSide: number): Promise<Blob>;
  close(): void;
}

async function draw(pdf: Reader.PDFDocumentProxy, number: number, longestSide: number): Promise<Blob> {
  const page = await pdf.getPage(number);
  const { width, height } = page.getViewport({ scale: 1 });
  const viewport = page.getViewport({ scale: longestSide / Math.max(width, height) });
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(viewport.width));
  canvas.height = Math.max(1, Math.round(viewport.height));
  await page.render({ canvas, viewport }).promise;
  page.cleanup();
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('no picture'))));
  });
}

/** Throws when the file is no PDF, or needs a password. */
export async function openPdf(file: Blob): Promise<Pdf> {
  reader ??= load();
  const { getDocument } = await reader.catch((error: unknown) => {
    reader = undefined;  // the next time it may come
    throw error;
  });
  const task = getDocument({
    data: new Uint8Array(await file.arrayBuffer()),
    wasmUrl: new URL(FOLDER, location.href).href,  // where the decoders of JPEG 2000 and of fax pictures lie
    useWasm: false,            // the page's policy allows no code that is made while it runs
    disableWorkerRendering: true,
    enableXfa: false,
    verbosity: 0,              // errors are told by exceptions; what is odd about a file is not for the console
  });
  const pdf = await task.promise;
  let last: Promise<unknown> = Promise.resolve();
  return {
    pages: pdf.numPages,
    picture(page, longestSide) {
      const drawn = last.then(() => draw(pdf, page, longestSide));
      last = drawn.catch(() => {});
      return drawn;
    },
    close() { task.destroy(); },
  };
}
