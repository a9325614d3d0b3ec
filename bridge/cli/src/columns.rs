//! Which columns a function gets, and what to say where one is not there.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use transom::{Code, Error, Kind, Result, Signature};

/// What is read and what the function is called with.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The columns to read.
    pub(crate) read: SchemaRef,
    /// The columns to call the function with, in order, where they were asked for; else the pool chooses by the parameters' names.
    pub(crate) call: Option<Vec<String>>,
}

/// Chooses the columns for a function: those asked for, or those named as its parameters, or all.
pub(crate) fn choose(schema: &SchemaRef, signature: &Signature, asked: Option<&[String]>, append: bool) -> Result<Choice> {
    let names = match asked {
        Some(names) if signature.kind != Kind::Batches => Some(fitting(signature, names)?),
        Some(names) => Some(names.to_vec()),
        None => named(schema, signature)?,
    };
    let read = names.map_or_else(|| Ok(schema.clone()), |names| project(schema, &names))?;
    Ok(Choice { read: if append { schema.clone() } else { read }, call: asked.map(<[String]>::to_vec) })
}

/// The columns asked for, where the function takes so many.
fn fitting(signature: &Signature, names: &[String]) -> Result<Vec<String>> {
    let most = signature.parameters.len();
    let least = signature.parameters.iter().filter(|parameter| !parameter.optional).count();
    if names.len() < least || (names.len() > most && !signature.variadic) {
        let message =
            format!("--columns names {} and {} takes {}", count(names.len()), signature.describe(), count_between(least, most, signature.variadic));
        return Err(Error::new(Code::WrongArguments, message).with_function(&signature.name));
    }
    Ok(names.to_vec())
}

fn count(number: usize) -> String {
    format!("{number} column{}", if number == 1 { "" } else { "s" })
}

fn count_between(least: usize, most: usize, variadic: bool) -> String {
    match (variadic, least == most) {
        (true, _) => format!("{least} or more"),
        (false, true) => most.to_string(),
        (false, false) => format!("{least} to {most}"),
    }
}

/// The columns that the parameters are named after; `None` for functions that take all.
fn named(schema: &Schema, signature: &Signature) -> Result<Option<Vec<String>>> {
    if signature.variadic || signature.kind == Kind::Batches {
        return Ok(None);
    }
    let mut names = Vec::new();
    for parameter in &signature.parameters {
        match find(schema, &parameter.name) {
            Ok(_) => names.push(parameter.name.clone()),
            Err(_) if parameter.optional => {}
            Err(error) => {
                let hint = format!("{}; --columns says which columns {} gets", error.hint().unwrap_or_default(), signature.describe());
                return Err(error.with_function(&signature.name).with_hint(hint));
            }
        }
    }
    Ok(Some(names))
}

fn project(schema: &Schema, names: &[String]) -> Result<SchemaRef> {
    let mut indexes = Vec::new();
    for name in names {
        let index = find(schema, name)?;
        // One column may serve two parameters; it is read once.
        if !indexes.contains(&index) {
            indexes.push(index);
        }
    }
    schema.project(&indexes).map(Arc::new).map_err(|error| Error::new(Code::Internal, error.to_string()))
}

fn find(schema: &Schema, name: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Error::new(Code::ColumnNotFound, format!("the input has no column `{name}`")).with_hint(offer(name, &names))
    })
}

fn offer(name: &str, names: &[&str]) -> String {
    const MOST: usize = 20;
    let near = near(name, names.iter().copied());
    let mut all = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        all.push_str(&format!(" and {} more", names.len() - MOST));
    }
    if near.is_empty() { format!("it has {all}") } else { format!("did you mean {}? It has {all}", near.join(" or ")) }
}

/// The names that look like the one that is not there, best first.
pub(crate) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(f64, &str)> =
        names.map(|other| (strsim::jaro_winkler(&wanted, &other.to_lowercase()), other)).filter(|(score, _)| *score > 0.85).collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0));
    scored.into_iter().take(3).map(|(_, other)| other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{DataType, Field};
    use transom::{OnError, Parameter};

    fn schema(names: &[&str]) -> SchemaRef {
        Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>()))
    }

    fn signature(kind: Kind, names: &[&str], variadic: bool) -> Signature {
        let parameters = names.iter().map(|name| Parameter { name: (*name).to_owned(), data_type: None, optional: false }).collect();
        Signature {
            name: "f".to_owned(),
            kind,
            parameters,
            variadic,
            returns: None,
            deadline: None,
            retries: 0,
            on_error: OnError::Raise,
            deterministic: true,
        }
    }

    fn read(choice: &Choice) -> Vec<&str> {
        choice.read.fields().iter().map(|field| field.name().as_str()).collect()
    }

    #[test]
    fn parameters_choose_by_name_and_columns_by_place() {
        let schema = schema(&["c", "b", "a"]);
        let f = signature(Kind::Scalar, &["a", "b"], false);
        let choice = choose(&schema, &f, None, false).unwrap();
        assert_eq!(read(&choice), ["a", "b"]);
        let choice = choose(&schema, &f, Some(&["c".into(), "c".into()]), false).unwrap();
        assert_eq!(read(&choice), ["c"]);
        assert_eq!(choice.call.unwrap(), ["c", "c"]);
        assert_eq!(read(&choose(&schema, &f, None, true).unwrap()), ["c", "b", "a"]);
    }

    #[test]
    fn other_kinds_get_all_columns_unless_some_are_asked_for() {
        let schema = schema(&["a", "b"]);
        assert_eq!(read(&choose(&schema, &signature(Kind::Batches, &[], false), None, false).unwrap()), ["a", "b"]);
        assert_eq!(read(&choose(&schema, &signature(Kind::Batches, &[], false), Some(&["b".into()]), false).unwrap()), ["b"]);
        assert_eq!(read(&choose(&schema, &signature(Kind::Row, &["b"], true), None, false).unwrap()), ["a", "b"]);
    }

    #[test]
    fn a_column_that_is_not_there_brings_the_near_ones_and_the_list() {
        let schema = schema(&["l_extendedprice", "l_discount", "l_tax"]);
        let error = choose(&schema, &signature(Kind::Scalar, &["l_discuont"], false), None, false).unwrap_err();
        assert_eq!(error.code(), Code::ColumnNotFound);
        let hint = error.hint().unwrap();
        assert!(hint.contains("did you mean l_discount") && hint.contains("It has l_extendedprice, l_discount, l_tax"), "{hint}");
    }

    #[test]
    fn the_number_of_columns_must_fit() {
        let error = choose(&schema(&["a", "b"]), &signature(Kind::Scalar, &["p"], false), Some(&["a".into(), "b".into()]), false).unwrap_err();
        assert_eq!(error.code(), Code::WrongArguments);
        assert!(error.message().contains("2 columns and f(p) takes 1"), "{error}");
    }
}
