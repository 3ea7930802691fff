// Builds one self-contained page: script and style go into the HTML, and the whole is compressed. What only some
// visitors need are scripts of their own, which the page loads from /page/ when it needs them. The program embeds
// dist/*.gz.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { defineConfig } from 'vite';

// The scripts at /page/NAME and their sources; those of the reader of PDF as they come, for older browsers, too.
const SCRIPTS = { 'call.js': 'src/worklet/call.ts' };
const PDFJS = 'node_modules/pdfjs-dist';
const COPIES = {
  'pdf.js': `${PDFJS}/legacy/build/pdf.min.mjs`,
  'pdf-worker.js': `${PDFJS}/legacy/build/pdf.worker.min.mjs`,
  'jbig2_nowasm_fallback.js': `${PDFJS}/wasm/jbig2_nowasm_fallback.js`,
  'openjpeg_nowasm_fallback.js': `${PDFJS}/wasm/openjpeg_nowasm_fallback.js`,
};

/** The same bytes everywhere. */
function packed(text) {
  const bytes = gzipSync(text, { level: 9 });
  bytes[9] = 255;  // "unknown system"
  return bytes;
}

function onePage(page, script, style) {
  const code = script.code.trim().replace(/<\/script/gi, '<\\/script').replace(/<!--/g, '<\\!--');
  return page.source
    .replace(/\s*<script type="module"[^>]*><\/script>/, '')
    .replace(/\s*<link rel="stylesheet"[^>]*>/, () => `\n<style>${String(style.source).trim()}</style>`)
    .replace('</body>', () => `<script type="module">${code}</script>\n</body>`);
}

function embedded() {
  return {
    name: 'embedded',
    enforce: 'post',
    generateBundle(_options, bundle) {
      const take = (fits) => {
        const found = Object.values(bundle).filter(fits);
        if (found.length !== 1) this.error(`expected one file of a kind, found ${found.length}`);
        delete bundle[found[0].fileName];
        return found[0];
      };
      const files = Object.entries(COPIES).map(([name, source]) => [name, readFileSync(source)]);
      for (const name of Object.keys(SCRIPTS)) files.push([name, take((file) => file.fileName === name).code]);
      files.push(['index.html', onePage(take((file) => file.fileName === 'index.html'),
        take((file) => file.type === 'chunk'), take((file) => file.fileName.endsWith('.css')))]);
      const others = Object.keys(bundle);
      if (others.length > 0) this.error(`files that nothing embeds: ${others.join(', ')}`);
      for (const [name, text] of files) {
        this.emitFile({ type: 'asset', fileName: `${name}.gz`, source: packed(text) });
      }
    },
    configureServer(server) {
      server.middlewares.use((request, _response, next) => {
        const source = request.url.startsWith('/page/') ? { ...SCRIPTS, ...COPIES }[request.url.slice(6)] : undefined;
        if (source) request.url = `/${source}`;
        next();
      });
    },
  };
}

const minicpm = process.env.MINICPM_URL ?? 'http://127.0.0.1:8080';
const scripts = Object.entries(SCRIPTS).map(([name, source]) => [name.replace(/\.js$/, ''), source]);

export default defineConfig({
  plugins: [embedded()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,  // never inlined as data: the page's policy allows none but pictures
    modulePreload: false,
    reportCompressedSize: false,
    rollupOptions: {
      input: { page: 'index.html', ...Object.fromEntries(scripts) },
      output: { entryFileNames: '[name].js' },
    },
  },
  server: { proxy: { '/v1': { target: minicpm, ws: true }, '/props': minicpm } },
});
