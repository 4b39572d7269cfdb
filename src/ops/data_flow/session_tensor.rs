//! Tensors that stay in the session between steps, by handles that are strings.

use super::record;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, KernelCtx, Op};
use crate::ops::shape;
use crate::tensor::{Resource, ResourceHandle, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

const NONE: Grad = Grad::None("handles of tensors");
const T: &[&str] = &["T: type"];

pub(super) static OPS: &[Op] = &[
    record("GetSessionHandle", &["value: T"], &["handle: string"], T, shape::scalar, keep, NONE),
    record("GetSessionHandleV2", &["value: T"], &["handle: resource"], T, shape::scalar, keep_as_resource, NONE),
    record("GetSessionTensor", &["handle: string"], &["value: dtype"], &["dtype: type"], shape::unknown, get, NONE),
    record("DeleteSessionTensor", &["handle: string"], &[], &[], shape::none, delete, NONE),
];

/// The device on which handles say that their tensors are.
const DEVICE: &str = "/job:localhost/replica:0/task:0/device:CPU:0";

/// The tensors of a session, by handle.
#[derive(Default)]
struct Store(Mutex<(u64, HashMap<String, Tensor>)>);

impl Resource for Store {
    fn kind(&self) -> &'static str {
        "SessionTensors"
    }
}

impl Store {
    fn of(ctx: &KernelCtx) -> Result<Arc<Store>> {
        ctx.session().resource("_session", "tensors", || Ok(Store::default()))
    }

    fn tensors(&self) -> MutexGuard<'_, (u64, HashMap<String, Tensor>)> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Stores input 0 and returns its handle: `name;number;device`, the number counting the session's handles.
fn store(ctx: &mut KernelCtx) -> Result<String> {
    let value = ctx.take(0)?;
    let store = Store::of(ctx)?;
    let mut tensors = store.tensors();
    let handle = format!("{};{};{DEVICE}", ctx.name(), tensors.0);
    tensors.0 += 1;
    tensors.1.insert(handle.clone(), value);
    Ok(handle)
}

fn keep(ctx: &mut KernelCtx) -> Result<()> {
    let handle = store(ctx)?;
    ctx.set(0, Tensor::from(handle.as_str()))
}

fn keep_as_resource(ctx: &mut KernelCtx) -> Result<()> {
    let name = store(ctx)?;
    ctx.set(0, Tensor::resource(ResourceHandle { container: "TensorHandle".into(), name: name.into(), object: None }))
}

/// The handle at input 0 as text.
fn handle(ctx: &KernelCtx) -> Result<String> {
    match ctx.input(0)?.strings()? {
        [handle] => Ok(String::from_utf8_lossy(handle).into_owned()),
        _ => bail!(InvalidArgument, "a handle must be a scalar, but had shape: {:?}", ctx.input(0)?.dims()),
    }
}

fn unknown(handle: &str) -> Error {
    Error::invalid_argument(format!("The tensor with handle '{handle}' is not in the session store."))
}

fn get(ctx: &mut KernelCtx) -> Result<()> {
    let handle = handle(ctx)?;
    let value = Store::of(ctx)?.tensors().1.get(&handle).cloned().ok_or_else(|| unknown(&handle))?;
    let dtype = ctx.node().dtype("dtype")?;
    if value.dtype() != dtype {
        bail!(InvalidArgument, "the tensor with handle '{handle}' is of type {}, not {dtype}", value.dtype());
    }
    ctx.set(0, value)
}

fn delete(ctx: &mut KernelCtx) -> Result<()> {
    let handle = handle(ctx)?;
    match Store::of(ctx)?.tensors().1.remove(&handle) {
        Some(_) => Ok(()),
        None => Err(unknown(&handle)),
    }
}
