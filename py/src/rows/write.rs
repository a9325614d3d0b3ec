//! What a function returns row by row as a column, without a list in between.
//!
//! A writer takes the values that every reader of the code would expect: an int for an integer, a str for text. Whatever else pyarrow may make of a value, or
//! refuse, it leaves to pyarrow: then the results become a list, as they are for the types that have no writer.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, GenericByteBuilder, GenericByteViewBuilder, PrimitiveBuilder};
use arrow_array::types::*;
use arrow_array::{ArrayRef, OffsetSizeTrait};
use arrow_schema::DataType;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString};

/// What became of a value.
pub(super) enum Took {
    /// It is in the column.
    Yes,
    /// It is none of the writer's.
    No,
    /// The column can hold no more.
    Full,
}

/// Builds a column.
pub(super) trait Write {
    /// Takes a value that is not `None`.
    fn write(&mut self, value: &Bound<'_, PyAny>) -> Took;
    /// Takes a null.
    fn null(&mut self);
    /// The column; the writer is empty then.
    fn finish(&mut self) -> ArrayRef;
}

/// The writer for results of this type, where it has one.
pub(super) fn writer(kind: &DataType, rows: usize) -> Option<Box<dyn Write>> {
    macro_rules! integers {
        ($($kind:ident)*) => {
            match kind {
                $(found if *found == $kind::DATA_TYPE => return Some(Box::new(Integers(PrimitiveBuilder::<$kind>::with_capacity(rows)))),)*
                _ => {}
            }
        };
    }
    integers!(Int8Type Int16Type Int32Type Int64Type UInt8Type UInt16Type UInt32Type UInt64Type);
    Some(match kind {
        DataType::Boolean => Box::new(Booleans(BooleanBuilder::with_capacity(rows))),
        DataType::Float32 => {
            Box::new(Floats { built: PrimitiveBuilder::<Float32Type>::with_capacity(rows), whole: 1 << 24, make: |value| value as f32 })
        }
        DataType::Float64 => Box::new(Floats { built: PrimitiveBuilder::<Float64Type>::with_capacity(rows), whole: 1 << 53, make: |value| value }),
        DataType::Utf8 => Box::new(Texts(Bytes::<Utf8Type>::with_capacity(rows, 0))),
        DataType::LargeUtf8 => Box::new(Texts(Bytes::<LargeUtf8Type>::with_capacity(rows, 0))),
        DataType::Utf8View => Box::new(Texts(Views::<StringViewType>::with_capacity(rows))),
        DataType::Binary => Box::new(Blobs(Bytes::<BinaryType>::with_capacity(rows, 0))),
        DataType::LargeBinary => Box::new(Blobs(Bytes::<LargeBinaryType>::with_capacity(rows, 0))),
        DataType::BinaryView => Box::new(Blobs(Views::<BinaryViewType>::with_capacity(rows))),
        _ => return None,
    })
}

struct Booleans(BooleanBuilder);

impl Write for Booleans {
    fn write(&mut self, value: &Bound<'_, PyAny>) -> Took {
        let Ok(value) = value.cast_exact::<PyBool>() else { return Took::No };
        self.0.append_value(value.is_true());
        Took::Yes
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

struct Integers<T: ArrowPrimitiveType>(PrimitiveBuilder<T>);

impl<T> Write for Integers<T>
where
    T: ArrowPrimitiveType,
    T::Native: for<'a, 'py> FromPyObject<'a, 'py>,
{
    fn write(&mut self, value: &Bound<'_, PyAny>) -> Took {
        // A bool is an int of a class of its own, and no number here.
        let found = value.cast_exact::<PyInt>().ok().and_then(|value| value.extract().ok());
        let Some(found) = found else { return Took::No };
        self.0.append_value(found);
        Took::Yes
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

struct Floats<T: ArrowPrimitiveType> {
    built: PrimitiveBuilder<T>,
    /// Integers up to this one are floats of the type without loss.
    whole: i64,
    make: fn(f64) -> T::Native,
}

impl<T: ArrowPrimitiveType> Write for Floats<T> {
    fn write(&mut self, value: &Bound<'_, PyAny>) -> Took {
        let found = if let Ok(float) = value.cast_exact::<PyFloat>() {
            Some(float.value())
        } else if let Ok(integer) = value.cast_exact::<PyInt>() {
            let integer = integer.extract::<i64>().ok();
            integer.filter(|integer| (-self.whole..=self.whole).contains(integer)).map(|integer| integer as f64)
        } else {
            value.cast::<PyFloat>().ok().map(|float| float.value())
        };
        let Some(found) = found else { return Took::No };
        self.built.append_value((self.make)(found));
        Took::Yes
    }

    fn null(&mut self) {
        self.built.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.built.finish())
    }
}

type Bytes<T> = GenericByteBuilder<T>;
type Views<T> = GenericByteViewBuilder<T>;

/// Columns of values that differ in length.
trait Append<V: ?Sized> {
    /// Whether there was room.
    fn append(&mut self, value: &V) -> bool;
    fn append_null(&mut self);
    fn finish(&mut self) -> ArrayRef;
}

impl<T: ByteArrayType> Append<T::Native> for Bytes<T> {
    fn append(&mut self, value: &T::Native) -> bool {
        let bytes: &[u8] = value.as_ref();
        let room = self.values_slice().len().checked_add(bytes.len()).is_some_and(|end| end <= T::Offset::MAX_OFFSET);
        if room {
            self.append_value(value);
        }
        room
    }

    fn append_null(&mut self) {
        self.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

impl<T: ByteViewType> Append<T::Native> for Views<T> {
    fn append(&mut self, value: &T::Native) -> bool {
        self.try_append_value(value).is_ok()
    }

    fn append_null(&mut self) {
        self.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

struct Texts<A>(A);

impl<A: Append<str>> Write for Texts<A> {
    fn write(&mut self, value: &Bound<'_, PyAny>) -> Took {
        // Lone surrogates have no UTF-8.
        let Some(text) = value.cast::<PyString>().ok().and_then(|text| text.to_str().ok()) else { return Took::No };
        if self.0.append(text) { Took::Yes } else { Took::Full }
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        self.0.finish()
    }
}

struct Blobs<A>(A);

impl<A: Append<[u8]>> Write for Blobs<A> {
    fn write(&mut self, value: &Bound<'_, PyAny>) -> Took {
        let Ok(bytes) = value.cast::<PyBytes>() else { return Took::No };
        if self.0.append(bytes.as_bytes()) { Took::Yes } else { Took::Full }
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        self.0.finish()
    }
}
