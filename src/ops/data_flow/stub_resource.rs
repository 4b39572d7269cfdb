//! Resources without content, by which handles to resources are tried.

use super::record;
use crate::error::{Error, Result};
use crate::graph::op::{Grad, KernelCtx, Op};
use crate::ops::shape;
use crate::tensor::{Resource, ResourceHandle, Tensor};
use std::sync::Arc;

const RESOURCE: &[&str] = &["resource: resource"];

pub(super) static OPS: &[Op] = &[
    record(
        "StubResourceHandleOp",
        &[],
        RESOURCE,
        &["container: string = ''", "shared_name: string = ''"],
        shape::scalar,
        handle,
        Grad::Missing,
    ),
    record("ResourceCreateOp", RESOURCE, &[], &[], shape::none, create, Grad::Missing),
    record("ResourceInitializedOp", RESOURCE, &["initialized: bool"], &[], shape::scalar, is_initialized, Grad::Missing),
    record("ResourceUsingOp", RESOURCE, &[], &[], shape::none, using, Grad::Missing),
];

struct Stub;

impl Resource for Stub {
    fn kind(&self) -> &'static str {
        "StubResource"
    }
}

fn handle(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let name = match node.string("shared_name")? {
        "" => &*node.name,
        shared => shared,
    };
    let handle = ResourceHandle { container: node.string("container")?.into(), name: name.into(), object: None };
    ctx.set(0, Tensor::resource(handle))
}

/// The handle at input 0, which may stand in a vector of one.
fn find(ctx: &KernelCtx) -> Result<(ResourceHandle, Option<Arc<Stub>>)> {
    let handle = ctx.handle(0)?;
    let object = ctx.session().find::<Stub>(&handle.container, &handle.name);
    Ok((handle, object))
}

fn create(ctx: &mut KernelCtx) -> Result<()> {
    let (handle, object) = find(ctx)?;
    if object.is_some() {
        return Err(Error::already_exists(format!("Resource {}/{}/StubResource", handle.container, handle.name)));
    }
    ctx.session().resource(&handle.container, &handle.name, || Ok(Stub)).map(drop)
}

fn is_initialized(ctx: &mut KernelCtx) -> Result<()> {
    let found = find(ctx)?.1.is_some();
    ctx.set(0, Tensor::scalar(found))
}

fn using(ctx: &mut KernelCtx) -> Result<()> {
    match find(ctx)? {
        (_, Some(_)) => Ok(()),
        (handle, None) => {
            Err(Error::not_found(format!("Resource {}/{}/StubResource does not exist.", handle.container, handle.name)))
        }
    }
}
