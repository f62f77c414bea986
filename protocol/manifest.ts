/** The application manifest after validation and with every default filled in. Times in ms, memory in bytes, CPU in cores. */
export interface Manifest {
  app: string;
  components: Record<string, Component>;
}

export interface Component {
  source: Source;
  command: string[];
  env: Record<string, string>;
  count: { min: number; max: number };
  size: { cpu: { min: number; max: number }; memory: { min: number; max: number } };
  objective: Objective;
  state: StateMode;
  /** Season length in seconds, when the operator knows it. */
  seasonSeconds?: number;
  /** Components of the same app that this one may call. */
  calls: string[];
  /** TCP ports on the host's loopback that are forwarded into the first instances. */
  ports: Port[];
}

export type StateMode = 'none' | 'replicated' | 'partitioned' | 'cache';

export type Source =
  | {
      kind: 'rootfs' /** 'host' = the host's /usr read-only. */;
      rootfs: string /** Mounted read-only at /app. */;
      directory?: string;
    }
  | { kind: 'image'; image: string }
  | { kind: 'build'; build: string };

export type Objective =
  | { kind: 'utilisation' /** Share of allotted CPU, 0 … 1. */; target: number }
  | { kind: 'latency'; percentile: number; targetMs: number }
  | { kind: 'queue' /** Calls waiting or running per instance. */; length: number };

/** `container` names a listener inside: the SDK's HTTP helper binds it as a Unix socket; the agent forwards `host` to it. */
export interface Port {
  name: string;
  host: number;
}
