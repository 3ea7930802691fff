// Small PDF files, written by hand: each page is one picture.

const RED = '/0//UQAvAAAAAAAgAAAAIAAAAAAAAAAAAAABAAAAAQAAAAAAAAAAAAADBwEBBwEBBwEB/1IADAAAAAEABgICAAD/XAApIn8gfuB+4H6gdvB28HbAbwBvAG7gZ1BnUGdoUAVQBVBHV9NX01di/2QAEQABTGF2YzU5LjM3LjEwMP+QAAoAAAAAADYAAf+T3/gwIASK/3/f+DAYBziP3/gwGAc4jwAAAAAAAAAAAAAAAAAAAAAAAP/Z';  // 32 x 32, JPEG 2000
const BLACK = 'JqDV//////////gAgAg=';  // 32 x 32, a fax of group 4

const PICTURES = {
  red: { words: '/ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /JPXDecode', data: RED },
  black: {
    words: '/ColorSpace /DeviceGray /BitsPerComponent 1 /Filter /CCITTFaxDecode /DecodeParms << /K -1 /Columns 32 /Rows 32 >>',
    data: BLACK,
  },
};

/** `pictures`: of the pages, "red" or "black". */
export function pdfOf(pictures, { locked = false } = {}) {
  const objects = ['<< /Type /Catalog /Pages 2 0 R >>'];
  const pages = pictures.map((_, i) => `${3 + 3 * i} 0 R`);
  objects.push(`<< /Type /Pages /Count ${pages.length} /Kids [${pages.join(' ')}] >>`);
  pictures.forEach((name, i) => {
    const first = 3 + 3 * i, { words, data } = PICTURES[name];
    const bytes = Buffer.from(data, 'base64').toString('latin1'), drawing = 'q 100 0 0 200 0 0 cm /Im Do Q';
    objects.push(`<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 200] /Contents ${first + 1} 0 R `
      + `/Resources << /XObject << /Im ${first + 2} 0 R >> >> >>`);
    objects.push(`<< /Length ${drawing.length} >>\nstream\n${drawing}\nendstream`);
    objects.push(`<< /Type /XObject /Subtype /Image /Width 32 /Height 32 ${words} /Length ${bytes.length} >>\n`
      + `stream\n${bytes}\nendstream`);
  });
  let text = '%PDF-1.5\n';
  const places = objects.map((object, i) => {
    const place = text.length;
    text += `${i + 1} 0 obj\n${object}\nendobj\n`;
    return place;
  });
  const table = text.length, unknown = `<${'5a'.repeat(32)}>`;
  const lock = locked ? ` /ID [${unknown} ${unknown}] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O ${unknown} /U ${unknown} >>` : '';
  text += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n`;
  text += places.map((place) => `${String(place).padStart(10, '0')} 00000 n \n`).join('');
  text += `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R${lock} >>\nstartxref\n${table}\n%%EOF\n`;
  return Buffer.from(text, 'latin1');
}
