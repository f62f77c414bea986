import type { KnownCopy, Route, ToInstance } from '../protocol/control.js';
import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';
import { readWritePart } from '../protocol/state-transfer.js';

/** Names become parts of socket paths: nothing that could leave the folder. */
const NAME = /^[a-z0-9][a-z0-9-]*$/;
/** `<app>-<component>-<n>`. */
const NAME_LENGTH_MAX = 3 * LIMITS.nameLengthMax;
/** Draining instances may be there besides the most that a component may have. */
const ROUTE_INSTANCES_MAX = 2 * LIMITS.instancesPerComponentMax;

/** The agent's message when it has the shape that control.ts of the protocol gives; throws SHOAL_E_FRAME otherwise. */
export function parseToInstance(value: unknown): ToInstance {
  if (!isRecord(value)) throw fail('is not a map');
  const { type, shard, epoch, requestId, revision, routes, index, untilMs } = value;
  switch (type) {
    case 'routes':
      if (!isCount(revision) || !isRecord(routes)) throw fail('routes have a wrong shape');
      return { type, revision, routes: parseRoutes(routes) };
    case 'activate':
      if (!isName(value.instance)) throw fail('activate names no instance');
      return { type, instance: value.instance };
    case 'drain':
      return { type };
    case 'shard-freeze':
      if (!isShard(shard) || !isCount(requestId)) throw fail(`${type} has a wrong shape`);
      if (value.to === undefined) return { type, shard, requestId };
      if (!isName(value.to)) throw fail(`${type} names no instance`);
      return { type, shard, requestId, to: value.to };
    case 'shard-drop':
      if (!isShard(shard) || !isCount(requestId)) throw fail(`${type} has a wrong shape`);
      return { type, shard, requestId };
    case 'shard-prepare':
    case 'shard-own': {
      if (!isShard(shard) || !isCount(epoch) || !isCount(requestId)) throw fail(`${type} has a wrong shape`);
      const { held } = value;
      if (type === 'shard-prepare' || held === undefined) return { type, shard, epoch, requestId };
      if (!isHeld(held)) throw fail(`${type} has a wrong shape`);
      return { type, shard, epoch, requestId, held: { index: held.index, untilMs: held.untilMs } };
    }
    case 'shard-import': {
      if (!isCount(requestId)) throw fail('shard-import has a wrong shape');
      return { type, requestId, ...readWritePart(value) };
    }
    case 'shard-held':
      if (!isShard(shard) || !isHeld({ index, untilMs })) throw fail(`${type} has a wrong shape`);
      return { type, shard, index: index as number, untilMs: untilMs as number };
    case 'copies-known':
      if (!areCopies(value.copies)) throw fail(`${type} has a wrong shape`);
      return { type, copies: value.copies };
    default:
      throw fail('has an unknown type');
  }
}

function parseRoutes(value: Record<string, unknown>): Record<string, Route> {
  const routes: Record<string, Route> = {};
  for (const [component, route] of Object.entries(value)) {
    if (!isName(component) || !isRecord(route)) throw fail('a route has a wrong shape');
    const { instances, owners, weights, near } = route;
    if (!Array.isArray(instances) || instances.length > ROUTE_INSTANCES_MAX || !instances.every(isName)) {
      throw fail(`the route to ${component} lists no instances`);
    }
    const parsed: Route = { instances };
    if (owners !== undefined) {
      if (!areOwners(owners)) throw fail(`the route to ${component} has wrong owners`);
      parsed.owners = owners;
    }
    if (weights !== undefined) {
      if (!areWeights(weights, instances.length)) throw fail(`the route to ${component} has wrong weights`);
      parsed.weights = weights;
    }
    if (near !== undefined) {
      if (!isCount(near) || near > instances.length) throw fail(`the route to ${component} has a wrong \`near\``);
      parsed.near = near;
    }
    routes[component] = parsed;
  }
  return routes;
}

function fail(what: string): ShoalError {
  return new ShoalError('SHOAL_E_FRAME', `message of the agent: ${what}`);
}
function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= NAME_LENGTH_MAX && NAME.test(value);
}
function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
function isHeld(value: unknown): value is { index: number; untilMs: number } {
  return isRecord(value) && isCount(value.index) && typeof value.untilMs === 'number';
}
function isShard(value: unknown): value is number {
  return isCount(value) && value < LIMITS.shardCountMax;
}
function areCopies(value: unknown): value is KnownCopy[] {
  return (
    Array.isArray(value) &&
    value.length <= LIMITS.shardCountMax &&
    value.every((each) => {
      if (!Array.isArray(each) || each.length !== 4) return false;
      const [shard, file, index, atMs] = each;
      return isShard(shard) && isCount(file) && isCount(index) && typeof atMs === 'number';
    })
  );
}
function areOwners(value: unknown): value is (string | null)[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= LIMITS.shardCountMax &&
    value.every((each) => each === null || isName(each))
  );
}
function areWeights(value: unknown, count: number): value is number[] {
  return (
    Array.isArray(value) &&
    value.length === count &&
    value.every((each) => typeof each === 'number' && each > 0 && each <= 1)
  );
}
