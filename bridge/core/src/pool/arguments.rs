//! Which columns of a batch a function takes, and whether they fit.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, FieldRef, Schema, SchemaRef};

use crate::exchange::{is_plain, same_schema};
use crate::failure::{Code, Error, Result};
use crate::function::{Kind, Signature};

/// The columns that a function takes from batches of one schema.
pub(super) struct Selection {
    source: SchemaRef,
    arguments: SchemaRef,
    columns: Vec<usize>,
}

impl Selection {
    /// Columns by the parameters' names, or those that `names` says, in its order.
    ///
    /// # Errors
    /// `COLUMN_NOT_FOUND` or `WRONG_ARGUMENTS`.
    pub(super) fn new(signature: &Signature, source: &SchemaRef, names: Option<&[String]>) -> Result<Self> {
        let columns = match (names, signature.kind) {
            (Some(names), _) => names.iter().map(|name| find(source, name)).collect::<Result<Vec<_>>>()?,
            (None, Kind::Batches) => (0..source.fields().len()).collect(),
            (None, _) => by_parameter(signature, source)?,
        };
        if signature.kind != Kind::Batches {
            check_count(signature, columns.len())?;
        }
        let fields = columns.iter().enumerate().map(|(position, &column)| named(signature, source, position, column, names.is_some()));
        let arguments = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), source.metadata().clone()));
        Ok(Self { source: source.clone(), arguments, columns })
    }

    /// Whether it was made for batches like this one.
    pub(super) fn fits(&self, schema: &SchemaRef) -> bool {
        same_schema(&self.source, schema)
    }

    /// The schema of what the function is given.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.arguments
    }

    /// What the function is given of this batch.
    pub(super) fn of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.columns.iter().map(|&column| batch.column(column).clone()).collect();
        assemble(self.arguments.clone(), columns, batch.num_rows())
    }
}

/// What a function was given last by single calls: most are called with one schema for ever.
#[derive(Default)]
pub(super) struct Last {
    selection: Mutex<Option<Arc<Selection>>>,
    positional: Mutex<Option<SchemaRef>>,
}

impl Last {
    /// As [`Selection::new`], by the parameters' names.
    ///
    /// # Errors
    /// As there.
    pub(super) fn selection(&self, signature: &Signature, source: &SchemaRef) -> Result<Arc<Selection>> {
        let mut last = self.selection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(selection) = last.as_ref().filter(|selection| selection.fits(source)) {
            return Ok(selection.clone());
        }
        let selection = Arc::new(Selection::new(signature, source, None)?);
        Ok(last.insert(selection).clone())
    }

    /// Arrays as a batch of arguments, by position.
    ///
    /// # Errors
    /// `WRONG_ARGUMENTS` or `ARGUMENT_LENGTH`.
    pub(super) fn positional(&self, signature: &Signature, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
        let rows = arrays.first().map_or(0, |array| array.len());
        let mut last = self.positional.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = last.as_ref().filter(|schema| are_of(&arrays, schema, rows)) {
            return assemble(schema.clone(), arrays, rows);
        }
        let batch = positional(signature, arrays)?;
        *last = Some(batch.schema());
        Ok(batch)
    }
}

/// Whether arrays of one length have the types of a schema, and those say all of it.
fn are_of(arrays: &[ArrayRef], schema: &Schema, rows: usize) -> bool {
    let fits = |(array, field): (&ArrayRef, &FieldRef)| array.len() == rows && is_plain(array.data_type()) && array.data_type() == field.data_type();
    arrays.len() == schema.fields().len() && arrays.iter().zip(schema.fields()).all(fits)
}

/// A batch of the given arrays, whose number of rows is known even without any.
pub(super) fn assemble(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| Error::new(Code::InvalidData, error.to_string()))
}

/// Arrays as a batch of arguments, by position.
fn positional(signature: &Signature, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    if signature.kind == Kind::Batches {
        return Err(Error::new(Code::WrongArguments, "a batches function takes a batch, not arrays").with_function(&signature.name));
    }
    check_count(signature, arrays.len())?;
    let rows = arrays.first().map_or(0, |array| array.len());
    if let Some((position, array)) = arrays.iter().enumerate().find(|(_, array)| array.len() != rows) {
        let message = format!("argument {position} has {} rows and argument 0 has {rows}", array.len());
        return Err(Error::new(Code::ArgumentLength, message).with_function(&signature.name));
    }
    let name = |position: usize| signature.parameters.get(position).map_or_else(|| format!("column_{position}"), |parameter| parameter.name.clone());
    let fields = arrays.iter().enumerate().map(|(position, array)| Field::new(name(position), array.data_type().clone(), true));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let batch = assemble(schema, arrays, rows)?;
    Selection::new(signature, &batch.schema(), Some(&names))?;
    Ok(batch)
}

