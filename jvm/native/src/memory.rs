//! Memory that both sides read: blocks of the arena that Java fills, batches of Rust's that Java reads, buffers of Java's that Rust reads.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arrow_buffer::alloc::Allocation;
use jni::objects::{JClass, JLongArray};
use jni::sys::jlong;
use jni::{EnvUnowned, jni_mangle};
use transom::Code;

use crate::failure::native;
use crate::handles::Table;
use crate::pool;

/// What Java has a right to read or fill, until it gives the handle back.
pub(crate) static OWNED: Table<Owned> = Table::new(Code::Internal, "this memory was given back before");

/// Memory that Java knows by its addresses. Where Java hands a part of it back in a batch, the batch gets this owner and does not depend on
/// Java's right to it, which may end first: while a worker still reads, say.
pub(crate) struct Owned {
    id: u64,
    ranges: Vec<(usize, usize)>,
    _keep: AssertUnwindSafe<Box<dyn Send + Sync>>,
}

/// Everything that Java knows, by first address. Ranges overlap where two results name the same memory.
struct Known {
    last: u64,
    ranges: BTreeMap<(usize, u64), (usize, Weak<Owned>)>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known { last: 0, ranges: BTreeMap::new() });

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Owned {
    /// Memory at these addresses with these lengths, alive for as long as `keep`.
    pub(crate) fn new(ranges: Vec<(usize, usize)>, keep: impl Send + Sync + 'static) -> Arc<Self> {
        let mut known = known();
        known.last += 1;
        let owned = Arc::new(Self { id: known.last, ranges, _keep: AssertUnwindSafe(Box::new(keep)) });
        for &(start, len) in &owned.ranges {
            known.ranges.insert((start, owned.id), (len, Arc::downgrade(&owned)));
        }
        owned
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut known = known();
        for &(start, _) in &self.ranges {
            known.ranges.remove(&(start, self.id));
        }
    }
}

/// How many ranges that begin before an address are looked at: they overlap only where one memory was leased several times.
const LOOKED_AT: usize = 8;

/// The owner of these bytes, where they are Rust's and Java may read them.
pub(crate) fn owner(address: usize, len: usize) -> Option<Arc<dyn Allocation>> {
    let end = address.checked_add(len)?;
    let known = known();
    let before = known.ranges.range(..=(address, u64::MAX)).rev().take(LOOKED_AT);
    let mut found = before.filter(|((start, _), (size, _))| end <= start + size).filter_map(|(_, (_, owned))| owned.upgrade());
    Some(found.next()? as Arc<dyn Allocation>)
}

/// Buffers of Java's that Rust reads; Java knows them by this number and keeps them until it hears that the last reader has gone.
#[derive(Debug)]
pub(crate) struct Borrowed(i64);

static NO_LONGER_READ: Mutex<Vec<i64>> = Mutex::new(Vec::new());

impl Borrowed {
    pub(crate) fn new(number: i64) -> Arc<Self> {
        Arc::new(Self(number))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // Any thread may be the last reader. Java asks after each call that can have let go of something.
        NO_LONGER_READ.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}

/// Whether Java has buffers to let go of.
pub(crate) fn is_any_no_longer_read() -> bool {
    !NO_LONGER_READ.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
}

/// `long[] noLongerRead()`: the numbers of Java's buffers that nobody reads any more; null where there are none.
#[jni_mangle("io.transom.internal.Memory")]
pub fn no_longer_read<'local>(env: EnvUnowned<'local>, _class: JClass<'local>) -> JLongArray<'local> {
    native(env, |env| {
        let numbers = std::mem::take(&mut *NO_LONGER_READ.lock().unwrap_or_else(PoisonError::into_inner));
        if numbers.is_empty() {
            return Ok(JLongArray::default());
        }
        let array = env.new_long_array(numbers.len())?;
        array.set_region(env, 0, &numbers)?;
        Ok(array)
    })
}

/// `void allocate(long pool, long size, long[] block)`: memory of the pool's arena; its handle and its address.
#[jni_mangle("io.transom.internal.Memory")]
pub fn allocate<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, pool: jlong, size: jlong, block: JLongArray<'local>) {
    native(env, |env| {
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        let memory = pool::get(pool)?.pool.allocate(len)?;
        let address = memory.as_ptr().expose_provenance();
        let handle = OWNED.insert(Owned::new(vec![(address, len)], memory));
        let set = block.set_region(env, 0, &[handle, address as jlong]);
        if set.is_err() {
            drop(OWNED.remove(handle));
        }
        Ok(set?)
    });
}

/// `void giveBack(long handle)`: Java no longer reads or fills this memory. Doing so twice does nothing.
#[jni_mangle("io.transom.internal.Memory")]
pub fn give_back<'local>(env: EnvUnowned<'local>, _class: JClass<'local>, handle: jlong) {
    native(env, |_| {
        drop(OWNED.remove(handle));
        Ok(())
    });
}
