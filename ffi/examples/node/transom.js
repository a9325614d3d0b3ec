// Transom for Node.js over apache-arrow: calls are promises; streams and functions are synchronous, and hold up the event loop while they wait.
// Columns are of flat types (see columns.h), and no slices. Each way copies once: arguments into shared memory, results out of it.
'use strict'

const arrow = require('apache-arrow')
const addon = require('./transom.node')

const TYPES = {
  b: arrow.Bool, c: arrow.Int8, C: arrow.Uint8, s: arrow.Int16, S: arrow.Uint16, i: arrow.Int32, I: arrow.Uint32, l: arrow.Int64,
  L: arrow.Uint64, f: arrow.Float32, g: arrow.Float64, u: arrow.Utf8, U: arrow.LargeUtf8, z: arrow.Binary, Z: arrow.LargeBinary,
}
const FORMATS = Object.fromEntries(Object.entries(TYPES).map(([format, Type]) => [String(new Type()), format]))
const WITH_OFFSETS = 'uUzZ'

const bytes = (array, length = array.length) => new Uint8Array(array.buffer, array.byteOffset, length * array.BYTES_PER_ELEMENT)

// A vector of one chunk as a column for C.
function column (name, vector) {
  const format = FORMATS[String(vector.type)]
  if (format === undefined || vector.data.length !== 1 || vector.data[0].offset !== 0) {
    throw new TypeError(`the column ${name} of type ${vector.type} is of no flat type, a slice, or of several chunks`)
  }
  const data = vector.data[0]
  const rows = data.length
  const valid = data.nullCount > 0 ? data.nullBitmap.subarray(0, (rows + 7) >> 3) : null
  const buffers = [valid]
  if (WITH_OFFSETS.includes(format)) {
    const end = Number(data.valueOffsets[rows])
    buffers.push(bytes(data.valueOffsets, rows + 1), bytes(data.values, end))
  } else {
    buffers.push(bytes(data.values, format === 'b' ? (rows + 7) >> 3 : rows))
  }
  return { name, format, nullCount: data.nullCount, buffers: [...buffers, null].slice(0, 3) }
}

// { x: vector, ... } as a batch for C.
function toBatch (vectors) {
  const columns = Object.entries(vectors).map(([name, vector]) => column(name, vector))
  return { length: Object.values(vectors)[0]?.length ?? 0, columns }
}

// A batch of C's as { x: vector, ... }.
function fromBatch (batch) {
  const vectors = {}
  for (const { name, format, nullCount, buffers: [valid, first, second] } of batch.columns) {
    const type = new TYPES[format]()
    const parts = { type, length: batch.length, nullCount, nullBitmap: valid === null ? undefined : new Uint8Array(valid) }
    if (WITH_OFFSETS.includes(format)) {
      parts.valueOffsets = 'UZ'.includes(format) ? new BigInt64Array(first) : new Int32Array(first)
      parts.data = new Uint8Array(second)
    } else {
      parts.data = new type.ArrayType(first)
    }
    vectors[name] = arrow.makeVector(arrow.makeData(parts))
  }
  return vectors
}

// Something to pull batches from, for C.
function pulled (batches) {
  const iterator = batches[Symbol.iterator]()
  return () => {
    const { done, value } = iterator.next()
    return done ? null : toBatch(value)
  }
}

// A stream of C's as batches. It is released with its last batch, or when the loop over it is left.
function * read (stream) {
  try {
    for (let batch = addon.read(stream); batch !== null; batch = addon.read(stream)) {
      yield fromBatch(batch)
    }
  } finally {
    addon.release(stream)
  }
}

// A function's place. It is freed by close().
class Function {
  #handle
  constructor (handle) { this.#handle = handle }
  static native (library, name) { return new Function(addon.native(library, name)) }
  static python (reference) { return new Function(addon.python(reference)) }
  get handle () { return this.#handle }
  close () { addon.freeFunction(this.#handle) }
}

// Workers that run functions: new Pool({ workers, python, nativeWorker }).
class Pool {
  #handle
  constructor (options = {}) {
    addon.init()
    this.#handle = addon.open(options)
  }

  // Waits for the workers' end; calls under way are rejected.
  close () { addon.close(this.#handle) }

  // What a function takes and gives: { text, format }.
  describe (target) { return addon.describe(this.#handle, target.handle) }

  copies () { return addon.copies(this.#handle) }

  // A promise of the result of one batch: { x: vector, ... } both ways.
  async call (target, vectors) { return fromBatch(await addon.call(this.#handle, target.handle, toBatch(vectors))) }

  // The results for each of the batches, in order. They are read as they are asked for.
  map (target, batches) { return read(addon.map(this.#handle, target.handle, pulled(batches))) }
}

// Runs functions for the pool that started this program: [{ name, parameter, result, call }], with { name, format } for parameter and result. `call` is
// given { x: vector } and gives a vector; without a parameter it is given batches and gives batches. An error's `kind` and `row` are told to the host.
function serve (functions) {
  const wrapped = functions.map(({ name, parameter, result, call }) => ({
    name,
    parameter,
    result,
    call: parameter ? (batch) => toBatch({ [name]: call(fromBatch(batch)) }) : (stream) => pulled(call(read(stream))),
  }))
  addon.init()
  addon.serve(Number(process.argv.at(-1)), wrapped)
}

// The code that the library fails with until a pool was opened.
function beforeInit () {
  try {
    return addon.open({})
  } catch (error) {
    return error.number
  }
}

module.exports = { Function, Pool, serve, beforeInit }