fn by_parameter(signature: &Signature, source: &SchemaRef) -> Result<Vec<usize>> {
    let mut columns = Vec::new();
    for parameter in &signature.parameters {
        match find(source, &parameter.name) {
            Ok(column) => columns.push(column),
            Err(_) if parameter.optional => {}
            Err(error) => return Err(error.with_function(&signature.name)),
        }
    }
    if signature.variadic {
        let named = columns.clone();
        columns.extend((0..source.fields().len()).filter(|column| !named.contains(column)));
    }
    Ok(columns)
}

/// The field of one argument. Workers know scalar and row functions' arguments by their parameters' names, since optional ones may be missing.
fn named(signature: &Signature, source: &Schema, position: usize, column: usize, by_position: bool) -> Field {
    let field = source.field(column).clone();
    match signature.parameters.get(position) {
        Some(parameter) if by_position && signature.kind != Kind::Batches => field.with_name(&parameter.name),
        _ => field,
    }
}

fn check_count(signature: &Signature, given: usize) -> Result<()> {
    let most = signature.parameters.len();
    let least = signature.parameters.iter().filter(|parameter| !parameter.optional).count();
    if given >= least && (given <= most || signature.variadic) {
        return Ok(());
    }
    let takes = if least == most { most.to_string() } else { format!("{least} to {most}") };
    let takes = if signature.variadic { format!("{least} or more") } else { takes };
    Err(Error::new(Code::WrongArguments, format!("{} takes {takes} columns and was given {given}", signature.describe()))
        .with_function(&signature.name))
}

fn find(schema: &Schema, name: &str) -> Result<usize> {
    let mut found = schema.fields().iter().enumerate().filter(|(_, field)| field.name() == name).map(|(column, _)| column);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column),
        (Some(_), Some(_)) => Err(Error::new(Code::ColumnNotFound, format!("there are several columns `{name}`"))),
        (None, _) => Err(missing(schema, name)),
    }
}

fn missing(schema: &Schema, name: &str) -> Error {
    const SHOWN: usize = 20;
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut near: Vec<(f64, &str)> = names.iter().map(|other| (strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase()), *other)).collect();
    near.retain(|(likeness, _)| *likeness > 0.75);
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let error = Error::new(Code::ColumnNotFound, format!("there is no column `{name}`"));
    if !near.is_empty() {
        let near: Vec<String> = near.iter().take(3).map(|(_, name)| format!("`{name}`")).collect();
        return error.with_hint(format!("did you mean {}?", near.join(" or ")));
    }
    let more = if names.len() > SHOWN { ", …" } else { "" };
    error.with_hint(format!("there are: {}{more}", names[..names.len().min(SHOWN)].join(", ")))
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::*;
    use crate::function::{OnError, Parameter};

    fn signature(names: &[&str], variadic: bool) -> Signature {
        let parameter = |name: &&str| Parameter { name: (*name).to_owned(), data_type: None, optional: name.starts_with('o') };
        Signature {
            name: "f".to_owned(),
            kind: Kind::Scalar,
            parameters: names.iter().map(parameter).collect(),
            variadic,
            returns: None,
            deadline: None,
            retries: 0,
            on_error: OnError::Raise,
            deterministic: true,
        }
    }

    fn schema(names: &[&str]) -> SchemaRef {
        Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>()))
    }

    #[test]
    fn columns_come_by_name_or_as_said() {
        let source = schema(&["a", "b", "c"]);
        let columns = |signature: &Signature, names: Option<&[String]>| Selection::new(signature, &source, names).map(|selection| selection.columns);
        assert_eq!(columns(&signature(&["c", "a"], false), None).unwrap(), [2, 0]);
        assert_eq!(columns(&signature(&["x", "y"], false), Some(&["b".to_owned(), "a".to_owned()])).unwrap(), [1, 0]);
        assert_eq!(columns(&signature(&["b"], true), None).unwrap(), [1, 0, 2]);
        assert_eq!(columns(&signature(&["b", "optional", "c"], false), None).unwrap(), [1, 2]);
        let renamed = Selection::new(&signature(&["x"], false), &source, Some(&["b".to_owned()])).unwrap();
        assert_eq!(renamed.schema().field(0).name(), "x");
        let error = columns(&signature(&["x"], false), Some(&["b".to_owned(), "a".to_owned()])).unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::WrongArguments, "f(x) takes 1 columns and was given 2"));
    }

    #[test]
    fn a_missing_column_names_the_near_ones() {
        let source = schema(&["l_quantity", "l_extendedprice", "l_discount"]);
        let error = Selection::new(&signature(&["l_extendedprise"], false), &source, None).err().unwrap();
        assert_eq!(error.code(), Code::ColumnNotFound);
        assert!(error.hint().unwrap().contains("`l_extendedprice`"), "{error}");
    }
}
