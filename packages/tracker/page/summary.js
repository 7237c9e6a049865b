/** How the cluster is, at a glance. */
/** @import { DashboardState } from '../src/dashboard/answers.ts' */
import { byId, element, say } from './dom.js';
import { counted, duration, percent, size } from './format.js';

/** @typedef {{ title: string, value: string, more: string, isAlarming?: boolean }} Fact */

/** @type {Map<string, { box: HTMLElement, value: Text, more: HTMLElement }>} */
const shown = new Map();

/** @param {DashboardState} state */
export function showSummary(state) {
  const list = byId('summary');
  for (const { title, value, more, isAlarming = false } of factsOf(state)) {
    let fact = shown.get(title);
    if (fact === undefined) {
      fact = { box: element('div', {}), value: new Text(), more: element('small', {}) };
      fact.box.append(element('dt', {}, title), element('dd', {}, fact.value, fact.more));
      list.append(fact.box);
      shown.set(title, fact);
    }
    say(fact.value, value);
    say(fact.more, more);
    fact.box.classList.toggle('alarm', isAlarming);
  }
}

/** @param {DashboardState} state @returns {Fact[]} */
function factsOf({ cluster, bytes, cache, tracker }) {
  const saved = Math.max(0, bytes.toClients - bytes.fromOrigin);
  const silent = cluster.members - cluster.reporting;
  const shunned = cluster.suspended + cluster.barred;
  return [
    {
      title: 'Members',
      value: cluster.members.toLocaleString('en'),
      more: silent > 0 ? `${silent.toLocaleString('en')} do not report` : 'all report',
    },
    {
      title: 'Suspended, barred',
      value: `${cluster.suspended}, ${cluster.barred}`,
      more: shunned > 0 ? '⚠ see the tracker’s log' : 'nobody lied',
      isAlarming: shunned > 0,
    },
    { title: 'Delivered', value: size(bytes.toClients), more: 'to container runtimes' },
    { title: 'From the registry', value: size(bytes.fromOrigin), more: 'all agents together' },
    {
      title: 'Saved',
      value: size(saved),
      more:
        bytes.toClients > 0 ? `${percent(saved, bytes.toClients)} % of what was delivered` : 'nothing delivered yet',
    },
    {
      title: 'Cache',
      value: size(cache.bytes),
      more: `of ${size(cache.quotaBytes)}, ${counted(cluster.blobs, 'blob')}`,
    },
    {
      title: 'Under way',
      value: counted(cluster.leases, 'read'),
      more: `of registries; ${counted(cluster.orders, 'order')} to prefetch`,
    },
    { title: 'Tracker', value: tracker.version, more: `up for ${duration(tracker.upMs)}` },
  ];
}
