//! Natives of `io.transom.Pool`.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use jni::objects::{JByteArray, JClass, JLongArray, JObjectArray, JString};
use jni::sys::jlong;
use jni::{Env, EnvUnowned, jni_mangle};
use transom::exchange::encode_schema;
use transom::{Code, DeadLetters, Direction, Function, Language, Reason, Result, Signature};

use crate::calls::Calls;
use crate::codec::Codec;
use crate::failure::{Failure, native};
use crate::function::{FUNCTIONS, texts};
use crate::handles::Table;
use crate::options;
use crate::wait::wait;

/// A pool of Java's.
pub(crate) struct Entry {
    pub(crate) pool: transom::Pool,
    pub(crate) codec: Arc<Codec>,
    codec_handle: i64,
    calls: Calls,
}

static POOLS: Table<Entry> = Table::new(Code::PoolClosed, "the pool is closed");

/// The pool behind a handle.
///
/// # Errors
/// `POOL_CLOSED`.
pub(crate) fn get(pool: jlong) -> Result<Arc<Entry>> {
    POOLS.get(pool)
}

impl Entry {
    /// What a function is. One whose results Java cannot hold is refused before anything is sent to it.
    pub(crate) async fn describe(&self, function: &Function) -> Result<Arc<Signature>> {
        let signature = self.pool.describe(function).await?;
        if let Some(results) = &signature.returns {
            self.codec.schema_to_java(results).map_err(|error| error.with_function(&signature.name))?;
        }
        Ok(signature)
    }

    /// The next of these dead letters for Java; null where there are none left.
    pub(crate) fn letters<'local>(&self, env: &mut Env<'local>, letters: &DeadLetters) -> Result<JLongArray<'local>, Failure> {
        match letters.take_next()? {
            Some(batch) => to_java(env, &self.codec.send(batch)?),
            None => Ok(JLongArray::default()),
        }
    }

    async fn call(&self, function: &Function, batch: RecordBatch) -> Result<RecordBatch> {
        self.describe(function).await?;
        self.pool.call(function, batch).await
    }
}

/// The numbers of a Java array.
pub(crate) fn numbers(env: &mut Env<'_>, array: &JLongArray<'_>) -> Result<Vec<i64>, Failure> {
    let mut numbers = vec![0; array.len(env)?];
    array.get_region(env, 0, &mut numbers)?;
    Ok(numbers)
}

/// Numbers as a Java array.
pub(crate) fn to_java<'local>(env: &mut Env<'local>, numbers: &[i64]) -> Result<JLongArray<'local>, Failure> {
    let array = env.new_long_array(numbers.len())?;
    array.set_region(env, 0, numbers)?;
    Ok(array)
}

/// The pool, and the batch that Java describes for it.
fn received(env: &mut Env<'_>, pool: jlong, batch: &JLongArray<'_>) -> Result<(Arc<Entry>, RecordBatch), Failure> {
    let numbers = numbers(env, batch)?;
    let entry = get(pool).inspect_err(|_| Codec::decline(&numbers))?;
    let batch = entry.codec.receive(&numbers)?;
    Ok((entry, batch))
}

/// `long create(String[] options)`: names and values in turn.
#[jni_mangle("io.transom.Pool")]
pub fn create<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, options: JObjectArray<'local, JString<'local>>) -> jlong {
    native(env, |env| {
        let pool = options::builder(&texts(env, &options)?)?.build()?;
        let (codec, codec_handle) = Codec::new(pool.ledger().clone(), Direction::Input);
        Ok(POOLS.insert(Arc::new(Entry { pool, codec, codec_handle, calls: Calls::default() })))
    })
}

/// `long codec(long pool)`: the handle of the pool's codec.
#[jni_mangle("io.transom.Pool")]
pub fn codec<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong) -> jlong {
    native(env, |_| Ok(get(pool)?.codec_handle))
}

/// `long[] call(long pool, long function, long[] batch)`: calls and waits.
#[jni_mangle("io.transom.Pool")]
pub fn call<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong, function: jlong, batch: JLongArray<'local>) -> JLongArray<'local> {
    native(env, |env| {
        let (entry, batch) = received(env, pool, &batch)?;
        let function = FUNCTIONS.get(function)?;
        let result = wait(env, entry.call(&function, batch))?;
        to_java(env, &entry.codec.send(result)?)
    })
}

/// `void begin(long pool, long function, long[] batch, long call)`: a call that goes on by itself, under a number of Java's.
#[jni_mangle("io.transom.Pool")]
pub fn begin<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong, function: jlong, batch: JLongArray<'local>, call: jlong) {
    native(env, |env| {
        let (entry, batch) = received(env, pool, &batch)?;
        let function = FUNCTIONS.get(function)?;
        let caller = entry.clone();
        entry.calls.begin(call, Box::pin(async move { caller.call(&function, batch).await }));
        Ok(())
    });
}

/// `long finished(long pool)`: waits for the next call that has ended; 0 when the pool is closed and none is under way.
#[jni_mangle("io.transom.Pool")]
pub fn finished<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong) -> jlong {
    native(env, |_| Ok(get(pool)?.calls.finished().unwrap_or_default()))
}

/// `long[] take(long pool, long call)`: the result of a call that has ended; null where it was cancelled.
#[jni_mangle("io.transom.Pool")]
pub fn take<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong, call: jlong) -> JLongArray<'local> {
    native(env, |env| {
        let entry = get(pool)?;
        match entry.calls.take(call) {
            Some(outcome) => to_java(env, &entry.codec.send(outcome?)?),
            None => Ok(JLongArray::default()),
        }
    })
}

