/** Writes docs/metrics.md anew: `npx -y pnpm@12.21.0 docs:metrics`. */
import { writeFile } from 'node:fs/promises';
import { metricsPage, metricsPageFile } from './support/metrics-page.ts';

await writeFile(metricsPageFile, await metricsPage());
