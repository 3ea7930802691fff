// A model hub with one repository: the files of a folder, in git's hashes.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';

/** Returns {url, close}. */
export async function startHub(repository, folder) {
  const commit = '0123456789abcdef0123456789abcdef01234567';
  const files = new Map();
  for (const name of readdirSync(folder)) {
    const content = readFileSync(join(folder, name));
    files.set(name, { content, hash: createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex') });
  }
  const list = {
    id: repository,
    sha: commit,
    siblings: [...files].map(([rfilename, { content, hash }]) => ({ rfilename, size: content.length, blobId: hash })),
  };
  const server = createServer((request, response) => {
    if (request.url === `/api/models/${repository}/revision/main?blobs=true`) return response.end(JSON.stringify(list));
    const start = `/${repository}/resolve/${commit}/`;
    const file = request.url.startsWith(start) && files.get(decodeURIComponent(request.url.slice(start.length)));
    if (!file) return response.writeHead(404, { 'X-Error-Code': 'RepoNotFound' }).end();
    return response.writeHead(200, { ETag: `"${file.hash}"`, 'X-Repo-Commit': commit, 'Content-Length': file.content.length })
      .end(file.content);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => { server.closeAllConnections(); server.close(); } };
}
