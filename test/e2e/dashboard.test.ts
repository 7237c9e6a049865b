/** The tracker's page in a real browser, before a real cluster that pulls through a slow registry. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createTrackerClient } from '@shoal/agent';
import { createLogger } from '@shoal/cli';
import { blobIdOf, type Digest } from '@shoal/oci';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { overflowPixels, overlappingTexts, startBrowser, unreadableTexts } from '../support/browser.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { newIdentity } from '../support/member-identity.ts';
import { registryName, ShoalCluster } from '../support/shoal-cluster.ts';
import { describeSuite } from './suite.ts';

const MiB = 1024 * 1024;
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 360, height: 800 };
/** Each read of the registry gets so little that three nodes take some ten seconds. */
const SLOW_BYTES_PER_SECOND = 250_000;
const NODES = ['node-1', 'node-2', 'node-3'];
const soon = { timeout: 30_000, interval: 200 };

describeSuite('browser', 'the dashboard', () => {
  const resources = new AsyncDisposableStack();
  let origin: FaultOrigin;
  let image: ImageFixture;
  let cluster: ShoalCluster;
  let browser: Browser;
  let token: string;
  let url: string;

  beforeAll(async () => {
    origin = resources.use(await FaultOrigin.start());
    image = await buildImage({ seed: 'dashboard', repository: 'org/webshop', layers: [6 * MiB, 3 * MiB] });
    origin.add(image);
    cluster = resources.use(
      await ShoalCluster.start({
        origin,
        nodes: NODES.length,
        trackerArguments: ['--dashboard', '127.0.0.1:0'],
        agentArguments: (index) => ['--name', `node-${index + 1}`, '--zone', `zone-${index % 2}`],
      }),
    );
    browser = resources.use(await startBrowser());
    token = (await readFile(join(dirname(cluster.tracker.joinTokenFile), 'dashboard-token'), 'utf8')).trim();
    url = cluster.tracker.dashboardUrl ?? '';
  });
  afterAll(() => resources.disposeAsync());
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
  });

  /** What went wrong in the page, and what it asked of anybody but the tracker. */
  const complaints: string[] = [];
  async function open(
    fragment: string,
    options: Parameters<Browser['newPage']>[0] = { viewport: WIDE },
  ): Promise<Page> {
    complaints.length = 0;
    const page = await browser.newPage(options);
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== url) complaints.push(`asks ${request.url()}`);
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      // A refused token is told there, too.
      const isWrong = message.type() === 'error' && !message.text().includes('401');
      if (isWrong) complaints.push(message.text());
    });
    page.on('dialog', (dialog) => complaints.push(`says ${dialog.message()}`));
    await page.goto(`${url}/${fragment}`);
    return page;
  }
  const openWithToken = async (options?: Parameters<Browser['newPage']>[0]): Promise<Page> => {
    const page = await open(`#token=${token}`, options);
    await page.getByRole('status').filter({ hasText: 'Live' }).waitFor();
    return page;
  };

  test('without the token it shows nothing, and with a wrong one says so; the right one opens it, by keyboard alone', async () => {
    const page = await open('');
    await page.getByLabel('Token').waitFor();
    expect(await page.getByRole('table').count()).toBe(0);
    expect(await page.locator('body').textContent()).not.toContain('node-1');
    // The token's field has the focus.
    await page.keyboard.type('no-such-token');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'does not take this token' }).waitFor();
    expect(await page.locator('body').textContent()).not.toContain('node-1');
    await page.keyboard.type(token);
    await page.keyboard.press('Enter');
    await page.getByRole('rowheader', { name: 'node-1' }).waitFor();
    // Another tab has to be given it again.
    expect(complaints).toEqual([]);
    const other = await open('');
    await other.getByLabel('Token').waitFor();
    expect(complaints).toEqual([]);
  });

  test('a token in the address opens it, does not stay there, and is forgotten on demand', async () => {
    const page = await openWithToken();
    expect(page.url()).toBe(`${url}/`);
    await page.reload();
    await page.getByRole('rowheader', { name: 'node-1' }).waitFor();
    await page.getByRole('button', { name: 'Forget the token' }).click();
    await page.reload();
    await page.getByLabel('Token').waitFor();
    expect(complaints).toEqual([]);
  });

  test('a rollout is seen to grow on each node until all are done', async () => {
    const page = await openWithToken();
    await page.getByText('Nothing is being pulled now.').waitFor();
    // What moves is told from their first reports on.
    await page.getByText('all report').waitFor();
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: SLOW_BYTES_PER_SECOND });
    const pulls = Promise.all(NODES.map((_, index) => cluster.pull(index, image)));
    const rollout = page.getByRole('article', { name: `${registryName}/org/webshop` });
    // Until every layer is being pulled it is not known how much that is.
    const facts = rollout.getByText(/^\d+ %, .* of 27\.0 MiB /);
    const share = async (): Promise<number> => Number.parseInt((await facts.textContent()) ?? '', 10);
    const seen: number[] = [];
    await expect
      .poll(async () => {
        const now = await share();
        if (now !== seen.at(-1)) seen.push(now);
        return now;
      }, soon)
      .toBe(100);
    await pulls;
    origin.clearFaults();
    // On the way it was at some places in between, and never went back.
    expect(seen.filter((each) => each > 0 && each < 100).length).toBeGreaterThanOrEqual(2);
    expect(seen).toEqual(seen.toSorted((one, other) => one - other));
    await rollout.getByText('3 of 3 nodes done').waitFor();
    const cells = await rollout.getByRole('listitem').allTextContents();
    expect(cells).toHaveLength(NODES.length);
    for (const [index, name] of NODES.entries()) {
      expect(cells[index]).toMatch(new RegExp(`^${name} ✓ zone zone-${index % 2}, done, 9.\\d MiB of 9.\\d MiB`));
    }
    // The chart says in words what it draws: delivered three times, read about once.
    const chart = page.getByRole('img', { name: /In all: (\d+\.\d) MiB delivered/ });
    await expect
      .poll(async () => await chart.getAttribute('aria-label'), soon)
      .toMatch(
        /In all: 27\.\d MiB delivered to container runtimes, \d+\.\d MiB from other nodes, (9|1\d)\.\d MiB from the registry/,
      );
    expect(complaints).toEqual([]);
  });

  test('what is cached where is found by part of an image’s name, and by a digest', async () => {
    const page = await openWithToken();
    const find = page.getByLabel('Image or digest');
    await find.fill('webshop:v');
    await page.keyboard.press('Enter');
    const row = page.getByRole('row', { name: `${registryName}/org/webshop:v1` });
    await row.filter({ hasText: NODES.join(', ') }).waitFor();
    const [layer] = image.layers;
    await find.fill(layer!.digest);
    await page.getByRole('button', { name: 'Search' }).click();
    const blobs = page.locator('#held-blobs tbody tr');
    await expect.poll(() => blobs.count(), soon).toBe(1);
    expect(await blobs.textContent()).toMatch(/6\.0 MiB30node-1, node-2, node-3/);
    expect(complaints).toEqual([]);
  });

  test('keys alone sort the members, and the focus is seen wherever it goes', async () => {
    const page = await openWithToken();
    const focused = async (): Promise<string> =>
      await page.evaluate(() => {
        const element = document.activeElement as HTMLElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        const label = element.id === '' ? '' : document.querySelector(`label[for="${element.id}"]`)?.textContent;
        const name = label || element.getAttribute('aria-label') || (element.textContent ?? '').replace(/ [▲▼↕]$/, '');
        return outlineStyle === 'none' || outlineWidth === '0px' ? `${name}: not seen` : name;
      });
    const order: string[] = [];
    for (let step = 0; step < 20 && order.at(-1) !== 'Search'; step++) {
      await page.keyboard.press('Tab');
      order.push(await focused());
      if (order.at(-1) === 'Links') {
        await page.keyboard.press('Enter');
        await page.keyboard.press('Enter');
      }
    }
    expect(order).toEqual([
      'To the content',
      'Forget the token',
      'The same in numbers, by the minute',
      'Its blobs',
      'Name, zone or version',
      ...['Node', 'Zone', 'Version', 'Links', 'Heard', 'Cache', 'Sent to nodes', 'Delivered'],
      'Image or digest',
      'Search',
    ]);
    expect(await page.getByRole('columnheader', { name: 'Links' }).getAttribute('aria-sort')).toBe('descending');
    const sorts = page.getByRole('columnheader', { name: 'Node', exact: true }).getByRole('button');
    await sorts.press('Enter');
    await sorts.press('Enter');
    const names = page.locator('#members tbody th');
    await expect.poll(() => names.allInnerTexts(), soon).toEqual(NODES.toReversed());
    expect(await page.getByRole('columnheader', { name: 'Node', exact: true }).getAttribute('aria-sort')).toBe(
      'descending',
    );
    await page.getByLabel('Name, zone or version').fill('zone-1');
    await expect.poll(() => names.allInnerTexts(), soon).toEqual(['node-2']);
    expect(complaints).toEqual([]);
  });

  test('a reader of the screen is told what every part is', async () => {
    const page = await openWithToken();
    const tree = await page.locator('body').ariaSnapshot();
    for (const part of [
      '- heading "Rollouts" [level=2]',
      '- heading "Members" [level=2]',
      '- search "Members"',
      '- searchbox "Name, zone or version"',
      '- searchbox "Image or digest"',
      '- table "Members; the buttons of the head sort it"',
      '- columnheader "Node"',
      `- article "${registryName}/org/webshop"`,
      `- progressbar "Progress of ${registryName}/org/webshop"`,
      `- list "Nodes that pull ${registryName}/org/webshop"`,
    ]) {
      expect(tree).toContain(part);
    }
    // Nothing that is pressed, filled in, drawn or a table is without a name.
    const nameless = tree
      .split('\n')
      .filter((line) => /^\s*- (button|searchbox|textbox|img|table|progressbar|region)\b(?! ")/.test(line));
    expect(nameless).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.lang)).toBe('en');
  });

  test.each([
    ['light', WIDE],
    ['dark', WIDE],
    ['light', NARROW],
    ['dark', NARROW],
  ] as const)('is legible, %s, %o, also where something is opened', async (colorScheme, viewport) => {
    const page = await openWithToken({ colorScheme, viewport });
    for (const summary of await page.locator('summary').all()) await summary.click();
    expect(await unreadableTexts(page)).toEqual([]);
    expect(await overlappingTexts(page)).toEqual([]);
    expect(await overflowPixels(page)).toBe(0);
    // Tables are scrolled where they are too wide, by keyboard too; a wide window has room for the members.
    for (const wide of await page.locator('.wide').all()) {
      const isScrolled = await wide.evaluate((element) => element.scrollWidth > element.clientWidth);
      expect(await wide.getAttribute('tabindex')).toBe(isScrolled ? '0' : null);
      if (viewport === WIDE) expect(isScrolled).toBe(false);
    }
    await openWithoutToken(colorScheme, viewport);
    expect(complaints).toEqual([]);
  });

  async function openWithoutToken(colorScheme: 'light' | 'dark', viewport: typeof WIDE): Promise<void> {
    const page = await open('', { colorScheme, viewport });
    await page.getByLabel('Token').waitFor();
    expect(await unreadableTexts(page)).toEqual([]);
    expect(await overflowPixels(page)).toBe(0);
  }

  test('what moves stands still for who asked for that', async () => {
    const moves = async (reducedMotion: 'reduce' | 'no-preference'): Promise<string> => {
      const page = await openWithToken({ viewport: WIDE, reducedMotion });
      return await page
        .locator('.nodes .bar')
        .first()
        .evaluate((element) => getComputedStyle(element).transitionDuration);
    };
    expect([await moves('no-preference'), await moves('reduce')]).toEqual(['0.5s', '0s']);
  });

  test('what a member says is shown as it is and never run', async () => {
    const script = '<img src=x onerror=alert(1)>';
    const blob = blobIdOf(registryName, `sha256:${'ab'.repeat(32)}` as Digest);
    const identity = newIdentity();
    const liar = createTrackerClient(
      { trackers: [cluster.tracker.url], joinToken: await cluster.tracker.joinToken(), zone: script },
      {
        identity,
        addresses: () => [],
        report: () => ({
          version: script,
          links: 1,
          pulls: [{ blob, repository: script, sizeBytes: 2 ** 52, heldBytes: 2 ** 52, fromOrigin: 0, fromPeers: 0 }],
          bytes: { fromOrigin: 2 ** 52, fromPeers: 0, toPeers: 0, toClients: 2 ** 52 },
          cache: { bytes: 1, quotaBytes: 2, blobs: 3 },
        }),
        logger: createLogger({ level: 'silent', format: 'json' }, process.stderr),
        clock: Date.now,
      },
    );
    resources.defer(() => liar.close());
    await liar.start();
    await liar.want([blob]);
    const page = await openWithToken();
    const row = page.locator('#members tbody tr').filter({ hasText: identity.peerId });
    await row.filter({ hasText: `${script}` }).waitFor();
    await expect.poll(() => row.locator('td').allInnerTexts(), soon).toEqual(expect.arrayContaining([script, script]));
    await page
      .getByRole('article', { name: `${registryName}/${script}` })
      .getByText('100 %, for')
      .waitFor();
    expect(await page.locator('main img').count()).toBe(0);
    expect(complaints).toEqual([]);
  });
});
