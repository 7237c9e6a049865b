/** What opens the page: made once, in a file beside the identity that only its owner reads. To have another one, remove the file and start again. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createOnce, readIfThere } from '../identity/durable-file.ts';
import { TrackerStartError } from '../start-error.ts';

const DASHBOARD_TOKEN_FILE = 'dashboard-token';
const TOKEN_BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

export interface DashboardToken {
  path: string;
  token: string;
  /** It was not there before. */
  isNew: boolean;
}

/**
 * A mounted identity may bring a token of its own, which several trackers then share; else it is in the data folder.
 * @throws TrackerStartError IDENTITY_DAMAGED, or the error of the file system
 */
export async function openDashboardToken(dataDir: string, identityDir: string | undefined): Promise<DashboardToken> {
  for (const folder of identityDir === undefined ? [dataDir] : [identityDir, dataDir]) {
    const path = join(folder, DASHBOARD_TOKEN_FILE);
    const text = await readIfThere(path);
    if (text === undefined) continue;
    const token = text.trim();
    if (TOKEN.test(token)) return { path, token, isNew: false };
    const hint = 'Remove the file to let the tracker make a new one.';
    throw new TrackerStartError('IDENTITY_DAMAGED', `${path} holds no token of a dashboard. ${hint}`);
  }
  const path = join(dataDir, DASHBOARD_TOKEN_FILE);
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  await createOnce(path, `${token}\n`);
  return { path, token, isNew: true };
}
