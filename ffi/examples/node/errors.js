// What goes wrong in a function is an Error here: in Python, in a library by its own account, and in a library by a defect. The program goes on.
//
//     node errors.js PYTHON functions.py ./libexample.so
'use strict'

const arrow = require('apache-arrow')
const transom = require('./transom')

function report (error) {
  console.log(`code ${error.number} is ${error.code} ${error.codeName}`)
  console.log(`  message: ${error.what}`)
  console.log(`  function: ${error.functionName ?? 'none'}, row: ${error.row}`)
  console.log(`  raised: ${error.remoteKind ?? 'none'}, ${error.remoteMessage ?? 'none'}`)
  console.log(`  a stack: ${error.workerStack === null ? 'no' : 'yes'}`)
}

async function main ([python, functions, library]) {
  console.log(`before transom_init: code ${transom.beforeInit()}`)
  const pool = new transom.Pool({ workers: 1, python })
  const natives = ['thousandth', 'crash', 'not_there', 'plus_one'].map((name) => transom.Function.native(library, name))
  for (const target of [transom.Function.python(`${functions}:ratio`), ...natives]) {
    try {
      const result = await pool.call(target, { x: arrow.vectorFromArray([5n, 0n, 2n], new arrow.Int64()) })
      console.log(`result: [${[...Object.values(result)[0]].join(', ')}]`)
    } catch (error) {
      report(error)
    }
    target.close()
  }
  // A pool that was closed is found out.
  pool.close()
  try {
    pool.close()
  } catch (error) {
    console.log(`closed: code 0, and again: code ${error.number}, ${error.what}`)
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
