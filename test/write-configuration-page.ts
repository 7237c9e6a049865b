/** Writes docs/configuration.md anew: `npx -y pnpm@12.21.0 docs:configuration`. */
import { writeFile } from 'node:fs/promises';
import { configurationPage, configurationPageFile } from './support/configuration-page.ts';

await writeFile(configurationPageFile, configurationPage());
