/**
 * Docker's credential helpers: programs `docker-credential-NAME` that are given a server's name on their input and answer
 * with JSON (https://github.com/docker/docker-credential-helpers).
 */
import { spawn } from 'node:child_process';
import { z } from 'zod';
import type { Credential } from './credentials.ts';
import type { HelperCall } from './docker-config.ts';

const ANSWER_WITHIN_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;
/** Such a name says that the secret is an identity token. */
const TOKEN_USER = '<token>';

const answerSchema = z.object({ Username: z.string().min(1), Secret: z.string().min(1) });

/**
 * Undefined when the helper knows none. What it prints is never part of an error.
 * @throws Error when it cannot be run, fails or does not answer in time
 */
export async function askHelper(
  { helper, serverUrl }: HelperCall,
  signal: AbortSignal,
): Promise<Credential | undefined> {
  const program = `docker-credential-${helper}`;
  const { code, output } = await run(program, serverUrl, signal);
  if (code !== 0) {
    // "credentials not found in native keychain" is how every helper says that it has none.
    if (output.includes('credentials not found')) return undefined;
    throw new Error(`${program} ended with ${code}; see what it says: echo ${serverUrl} | ${program} get`);
  }
  const answer = answerSchema.safeParse(parsed(output));
  if (!answer.success) throw new Error(`${program} gave no user name and secret`);
  const { Username: username, Secret: secret } = answer.data;
  return username === TOKEN_USER ? { identityToken: secret } : { username, password: secret };
}

function run(program: string, input: string, signal: AbortSignal): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    // In a group of its own, so that what a helper started ends with it.
    const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'ignore'], detached: true });
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (end: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      end();
    };
    const giveUp = (why: string): void => {
      settle(() => reject(new Error(`${program} ${why}`)));
      child.stdout.destroy();
      if (child.pid !== undefined) killGroup(child.pid);
    };
    const onAbort = (): void => giveUp('was stopped');
    const timer = setTimeout(() => giveUp(`did not answer within ${ANSWER_WITHIN_MS / 1000} s`), ANSWER_WITHIN_MS);
    signal.addEventListener('abort', onAbort, { once: true });
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) giveUp('says too much');
      else chunks.push(chunk);
    });
    child.on('error', ({ code }: NodeJS.ErrnoException) => {
      const why = code === 'ENOENT' ? "is not installed, or not on the agent's PATH" : `cannot be run (${code})`;
      settle(() => reject(new Error(`${program} ${why}`)));
    });
    child.on('close', (code) => settle(() => resolve({ code, output: Buffer.concat(chunks).toString() })));
    // It may end without having read what it was asked.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    if (signal.aborted) onAbort();
  });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended meanwhile.
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
