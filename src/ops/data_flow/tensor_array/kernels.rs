//! Kernels of the ops on arrays of tensors.

use super::super::handle;
use super::object::{Array, ArrayOptions};
use crate::error::{Result, bail};
use crate::graph::op::KernelCtx;
use crate::ops::array::one_by_one;
use crate::tensor::{DType, Dims, Tensor};
use std::sync::Arc;

const CONTAINER: &str = "_tensor_arrays";
const GRADIENT_CONTAINER: &str = "_tensor_array_grads";

fn scalar(ctx: &KernelCtx, input: usize, what: &str) -> Result<i64> {
    let value = ctx.input(input)?;
    if !value.is_scalar() {
        bail!(InvalidArgument, "TensorArray {what} must be scalar, but had shape: {:?}", value.dims());
    }
    value.item_i64()
}

/// What an op does with elements.
#[derive(Clone, Copy)]
enum Access {
    /// It gives some, as output 0.
    Read,
    /// It takes some, as input `value`.
    Write { value: usize },
}

/// The array, which must hold elements of the dtype that the op asks for.
fn array_of(ctx: &KernelCtx, access: Access) -> Result<Arc<Array>> {
    let array = handle::input::<Array>(ctx)?;
    let node = ctx.node();
    let (dtype, wants) = match access {
        Access::Read => (node.output_types.first(), "requested"),
        Access::Write { value } => (node.input_types.get(value), "is trying to write"),
    };
    let dtype = dtype.copied().unwrap_or(array.dtype);
    if dtype != array.dtype {
        bail!(InvalidArgument, "TensorArray dtype is {} but Op {wants} dtype {dtype}.", array.dtype);
    }
    Ok(array)
}

fn flow(ctx: &mut KernelCtx, input: usize, output: usize) -> Result<()> {
    let flow = ctx.take(input)?;
    ctx.set(output, flow)
}

/// All elements of the array whose handle is input 0, if all have been written and none was cleared. Reads nothing in the
/// sense of `clear_after_read`.
pub(crate) fn elements(ctx: &KernelCtx) -> Result<Option<Vec<Tensor>>> {
    ctx.resource::<Array>(0)?.written()
}

pub(super) fn create(ctx: &mut KernelCtx) -> Result<()> {
    let size = scalar(ctx, 0, "size")?;
    let Ok(size) = usize::try_from(size) else { bail!(InvalidArgument, "Size should be >= 0.") };
    let node = ctx.node();
    let options = ArrayOptions {
        dtype: node.dtype("dtype")?,
        element_shape: node.shape("element_shape")?,
        identical_element_shapes: node.attrs.contains_key("identical_element_shapes")
            && node.boolean("identical_element_shapes")?,
        dynamic_size: node.boolean("dynamic_size")?,
        clear_after_read: node.boolean("clear_after_read")?,
    };
    let base = match node.string("tensor_array_name")? {
        "" => &node.name,
        name => name,
    };
    let name = handle::unique_name(base);
    let array = Arc::new(Array::new(name.clone(), size, options)?);
    handle::output(ctx, CONTAINER, &name, array)?;
    if ctx.num_outputs() > 1 { ctx.set(1, Tensor::scalar(0f32)) } else { Ok(()) }
}

pub(super) fn gradient(ctx: &mut KernelCtx) -> Result<()> {
    let array = handle::input::<Array>(ctx)?;
    let prepend = if ctx.num_inputs() > 2 { ctx.dims_input(2)? } else { Dims::new() };
    let gradient = array.gradient(ctx.node().string("source")?, &prepend)?;
    let name = gradient.name.clone();
    handle::output(ctx, GRADIENT_CONTAINER, &name, gradient)?;
    if ctx.num_outputs() > 1 { ctx.set(1, Tensor::scalar(0f32)) } else { Ok(()) }
}

pub(super) fn write(ctx: &mut KernelCtx) -> Result<()> {
    let index = scalar(ctx, 1, "index")?;
    let array = array_of(ctx, Access::Write { value: 2 })?;
    array.write(index, ctx.take(2)?)?;
    flow(ctx, 3, 0)
}

