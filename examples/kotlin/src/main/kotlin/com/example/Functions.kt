package com.example

import io.transom.Arguments
import io.transom.BatchFunction
import io.transom.Input
import io.transom.RowFunction
import io.transom.ScalarFunction
import io.transom.Signature
import org.apache.arrow.memory.BufferAllocator
import org.apache.arrow.vector.BigIntVector
import org.apache.arrow.vector.FieldVector
import org.apache.arrow.vector.VectorSchemaRoot
import org.apache.arrow.vector.types.Types.MinorType

/** Adds one to a column of whole numbers; a null stays null. */
class PlusOne : ScalarFunction {
    override fun signature(): Signature = Signature.of().parameter("x", MinorType.BIGINT.type).returns(MinorType.BIGINT.type)

    override fun call(arguments: Arguments, allocator: BufferAllocator): FieldVector {
        val x = arguments.vector("x", BigIntVector::class.java)
        val result = BigIntVector("result", allocator)
        result.allocateNew(arguments.rows())
        for (row in 0 until arguments.rows()) {
            if (x.isNull(row)) result.setNull(row) else result.set(row, x.get(row) + 1)
        }
        result.valueCount = arguments.rows()
        return result
    }
}

/** Turns a text into capitals. */
class Upper : RowFunction {
    fun call(text: String?): String? = text?.uppercase()
}

/** The sum of column x from the stream's beginning up to each row; a null adds nothing. */
class RunningTotal : BatchFunction {
    override fun call(input: Input, allocator: BufferAllocator): Iterator<VectorSchemaRoot> {
        var total = 0L
        return input.asSequence().map { batch ->
            val x = batch.getVector("x") as BigIntVector
            val totals = BigIntVector("total", allocator)
            totals.allocateNew(batch.rowCount)
            for (row in 0 until batch.rowCount) {
                total += if (x.isNull(row)) 0 else x.get(row)
                totals.set(row, total)
            }
            totals.valueCount = batch.rowCount
            VectorSchemaRoot(listOf<FieldVector>(totals))
        }.iterator()
    }
}
