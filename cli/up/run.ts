import { mkdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ERRORS, type ErrorCode, ShoalError } from '../../protocol/errors.js';
import type { HostView } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import { pause } from '../../protocol/pause.js';
import { apiPath, Client, readToken, reasonOf } from '../client.js';
import { type Io, printJson, printJsonLine, printLines } from '../io.js';
import { renderLogLine } from '../render/log-line.js';
import { clean, safeJson } from '../render/text.js';
import { addressOf, type Listen, parseListen } from './listen.js';
import { type Listener, Supervisor } from './supervisor.js';

const POLL_MS = 200;

export interface UpOptions {
  io: Io;
  signal: AbortSignal;
  json: boolean;
  /** Absolute paths. */
  data: string;
  run: string;
  tokenFile?: string;
  /** HOST:PORT of the API. */
  listen: string;
  /** Of this host. */
  name: string;
  /** Of this host, KEY=VALUE each. */
  labels?: readonly string[];
  taints?: readonly string[];
  /** Where the coordinator keeps its state when not in `data`, and how those of other hosts and their agents reach it. */
  cluster?: readonly string[];
  /** Arguments of a member of etcd that runs beside them. */
  etcd?: readonly string[];
  /** Coordinators of other hosts, HOST:PORT, that the agent tries as well. */
  coordinators?: readonly string[];
  /** The API speaks TLS: the certificate of its authority, in PEM. */
  ca?: string;
  /** Folder of the agent's certificate for them. */
  identity?: string;
  /** The agent's words about calls between hosts. */
  fabric?: readonly string[];
  /** End the instances with the agent. */
  down: boolean;
  /** Compiled entry points. */
  scripts: { coordinator: string; agent: string };
}

/** Runs coordinator and agent until `signal`, restarting what dies; throws when one of them can never run here. */
export async function runUp(options: UpOptions): Promise<void> {
  const { io, signal, json, data, run, tokenFile, listen, name, labels = [], taints = [], down, scripts } = options;
  const { cluster = [], coordinators = [], fabric = [], identity, ca } = options;
  const at = parseListen(listen);
  const token = await readToken(tokenFile);
  const server = addressOf(at, ca === undefined ? 'http' : 'https');
  const client = new Client({ server, ...(token === undefined ? {} : { token }), ...(ca === undefined ? {} : { ca }) });
  await refuseTaken(at, client.address);
  // Others may pass through to what is shared with instances, not list it.
  await mkdir(run, { recursive: true, mode: 0o711 });

  let ready = false;
  const listener: Listener = {
    onLine: (child, line) =>
      io.err(json ? `${safeJson({ from: child, line }, 0)}\n` : `${renderLogLine(child, line, io.paint)}\n`),
    onDied: (child, how, restartMs) => {
      const text = `${child} ended (${how}); started again in ${restartMs} ms`;
      io.err(json ? `${safeJson({ from: 'up', line: text }, 0)}\n` : `${io.paint.yellow(text)}\n`);
    },
    // Wrong usage, a conflict or a host that cannot: the same again would come of it. Later they may pass.
    isFinal: (code) => !ready && (code === 2 || code === 4 || code === 6),
  };
  const socket = join(run, 'coordinator.sock');
  const coordinatorArgs = ['--data', data, '--socket', socket, '--listen', listen, '--run', run];
  if (cluster.length > 0) coordinatorArgs.push('--name', name, ...cluster);
  if (tokenFile !== undefined) coordinatorArgs.push('--token-file', tokenFile);
  const sockets = [socket, ...coordinators].flatMap((each) => ['--socket', each]);
  const agentArgs = [...sockets, '--run', run, '--name', name, ...(down ? ['--stop-instances'] : []), ...fabric];
  if (identity !== undefined) agentArgs.push('--identity', identity);
  // In one word each: what begins with a hyphen is a value too, which the agent then refuses by name.
  agentArgs.push(...labels.map((label) => `--label=${label}`), ...taints.map((taint) => `--taint=${taint}`));
  const etcd =
    options.etcd === undefined ? null : new Supervisor({ name: 'etcd', program: 'etcd', args: options.etcd }, listener);
  const coordinator = new Supervisor(
    { name: 'coordinator', script: scripts.coordinator, args: coordinatorArgs },
    listener,
  );
  const agent = new Supervisor({ name: 'agent', script: scripts.agent, args: agentArgs }, listener);

  const stopped = new AbortController();
  const both = AbortSignal.any([signal, stopped.signal]);
  const announce = async (): Promise<void> => {
    if (!(await untilConnected(client, name, both, io))) return;
    ready = true;
    if (json) printJson(io, { ready: true, address: client.address, host: name });
    else printLines(io, [clean(`shoal is up at ${client.address}, host ${name} is connected; Ctrl-C ends it`)]);
  };
  try {
    const failed = await Promise.race([firstFailure(coordinator, agent), announce().then(() => untilAborted(signal))]);
    if (failed !== null) throw failed;
  } finally {
    stopped.abort();
    // The agent first: what it says at its end still reaches the coordinator.
    await agent.stop();
    await coordinator.stop();
    await etcd?.stop();
  }
  if (json) printJsonLine(io, { stopped: true, instancesKept: !down });
  else printLines(io, [down ? 'stopped, instances too' : 'stopped; instances go on']);
}

