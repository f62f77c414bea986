import { Counter, Gauge, Registry } from 'prom-client';
import type { SegmentView } from '../../protocol/http.js';
import { partitionOf } from '../../protocol/manifest.js';
import { componentKey, own } from '../cluster.js';
import type { Coordinator } from '../loop.js';
import { shardsShort, stateHeldBytes, stateWork } from '../state-view.js';
import { componentView, hostViews, instanceViews, type Knowledge } from '../views.js';

const ACTIVITY = [
  ['instance_page_faults_minor_total', 'Page faults served from memory', 'faultsMinor'],
  ['instance_page_faults_major_total', 'Page faults that waited for a disk', 'faultsMajor'],
  ['instance_system_calls_total', 'System calls', 'systemCalls'],
  ['instance_system_call_seconds_total', 'Time in system calls, waiting included', 'systemCallSeconds'],
  ['instance_block_operations_total', 'Block I/O asked for', 'ioOperations'],
  ['instance_block_seconds_total', 'Time from asking for block I/O until it was done', 'ioSeconds'],
  ['instance_sent_bytes_total', 'Bytes sent over IP', 'sentBytes'],
  ['instance_received_bytes_total', 'Bytes received over IP', 'receivedBytes'],
  ['instance_tcp_retransmits_total', 'TCP segments sent again', 'retransmits'],
  ['instance_tcp_connects_total', 'TCP connections made', 'connects'],
  ['instance_tcp_connect_seconds_total', 'Time until TCP connections were there', 'connectSeconds'],
] as const;

