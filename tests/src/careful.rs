//! Functions of the native worker that are careful what they are given: a number below 0 is more than they can take, and which one says what happens.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int64Type};
use arrow_array::{ArrayRef, DictionaryArray, Int64Array, ListArray, StringArray};
use arrow_schema::{DataType, Field, Schema};
use transom::link::{RemoteError, Suppressed};
use transom::{Code, Kind, OnError, Parameter, Signature};

/// The signature of a function of this file. `careful` and most others give the number plus one; `careful_text`, `careful_list` and
/// `careful_dictionary` other types.
pub(crate) fn signature(name: &str) -> Option<Signature> {
    let declared = |data_type: DataType, nullable: bool| Some(Arc::new(Schema::new(vec![Field::new(name, data_type, nullable)])));
    let plain = Signature {
        name: name.to_owned(),
        kind: Kind::Scalar,
        parameters: vec![Parameter { name: "x".to_owned(), data_type: None, optional: false }],
        variadic: false,
        returns: None,
        deadline: None,
        retries: 0,
        on_error: OnError::Raise,
        deterministic: true,
    };
    Some(match name {
        "careful" | "careful_list" | "careful_dictionary" => plain,
        "careful_text" => Signature { returns: declared(DataType::Utf8, true), ..plain },
        "careful_row" => Signature { kind: Kind::Row, returns: declared(DataType::Int64, true), ..plain },
        "careful_always" => Signature { returns: declared(DataType::Int64, false), on_error: OnError::DeadLetter, ..plain },
        "careful_and_fickle" => Signature { deterministic: false, ..plain },
        "careful_badly_defined" => Signature { returns: declared(DataType::Int64, false), on_error: OnError::Null, ..plain },
        _ => return None,
    })
}

pub(crate) fn call(name: &str, column: &ArrayRef) -> Result<ArrayRef, RemoteError> {
    let numbers = column.as_primitive::<Int64Type>();
    if let Some(bad) = numbers.iter().flatten().find(|&number| number < 0) {
        return Err(refuse(bad));
    }
    Ok(match name {
        "careful_text" => Arc::new(StringArray::from_iter(numbers.iter().map(|number| number.map(|number| (number + 1).to_string())))),
        "careful_list" => {
            let twice = numbers.iter().map(|number| number.map(|number| [Some(number), Some(number + 1)]));
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(twice))
        }
        "careful_dictionary" => {
            let words: Vec<Option<String>> = numbers.iter().map(|number| number.map(|number| format!("{}", number % 5))).collect();
            Arc::new(words.iter().map(Option::as_deref).collect::<DictionaryArray<Int8Type>>())
        }
        _ => plus_one(numbers),
    })
}

/// What a language does that runs the rows itself.
pub(crate) fn call_suppressing(_name: &str, column: &ArrayRef) -> (ArrayRef, Suppressed) {
    let numbers = column.as_primitive::<Int64Type>();
    let mut suppressed = Suppressed::default();
    let results: Int64Array = (0_u64..)
        .zip(numbers)
        .map(|(row, number)| match number {
            Some(bad) if bad < 0 => {
                let cause = refuse(bad);
                let known = suppressed.causes.iter().position(|known| *known == cause);
                let number = known.unwrap_or_else(|| {
                    suppressed.causes.push(cause);
                    suppressed.causes.len() - 1
                });
                suppressed.rows.push((row, number as u32));
                None
            }
            number => number.map(|number| number + 1),
        })
        .collect();
    (Arc::new(results), suppressed)
}

fn plus_one(numbers: &Int64Array) -> ArrayRef {
    Arc::new(numbers.unary::<_, Int64Type>(|number| number + 1))
}

/// What a number below 0 does.
fn refuse(bad: i64) -> RemoteError {
    match bad {
        -2 => std::process::abort(),
        -3 => std::process::exit(3),
        -4 => loop {
            std::hint::spin_loop();
        },
        -5 => RemoteError::new(Code::WrongLength, "as asked"),
        bad => RemoteError { kind: "Refused".to_owned(), ..RemoteError::new(Code::FunctionRaised, format!("{bad} is below 0")) },
    }
}
