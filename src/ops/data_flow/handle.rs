//! Handles of objects that live in one step: a resource that holds the object, or the two strings of older ops, container
//! and name, by which the step finds it.

use crate::error::{Result, bail};
use crate::graph::op::{InferCtx, KernelCtx, Variable};
use crate::tensor::{DType, Resource, ResourceHandle, Shape, Tensor};
use bytes::Bytes;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A name that no other object of the process has.
pub(super) fn unique_name(base: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{base}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Outputs a handle of the kind that output 0 asks for.
pub(super) fn output<T: Resource>(ctx: &mut KernelCtx, container: &str, name: &str, object: Arc<T>) -> Result<()> {
    if ctx.node().output_types.first() == Some(&DType::Resource) {
        let handle = ResourceHandle { container: container.into(), name: name.into(), object: Some(object) };
        return ctx.set(0, Tensor::resource(handle));
    }
    let object: Arc<dyn Any + Send + Sync> = object;
    let mut objects = ctx.step().objects.lock().unwrap_or_else(|e| e.into_inner());
    objects.insert(format!("{container}/{name}"), object);
    drop(objects);
    let text = vec![Bytes::copy_from_slice(container.as_bytes()), Bytes::copy_from_slice(name.as_bytes())];
    let handle = Tensor::from_strings(&[2], text)?;
    // Of the ops with handles of strings, those of version 2 alone pass them by value.
    if ctx.node().op.ends_with("V2") {
        return ctx.set(0, handle);
    }
    let variable = Variable::new(name, DType::String, Shape::from([2]));
    variable.set(Some(handle));
    ctx.set_ref(0, Arc::new(variable))
}

/// The object behind the handle at input 0.
///
/// # Errors
/// `InvalidArgument` for a handle of another form, `NotFound` where its object isn't there or is of another kind.
pub(super) fn input<T: Resource>(ctx: &KernelCtx) -> Result<Arc<T>> {
    if ctx.node().input_types.first() == Some(&DType::Resource) {
        return ctx.resource::<T>(0);
    }
    let handle = match ctx.variable(0) {
        Ok(variable) => variable.read()?,
        Err(_) => ctx.input(0)?.clone(),
    };
    let [container, name] = handle.strings()? else {
        bail!(InvalidArgument, "A handle must be a vector of two strings, but had shape: {:?}", handle.dims())
    };
    let key = format!("{}/{}", String::from_utf8_lossy(container), String::from_utf8_lossy(name));
    let object = ctx.step().objects.lock().unwrap_or_else(|e| e.into_inner()).get(&key).cloned();
    match object.map(|o| o.downcast::<T>()) {
        Some(Ok(object)) => Ok(object),
        Some(Err(_)) => bail!(NotFound, "Resource {key} is of another kind than {} needs", ctx.node().op),
        None => bail!(NotFound, "Resource {key} does not exist."),
    }
}

/// Checks that input 0 can be a handle.
pub(super) fn check_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).with_rank(1)?;
    Shape::from([2]).merge(&shape).map(drop)
}

/// A handle of two elements.
pub(super) fn shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, Shape::from([2]))
}
