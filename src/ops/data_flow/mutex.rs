//! Locks that one part of a graph holds at a time (`tf.CriticalSection`).

use super::record;
use crate::error::{Error, Result};
use crate::graph::op::{Grad, KernelCtx, Op};
use crate::ops::shape;
use crate::tensor::{Handle, Resource, ResourceHandle, Tensor, Variant};
use std::any::Any;
use std::sync::{Arc, Condvar, Mutex as StdMutex, PoisonError};

const NONE: Grad = Grad::None("a lock has no value");

pub(super) static OPS: &[Op] = &[
    record(
        "MutexV2",
        &[],
        &["resource: resource"],
        &["container: string = ''", "shared_name: string = ''"],
        shape::scalar,
        create,
        NONE,
    ),
    record("MutexLock", &["mutex: resource"], &["mutex_lock: variant"], &[], shape::scalar, lock, NONE),
    record("ConsumeMutexLock", &["mutex_lock: variant"], &[], &[], shape::none, consume, NONE),
];

/// A lock that is free or held.
#[derive(Debug, Default)]
struct Mutex {
    held: StdMutex<bool>,
    freed: Condvar,
}

impl Resource for Mutex {
    fn kind(&self) -> &'static str {
        "Mutex"
    }
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
struct Held(Arc<Mutex>);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.held.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.freed.notify_one();
    }
}

impl Variant for Held {
    fn type_name(&self) -> &'static str {
        "(anonymous namespace)::Mutex::SharedLockReleaser"
    }
}

fn create(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let name = match node.string("shared_name")? {
        "" => node.name.to_string(),
        shared => shared.to_string(),
    };
    let container = node.string("container")?;
    let object: Arc<Mutex> = ctx.session().resource(container, &name, || Ok(Mutex::default()))?;
    ctx.set(0, Tensor::resource(ResourceHandle { container: container.into(), name: name.into(), object: Some(object) }))
}

fn lock(ctx: &mut KernelCtx) -> Result<()> {
    let mutex = ctx.resource::<Mutex>(0)?;
    let mut held = mutex.held.lock().unwrap_or_else(PoisonError::into_inner);
    while *held {
        held = mutex.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
    }
    *held = true;
    drop(held);
    ctx.set(0, Tensor::variant(Arc::new(Held(mutex))))
}

fn consume(ctx: &mut KernelCtx) -> Result<()> {
    let lock = ctx.take(0)?;
    let is_lock = |h: &Handle| matches!(h, Handle::Variant(v) if (&**v as &dyn Any).is::<Held>());
    match lock.handles()? {
        [handle] if is_lock(handle) => Ok(()),
        _ => Err(Error::invalid_argument("Expected input to be a SharedLockReleaser object, but got another value")),
    }
}
