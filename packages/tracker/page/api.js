/** Asks the tracker. The token lives in this tab alone and leaves it in a header to this page's own origin. */
/** @import { DashboardState, HeldContent, MembersPage } from '../src/dashboard/answers.ts' */

const KEPT_AS = 'shoal-dashboard-token';
const DEADLINE_MS = 5_000;

/** The tracker does not take the token. */
export class Refused extends Error {}
/** It does not listen for a while. */
export class AskedTooOften extends Error {}

/** From the address, where `#token=…` is taken off at once, or from before in this tab. @returns {string | undefined} */
export function knownToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given !== null) {
    history.replaceState(null, '', location.pathname);
    keepToken(given);
    return given;
  }
  return sessionStorage.getItem(KEPT_AS) ?? undefined;
}

/** @param {string} token */
export function keepToken(token) {
  sessionStorage.setItem(KEPT_AS, token);
}

export function forgetToken() {
  sessionStorage.removeItem(KEPT_AS);
}

/** @returns {Promise<DashboardState>} */
export function askState() {
  return ask('/v1/state', {});
}

/** @param {Readonly<Record<string, string>>} query @returns {Promise<MembersPage>} */
export function askMembers(query) {
  return ask('/v1/members', query);
}

/** @param {string} find @returns {Promise<HeldContent>} */
export function askHeld(find) {
  return ask('/v1/held', { find });
}

/** @param {string} path @param {Readonly<Record<string, string>>} query @returns {Promise<any>} @throws {Refused | Error} */
async function ask(path, query) {
  const response = await fetch(`${path}?${new URLSearchParams(query)}`, {
    // Anything but ASCII is no token, and no header either.
    headers: { authorization: `Bearer ${(sessionStorage.getItem(KEPT_AS) ?? '').replaceAll(/[^!-~]/g, '?')}` },
    cache: 'no-store',
    credentials: 'omit',
    redirect: 'error',
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  if (response.status === 401) throw new Refused('the tracker does not take this token');
  if (response.status === 429) throw new AskedTooOften('asked too often');
  // Of several trackers one answers; the others say so.
  if (response.status === 503) throw new Error((await response.json()).error);
  if (!response.ok) throw new Error(`the tracker answers ${response.status}`);
  return await response.json();
}
