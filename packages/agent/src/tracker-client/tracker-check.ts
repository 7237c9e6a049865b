/**
 * Asks one tracker, whatever the agent's own link thinks of it: is it there, is it the one that the join token pins, does it take the
 * token and this agent, and what time is it there. Joining leaves nothing behind at a tracker: it gives out certificates, and only
 * who announces is a member in its books.
 */
import { joinAnswerSchema, joinProofBytes, parseJoinToken } from '@shoal/wire';
import { CallError, type CallErrorCode } from './call-error.ts';
import { pinnedDispatcher } from './pinned-dispatcher.ts';
import { callTracker } from './tracker-calls.ts';

const DEADLINE_MS = 3_000;

export interface TrackerCheckOptions {
  url: string;
  joinToken: string;
  zone: string;
}

export interface TrackerCheckDependencies {
  identity: { peerId: string; sign: (bytes: Uint8Array) => Uint8Array };
  /** Milliseconds since the epoch. */
  clock: () => number;
  signal: AbortSignal;
}

export interface TrackerStanding {
  url: string;
  outcome: 'ok' | CallErrorCode;
  /** Empty when all is well. */
  message: string;
  /** How far this machine's clock is ahead of the tracker's, to a second or so; undefined when it did not say. */
  aheadMs?: number;
}

/** Never rejects, but when it is told to stop. */
export async function checkTracker(
  { url, joinToken, zone }: TrackerCheckOptions,
  { identity, clock, signal }: TrackerCheckDependencies,
): Promise<TrackerStanding> {
  const token = parseJoinToken(joinToken);
  const dispatcher = pinnedDispatcher(token?.pin ?? '', DEADLINE_MS);
  const sentAtMs = clock();
  const { peerId } = identity;
  const proof = Buffer.from(identity.sign(joinProofBytes(peerId, sentAtMs))).toString('base64url');
  const body = { secret: token?.secret, peerId, sentAtMs, proof, zone };
  try {
    const call = { url, path: '/v1/join', body, answer: joinAnswerSchema, deadlineMs: DEADLINE_MS, signal };
    const answer = await callTracker(dispatcher, call);
    return { url, outcome: 'ok', message: '', aheadMs: (sentAtMs + clock()) / 2 - answer.body.nowMs };
  } catch (error) {
    if (!(error instanceof CallError) || signal.aborted) throw error;
    const { code, message, dateMs } = error;
    return { url, outcome: code, message, ...(dateMs === undefined ? {} : { aheadMs: clock() - dateMs }) };
  } finally {
    dispatcher.destroy().catch(() => undefined);
  }
}