pub(super) fn read(ctx: &mut KernelCtx) -> Result<()> {
    let index = scalar(ctx, 1, "index")?;
    let value = array_of(ctx, Access::Read)?.read(index)?;
    ctx.set(0, value)
}

pub(super) fn gather(ctx: &mut KernelCtx) -> Result<()> {
    let indices = ctx.input(1)?;
    if indices.rank() != 1 {
        bail!(InvalidArgument, "Expected indices to be a vector, but received shape: {:?}", indices.dims());
    }
    let indices = indices.to_i64s()?;
    gather_into(ctx, &indices)
}

pub(super) fn pack(ctx: &mut KernelCtx) -> Result<()> {
    let size = handle::input::<Array>(ctx)?.whole_size()?;
    gather_into(ctx, &(0..size as i64).collect::<Vec<_>>())
}

fn gather_into(ctx: &mut KernelCtx, indices: &[i64]) -> Result<()> {
    let array = array_of(ctx, Access::Read)?;
    let shape = ctx.node().shape("element_shape")?;
    array.size()?;
    array.merge_element_shape(&shape)?;
    if indices.is_empty() {
        let Some(mut dims) = shape.to_dims() else {
            bail!(
                Unimplemented,
                "TensorArray has size zero, but element shape {shape} is not fully defined. Currently only static shapes are \
                 supported when packing zero-size TensorArrays."
            );
        };
        dims.insert(0, 0);
        return ctx.set(0, Tensor::zeros(array.dtype, &dims)?);
    }
    let mut values = Vec::with_capacity(indices.len());
    for &index in indices {
        values.push(array.read(index)?);
    }
    let first = values[0].dims();
    if !shape.accepts(first) {
        bail!(
            InvalidArgument,
            "TensorArray was passed element_shape {shape} which does not match the Tensor at index 0: {first:?}"
        );
    }
    if let Some(at) = values.iter().position(|v| v.dims() != first) {
        bail!(
            InvalidArgument,
            "TensorArray has inconsistent shapes.  Index 0 has shape: {first:?} but index {at} has shape: {:?}",
            values[at].dims()
        );
    }
    let mut dims = Dims::from_slice(first);
    dims.insert(0, values.len());
    ctx.set(0, one_by_one(&values, &dims)?)
}

pub(super) fn scatter(ctx: &mut KernelCtx) -> Result<()> {
    let array = array_of(ctx, Access::Write { value: 2 })?;
    let (indices, value) = (ctx.input(1)?, ctx.input(2)?);
    if value.rank() == 0 {
        bail!(InvalidArgument, "Input value for unpack must be at least a vector but received shape: {:?}", value.dims());
    }
    if indices.rank() != 1 {
        bail!(InvalidArgument, "Expected indices to be a vector, but received shape: {:?}", indices.dims());
    }
    if indices.len() != value.dims()[0] {
        bail!(InvalidArgument, "Expected len(indices) == values.shape[0], but saw: {} vs. {}", indices.len(), value.dims()[0]);
    }
    let indices = indices.to_i64s()?;
    write_rows(&array, &indices, value)?;
    flow(ctx, 3, 0)
}

pub(super) fn unpack(ctx: &mut KernelCtx) -> Result<()> {
    let array = array_of(ctx, Access::Write { value: 1 })?;
    let value = ctx.input(1)?;
    if value.rank() == 0 {
        bail!(InvalidArgument, "Input value for unpack must be at least a vector but received shape: {:?}", value.dims());
    }
    let rows = value.dims()[0];
    let size = resized(&array, rows)?;
    if rows != size {
        bail!(InvalidArgument, "Input value must have first dimension equal to the array size ({rows} vs. {size})");
    }
    array.mark_size(size);
    write_rows(&array, &(0..rows as i64).collect::<Vec<_>>(), value)?;
    flow(ctx, 2, 0)
}

/// The size that the array has after this many elements are written.
fn resized(array: &Array, needed: usize) -> Result<usize> {
    let size = array.size()?;
    Ok(if array.has_dynamic_size() { size.max(needed) } else { size })
}

/// Writes each row at its index, the last first.
fn write_rows(array: &Array, indices: &[i64], value: &Tensor) -> Result<()> {
    for (row, &index) in indices.iter().enumerate().rev() {
        array.write(index, value.row(row)?)?;
    }
    Ok(())
}

