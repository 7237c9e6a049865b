import { expect, test } from 'vitest';
import { createMetrics } from './metrics.ts';

test('two agents in one process count apart', async () => {
  const [one, other] = [createMetrics(), createMetrics()];
  one.bytes('peer', 'in', 7);
  expect(await one.text()).toContain('shoal_bytes_total{source="peer",direction="in"} 7\n');
  expect(await other.text()).not.toContain('source="peer"');
});

test('gauges are asked at each scrape', async () => {
  const metrics = createMetrics();
  let peers = 3;
  let asked = 0;
  metrics.observe(async () => {
    asked++;
    return {
      cacheBytes: 10,
      cacheQuotaBytes: 100,
      cacheBlobs: 1,
      cachePinnedBytes: 4,
      diskFreeBytes: undefined,
      diskFloorBytes: 5,
      peers,
      members: 7,
      pullsOpen: 2,
      requestsOpen: 1,
      uploadsSending: 2,
      uploadsWaiting: 3,
      pieceMemoryLentBytes: 6,
      pieceMemoryWaiting: 0,
      trackerReachable: true,
      draining: false,
      runtimeContent: undefined,
    };
  });
  expect(await metrics.text()).toMatch(/^shoal_peers 3$/m);
  expect(asked).toBe(1);
  peers = 0;
  const page = await metrics.text();
  expect(page).toMatch(/^shoal_peers 0$/m);
  expect(page).toMatch(/^shoal_cache_bytes 10$/m);
  expect(page).toMatch(/^shoal_cache_pinned_bytes 4$/m);
  expect(page).toMatch(/^shoal_tracker_reachable 1$/m);
});

test('answers of registries are counted by class, and missing ones apart', async () => {
  const metrics = createMetrics();
  metrics.originRequest('blob', 200);
  metrics.originRequest('blob', 206);
  metrics.originRequest('blob', 0);
  metrics.originRequest('manifest', 429);
  const page = await metrics.text();
  expect(page).toContain('shoal_origin_requests_total{kind="blob",status="2xx"} 2\n');
  expect(page).toContain('shoal_origin_requests_total{kind="blob",status="none"} 1\n');
  expect(page).toContain('shoal_origin_requests_total{kind="manifest",status="4xx"} 1\n');
});

test('a pull that ended is counted and timed', async () => {
  const metrics = createMetrics();
  metrics.pullEnded('done', 'both', 0.2);
  metrics.mirrorRequest('blob', 'hit', 0.01);
  metrics.pieceRejected('corrupt');
  const page = await metrics.text();
  expect(page).toContain('shoal_pulls_total{result="done",source="both"} 1\n');
  expect(page).toContain('shoal_pull_seconds_bucket{le="0.5"} 1\n');
  expect(page).toContain('shoal_pull_seconds_bucket{le="0.1"} 0\n');
  expect(page).toContain('shoal_mirror_requests_total{kind="blob",result="hit"} 1\n');
  expect(page).toContain('shoal_pieces_rejected_total{reason="corrupt"} 1\n');
});

test('what came from elsewhere than a registry is saved, from the start on, and counted once', async () => {
  const metrics = createMetrics();
  expect(await metrics.text()).toMatch(/^shoal_saved_bytes_total 0$/m);
  metrics.bytes('peer', 'in', 7);
  metrics.bytes('store', 'in', 5);
  metrics.bytes('origin', 'in', 100);
  await metrics.text();
  expect(await metrics.text()).toMatch(/^shoal_saved_bytes_total 12$/m);
});

test('pieces that did not come are counted by cause, calls to the tracker by result', async () => {
  const metrics = createMetrics();
  for (const cause of ['busy', 'busy', 'timeout']) metrics.pieceFailed(cause);
  metrics.trackerCall('/v1/lease', 'ok', 0.01);
  metrics.trackerCall('/v1/lease', 'TIMEOUT', 3);
  const page = await metrics.text();
  expect(page).toContain('shoal_piece_failures_total{cause="busy"} 2\n');
  expect(page).toContain('shoal_tracker_calls_total{call="/v1/lease",result="TIMEOUT"} 1\n');
  expect(page).toContain('shoal_tracker_call_seconds_bucket{le="0.025",call="/v1/lease"} 1\n');
});

test('what the cache had, and what went from it, is counted', async () => {
  const metrics = createMetrics();
  metrics.cacheLookup(true);
  metrics.cacheLookup(false);
  metrics.cacheRemoved('quota', 5);
  metrics.cacheRemoved('quota', 7);
  const page = await metrics.text();
  expect(page).toContain('shoal_cache_lookups_total{result="hit"} 1\n');
  expect(page).toContain('shoal_cache_lookups_total{result="miss"} 1\n');
  expect(page).toContain('shoal_cache_removed_blobs_total{reason="quota"} 2\n');
  expect(page).toContain('shoal_cache_removed_bytes_total{reason="quota"} 12\n');
});

test('the process itself is measured', async () => {
  expect(await createMetrics().text()).toContain('process_resident_memory_bytes');
});

test('what a registry says of its limits is told by its name, for the first 16 registries', async () => {
  const metrics = createMetrics();
  metrics.rateLimit('docker.io', 76, 100);
  for (let index = 0; index < 20; index++) metrics.rateLimited(`r${index}.example`);
  const page = await metrics.text();
  expect(page).toContain('shoal_origin_ratelimit_remaining_pulls{registry="docker.io"} 76\n');
  expect(page).toContain('shoal_origin_ratelimit_limit_pulls{registry="docker.io"} 100\n');
  expect(page).toContain('shoal_origin_rate_limited_total{registry="r14.example"} 1\n');
  expect(page).toContain('shoal_origin_rate_limited_total{registry="other"} 5\n');
});
