import { join } from 'node:path';

/**
 * The command line as it is built and shipped: what a bench measures is what users run, not a program that strips its types as
 * it starts (30 MiB and a quarter of a second more). `pnpm bench` and the tests build it first.
 */
export const SHOAL: string = join(import.meta.dirname, '../../packages/cli/dist/main.js');