pub(super) fn concat(ctx: &mut KernelCtx) -> Result<()> {
    let array = array_of(ctx, Access::Read)?;
    let size = array.whole_size()?;
    let except0 = ctx.node().shape("element_shape_except0")?;
    if size == 0 {
        let Some(mut dims) = except0.to_dims() else {
            bail!(
                Unimplemented,
                "TensorArray has size zero, but element_shape_except0 {except0} is not fully defined. Currently only static \
                 shapes are supported when concatenating zero-size TensorArrays."
            );
        };
        dims.insert(0, 0);
        ctx.set(0, Tensor::zeros(array.dtype, &dims)?)?;
        return ctx.set(1, Tensor::zeros(DType::Int64, &[0])?);
    }
    let mut values = Vec::with_capacity(size);
    for index in 0..size {
        values.push(array.read(index as i64)?);
    }
    let mut lengths = Vec::with_capacity(size);
    for (index, value) in values.iter().enumerate() {
        let [length, rest @ ..] = value.dims() else {
            bail!(
                InvalidArgument,
                "Concat saw a scalar shape at index {index} but requires at least vectors.  Did you mean to call pack?"
            );
        };
        lengths.push(*length as i64);
        let first = &values[0].dims()[1..];
        if index == 0 && !except0.accepts(rest) {
            bail!(
                InvalidArgument,
                "TensorArray was passed element_shape_except0 {except0} but index 0 has (excepting dimension 0) shape: \
                 {rest:?} which does not match."
            );
        }
        if rest != first {
            bail!(
                InvalidArgument,
                "TensorArray has inconsistent shapes.  Index 0 has (excepting dimension 0) shape: {first:?} but index {index} \
                 has (excepting dimension 0) shape: {rest:?}"
            );
        }
    }
    let mut dims = Dims::from_slice(values[0].dims());
    dims[0] = lengths.iter().map(|&l| l as usize).sum();
    ctx.set(0, one_by_one(&values, &dims)?)?;
    ctx.set(1, Tensor::vector(&lengths))
}

pub(super) fn split(ctx: &mut KernelCtx) -> Result<()> {
    let array = handle::input::<Array>(ctx)?;
    let (value, lengths) = (ctx.input(1)?, ctx.input(2)?);
    if lengths.rank() != 1 {
        bail!(InvalidArgument, "Expected lengths to be a vector, received shape: {:?}", lengths.dims());
    }
    let lengths = lengths.to_dims()?;
    if value.rank() == 0 {
        bail!(InvalidArgument, "Expected value to be at least a vector, but received shape: {:?}", value.dims());
    }
    let total = lengths.iter().try_fold(0usize, |sum, &l| sum.checked_add(l));
    if total != Some(value.dims()[0]) {
        bail!(
            InvalidArgument,
            "Expected sum of lengths to be equal to values.shape[0], but sum of lengths is {total:?} and value's shape is: {:?}",
            value.dims()
        );
    }
    let array = array_of(ctx, Access::Write { value: 1 }).map(|_| array)?;
    let size = resized(&array, lengths.len())?;
    if size != lengths.len() {
        bail!(
            InvalidArgument,
            "TensorArray's size is not equal to the size of lengths ({size} vs. {}), and the TensorArray is not marked as \
             dynamically resizeable",
            lengths.len()
        );
    }
    array.mark_size(size);
    let mut end = value.dims()[0];
    for (index, &length) in lengths.iter().enumerate().rev() {
        array.write(index as i64, value.rows(end - length, length)?)?;
        end -= length;
    }
    flow(ctx, 3, 0)
}

pub(super) fn size(ctx: &mut KernelCtx) -> Result<()> {
    let size = handle::input::<Array>(ctx)?.size()?;
    let Ok(size) = i32::try_from(size) else { bail!(OutOfRange, "the array has {size} elements") };
    ctx.set(0, Tensor::scalar(size))
}

pub(super) fn close(ctx: &mut KernelCtx) -> Result<()> {
    handle::input::<Array>(ctx)?.close();
    Ok(())
}