/// `void cancel(long pool, long call)`. A pool that is closed has ended its calls itself.
#[jni_mangle("io.transom.Pool")]
pub fn cancel<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong, call: jlong) {
    native(env, |_| {
        if let Ok(entry) = get(pool) {
            entry.calls.cancel(call);
        }
        Ok(())
    });
}

/// `long[] letters(long pool)`: the next of the dead letters of calls, those of one function and schema; null where there are none left.
#[jni_mangle("io.transom.Pool")]
pub fn letters<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong) -> JLongArray<'local> {
    native(env, |env| {
        let entry = get(pool)?;
        entry.letters(env, entry.pool.dead_letters())
    })
}

/// `long[] share(long pool, long[] batch)`: the same values in shared memory.
#[jni_mangle("io.transom.Pool")]
pub fn share<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong, batch: JLongArray<'local>) -> JLongArray<'local> {
    native(env, |env| {
        let (entry, batch) = received(env, pool, &batch)?;
        let shared = entry.pool.share(&batch)?;
        to_java(env, &entry.codec.send(shared)?)
    })
}

/// `byte[] describe(long pool, long function, boolean results)`: the parameters as a schema, whose metadata say the rest; or the declared results, null
/// where there are none.
#[jni_mangle("io.transom.Pool")]
pub fn describe<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong, function: jlong, results: bool) -> JByteArray<'local> {
    native(env, |env| {
        let entry = get(pool)?;
        let function = FUNCTIONS.get(function)?;
        let signature = wait(env, entry.pool.describe(&function))?;
        if !results {
            return Ok(env.byte_array_from_slice(&encode_schema(&parameters(&signature))?)?);
        }
        match &signature.returns {
            Some(schema) => Ok(env.byte_array_from_slice(&encode_schema(schema)?)?),
            None => Ok(JByteArray::default()),
        }
    })
}

/// The parameters as fields; those without a type are marked.
fn parameters(signature: &Signature) -> Schema {
    let mut metadata = vec![("name".to_owned(), signature.name.clone()), ("retries".to_owned(), signature.retries.to_string())];
    metadata.extend(signature.variadic.then(|| ("variadic".to_owned(), String::new())));
    metadata.extend(signature.deadline.map(|deadline| ("deadline".to_owned(), deadline.as_nanos().to_string())));
    let fields = signature.parameters.iter().map(|parameter| match &parameter.data_type {
        Some(data_type) => Field::new(&parameter.name, data_type.clone(), true),
        None => Field::new(&parameter.name, DataType::Null, true).with_metadata([("any".to_owned(), String::new())].into()),
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata.into_iter().collect())
}

/// `long[] copies(long pool)`: bytes of arguments in place and copied, of results in place and copied, and bytes copied for each reason.
#[jni_mangle("io.transom.Pool")]
pub fn copies<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong) -> JLongArray<'local> {
    native(env, |env| {
        let report = get(pool)?.pool.copies();
        let both = |reason| report.copied_because(Direction::Input, reason) + report.copied_because(Direction::Result, reason);
        let ways = [Direction::Input, Direction::Result].into_iter().flat_map(|way| [report.shared(way), report.copied(way)]);
        let counts: Vec<i64> = ways.chain(Reason::ALL.iter().map(|&reason| both(reason))).map(|count| count as i64).collect();
        to_java(env, &counts)
    })
}

/// `String[] reasons()`: why bytes are copied, in the order of [`copies`].
#[jni_mangle("io.transom.Pool")]
pub fn reasons<'local>(env: EnvUnowned<'local>, _class: JClass<'local>) -> JObjectArray<'local, JString<'local>> {
    native(env, |env| {
        let array = JObjectArray::<JString<'_>>::new(env, Reason::ALL.len(), JString::null())?;
        for (index, reason) in Reason::ALL.iter().enumerate() {
            let text = env.new_string(reason.text())?;
            array.set_element(env, index, &text)?;
        }
        Ok(array)
    })
}

/// How many numbers there are of each worker in [`stats`].
const OF_WORKER: usize = 9;

/// `long[] stats(long pool)`: shared memory in use and its limit, and for each worker its language and its state by their first letters, its
/// process (0 where there is none), batches, rows, failures, restarts and busy nanoseconds.
#[jni_mangle("io.transom.Pool")]
pub fn stats<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong) -> JLongArray<'local> {
    native(env, |env| {
        let stats = get(pool)?.pool.stats();
        let letter = |text: &str| i64::from(text.as_bytes()[0]);
        let mut found = vec![stats.memory_used as i64, stats.memory_limit as i64];
        for worker in &stats.workers {
            let numbers: [i64; OF_WORKER] = [
                letter(Language::name(worker.language)),
                letter(worker.state),
                worker.pid.map_or(0, i64::from),
                worker.batches as i64,
                worker.rows as i64,
                worker.failures as i64,
                worker.restarts as i64,
                worker.busy.as_nanos() as i64,
                worker.leases as i64,
            ];
            found.extend(numbers);
        }
        to_java(env, &found)
    })
}

/// `void shut(long pool)`: ends the workers; what is under way fails. The handle is still good for learning how.
#[jni_mangle("io.transom.Pool")]
pub fn shut<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong) {
    native(env, |_| {
        let entry = get(pool)?;
        entry.pool.close();
        entry.calls.close();
        Ok(())
    });
}

/// `void release(long pool)`: ends the handle.
#[jni_mangle("io.transom.Pool")]
pub fn release<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong) {
    native(env, |_| {
        if let Some(entry) = POOLS.remove(pool) {
            Codec::close(entry.codec_handle);
        }
        Ok(())
    });
}
