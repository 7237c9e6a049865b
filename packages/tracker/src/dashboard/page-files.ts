/** The page's own files, read once: plain HTML, CSS and modules that a browser runs as they are. */
import { readFile } from 'node:fs/promises';

/** Beside `src` as beside `dist`. */
const FOLDER = new URL('../../page/', import.meta.url);
const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const;
const NAMES = [
  'index.html',
  'style.css',
  'icon.svg',
  'main.js',
  'api.js',
  'dom.js',
  'format.js',
  'summary.js',
  'traffic.js',
  'rollouts.js',
  'members.js',
  'held.js',
] as const;

export interface PageFile {
  /** As it is asked for. */
  path: string;
  type: string;
  content: Buffer;
}

export async function readPageFiles(): Promise<PageFile[]> {
  return await Promise.all(
    NAMES.map(async (name) => ({
      path: name === 'index.html' ? '/' : `/${name}`,
      type: TYPES[name.slice(name.lastIndexOf('.') + 1) as keyof typeof TYPES],
      content: await readFile(new URL(name, FOLDER)),
    })),
  );
}
