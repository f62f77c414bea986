import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { PORTS_FOLDER } from '../protocol/control.js';

/**
 * Serves the files of a folder, on the port `http` or the one that is named: `static-server FOLDER [PORT]`. What a project
 * of files alone is run with. GET and HEAD; a folder answers with its index.html; nothing outside of it, and no hidden file.
 */
const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.gif': 'image/gif',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webp': 'image/webp',
  '.woff2': 'font/woff2',
  '.xml': 'application/xml',
};

const [folder = '.', port = 'http'] = process.argv.slice(2);
const root = await realpath(folder);
const server = createServer((request, response) => {
  serve(request, response).catch((error: unknown) => {
    // A client that has gone needs no answer.
    if (response.headersSent || response.destroyed) return void response.destroy();
    console.error(error);
    refuse(response, 500);
  });
});
server.listen(join(PORTS_FOLDER, `${port}.sock`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));

async function serve({ method = '', url = '' }: IncomingMessage, response: ServerResponse): Promise<void> {
  if (method !== 'GET' && method !== 'HEAD') return refuse(response, 405);
  const found = await fileAt(url);
  if (found === null) return refuse(response, 404);
  response.writeHead(200, {
    'content-type': TYPES[extname(found.path).toLowerCase()] ?? 'application/octet-stream',
    'content-length': found.bytes,
  });
  if (method === 'HEAD') return void response.end();
  await pipeline(createReadStream(found.path), response);
}

async function fileAt(url: string): Promise<{ path: string; bytes: number } | null> {
  try {
    const path = normalize(decodeURIComponent(url.split('?')[0] ?? ''));
    if (path.includes('\0') || path.split('/').some((part) => part.startsWith('.'))) return null;
    let real = await realpath(join(root, path));
    let info = await stat(real);
    if (info.isDirectory()) {
      real = await realpath(join(real, 'index.html'));
      info = await stat(real);
    }
    // A link may lead anywhere.
    return info.isFile() && real.startsWith(`${root}/`) ? { path: real, bytes: info.size } : null;
  } catch {
    return null;
  }
}

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${status}\n`);
}
