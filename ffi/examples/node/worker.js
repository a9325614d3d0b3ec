#!/usr/bin/env node
// A worker program of one's own, with functions in JavaScript.
//
// A pool starts it where its option `nativeWorker`, or the environment variable TRANSOM_NATIVE_WORKER, names it.
'use strict'

const arrow = require('apache-arrow')
const { serve } = require('./transom')

const int64s = (values) => arrow.vectorFromArray(values, new arrow.Int64())
const x = { name: 'x', format: 'l' }

function thousandth (value, row) {
  if (value === 0n) throw Object.assign(new Error('x is zero'), { kind: 'DivisionByZero', row })
  return value === null ? null : 1000n / value
}

function * runningTotal (batches) {
  let sum = 0n
  for (const { x } of batches) {
    yield { total: int64s([...x].map((value) => (sum += value ?? 0n))) }
  }
}

serve([
  {
    name: 'plus_one',
    parameter: x,
    result: { format: 'l' },
    call: ({ x }) => int64s([...x].map((value) => value === null ? null : value + 1n)),
  },
  {
    name: 'upper',
    parameter: { name: 'text', format: 'u' },
    result: { format: 'u' },
    call: ({ text }) => arrow.vectorFromArray([...text].map((value) => value?.toUpperCase() ?? null), new arrow.Utf8()),
  },
  { name: 'thousandth', parameter: x, result: { format: 'l' }, call: ({ x }) => int64s([...x].map(thousandth)) },
  { name: 'running_total', result: { name: 'total', format: 'l' }, call: runningTotal },
])
