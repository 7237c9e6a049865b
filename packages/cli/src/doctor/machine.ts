/** What the checks ask of this machine: sockets, programs, the journal of `shoal setup`. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { codeOf } from '../error-code.ts';
import { Journalled } from '../setup/apply.ts';
import type { MirrorAddress } from '../setup/plan.ts';

const PING_WITHIN_MS = 3_000;
/** Where daemons are, also when the PATH of whoever asks does not say so. */
const USUAL_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const JOURNALS = '/var/lib/shoal-setup';

/** Why nobody could listen there, by the system's code; undefined when nothing is in the way. */
export function listenObstacle(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(codeOf(error) ?? 'unknown reason'));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

export async function pingMirror(
  url: string,
  signal: AbortSignal,
): Promise<{ status: number; isRegistry: boolean } | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(PING_WITHIN_MS)]) });
    await answer.body?.cancel();
    return { status: answer.status, isRegistry: answer.headers.has('docker-distribution-api-version') };
  } catch {
    return undefined;
  }
}

export async function isInstalled(program: string, path: string | undefined): Promise<boolean> {
  const folders = new Set([...(path ?? '').split(delimiter).filter((folder) => folder !== ''), ...USUAL_FOLDERS]);
  const found = await Promise.all(
    [...folders].map((folder) =>
      access(join(folder, program), constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}

/** None when the journal is not there, is root's, or is of another mirror. */
export async function earlierRegistries(journal: string, { url }: MirrorAddress): Promise<readonly string[]> {
  const settings = { mirror: url, configFile: '', registriesDir: '' };
  return await new Journalled(join(JOURNALS, `${journal}.json`)).earlierRegistries(settings).catch(() => []);
}
