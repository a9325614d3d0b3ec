/** Transom: user-defined functions in worker processes over Arrow batches. */
package io.transom;