async function firstFailure(coordinator: Supervisor, agent: Supervisor): Promise<ShoalError | null> {
  const named = async (name: string, child: Supervisor): Promise<ShoalError | null> => {
    const code = await child.ended;
    return code === null ? null : new ShoalError(codeOfExit(code), `the ${name} cannot run here; its log says why`);
  };
  return Promise.race([named('coordinator', coordinator), named('agent', agent)]);
}

function codeOfExit(exitCode: number): ErrorCode {
  if (exitCode === ERRORS.SHOAL_E_HOST.exitCode) return 'SHOAL_E_HOST';
  return exitCode === ERRORS.SHOAL_E_CONFLICT.exitCode ? 'SHOAL_E_CONFLICT' : 'SHOAL_E_USAGE';
}

/** Another coordinator there would answer for ours and hide that ours could not start. */
async function refuseTaken({ host, port }: Listen, address: string): Promise<void> {
  const taken = await new Promise<boolean>((resolve) => {
    const probe = connect({ host: host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host, port });
    probe.setTimeout(LIMITS.heartbeatMs, () => probe.destroy(new Error('silent')));
    probe.once('connect', () => resolve(true));
    probe.once('error', () => resolve(false));
    probe.once('close', () => probe.destroy());
    probe.once('connect', () => probe.destroy());
  });
  if (taken) {
    throw new ShoalError(
      'SHOAL_E_CONFLICT',
      `something already listens at ${address}: end it, or choose another address with --listen`,
    );
  }
}

/** Whether, before `signal`, the API answered and this host was connected to it. */
async function untilConnected(client: Client, name: string, signal: AbortSignal, io: Io): Promise<boolean> {
  const hintAtMs = performance.now() + LIMITS.readyMsMax;
  let hinted = false;
  while (!signal.aborted) {
    let state: string;
    try {
      await client.text('GET', '/healthz', { signal, timeoutMs: LIMITS.peerSilenceMsMax });
      const hosts = await client.list<HostView>(apiPath('hosts'), { signal, timeoutMs: LIMITS.peerSilenceMsMax });
      if (hosts.some((host) => host.name === name && host.connected)) return true;
      state = `the coordinator answers, host ${name} is not connected`;
    } catch (error) {
      // Not being there yet is what we wait for to pass; a refused token would not pass.
      if (error instanceof ShoalError && error.code === 'SHOAL_E_UNAUTHORIZED') throw error;
      state = reasonOf(error);
    }
    if (!hinted && performance.now() > hintAtMs) {
      hinted = true;
      io.err(`still not up: ${clean(state)}; \`shoal doctor\` looks at what this host lacks\n`);
    }
    await pause(POLL_MS, signal);
  }
  return false;
}

async function untilAborted(signal: AbortSignal): Promise<null> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  return null;
}
