import { connect } from 'node:net';

// Says the same to the agent again and again, as fast as it is read.
const [id = ''] = [process.env.SHOAL_INSTANCE];
function frame(text: string): Buffer {
  const body = Buffer.from(text, 'latin1');
  const header = Buffer.alloc(4);
  header.writeUInt32LE(body.length);
  return Buffer.concat([header, body]);
}
// msgpack: {type: 'hello', instance: id, shards: []} and {type: 'ready'}.
const hello = frame(`\x83\xa4type\xa5hello\xa8instance\xd9${String.fromCharCode(id.length)}${id}\xa6shards\x90`);
const ready = frame('\x81\xa4type\xa5ready');
const many = Buffer.concat(Array.from({ length: 1_000 }, () => ready));
const socket = connect('/run/shoal/agent.sock', () => {
  socket.write(hello);
  const flood = () => socket.write(many, flood);
  flood();
});
