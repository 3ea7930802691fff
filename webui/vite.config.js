// Builds one self-contained page: script and style go into the HTML, and the whole is compressed. The program embeds
// dist/index.html.gz.
import { gzipSync } from 'node:zlib';
import { defineConfig } from 'vite';

function onePage() {
  return {
    name: 'one-page',
    enforce: 'post',
    generateBundle(_options, bundle) {
      const page = bundle['index.html'];
      const files = Object.values(bundle).filter((file) => file !== page);
      const script = files.find((file) => file.type === 'chunk');
      const style = files.find((file) => file.fileName.endsWith('.css'));
      if (files.length !== 2 || !script || !style) {
        this.error(`expected one script and one style, found ${files.map((file) => file.fileName).join(', ')}`);
      }
      const code = script.code.trim().replace(/<\/script/gi, '<\\/script').replace(/<!--/g, '<\\!--');
      const html = page.source
        .replace(/\s*<script type="module"[^>]*><\/script>/, '')
        .replace(/\s*<link rel="stylesheet"[^>]*>/, () => `\n<style>${String(style.source).trim()}</style>`)
        .replace('</body>', () => `<script type="module">${code}</script>\n</body>`);
      const packed = gzipSync(html, { level: 9 });
      packed[9] = 255;  // "unknown system": the same bytes everywhere
      for (const name of Object.keys(bundle)) delete bundle[name];
      this.emitFile({ type: 'asset', fileName: 'index.html.gz', source: packed });
    },
  };
}

const minicpm = process.env.MINICPM_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [onePage()],
  // Never inlined as data: the page's policy allows none but pictures.
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: false, reportCompressedSize: false },
  server: { proxy: { '/v1': minicpm, '/props': minicpm } },
});