/** What Prometheus scrapes: the state of this moment, by component, instance and host. */
export async function metricsText(known: Knowledge, { decisions, figures }: Coordinator): Promise<string> {
  const registry = new Registry();
  const gauge = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Gauge({ name: `shoal_${name}`, help, labelNames, registers: [registry] });
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `shoal_${name}`, help, labelNames, registers: [registry] });
  const byComponent = ['app', 'component'];
  const desired = gauge('component_instances_desired', 'Instances that the plan wants', byComponent);
  const wouldBe = gauge(
    'component_instances_would_be',
    'Instances of a plan that is not acted on, in mode observe or with a count set by hand',
    byComponent,
  );
  const wouldBeSize = gauge('component_size_would_be_cores', 'CPU size of one instance by the same plan', byComponent);
  const ready = gauge('component_instances_ready', 'Instances that serve', byComponent);
  const demand = gauge('component_demand_cores', 'CPU-seconds used per second', byComponent);
  const forecast = gauge('component_forecast_upper_cores', 'Upper bound of the demand forecast', byComponent);
  const requests = gauge('component_requests_per_second', 'Calls and HTTP requests arriving', byComponent);
  const size = gauge('component_size_cores', 'CPU size of one instance', byComponent);
  const memory = gauge('component_size_bytes', 'Memory size of one instance', byComponent);
  const byHorizon = [...byComponent, 'ahead'];
  const error = gauge(
    'component_forecast_error_cores',
    'Mean absolute error of late, one step and as far ahead as a new instance needs',
    byHorizon,
  );
  const coverage = gauge(
    'component_forecast_coverage',
    'Share of demands within the 90 % interval, of late',
    byHorizon,
  );
  const decided = counter('component_decisions_total', 'Decisions since the coordinator started', byComponent);
  const changes = counter('component_decisions_changed_total', 'Decisions that changed count or size', byComponent);
  const latency = gauge('component_latency_seconds', 'Latency by quantile', [...byComponent, 'quantile']);
  const stateBytes = gauge('state_bytes', 'Of the entries of its state, keys and values', byComponent);
  const stateHeld = gauge(
    'state_held_bytes',
    'Of shared memory of hosts that its state takes, copies included',
    byComponent,
  );
  const stateEntries = gauge('state_entries', 'Entries of its state', byComponent);
  const stateMoves = gauge('state_shards_moving', 'State shards that are on their way or being copied', byComponent);
  const stateShort = gauge('state_shards_short', 'State shards with fewer copies than the manifest wants', byComponent);
  const stateLost = counter(
    'state_lost_total',
    'State shards of which no copy was left, and that began empty, since the component was applied',
    byComponent,
  );
  const stateReads = counter('state_reads_total', 'Entries looked up', byComponent);
  const stateWrites = counter('state_writes_total', 'Entries written or deleted', byComponent);
  const stateCopyReads = counter(
    'state_copy_reads_total',
    'Entries looked up in copies by who does not own them',
    byComponent,
  );
  const stateRefused = counter('state_refused_total', 'Writes refused at a limit or for lack of memory', byComponent);
  const cacheReads = counter('cache_reads_total', 'Reads of a cache, by where the value was', [
    ...byComponent,
    'found',
  ]);
  const cacheWrites = counter('cache_writes_total', 'Entries of a cache set, deleted, compared and set', byComponent);
  const cacheFailed = counter('cache_failed_total', 'Requests to a cache that failed', byComponent);
  const cacheSeconds = counter(
    'cache_answer_seconds_total',
    'Time until a cache had answered, all together',
    byComponent,
  );
  const cacheSlowest = gauge('cache_answer_slowest_seconds', 'The longest of the last seconds', byComponent);
  const cacheWaiting = gauge('cache_requests_waiting', 'Requests under way to a cache', byComponent);
  const cacheConnections = gauge('cache_connections', 'Connections of agents to servers of a cache', byComponent);
  const cacheClients = gauge('cache_clients', 'Processes of instances that share those', byComponent);
  for (const [app, { manifest }] of Object.entries(known.state.apps)) {
    for (const [component, described] of Object.entries(manifest.components)) {
      const view = componentView(known, app, component);
      if (view === null) continue;
      const labels = { app, component };
      desired.set(labels, view.count.desired);
      if (view.wouldBe !== null) {
        wouldBe.set(labels, view.wouldBe.count);
        wouldBeSize.set(labels, view.wouldBe.size.cpu);
      }
      ready.set(labels, view.count.ready);
      demand.set(labels, view.demandCpu);
      requests.set(labels, view.requestsPerSecond);
      size.set(labels, view.size.cpu);
      memory.set(labels, view.size.memory);
      forecast.set(labels, Math.max(0, ...(view.forecast?.points ?? []).map((point) => point.upper)));
      if (view.shards !== null) {
        const sum = (of: (holds: SegmentView) => number) =>
          view.shards?.reduce((total, { holds }) => total + (holds === null ? 0 : of(holds)), 0) ?? 0;
        stateBytes.set(
          labels,
          sum((holds) => holds.liveBytes),
        );
        stateEntries.set(
          labels,
          sum((holds) => holds.entries),
        );
        stateHeld.set(labels, stateHeldBytes(known.observed, componentKey(app, component)));
        stateMoves.set(labels, view.shards.filter(({ move }) => move !== null).length);
        stateShort.set(labels, shardsShort(view.shards, partitionOf(described)?.replicas ?? 0));
        stateLost.inc(labels, own(known.state.stateLost, componentKey(app, component))?.total ?? 0);
        const work = stateWork(known.observed, componentKey(app, component));
        stateReads.inc(labels, work?.reads ?? 0);
        stateWrites.inc(labels, work?.writes ?? 0);
        stateRefused.inc(labels, work?.refused ?? 0);
        stateCopyReads.inc(labels, work?.copyReads ?? 0);
      }
      if (view.cache !== null) {
        const { hits, misses, nearHits, writes, failed, answerMs, slowestMs, waiting, connections, clients } =
          view.cache;
        cacheReads.inc({ ...labels, found: 'cache' }, hits);
        cacheReads.inc({ ...labels, found: 'nowhere' }, misses);
        cacheReads.inc({ ...labels, found: 'near' }, nearHits);
        cacheWrites.inc(labels, writes);
        cacheFailed.inc(labels, failed);
        cacheSeconds.inc(labels, answerMs / 1000);
        cacheSlowest.set(labels, slowestMs / 1000);
        cacheWaiting.set(labels, waiting);
        cacheConnections.set(labels, connections);
        cacheClients.set(labels, clients);
      }
      const counts = decisions.counts(componentKey(app, component));
      decided.inc(labels, counts.decisions);
      changes.inc(labels, counts.changes);
      for (const [ahead, judged] of Object.entries(view.forecast?.accuracy ?? {})) {
        if (judged.compared === 0) continue;
        error.set({ ...labels, ahead }, judged.errorCpu);
        coverage.set({ ...labels, ahead }, judged.coverage);
      }
      if (view.latencyMs === null) continue;
      latency.set({ ...labels, quantile: '0.5' }, view.latencyMs.p50 / 1000);
      latency.set({ ...labels, quantile: '0.99' }, view.latencyMs.p99 / 1000);
    }
  }
  const byInstance = [...byComponent, 'instance', 'host'];
  const cpu = gauge('instance_cpu_cores', 'CPU-seconds used per second', byInstance);
  const lag = gauge('instance_state_lag_seconds', 'What it reads of replicated state lacks no older write', byInstance);
  const restarts = gauge('instance_restarts', 'Restarts since the instance was created', byInstance);
  const channels = gauge(
    'component_channels',
    'Open channels of its instances to those of another component, by carrier',
    [...byComponent, 'callee', 'carrier'],
  );
  const runDelay = counter('instance_run_delay_seconds_total', 'Waited for a CPU while it could have run', byInstance);
  const activity = ACTIVITY.map(([name, help, field]) => [counter(name, help, byInstance), field] as const);
  for (const each of instanceViews(known)) {
    const { app, component } = each;
    const labels = { app, component, instance: each.id, host: each.host };
    cpu.set(labels, each.cpuUsed);
    restarts.set(labels, each.restarts);
    if (each.stateLagMs !== undefined) lag.set(labels, each.stateLagMs / 1_000);
    for (const [callee, { ring, unix }] of Object.entries(each.channels ?? {})) {
      channels.inc({ app, component, callee, carrier: 'ring' }, ring);
      channels.inc({ app, component, callee, carrier: 'unix' }, unix);
    }
    if (each.sample?.runDelaySeconds !== undefined) runDelay.inc(labels, each.sample.runDelaySeconds);
    for (const [metric, field] of activity) {
      const value = each.sample?.[field];
      if (value !== undefined) metric.inc(labels, value);
    }
  }
  const connected = gauge('host_connected', '1 while the agent of the host is connected', ['host']);
  for (const host of hostViews(known)) connected.set({ host: host.name }, host.connected ? 1 : 0);
  const lacks = gauge('host_lacks', 'What a host lacks, which `shoal describe HOST` tells with its remedy: 1', [
    'host',
    'part',
  ]);
  const lost = counter(
    'host_profiler_lost_total',
    'Samples, and counts of what instances do, for which the maps of the kernel had no place',
    ['host', 'of'],
  );
  const inlines = counter(
    'host_profiler_inlines_cpu_seconds_total',
    'CPU time of the processes that read debug information for inlined functions (shoal-inlines)',
    ['host'],
  );
  const leftOut = gauge(
    'host_profiler_files_left_out',
    'Files whose unwind table, or whose debug information, profiles go without',
    ['host', 'of'],
  );
  const imageBlobs = counter('host_image_blobs_total', 'Blobs of images that a host fetched or gave', ['host', 'way']);
  const imageBytes = counter('host_image_bytes_total', 'Bytes of these', ['host', 'way']);
  const imageFailures = counter(
    'host_image_failures_total',
    'Blobs that other hosts sent wrong or not to their end, and questions of theirs that were refused',
    ['host', 'of'],
  );
  for (const { name: host, images } of hostViews(known)) {
    if (images === undefined) continue;
    for (const [way, { blobs, bytes }] of [
      ['from hosts', images.fromHosts],
      ['from sources', images.fromSources],
      ['to hosts', images.given],
    ] as const) {
      imageBlobs.inc({ host, way }, blobs);
      imageBytes.inc({ host, way }, bytes);
    }
    imageFailures.inc({ host, of: 'fetching from a host' }, images.failed);
    imageFailures.inc({ host, of: 'giving' }, images.refused);
  }
  for (const { name: host, degraded, profiler } of hostViews(known)) {
    for (const { part } of degraded) if (part !== undefined) lacks.set({ host, part }, 1);
    if (profiler === undefined) continue;
    lost.inc({ host, of: 'samples' }, profiler.samplesLost);
    lost.inc({ host, of: 'counts' }, profiler.countsLost);
    leftOut.set({ host, of: 'unwind table' }, profiler.tablesLeftOut);
    leftOut.set({ host, of: 'debug information' }, profiler.inlinesLeftOut);
    if (profiler.inlinesSeconds !== undefined) inlines.inc({ host }, profiler.inlinesSeconds);
  }
  const carriers = gauge(
    'host_connection_channels',
    'Open channels between two hosts, as the first one says, by what carries them',
    ['host', 'other', 'carrier', 'encrypted'],
  );
  const copiesByRdma = gauge('state_copies_by_rdma', 'Whether the first host sends copies to the other by RDMA', [
    'host',
    'other',
  ]);
  const rdmaBytes = counter('state_rdma_bytes_total', 'Bytes of copies that the first host has sent by RDMA', [
    'host',
    'other',
  ]);
  for (const { name: host, connections = [] } of hostViews(known)) {
    for (const { host: other, carrier, encrypted = false, channels: open, copies } of connections) {
      carriers.set({ host, other, carrier, encrypted: encrypted ? 'yes' : 'no' }, open);
      if (copies === undefined) continue;
      copiesByRdma.set({ host, other }, copies.by === 'rdma' ? 1 : 0);
      rdmaBytes.inc({ host, other }, copies.rdmaBytes);
    }
  }
  gauge('revision', 'Revision of the cluster state', []).set(known.state.revision);
  for (const metric of [figures.moves, figures.preemptions, figures.tickSeconds]) registry.registerMetric(metric);
  return registry.metrics();
}
