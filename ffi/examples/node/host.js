// A program that calls functions: one in Python, some in a shared library. It prints what comes back.
//
//     node host.js PYTHON functions.py ./libexample.so
'use strict'

const arrow = require('apache-arrow')
const { Function, Pool } = require('./transom')

const numbers = (values) => ({ x: arrow.vectorFromArray(values, new arrow.Int64()) })
const shown = (value) => value === null ? 'null' : typeof value === 'string' ? JSON.stringify(value) : String(value)
const print = (title, vectors) => console.log(`${title}: [${[...Object.values(vectors)[0]].map(shown).join(', ')}]`)

async function main ([python, functions, library]) {
  const pool = new Pool({ workers: 2, python })
  const twice = Function.python(`${functions}:twice`)
  const [plusOne, upper, runningTotal] = ['plus_one', 'upper', 'running_total'].map((name) => Function.native(library, name))
  const x = numbers([1n, 2n, null, 4n])

  const signature = pool.describe(plusOne)
  console.log(`${signature.text} gives ${signature.format}`)
  print('plus_one', await pool.call(plusOne, x))
  print('twice, in Python', await pool.call(twice, x))
  print('upper', await pool.call(upper, { text: arrow.vectorFromArray(['over', null, 'the door'], new arrow.Utf8()) }))

  // A call that nobody waits for, yet.
  const later = pool.call(plusOne, x)
  print('plus_one, later', await later)

  // Arguments from JavaScript are always copied into shared memory, and from there on no more.
  const before = pool.copies()
  print('plus_one, in shared memory', await pool.call(plusOne, numbers([0n, 100n, 200n])))
  const after = pool.copies()
  console.log(`of the arguments ${after.inputShared - before.inputShared} bytes were shared and ${after.inputCopied - before.inputCopied} copied`)

  const batches = [0n, 10n, 20n].map((first) => numbers([first + 1n, first + 2n]))
  for (const batch of pool.map(plusOne, batches)) print('plus_one of a stream', batch)
  for (const batch of pool.map(runningTotal, batches)) print('running_total', batch)

  for (const target of [twice, plusOne, upper, runningTotal]) target.close()
  pool.close()
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
