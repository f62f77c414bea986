import { request } from 'node:http';
import { connect } from 'node:net';
import { toShoalError } from '../protocol/errors.js';
import type { Probe } from '../protocol/manifest.js';
import { withSocketPath } from '../protocol/socket-path.js';
import type { Ended } from './exec.js';

/** What a probe needs of an instance. */
export interface Probed {
  /** Path of a socket that is surely the instance's own, by the name of its port; rejects when there is none. */
  socket(port: string): Promise<string>;
  exec(command: readonly string[], timeoutMs: number): Promise<Ended>;
  /** Ms since its SDK last said anything; null when it never has. */
  silentMs(): number | null;
}

const SAID_LENGTH_MAX = 200;

/** Asks once. Null: it succeeds; else why not. Never rejects. */
export async function ask({ asks, timeoutMs, everyMs }: Probe, instance: Probed): Promise<string | null> {
  try {
    if (asks.kind === 'http') {
      const path = await instance.socket(asks.port);
      return await withSocketPath(path, (socket) => askHttp(socket, asks.path, timeoutMs));
    }
    if (asks.kind === 'tcp') {
      const path = await instance.socket(asks.port);
      return await withSocketPath(path, (socket) => askTcp(socket, timeoutMs));
    }
    if (asks.kind === 'fabric') {
      const silent = instance.silentMs();
      if (silent === null) return 'its SDK has said nothing yet';
      return silent <= Math.max(timeoutMs, everyMs) + SDK_PERIOD_MS
        ? null
        : `its SDK has said nothing for ${silent} ms`;
    }
    const { code, stdout, stderr } = await instance.exec(asks.command, timeoutMs);
    if (code === 0) return null;
    const said = (stderr.trim() || stdout.trim()).slice(-SAID_LENGTH_MAX);
    const how = code === null ? `did not end within ${timeoutMs} ms` : `ended with ${code}`;
    return `${asks.command[0]} ${how}${said === '' ? '' : `: ${said}`}`;
  } catch (error) {
    return toShoalError(error).message;
  }
}

/** The SDK tells its figures once a second. */
const SDK_PERIOD_MS = 1_000;

function askHttp(socketPath: string, path: string, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path, headers: { host: 'localhost', connection: 'close' } }, (response) => {
      const { statusCode = 0 } = response;
      resolve(statusCode >= 200 && statusCode < 400 ? null : `GET ${path} answers ${statusCode}`);
      // Of the answer only its status matters, however long it is.
      asked.destroy();
    });
    const timer = setTimeout(() => {
      resolve(`GET ${path} does not answer within ${timeoutMs} ms`);
      asked.destroy();
    }, timeoutMs);
    asked.on('error', (error) => resolve(`GET ${path}: ${error.message}`));
    asked.on('close', () => clearTimeout(timer));
    asked.end();
  });
}

function askTcp(path: string, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const timer = setTimeout(() => end(`takes no connection within ${timeoutMs} ms`), timeoutMs);
    const end = (why: string | null) => {
      clearTimeout(timer);
      resolve(why);
      socket.destroy();
    };
    socket.once('connect', () => end(null));
    socket.on('error', (error) => end(error.message));
  });
}
