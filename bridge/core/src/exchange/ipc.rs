//! Batches in the types that Arrow IPC has: a dictionary whose values are a dictionary becomes one whose values are a struct of one field, as in
//! schema messages, and comes back from it.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, make_array};
use arrow_data::{ArrayData, ArrayDataBuilder};
use arrow_schema::{ArrowError, DataType, SchemaRef};

use super::schema_message::{ipc_schema, schema_of_ipc};

/// The batch as IPC can say it.
pub(crate) fn to_ipc(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    retyped(batch, Arc::new(ipc_schema(&batch.schema())))
}

/// The batch as it was before [`to_ipc`].
pub(crate) fn from_ipc(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    retyped(batch, Arc::new(schema_of_ipc(&batch.schema())))
}

fn retyped(batch: &RecordBatch, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    if schema == batch.schema() {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| retyped_data(&column.to_data(), field.data_type()).map(make_array)).collect::<Result<_, _>>()?;
    RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())))
}

fn retyped_data(data: &ArrayData, wanted: &DataType) -> Result<ArrayData, ArrowError> {
    if data.data_type() == wanted {
        return Ok(data.clone());
    }
    let children = match (data.data_type(), wanted) {
        (DataType::Dictionary(_, found), DataType::Dictionary(_, values)) => vec![dictionary_values(&data.child_data()[0], found, values)?],
        _ => children(wanted).into_iter().zip(data.child_data()).map(|(kind, child)| retyped_data(child, kind)).collect::<Result<_, _>>()?,
    };
    data.clone().into_builder().data_type(wanted.clone()).child_data(children).build()
}

/// The values of a dictionary, with a struct around them or without it.
fn dictionary_values(values: &ArrayData, found: &DataType, wanted: &DataType) -> Result<ArrayData, ArrowError> {
    match (found, wanted) {
        (DataType::Dictionary(..), DataType::Struct(fields)) => {
            let inner = retyped_data(values, fields[0].data_type())?;
            ArrayDataBuilder::new(wanted.clone()).len(values.len()).add_child_data(inner).build()
        }
        (DataType::Struct(_), DataType::Dictionary(..)) => retyped_data(&values.child_data()[0].slice(values.offset(), values.len()), wanted),
        _ => retyped_data(values, wanted),
    }
}

/// The types of the children, in the order of the data's.
fn children(kind: &DataType) -> Vec<&DataType> {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) | DataType::LargeListView(item) => vec![item.data_type()],
        DataType::FixedSizeList(item, _) | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}
