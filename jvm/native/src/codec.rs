//! Batches between Rust and Java as numbers: one JNI call for each, no call for a column, no offsets (see `docs/decisions/0021-the-jvm-data-path.md`).
//!
//! A batch is `[schema, rows, keeper]` and then, depth first for each array, the number of values, (towards Java) of nulls, and of buffers, and
//! for each buffer its address and its length, in the order of Arrow IPC. Schemas cross once, as IPC messages, under numbers of their sender's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use jni::objects::{JByteArray, JClass};
use jni::sys::jlong;
use jni::{EnvUnowned, jni_mangle};
use transom::exchange::{Direction, Ledger, Reason, decode_schema, encode_schema, same_schema};
use transom::{Code, Error, Result};

use crate::failure::native;
use crate::handles::Table;
use crate::memory::{Borrowed, OWNED, Owned};
use crate::{layout, normal, types};

/// Numbers before the first array.
const HEAD: usize = 3;

static CODECS: Table<Codec> = Table::new(Code::PoolClosed, "this end of the data path is closed");

/// One side of a boundary that batches cross in both directions: a pool's, or a worker's.
pub(crate) struct Codec {
    from_java: RwLock<Vec<SchemaRef>>,
    to_java: RwLock<Vec<SchemaRef>>,
    /// Where copies are counted, and which way a batch goes that Java describes.
    ledger: Arc<Ledger>,
    from_java_is: Direction,
}

impl Codec {
    /// A codec, and Java's handle to it. `from_java_is` says what the batches are that Java describes: a host's arguments, a worker's results.
    pub(crate) fn new(ledger: Arc<Ledger>, from_java_is: Direction) -> (Arc<Self>, i64) {
        let codec = Arc::new(Self { from_java: RwLock::default(), to_java: RwLock::default(), ledger, from_java_is });
        let handle = CODECS.insert(codec.clone());
        (codec, handle)
    }

    /// Ends Java's handle.
    pub(crate) fn close(handle: i64) {
        drop(CODECS.remove(handle));
    }

    /// Lets Java have its buffers back, where there is nobody to receive the batch.
    pub(crate) fn decline(numbers: &[i64]) {
        if let Some(&[_, _, keeper]) = numbers.first_chunk::<HEAD>() {
            drop(Borrowed::new(keeper));
        }
    }

    /// A batch that Java described.
    ///
    /// # Errors
    /// `INVALID_DATA` where its buffers do not hold what it says.
    pub(crate) fn receive(&self, numbers: &[i64]) -> Result<RecordBatch> {
        let short = || Error::new(Code::Internal, "a batch of Java's has no head");
        let Some((&[schema, rows, keeper], arrays)) = numbers.split_first_chunk::<HEAD>() else { return Err(short()) };
        // From here on whatever happens tells Java that its buffers are free again.
        let borrowed = Borrowed::new(keeper);
        let schema = self.schema_from_java(schema)?;
        let rows = usize::try_from(rows).map_err(|_| short())?;
        // arrow-rs panics on some arrays that do not hold together. Whoever made them gets an error.
        let read = catch_unwind(AssertUnwindSafe(|| layout::read(&schema, rows, borrowed, arrays)));
        let (batch, aligned) = read.unwrap_or_else(|_| Err(Error::new(Code::InvalidData, "the Java batch does not hold together")))?;
        if aligned > 0 {
            self.ledger.copied(self.from_java_is, Reason::Aligned, aligned);
        }
        Ok(batch)
    }

    /// A batch for Java. It is kept until Java gives it back.
    ///
    /// # Errors
    /// `BAD_SCHEMA` for types that Java's Arrow does not have.
    pub(crate) fn send(&self, batch: RecordBatch) -> Result<Vec<i64>> {
        let schema = self.schema_to_java(batch.schema_ref())?;
        let normal::Described { numbers: arrays, ranges, made, bytes_made } = normal::describe(&batch)?;
        if bytes_made > 0 {
            self.ledger.copied(self.to_java_is(), Reason::Unsliced, bytes_made);
        }
        let mut numbers = Vec::with_capacity(HEAD + arrays.len());
        numbers.extend([schema, batch.num_rows() as i64]);
        numbers.push(OWNED.insert(Owned::new(ranges, (batch, made))));
        numbers.extend(arrays);
        Ok(numbers)
    }

    fn to_java_is(&self) -> Direction {
        match self.from_java_is {
            Direction::Input => Direction::Result,
            Direction::Result => Direction::Input,
        }
    }

    /// The schema that Java announced under this number.
    ///
    /// # Errors
    /// `INTERNAL` where there is none.
    pub(crate) fn schema_from_java(&self, number: i64) -> Result<SchemaRef> {
        let known = self.from_java.read().unwrap_or_else(PoisonError::into_inner);
        let found = usize::try_from(number).ok().and_then(|number| known.get(number).cloned());
        found.ok_or_else(|| Error::new(Code::Internal, format!("Java announced no schema {number}")))
    }

    /// The number by which Java knows a schema.
    ///
    /// # Errors
    /// `BAD_SCHEMA` for types that Java's Arrow does not have.
    pub(crate) fn schema_to_java(&self, schema: &SchemaRef) -> Result<i64> {
        let find = |known: &[SchemaRef]| known.iter().position(|known| Arc::ptr_eq(known, schema) || same_schema(known, schema));
        if let Some(number) = find(&self.to_java.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(number as i64);
        }
        types::check(schema)?;
        let mut known = self.to_java.write().unwrap_or_else(PoisonError::into_inner);
        let number = find(&known).unwrap_or_else(|| {
            known.push(schema.clone());
            known.len() - 1
        });
        Ok(number as i64)
    }
}

/// `long announce(long codec, byte[] message)`: the number of a schema of Java's.
#[jni_mangle("io.transom.internal.Codec")]
pub fn announce<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, codec: jlong, message: JByteArray<'local>) -> jlong {
    native(env, |env| {
        let schema = decode_schema(&env.convert_byte_array(&message)?)?;
        let codec = CODECS.get(codec)?;
        let mut known = codec.from_java.write().unwrap_or_else(PoisonError::into_inner);
        known.push(schema);
        Ok(known.len() as i64 - 1)
    })
}

/// `byte[] schema(long codec, long number)`: a schema of Rust's, as an IPC message.
#[jni_mangle("io.transom.internal.Codec")]
pub fn schema<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, codec: jlong, number: jlong) -> JByteArray<'local> {
    native(env, |env| {
        let codec = CODECS.get(codec)?;
        let schema =
            usize::try_from(number).ok().and_then(|number| codec.to_java.read().unwrap_or_else(PoisonError::into_inner).get(number).cloned());
        let schema = schema.ok_or_else(|| Error::new(Code::Internal, format!("Java was told of no schema {number}")))?;
        Ok(env.byte_array_from_slice(&encode_schema(&schema)?)?)
    })
}
