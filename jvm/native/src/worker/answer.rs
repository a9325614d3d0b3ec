//! What `io.transom.worker.Worker` answers, read field by field.

use std::sync::Arc;
use std::time::Duration;

use jni::objects::{JBooleanArray, JLongArray, JObject, JString};
use jni::{Env, jni_sig, jni_str};
use transom::link::RemoteError;
use transom::{Code, Kind, OnError, Parameter, Signature};

use crate::codec::Codec;

/// The kind of failures that are not the function's: its input stopped it.
pub(super) const INTERRUPTED: &str = "io.transom.worker.Interrupted";

/// A string; empty for null.
pub(super) fn text(env: &mut Env<'_>, object: JObject<'_>) -> jni::errors::Result<String> {
    if object.is_null() {
        return Ok(String::new());
    }
    env.cast_local::<JString<'_>>(object)?.try_to_string(env)
}

/// An array of numbers; `None` for null.
pub(super) fn longs(env: &mut Env<'_>, object: JObject<'_>) -> jni::errors::Result<Option<Vec<i64>>> {
    if object.is_null() {
        return Ok(None);
    }
    let array = env.cast_local::<JLongArray<'_>>(object)?;
    let mut numbers = vec![0; array.len(env)?];
    array.get_region(env, 0, &mut numbers)?;
    Ok(Some(numbers))
}

/// An `io.transom.worker.Failure`.
pub(super) fn failure(env: &mut Env<'_>, failure: &JObject<'_>) -> jni::errors::Result<RemoteError> {
    let code = env.get_field(failure, jni_str!("code"), jni_sig!("I"))?.i()?;
    let row = env.get_field(failure, jni_str!("row"), jni_sig!("J"))?.j()?;
    let message = env.call_method(failure, jni_str!("getMessage"), jni_sig!("()Ljava/lang/String;"), &[])?.l()?;
    let kind = env.get_field(failure, jni_str!("kind"), jni_sig!("Ljava/lang/String;"))?.l()?;
    let traceback = env.get_field(failure, jni_str!("traceback"), jni_sig!("Ljava/lang/String;"))?.l()?;
    let hint = env.get_field(failure, jni_str!("hint"), jni_sig!("Ljava/lang/String;"))?.l()?;
    Ok(RemoteError {
        code: u16::try_from(code).ok().and_then(Code::from_number).unwrap_or(Code::Internal),
        kind: text(env, kind)?,
        message: text(env, message)?,
        traceback: text(env, traceback)?,
        row: u64::try_from(row).ok(),
        hint: Some(text(env, hint)?).filter(|hint| !hint.is_empty()),
    })
}

/// An `io.transom.worker.Worker.Described`: a signature whose schemas are numbers of the codec's.
pub(super) struct Described {
    name: String,
    kind: i32,
    parameters: i64,
    typed: Vec<bool>,
    variadic: bool,
    returns: i64,
    deadline: f64,
    retries: i32,
}

impl Described {
    pub(super) fn read(env: &mut Env<'_>, described: &JObject<'_>) -> jni::errors::Result<Self> {
        let name = env.get_field(described, jni_str!("name"), jni_sig!("Ljava/lang/String;"))?.l()?;
        let typed = env.get_field(described, jni_str!("typed"), jni_sig!("[Z"))?.l()?;
        let typed = env.cast_local::<JBooleanArray<'_>>(typed)?;
        let mut flags = vec![false; typed.len(env)?];
        typed.get_region(env, 0, &mut flags)?;
        Ok(Self {
            name: text(env, name)?,
            kind: env.get_field(described, jni_str!("kind"), jni_sig!("I"))?.i()?,
            parameters: env.get_field(described, jni_str!("parameters"), jni_sig!("J"))?.j()?,
            typed: flags,
            variadic: env.get_field(described, jni_str!("variadic"), jni_sig!("Z"))?.z()?,
            returns: env.get_field(described, jni_str!("returns"), jni_sig!("J"))?.j()?,
            deadline: env.get_field(described, jni_str!("deadline"), jni_sig!("D"))?.d()?,
            retries: env.get_field(described, jni_str!("retries"), jni_sig!("I"))?.i()?,
        })
    }

    pub(super) fn signature(self, codec: &Codec) -> Result<Signature, RemoteError> {
        let kind = match self.kind {
            0 => Kind::Scalar,
            1 => Kind::Row,
            2 => Kind::Batches,
            other => return Err(RemoteError::new(Code::Internal, format!("there is no kind {other}"))),
        };
        let fields = codec.schema_from_java(self.parameters)?;
        let parameters = fields.fields().iter().zip(&self.typed).map(|(field, typed)| Parameter {
            name: field.name().clone(),
            data_type: typed.then(|| field.data_type().clone()),
            optional: false,
        });
        let returns = match self.returns {
            -1 => None,
            number => Some(codec.schema_from_java(number)?),
        };
        // The one field of a column's schema bears the function's name, whatever Java called it.
        let returns = match kind {
            Kind::Batches => returns,
            _ => returns.map(|schema| Arc::new(arrow_schema::Schema::new(vec![schema.field(0).clone().with_name(&self.name)]))),
        };
        Ok(Signature {
            parameters: parameters.collect(),
            name: self.name,
            kind,
            variadic: self.variadic,
            returns,
            deadline: (self.deadline > 0.0).then(|| Duration::from_secs_f64(self.deadline)),
            retries: u32::try_from(self.retries).unwrap_or(0),
            on_error: OnError::Raise,
            deterministic: true,
        })
    }
}
