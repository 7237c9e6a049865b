/**
 * The page: asks for the token, then for the state every two seconds while somebody can see it. While the tracker does not
 * answer, what it said last stays, and the head of the page says so.
 */
/** @import { DashboardState } from '../src/dashboard/answers.ts' */
import { AskedTooOften, askState, forgetToken, keepToken, knownToken, Refused } from './api.js';
import { byId, letWideScroll, say } from './dom.js';
import { setUpHeld, showHeld } from './held.js';
import { setUpMembers, showMembers } from './members.js';
import { showRollouts } from './rollouts.js';
import { showSummary } from './summary.js';
import { showTraffic } from './traffic.js';

const STATE_EVERY_MS = 2_000;
const MEMBERS_EVERY_TURNS = 2;
const HELD_EVERY_TURNS = 8;

/** @type {DashboardState | undefined} */
let state;
/** @type {number | undefined} */
let timer;
let turn = 0;
let isOpen = false;
/** Another one with each token: an answer that was asked for with the one before is not shown. */
let session = 0;

/** @param {string} complaint */
function showLogin(complaint) {
  clearTimeout(timer);
  session++;
  isOpen = false;
  forgetToken();
  byId('page').hidden = true;
  byId('forget').hidden = true;
  byId('login').hidden = false;
  say(byId('login-error'), complaint);
  say(byId('connection'), '');
  /** @type {HTMLInputElement} */
  const input = byId('token');
  input.value = '';
  input.focus();
}

function open() {
  byId('login').hidden = true;
  session++;
  turn = 0;
  void refresh();
}

/** @param {unknown} failure */
function failed(failure) {
  if (failure instanceof Refused) showLogin('The tracker does not take this token.');
  else if (failure instanceof AskedTooOften && !isOpen)
    showLogin('Too many wrong tokens came from here. Wait a minute.');
  else if (isOpen) say(byId('connection'), 'The tracker does not answer; what it said last is shown. Trying again.');
  else say(byId('connection'), 'The tracker does not answer. Trying again.');
}

async function refresh() {
  clearTimeout(timer);
  const own = session;
  try {
    const told = await askState();
    if (own !== session) return;
    state = told;
    const isFirst = !isOpen;
    isOpen = true;
    byId('page').hidden = false;
    byId('forget').hidden = false;
    showState();
    if (isFirst || turn % MEMBERS_EVERY_TURNS === 0) await showMembers();
    if (isFirst || turn % HELD_EVERY_TURNS === 0) await showHeld();
    turn++;
    letWideScroll();
    say(byId('connection'), 'Live');
  } catch (failure) {
    if (own === session) failed(failure);
  }
  if (own !== session) return;
  timer = window.setTimeout(() => {
    if (!document.hidden) void refresh();
  }, STATE_EVERY_MS);
}

function showState() {
  if (state === undefined) return;
  showSummary(state);
  showTraffic(state.traffic);
  showRollouts(state);
}

byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  keepToken(/** @type {HTMLInputElement} */ (byId('token')).value.trim());
  open();
});
byId('forget').addEventListener('click', () => showLogin(''));
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && byId('login').hidden) void refresh();
});
window.addEventListener('resize', () => {
  if (state !== undefined) showTraffic(state.traffic);
  letWideScroll();
});
// A part that was opened has its width only now; the event does not bubble.
document.addEventListener('toggle', letWideScroll, { capture: true });
setUpMembers(failed);
setUpHeld(failed);
if (knownToken() === undefined) showLogin('');
else open();
