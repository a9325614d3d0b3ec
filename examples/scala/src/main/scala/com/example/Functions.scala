package com.example

import io.transom.{Arguments, BatchFunction, Input, RowFunction, ScalarFunction, Signature}
import java.util.{Iterator as JavaIterator, List as JavaList}
import org.apache.arrow.memory.BufferAllocator
import org.apache.arrow.vector.{BigIntVector, FieldVector, VectorSchemaRoot}
import org.apache.arrow.vector.types.Types.MinorType
import scala.jdk.CollectionConverters.*

/** Adds one to a column of whole numbers; a null stays null. */
class PlusOne extends ScalarFunction:
  override def signature(): Signature =
    Signature.of().parameter("x", MinorType.BIGINT.getType).returns(MinorType.BIGINT.getType)

  override def call(arguments: Arguments, allocator: BufferAllocator): FieldVector =
    val x = arguments.vector("x", classOf[BigIntVector])
    val result = BigIntVector("result", allocator)
    result.allocateNew(arguments.rows())
    for row <- 0 until arguments.rows() do
      if x.isNull(row) then result.setNull(row) else result.set(row, x.get(row) + 1)
    result.setValueCount(arguments.rows())
    result

/** Turns a text into capitals. */
class Upper extends RowFunction:
  def call(text: String): String = Option(text).map(_.toUpperCase).orNull

/** The sum of column x from the stream's beginning up to each row; a null adds nothing. */
class RunningTotal extends BatchFunction:
  override def call(input: Input, allocator: BufferAllocator): JavaIterator[VectorSchemaRoot] =
    var total = 0L
    val results = input.asScala.map: batch =>
      val x = batch.getVector("x").asInstanceOf[BigIntVector]
      val totals = BigIntVector("total", allocator)
      totals.allocateNew(batch.getRowCount)
      for row <- 0 until batch.getRowCount do
        if !x.isNull(row) then total += x.get(row)
        totals.set(row, total)
      totals.setValueCount(batch.getRowCount)
      VectorSchemaRoot(JavaList.of[FieldVector](totals))
    results.asJava
