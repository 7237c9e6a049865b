/** The page of a rollout in a real browser: whole, legible in light and dark, and nothing fetched from anywhere. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rolloutPage } from '../../bench/report/page.ts';
import type { RolloutReading } from '../../bench/rollout/rollout.ts';
import { overflowPixels, overlappingTexts, startBrowser, unreadableTexts } from '../support/browser.ts';
import { describeSuite } from './suite.ts';

/** The run that the documentation shows. */
const MEASURED = join(import.meta.dirname, '../../docs/measured/rollout.json');
const NARROW = { width: 420, height: 900 };
const WIDE = { width: 1280, height: 900 };

describeSuite('browser', 'the page of a rollout', () => {
  let browser: Browser;
  let reading: RolloutReading;
  beforeAll(async () => {
    browser = await startBrowser();
    reading = JSON.parse(await readFile(MEASURED, 'utf8')) as RolloutReading;
  });
  afterAll(() => browser.close());

  test.each([
    ['light', WIDE],
    ['dark', WIDE],
    ['light', NARROW],
    ['dark', NARROW],
  ] as const)('is legible, %s, %o', async (colorScheme, viewport) => {
    const page = await browser.newPage({ colorScheme, viewport });
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.setContent(rolloutPage(reading));
    expect(await page.title()).toBe(`Shoal: ${reading.scenario.name}`);
    expect(await page.locator('figure svg').count()).toBeGreaterThanOrEqual(4);
    expect(await page.locator('tbody tr').count()).toBe(reading.results.length);
    expect(await unreadableTexts(page)).toEqual([]);
    expect(await overlappingTexts(page)).toEqual([]);
    expect(await overflowPixels(page)).toBe(0);
    // The table is scrolled where it is too wide, and only there.
    if (viewport === WIDE) expect(await overflowPixels(page, '.wide')).toBe(0);
    expect(asked).toEqual([]);
    await page.close();
  });

  test('says what is no result, before everything else', async () => {
    const [first, ...others] = reading.results;
    const broken = { ...first!, broken: 'node-2 got nothing <from> the others' };
    const page = await browser.newPage();
    await page.setContent(rolloutPage({ ...reading, results: [broken, ...others] }));
    expect(await page.locator('p.bad').first().textContent()).toContain('node-2 got nothing <from> the others');
    await page.close();
  });
});
