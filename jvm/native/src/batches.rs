//! Natives of `io.transom.Batches`: a stream of results, and its source.
//!
//! Rust does not call the Java source. Where it wants a batch, `next` says so and comes back; Java asks its source, gives what that gave, and
//! asks again. So a source's exception never passes through Rust, and no Java code runs under a native.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use arrow_array::RecordBatch;
use futures::{Stream, StreamExt};
use jni::objects::{JClass, JLongArray, JObjectArray, JString};
use jni::sys::jlong;
use jni::{EnvUnowned, jni_mangle};
use transom::{Code, DeadLetters, Error, MapOptions, Result};

use crate::codec::Codec;
use crate::failure::native;
use crate::function::{FUNCTIONS, texts};
use crate::handles::Table;
use crate::pool::{self, Entry, numbers, to_java};
use crate::wait::{wait, wait_unless};

static STREAMS: Table<Results> = Table::new(Code::Cancelled, "the stream of results is closed");

struct Results {
    entry: Arc<Entry>,
    batches: Mutex<Option<transom::Batches>>,
    letters: Arc<DeadLetters>,
    source: Source,
    closed: AtomicBool,
}

/// What passes from Java's source to the stream.
#[derive(Clone, Default)]
struct Source(Arc<Mutex<Given>>);

#[derive(Default)]
struct Given {
    item: Option<Result<RecordBatch>>,
    ended: bool,
    asked: bool,
    waker: Option<Waker>,
}

impl Source {
    fn given(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, change: impl FnOnce(&mut Given)) {
        let mut given = self.given();
        change(&mut given);
        let waker = given.waker.take();
        drop(given);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Stream for Source {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut given = self.given();
        match given.item.take() {
            Some(item) => Poll::Ready(Some(item)),
            None if given.ended => Poll::Ready(None),
            None => {
                given.asked = true;
                given.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// What comes out of a stream next.
enum Next {
    Batch(Box<RecordBatch>),
    End,
    /// The source is to be asked first.
    Wanted,
}

impl Results {
    fn poll(&self, batches: &mut transom::Batches, context: &mut Context<'_>) -> Poll<Result<Next>> {
        match batches.poll_next_unpin(context) {
            Poll::Ready(Some(batch)) => Poll::Ready(batch.map(|batch| Next::Batch(Box::new(batch)))),
            Poll::Ready(None) => Poll::Ready(Ok(Next::End)),
            Poll::Pending if std::mem::take(&mut self.source.given().asked) => Poll::Ready(Ok(Next::Wanted)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// `long open(long pool, long function, String[] columns, boolean append, boolean ordered)`; the columns may be null.
#[jni_mangle("io.transom.Batches")]
pub fn open<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    pool: jlong,
    function: jlong,
    columns: JObjectArray<'local, JString<'local>>,
    append: bool,
    ordered: bool,
) -> jlong {
    native(env, |env| {
        let entry = pool::get(pool)?;
        let function = FUNCTIONS.get(function)?;
        let columns = if columns.is_null() { None } else { Some(texts(env, &columns)?) };
        let source = Source::default();
        let options = MapOptions { columns, append, ordered };
        let opened = async {
            entry.describe(&function).await?;
            entry.pool.map(&function, source.clone(), options).await
        };
        let batches = wait(env, opened)?;
        let letters = batches.dead_letters().clone();
        Ok(STREAMS.insert(Arc::new(Results { entry, batches: Mutex::new(Some(batches)), letters, source, closed: AtomicBool::new(false) })))
    })
}

/// `long[] next(long stream)`: the next result; null at the end; no numbers where the source is to be asked.
#[jni_mangle("io.transom.Batches")]
pub fn next<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, stream: jlong) -> JLongArray<'local> {
    native(env, |env| {
        let results = STREAMS.get(stream)?;
        let closed = || Error::new(Code::Cancelled, "the stream of results was closed");
        let mut batches = results.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = batches.as_mut().ok_or_else(closed)?;
        let next = futures::future::poll_fn(|context| results.poll(batches, context));
        let still_open = || if results.closed.load(Ordering::Relaxed) { Err(closed()) } else { Ok(()) };
        match wait_unless(env, next, still_open)? {
            Next::Batch(batch) => to_java(env, &results.entry.codec.send(*batch)?),
            Next::End => Ok(JLongArray::default()),
            Next::Wanted => to_java(env, &[]),
        }
    })
}

/// `void give(long stream, long[] batch)`: the source's next batch; null where it has ended.
#[jni_mangle("io.transom.Batches")]
pub fn give<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, stream: jlong, batch: JLongArray<'local>) {
    native(env, |env| {
        if batch.is_null() {
            STREAMS.get(stream)?.source.give(|given| given.ended = true);
            return Ok(());
        }
        let numbers = numbers(env, &batch)?;
        let results = STREAMS.get(stream).inspect_err(|_| Codec::decline(&numbers))?;
        let batch = results.entry.codec.receive(&numbers);
        results.source.give(|given| given.item = Some(batch));
        Ok(())
    });
}

/// `void fail(long stream, String why)`: the source has failed.
#[jni_mangle("io.transom.Batches")]
pub fn fail<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, stream: jlong, why: JString<'local>) {
    native(env, |env| {
        let error = Error::new(Code::SourceFailed, format!("the source of batches failed: {}", why.try_to_string(env)?));
        STREAMS.get(stream)?.source.give(|given| given.item = Some(Err(error)));
        Ok(())
    });
}

/// `long[] letters(long stream)`: the dead letters of the results so far; null where there are none.
#[jni_mangle("io.transom.Batches")]
pub fn letters<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, stream: jlong) -> JLongArray<'local> {
    native(env, |env| {
        let results = STREAMS.get(stream)?;
        results.entry.letters(env, &results.letters)
    })
}

/// `void shut(long stream)`: cancels what is under way. Doing so twice does nothing.
#[jni_mangle("io.transom.Batches")]
pub fn shut<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, stream: jlong) {
    native(env, |_| {
        if let Some(results) = STREAMS.remove(stream) {
            // A thread that waits for a result lets go of them soon.
            results.closed.store(true, Ordering::Relaxed);
            let batches = results.batches.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(batches);
        }
        Ok(())
    });
}
