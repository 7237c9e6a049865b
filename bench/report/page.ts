/** A rollout as one page that needs nothing but itself. */
import { complaintsOf } from '../rollout/reading.ts';
import type { RolloutReading } from '../rollout/rollout.ts';
import { rolloutRows } from '../rollout/table.ts';
import { rolloutCharts } from './charts.ts';
import { escapeText } from './svg.ts';

const STYLE = `
  :root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6b7c; --line: #d5dde5; --paper: #fff; --bad: #b91c1c; }
  @media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9fb0c0; --line: #33414f; --paper: #0f161d; --bad: #fca5a5; } }
  body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 1040px; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
  h1 { font-size: 1.6rem; margin: 0; } p { margin: .4rem 0; } .soft { color: var(--soft); } .bad { color: var(--bad); font-weight: 600; }
  figure { margin: 2.2rem 0; } svg { width: 100%; height: auto; overflow: visible; }
  .wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .8rem; white-space: nowrap; }
  th, td { padding: .3rem .4rem; text-align: right; border-bottom: 1px solid var(--line); } th:first-child, td:first-child { text-align: left; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem; } dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }`;

export function rolloutPage(reading: RolloutReading): string {
  const { scenario, results, machine, newBytes, payloadBitsPerSecond, repeats } = reading;
  const { titles, rows } = rolloutRows(reading);
  const cells = (row: readonly string[], tag: 'th' | 'td'): string =>
    `<tr>${row.map((cell) => `<${tag}>${escapeText(cell)}</${tag}>`).join('')}</tr>`;
  const facts: [string, string][] = [
    ['ways', results.map(({ name, about }) => `${name}: ${about}`).join('; ')],
    [
      'links',
      `${scenario.link / 1e6} Mbit/s for a node, ${(scenario.originLink ?? scenario.link) / 1e6} Mbit/s for the registry; one plain TCP stream carries ${(payloadBitsPerSecond / 1e6).toFixed(1)} Mbit/s`,
    ],
    ['runs', repeats === 1 ? 'one of each way' : `${repeats} of each way, the middle one is shown`],
    [
      'machine',
      `${machine.processors}, ${(machine.memoryBytes / 1024 ** 3).toFixed(0)} GiB, Linux ${machine.kernel}, Node.js ${machine.node}`,
    ],
    ['software', `${machine.containerd}; ${machine.dockerRegistry}; Shoal ${machine.commit}`],
    [
      'measured',
      'bytes of the registry by the counter of its network interface; requests by its own log; times from the order to pull (CRI) until containerd had the last layer, and until it had unpacked it; every blob on every node hashed afterwards',
    ],
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Shoal: ${escapeText(scenario.name)}</title><style>${STYLE}</style></head><body>
<h1>${escapeText(scenario.name)}: ${scenario.nodes} nodes, ${(newBytes / 1024 ** 2).toFixed(0)} MiB each</h1>
<p class="soft">${escapeText(scenario.about)}</p>
${complaintsOf(results)
  .map((text) => `<p class="bad">${escapeText(text)}</p>`)
  .join('\n')}
${rolloutCharts(reading)
  .map(({ svg }) => `<figure>${svg}</figure>`)
  .join('\n')}
<div class="wide"><table><thead>${cells(titles, 'th')}</thead><tbody>${rows.map((row) => cells(row, 'td')).join('')}</tbody></table></div>
<p class="soft">CPU and memory are of everything but containerd and the registry.</p>
<dl>${facts.map(([name, fact]) => `<dt>${name}</dt><dd>${escapeText(fact)}</dd>`).join('')}</dl>
</body></html>
`;
}
