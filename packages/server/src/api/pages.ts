import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname, join, relative, sep } from 'node:path';
import { Answer, type ApiRoute, type Call } from './route.ts';

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
};

/**
 * One route for each file below `directory`, `index.html` as `/`. The names are listed once: a path that is not among
 * them is simply no route, so no request can reach another file. Contents are read anew, so that an edit shows.
 */
export function pageRoutes(directory: string): ApiRoute[] {
  return files(directory).map(file => {
    const path = `/${relative(directory, file).split(sep).join('/')}`;
    return pageRoute(path === '/index.html' ? '/' : path, file);
  });
}

function files(directory: string): string[] {
  try {
    return readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile() && !entry.name.startsWith('.'))
      .map(entry => join(entry.parentPath, entry.name));
  } catch {
    return []; // a build without pages
  }
}

function pageRoute(path: string, file: string): ApiRoute {
  const contentType = types[extname(file)] ?? 'application/octet-stream';
  return {
    method: 'GET',
    path,
    summary: path === '/' ? 'The live page' : `Part of the live page`,
    tag: 'pages',
    query: {},
    answers: { 200: { description: 'the file', contentType: contentType.split(';')[0]! } },
    errors: [],
    handle: async (call: Call) => {
      const body = await readFile(file);
      call.header('Cache-Control', 'no-cache');
      call.header('X-Content-Type-Options', 'nosniff');
      call.header('Referrer-Policy', 'no-referrer');
      if (contentType.startsWith('text/html')) call.header('Content-Security-Policy', contentSecurity(body.toString()));
      return new Answer(200, contentType, body);
    },
  };
}

/** Nothing from elsewhere, and of inline scripts only those that stand in the file. */
function contentSecurity(html: string): string {
  const hashes: string[] = [];
  for (const [, text] of html.matchAll(/<script(?![^>]*\bsrc\s*=)[^>]*>([\s\S]*?)<\/script>/gi))
    hashes.push(`'sha256-${createHash('sha256').update(text!).digest('base64')}'`);
  return [
    "default-src 'none'",
    `script-src ${["'self'", ...hashes].join(' ')}`,
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
